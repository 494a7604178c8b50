//! One suite for all stores: each test gets an empty one of every kind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod backlog;
mod callbacks;
mod cdrs;
#[path = "../postgres/cluster.rs"]
mod cluster;
mod commit;
mod directory;
mod events;
mod failover;
mod failure;
mod fixture;
mod history;
mod idempotency;
mod long_queue;
mod nouns;
mod outage;
#[path = "../postgres/proxy.rs"]
mod proxy;
mod recovery;
mod retention;
mod row_security;
mod tenancy;
mod two_legs;
mod voice;
