//! The simulated carrier and its phones over real sockets: one binary, so that the caller is built once.
#![allow(clippy::unwrap_used, reason = "a test says by panicking")]

mod caller;
mod carrier;
mod control_port;
mod foreign;
mod heard;
mod reserved_numbers;
mod softphones;
