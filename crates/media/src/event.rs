//! What the media threads tell the owner of a leg.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::codec::Codec;
use crate::command::{LegId, PlayId};
use crate::sdp::{CryptoError, Direction, SdpError};
use crate::srtp::Suite;

/// Receives every event, on the media thread that it happened on: hand it over (a channel's `send`) and return.
pub type EventSink = Box<dyn Fn(Event) + Send + Sync>;

/// One thing that happened to one leg.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The SDP to send as offer, and the RTP port it names.
    Offered { leg: LegId, sdp: Bytes, port: u16 },
    /// The SDP to send as answer, and the RTP port it names.
    Answered { leg: LegId, sdp: Bytes, port: u16 },
    /// Offer and answer agree. `remote` is `None` where the far side named no address to send to (an old way to say
    /// hold). `direction` is ours: the far side holds the call where we may not send, `!direction.sends()` (it said
    /// `sendonly` or `inactive`), which is also what `remote: None` comes to. `ptime` is what the far side asked for (we send 20 ms all the same); `srtp` is what both
    /// directions are encrypted with, `None` where they are not.
    Negotiated {
        leg: LegId,
        codec: Codec,
        remote: Option<SocketAddr>,
        direction: Direction,
        ptime: Option<Duration>,
        srtp: Option<Suite>,
    },
    /// A command for this leg could not be done. The leg, if it existed before the command, is as it was.
    Failed { leg: LegId, fault: MediaFault },
    /// The first packet of the clip left at `at`.
    PlayStarted { leg: LegId, play: PlayId, at: Instant },
    /// The last packet of the last round has left.
    PlayFinished { leg: LegId, play: PlayId },
    /// Cut by `StopPlay`, by another `Play` or by the end of the leg.
    PlayStopped { leg: LegId, play: PlayId },
    /// The far side pressed a key (RFC 4733); told once, when the key is released.
    Digit { leg: LegId, digit: char, duration_ms: u32 },
    /// All digits of a `SendDigits` have left.
    DigitsSent { leg: LegId },
    /// Whether audio flows each way: once within `flow_check` of every `Negotiated`, and again when it changes.
    Flow { leg: LegId, received: bool, sent: bool, packets_in: u64, packets_out: u64 },
    /// The two hear each other. `relayed`: both were last agreed on the same codec, so that packets pass undecoded; it
    /// says nothing of whether audio flows, which `Flow` does for each leg.
    Bridged { leg: LegId, with: LegId, relayed: bool },
    /// Nothing came from the far side for the time of `Watch`, or a little longer.
    Quiet { leg: LegId, silent_for: Duration },
    /// The file is open.
    RecordingStarted { leg: LegId, path: PathBuf },
    /// Nothing (more) is recorded; what was written until then is a valid file.
    RecordingFailed { leg: LegId, path: PathBuf, reason: String },
    /// What comes from here on is silence in the file.
    RecordingPaused { leg: LegId },
    /// What comes from here on is in the file.
    RecordingResumed { leg: LegId },
    /// The file is complete and closed.
    RecordingDone { leg: LegId, path: PathBuf, duration_ms: u64 },
    /// The leg has ended as asked.
    Closed { leg: LegId, stats: Stats },
    /// A bug of ours or of a listener met this leg: it is closed as if by `Close`. Other legs go on.
    LegPanicked { leg: LegId, stats: Stats },
}

/// Why a command could not be done: who is at fault, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaFault {
    #[error(
        "no RTP port is free: widen the port range, raise the limit on open files, or take fewer calls"
    )]
    NoPort,
    #[error("port {port} could not be bound: {reason}")]
    Bind { port: u16, reason: String },
    #[error("the far side's SDP is unusable: {0}")]
    Sdp(#[from] SdpError),
    #[error("our own SDP handed to Rebind is unusable: {0}")]
    OwnSdp(SdpError),
    #[error("the far side has no codec that this leg may use")]
    NoCommonCodec,
    #[error("the far side declined the audio (port 0)")]
    Declined,
    #[error("the far side wants encrypted media ({0}), and this leg may not: allow SRTP for it")]
    Encrypted(String),
    #[error("the far side would send audio unencrypted, and this leg requires SRTP")]
    Unencrypted,
    #[error("the far side's a=crypto is unusable: {0}")]
    Crypto(#[from] CryptoError),
    #[error("the far side's a=crypto takes none of the keys that were offered")]
    NoCommonKey,
    #[error("the far side answers with our own key, so it has none of its own")]
    OwnKey,
    #[error("the far side's address is of the other IP version than our socket")]
    AddressFamily,
    #[error("the far side's address {0} is no unicast address")]
    NotUnicast(std::net::IpAddr),
    #[error("an answer came, and this leg has no offer out")]
    NotOffered,
    #[error("this leg exists already: choose a new LegId")]
    LegExists,
    #[error("this leg does not exist (any more)")]
    UnknownLeg,
    #[error("the leg to be bridged with does not exist (any more)")]
    PartnerGone,
    #[error(
        "the two legs are on different threads: name the first as `beside` when the second is made"
    )]
    NotBeside,
    #[error("a leg cannot be bridged with itself")]
    WithItself,
    #[error("{0:?} is no DTMF digit")]
    BadDigit(char),
    #[error("too many digits wait on this leg")]
    TooManyDigits,
    #[error("nothing to play: the list of clips is empty")]
    NothingToPlay,
    #[error("this leg is recording already")]
    AlreadyRecording,
    #[error("the disk is too far behind to begin a recording: give it time, or a faster one")]
    DiskBusy,
    #[error("the encoders are too busy to prepare a clip: try again")]
    EncoderBusy,
}

/// One leg's sums, from its first packet to its end.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stats {
    /// RTP packets that the kernel took.
    pub packets_sent: u64,
    /// Payload bytes in them.
    pub bytes_sent: u64,
    /// RTP packets that the kernel refused (no route, buffer full) or that could not be encrypted.
    pub send_errors: u64,
    /// Sends that left more than 5 ms after their tick.
    pub late_ticks: u64,
    /// 20 ms steps that were not sent because the thread was held up for longer.
    pub skipped_ticks: u64,
    /// RTP packets from the leg's own source.
    pub packets_received: u64,
    /// Payload bytes in them.
    pub bytes_received: u64,
    /// Packets that the sequence numbers say are missing.
    pub lost: u64,
    /// Interarrival jitter, RFC 3550 §6.4.1, in ms.
    pub jitter_ms: f32,
    /// Packets from anybody else: dropped.
    pub foreign_packets: u64,
    /// Packets that are no RTP or RTCP, or of a payload type that was not agreed: dropped.
    pub invalid_packets: u64,
    /// SRTP and SRTCP packets that the far side's key did not make, or that were changed on their way: dropped.
    pub forged_packets: u64,
    /// SRTP and SRTCP packets that came a second time, or too late to tell: dropped.
    pub replayed_packets: u64,
    /// Times that the far side's SSRC changed.
    pub ssrc_changes: u64,
    pub rtcp_sent: u64,
    pub rtcp_received: u64,
    /// Round trip by the far side's receiver reports.
    pub round_trip_ms: Option<f32>,
    /// Fraction of our packets that the far side last reported lost.
    pub remote_loss: Option<f32>,
    /// Estimated listening quality of what was received, 1.0–4.5 (ITU-T G.107 reduced to loss and delay).
    pub mos: Option<f32>,
}
