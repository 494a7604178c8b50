//! What the owner of the media threads decides once, at start.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

/// How the media threads run. [`Config::default`] suits one machine on loopback.
#[derive(Debug, Clone)]
pub struct Config {
    /// Media threads, at least 1. A leg lives on one of them for its whole life.
    pub threads: usize,
    /// The address that RTP and RTCP sockets are bound to.
    pub bind: IpAddr,
    /// The address written into SDP instead of `bind`. Required where `bind` is unspecified (`0.0.0.0`, `::`):
    /// that address in SDP means *hold*.
    pub public_address: Option<IpAddr>,
    /// Ports that legs may use: RTP on the even ones, RTCP on the odd one above. `None`: any free pair.
    pub port_range: Option<RangeInclusive<u16>>,
    /// Which source addresses a leg believes.
    pub latching: LatchMode,
    /// How long after negotiation the first [`crate::Event::Flow`] may take.
    pub flow_check: Duration,
    /// How long a source that was heard may be silent until [`crate::Event::Flow`] reports it as gone.
    pub media_timeout: Duration,
    /// How long a closed leg's ports rest before the next leg gets them. Where ports run short a pair is reused
    /// earlier, yet never within two seconds of the last stray packet.
    pub quarantine: Duration,
    /// Descriptors that legs leave to the rest of the process, besides a few for files and the like.
    pub reserved_descriptors: u64,
    /// Commands that may wait for one thread; one more is refused with [`crate::Busy`].
    pub queue: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            threads: 1,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            public_address: None,
            port_range: None,
            latching: LatchMode::SdpOnly,
            flow_check: Duration::from_secs(3),
            media_timeout: Duration::from_secs(10),
            quarantine: Duration::from_secs(30),
            reserved_descriptors: 0,
            queue: 4096,
        }
    }
}

/// Whom a leg believes to be its far side. What comes from elsewhere is counted and dropped, and nothing is ever
/// sent there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LatchMode {
    /// Only the address and port that the far side's SDP names.
    SdpOnly,
    /// The SDP's address, or, for a far side behind NAT, the first source that sends four packets in sequence
    /// within five seconds. Then frozen until new SDP names another address.
    Nat,
}
