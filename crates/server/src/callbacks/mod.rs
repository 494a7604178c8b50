//! The policy of callbacks: who may be called, how a body is signed, when to try again, and one POST.
pub mod addresses;
pub mod client;
pub mod resolver;
pub mod schedule;
pub mod signature;
pub mod tls;
pub mod trust;
