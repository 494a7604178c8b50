//! Legs from outside: real sockets on loopback, foreign judges, strangers, recordings.
#![allow(clippy::unwrap_used, reason = "a test says by panicking")]

mod bridges;
mod calls;
mod clips;
mod foreign;
mod offer_answer;
mod opus_files;
mod recording;
mod srtp;
mod srtp_foreign;
mod strangers;
mod world;
