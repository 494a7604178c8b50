//! A simulated telephone network: a carrier, phones, a recogniser, a callback receiver and an HTTP client.
//!
//! [`Carrier`] takes calls over real SIP and RTP; the dialled number decides what its phone does ([`numbers`]). What the
//! far end saw of each call is a [`CallReport`]; what a phone heard is named by a [`Recogniser`]. [`CallbackReceiver`]
//! keeps callbacks and answers them as scripted; [`Client`] speaks the calling interfaces. [`run`] is all of that as a
//! process of its own.
//!
//! It is the judge in tests, so it shares as little as it can with what it judges: SIP, SDP and codecs come from the
//! crates `sip` and `media`, and those are judged by foreign programs elsewhere.
#![forbid(unsafe_code)]

pub mod behaviour;
pub mod callbacks;
pub mod client;
mod moment;
pub mod numbers;
mod random;
mod report;

pub use behaviour::Behaviour;
pub use callbacks::{Answer, Callback, CallbackReceiver, Callbacks};
pub use client::{Client, ClientError, Reply};
pub use moment::{Moment, process_cpu_time};
pub use report::{CallReport, EndedBy, Heard, RtpReport, Totals};
