//! Media: SDP, RTP and codecs, on threads of its own.
//!
//! [`start`] makes the threads. A *leg* is one far side: a pair of UDP sockets, an SDP session, one stream each way.
//! [`Media::command`] asks for something, the sink handed to `start` hears [`Event`]s. The usual course of an outbound
//! call:
//!
//! 1. `Offer` → `Offered`: put the SDP into the INVITE.
//! 2. `Remote` with the SDP of a 183 or 200 → `Negotiated`; audio (silence at first) flows from here on.
//! 3. `Play`, `Record`, … → `PlayStarted`, `PlayFinished`, `Digit`, …; within three seconds `Flow` says whether audio
//!    goes each way.
//! 4. `Bridge` with another leg → the two far sides hear each other.
//! 5. `Close` → `Closed` with the leg's sums.
//!
//! Threads: `media-N` send and receive and never wait for anything but their clock and the packets of bridged legs, which go
//! on as they come; `media-encode` makes a clip's packets
//! once per codec; `media-record` writes files. The soft limit on open files is raised to the hard one, and media threads
//! take a higher priority where the system lets them.
//!
//! Bad input from the network is counted and dropped. A panic costs one leg. Nothing is sent to an address that the
//! leg's SDP (or, behind NAT, its proven source) does not name.

#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test says by panicking"))]

mod bands;
mod batch;
pub mod clip;
pub mod codec;
mod command;
mod config;
mod crossing;
mod descriptors;
pub mod detect;
mod ear;
mod event;
mod flow;
#[doc(hidden)]
pub mod fuzzing;
mod inbox;
mod keying;
mod leg;
mod leg_ports;
mod limits;
mod media;
mod negotiate;
mod ogg;
pub mod opus_file;
mod placement;
mod play;
mod poller;
mod ports;
mod prepare;
mod priority;
mod quality;
mod quiet;
mod recorder;
mod ringback;
mod rtp;
pub mod sdp;
mod seal;
mod socket;
pub mod srtp;
pub mod tone;
mod transcode;
mod voice;
pub mod wav;
mod wheel;
mod worker;

pub use clip::{Clip, ClipError};
pub use codec::Codec;
pub use command::{Arrival, Command, LegId, Listen, ListenSink, PlayId, RecordMode};
pub use config::{Config, LatchMode};
pub use ear::{Arrivals, Ear};
pub use event::{Event, EventSink, MediaFault, Stats};
pub use inbox::Busy;
pub use limits::{Capacity, Limit};
pub use media::{Media, StartError, start};
pub use seal::{SEALED_PIECE, Seal};
pub use srtp::Srtp;
