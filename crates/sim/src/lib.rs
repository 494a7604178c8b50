//! A simulated telephone network: a carrier, phones, a recogniser, a callback receiver and an HTTP client.
//!
//! [`Carrier`] takes calls over real SIP and RTP; the dialled number decides what its phone does ([`numbers`]). What the
//! far end saw of each call is a [`CallReport`]; what a phone heard is named by a [`Recogniser`]. [`CallbackReceiver`]
//! keeps callbacks and answers them as scripted; [`Client`] speaks the calling interfaces. [`run`] is all of that as a
//! process of its own ([`control`]).
//!
//! It is the judge in tests, so it shares as little as it can with what it judges: SIP, SDP and codecs come from the
//! crates `sip` and `media`, and those are judged by foreign programs elsewhere.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test says by panicking"))]

mod app_phone;
mod audio_leg;
mod babble;
pub mod behaviour;
pub mod callbacks;
mod carrier;
pub mod client;
pub mod control;
mod desk;
mod exchange;
mod fork;
mod ledger;
mod moment;
pub mod numbers;
mod pair;
mod phone;
mod random;
mod recogniser;
mod registrar;
mod report;
mod script;
mod sdp_edit;
mod sniff;
mod softphone;
mod sounds;
mod wire;

pub use app_phone::{AppPhone, AppPhoneConfig};
pub use behaviour::Behaviour;
pub use callbacks::{Answer, Callback, CallbackReceiver, Callbacks};
pub use carrier::{Carrier, CarrierConfig, CarrierError, Digest, KeepAudio, Observer, TlsLine};
pub use client::{Client, ClientError, Reply};
pub use control::{Sim, SimError, SimOptions, run};
pub use desk::DialError;
pub use fork::ForkReport;
pub use moment::{Moment, process_cpu_time};
pub use pair::{Pair, PairError, Pairs};
pub use phone::{Over, Phone};
pub use recogniser::{Recognised, Recogniser, UNKNOWN};
pub use registrar::Binding;
pub use report::{CallReport, EndedBy, Heard, RtpReport, Totals, tone_time};
pub use script::Acting;
pub use softphone::{Softphone, SoftphoneConfig};
pub use wire::Lost;
