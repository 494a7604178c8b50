//! RTP (RFC 3550), sans I/O: times, addresses and packets come in as arguments.

pub(crate) mod digits;
pub(crate) mod playout;
pub(crate) mod reception;
pub(crate) mod relay;
pub(crate) mod rtcp;
pub(crate) mod source;
pub(crate) mod stream;
