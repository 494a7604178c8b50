//! The core in virtual time: one behaviour per file.
#![allow(clippy::unwrap_used, reason = "a test says by panicking")]

mod world;

mod authentication;
mod basic_call;
mod broken_connections;
mod cancel;
mod crash;
mod early_media;
mod ends;
mod failover;
mod forks;
mod fuzz_corpus;
mod guessing;
mod inbound_authentication;
mod incoming;
mod lost_messages;
mod offers;
mod outside_dialogs;
mod phone;
mod phones;
mod probes;
mod redirects;
mod registration;
mod reliable_provisionals;
mod session_timer;
mod standstill;
mod storm;
mod strangers;
mod timeouts;
mod torture;
