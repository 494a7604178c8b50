//! Decides everything about calls and does nothing itself: no I/O, no clock, no threads, no async.
//!
//! Time is an argument, so a test never waits; an input is handled to its end before the next one,
//! so nothing is locked. What the engine wants comes out as [`action::Action`]s in order, and what
//! must be on disk first is held back by the [`gate`].

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm))]

pub mod action;
mod backlog;
mod balances;
mod calls;
pub mod cdr;
mod engine;
pub mod events;
pub mod gate;
pub mod intent;
pub mod overload;
mod quotas;
mod request;
pub mod route;
mod serials;
pub mod vocabulary;
pub mod writes;

pub use engine::{Engine, NaturalKey, Start};
pub use quotas::Used;
pub use request::{Quota, RecordingSwitch, Refusal, Reply, Request, Ticket};
