//! The endpoint over real sockets on loopback: calls, hostile peers, and sipp as a foreign stack.
#![allow(clippy::unwrap_used, reason = "a test says by panicking")]

mod harness;

mod baresip;
mod calls;
mod hostile;
mod large;
mod sipp;
mod tls;
mod torture;
