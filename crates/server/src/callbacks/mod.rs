//! Callbacks: who may be called, what is posted and how it is signed, when it is tried again, and the
//! loop that delivers what the event log holds.

pub mod addresses;
pub mod client;
pub mod delivery;
pub mod release;
pub mod resolver;
pub mod schedule;
pub mod signature;
pub mod tls;
pub mod trust;
mod two_legs;
