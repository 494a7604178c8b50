//! One suite for both backends: each test gets an empty store of either kind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod backlog;
mod callbacks;
mod cdrs;
mod commit;
mod directory;
mod events;
mod failure;
mod fixture;
mod idempotency;
mod nouns;
mod recovery;
mod voice;
