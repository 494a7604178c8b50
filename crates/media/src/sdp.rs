//! Session descriptions (RFC 8866) as far as calls need them: what the far side can do, and what we say.
//!
//! Reading is tolerant: a missing `s=` or `o=`, lines out of order, `m=image` of T.38, unknown attributes pass. What
//! does not pass is told by [`SdpError`]; nothing in here panics on any input.

mod crypto;
mod parse;
mod write;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::codec::Codec;

pub use crypto::{Crypto, CryptoError, CryptoLine};
pub use parse::{parse, parse_for};
pub use write::{LocalDescription, Profile};

/// Longer descriptions are refused unread.
pub const MAX_BYTES: usize = 16 * 1024;
/// Media descriptions in one session that we answer.
pub const MAX_MEDIA: usize = 16;

/// Why a description cannot be used; whoever wrote it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    #[error("it has {0} bytes, more than {MAX_BYTES}")]
    TooLong(usize),
    #[error("it has {0} media descriptions, more than {MAX_MEDIA}")]
    TooManyMedia(usize),
    #[error("{0}")]
    Syntax(String),
    #[error("it describes no audio")]
    NoAudio,
    #[error("it names no address for the audio")]
    NoAddress,
    #[error("{0:?} is no IP address (host names are not looked up)")]
    NotAnAddress(String),
}

/// What one side says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// `o=` id; empty where there is none.
    pub session_id: String,
    /// `o=` version.
    pub version: u64,
    /// The audio that we talk about: the first `m=audio` with a port that the reader can use, else the first `m=audio`.
    pub audio: Audio,
    /// Every media description in its order, to be mirrored by an answer.
    pub media: Vec<MediaLine>,
}

/// A media description as an answer must repeat it (RFC 3264 §6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaLine {
    pub kind: String,
    pub proto: String,
    pub formats: String,
    /// Whether this is the one that [`Description::audio`] tells of.
    pub is_audio: bool,
}

/// One side's audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audio {
    pub transport: Transport,
    /// Where its RTP goes. `None`: nowhere (`0.0.0.0` or `::`, an old way to say hold).
    pub rtp: Option<SocketAddr>,
    /// Where its RTCP goes: `a=rtcp`, else the port above RTP's.
    pub rtcp: Option<SocketAddr>,
    /// Port 0: the audio is declined.
    pub declined: bool,
    /// In order of preference.
    pub formats: Vec<Format>,
    pub direction: Direction,
    pub ptime: Option<Duration>,
    /// Keys for SRTP.
    pub crypto: Crypto,
}

/// How the audio is carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// RTP/AVP or RTP/AVPF.
    Rtp,
    /// RTP/SAVP or RTP/SAVPF: SRTP with keys from the description.
    Srtp,
    /// SRTP with keys from elsewhere (DTLS), by name.
    Secure(String),
    /// Anything else, by name.
    Other(String),
}

/// One payload type and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    pub payload_type: u8,
    pub kind: FormatKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatKind {
    Audio(Codec),
    /// RFC 4733 digits, with their RTP clock in Hz.
    TelephoneEvent(u32),
    /// RFC 3389.
    ComfortNoise,
    Unknown,
}

/// Which ways the audio goes, as seen by the side that says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    pub fn name(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    /// The same audio seen from the other side.
    pub fn reversed(self) -> Self {
        match self {
            Direction::SendRecv => Direction::SendRecv,
            Direction::SendOnly => Direction::RecvOnly,
            Direction::RecvOnly => Direction::SendOnly,
            Direction::Inactive => Direction::Inactive,
        }
    }

    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }
}

/// Whether one may send audio there at all.
pub fn is_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_multicast() && !ip.is_broadcast() && !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_multicast() && !ip.is_unspecified(),
    }
}
