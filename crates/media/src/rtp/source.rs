//! Whom a leg believes: the guard against strangers' audio and against sending audio to strangers ("RTP bleed").

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::config::LatchMode;

/// Packets in sequence that prove a source behind NAT.
const PROOF: u8 = 4;
/// The longest that proof may take.
const WINDOW: Duration = Duration::from_secs(5);

/// The source of one leg.
pub(crate) struct Source {
    mode: LatchMode,
    state: State,
}

enum State {
    /// No SDP has named an address yet: everybody is a stranger.
    Unnamed,
    /// The address of the SDP, and behind NAT whoever is about to prove itself.
    Named { sdp: SocketAddr, candidate: Option<Candidate> },
    /// Proven and frozen until SDP names another address than `sdp`.
    Locked { sdp: SocketAddr, source: SocketAddr },
}

struct Candidate {
    from: SocketAddr,
    ssrc: u32,
    sequence: u16,
    count: u8,
    since: Instant,
}

impl Source {
    pub(crate) fn new(mode: LatchMode) -> Self {
        Source { mode, state: State::Unnamed }
    }

    /// SDP names an address. The same one again changes nothing.
    pub(crate) fn name(&mut self, address: SocketAddr) {
        match &self.state {
            State::Named { sdp, .. } | State::Locked { sdp, .. } if *sdp == address => {}
            State::Unnamed | State::Named { .. } | State::Locked { .. } => {
                self.state = State::Named { sdp: address, candidate: None };
            }
        }
    }

    /// Where audio goes.
    pub(crate) fn destination(&self) -> Option<SocketAddr> {
        match &self.state {
            State::Unnamed => None,
            State::Named { sdp, .. } => Some(*sdp),
            State::Locked { source, .. } => Some(*source),
        }
    }

    /// The address that SDP did not name and that has proven itself.
    pub(crate) fn moved_to(&self) -> Option<SocketAddr> {
        match &self.state {
            State::Locked { sdp, source } if sdp != source => Some(*source),
            State::Unnamed | State::Named { .. } | State::Locked { .. } => None,
        }
    }

    /// Whether a packet from there may be of the leg's far side: what is not need not be decrypted.
    pub(crate) fn may_admit(&self, from: SocketAddr) -> bool {
        match &self.state {
            State::Unnamed => false,
            State::Named { sdp, .. } => *sdp == from || self.mode == LatchMode::Nat,
            State::Locked { source, .. } => *source == from,
        }
    }

    /// Whether an RTP packet is of the leg's far side. Only packets that parse may be shown.
    pub(crate) fn admits(
        &mut self,
        from: SocketAddr,
        ssrc: u32,
        sequence: u16,
        now: Instant,
    ) -> bool {
        match &mut self.state {
            State::Unnamed => false,
            State::Locked { source, .. } => *source == from,
            State::Named { sdp, .. } if *sdp == from => {
                self.state = State::Locked { sdp: from, source: from };
                true
            }
            State::Named { sdp, candidate } => match self.mode {
                LatchMode::SdpOnly => false,
                LatchMode::Nat => {
                    let proven = proves(
                        candidate,
                        Candidate { from, ssrc, sequence, count: 1, since: now },
                        now,
                    );
                    if proven {
                        self.state = State::Locked { sdp: *sdp, source: from };
                    }
                    proven
                }
            },
        }
    }
}

/// Counts a packet of a source that SDP does not name; true once it has proven itself.
fn proves(candidate: &mut Option<Candidate>, packet: Candidate, now: Instant) -> bool {
    match candidate {
        Some(known)
            if known.from == packet.from
                && known.ssrc == packet.ssrc
                && known.sequence.wrapping_add(1) == packet.sequence
                && now.saturating_duration_since(known.since) <= WINDOW =>
        {
            known.sequence = packet.sequence;
            known.count += 1;
            known.count >= PROOF
        }
        Some(_) | None => {
            *candidate = Some(packet);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn send(
        source: &mut Source,
        from: &str,
        sequences: std::ops::Range<u16>,
        now: Instant,
    ) -> Vec<bool> {
        sequences.map(|sequence| source.admits(addr(from), 7, sequence, now)).collect()
    }

    #[test]
    fn by_sdp_only_the_named_address_and_port_are_believed() {
        let now = Instant::now();
        let mut source = Source::new(LatchMode::SdpOnly);
        assert_eq!(send(&mut source, "10.0.0.1:4000", 0..2, now), [false, false]);
        source.name(addr("10.0.0.1:4000"));
        assert_eq!(send(&mut source, "10.0.0.1:4002", 0..9, now), [false; 9]);
        assert_eq!(send(&mut source, "10.0.0.2:4000", 0..9, now), [false; 9]);
        assert_eq!(send(&mut source, "10.0.0.1:4000", 0..2, now), [true, true]);
        assert_eq!(source.destination(), Some(addr("10.0.0.1:4000")));
    }

    #[test]
    fn behind_nat_the_fourth_packet_in_sequence_proves_a_source() {
        let now = Instant::now();
        let mut source = Source::new(LatchMode::Nat);
        source.name(addr("192.168.1.5:4000"));
        assert_eq!(send(&mut source, "203.0.113.9:1025", 65_534..65_535, now), [false]);
        assert!(!source.admits(addr("203.0.113.9:1025"), 7, 65_535, now));
        assert_eq!(source.destination(), Some(addr("192.168.1.5:4000")));
        assert_eq!(send(&mut source, "203.0.113.9:1025", 0..3, now), [false, true, true]);
        assert_eq!(source.destination(), Some(addr("203.0.113.9:1025")));
        assert_eq!(source.moved_to(), Some(addr("203.0.113.9:1025")));
        // Frozen: neither a stranger nor the SDP's own address gets in.
        assert_eq!(send(&mut source, "198.51.100.1:9", 0..9, now), [false; 9]);
        assert_eq!(send(&mut source, "192.168.1.5:4000", 0..9, now), [false; 9]);
    }

    #[test]
    fn gaps_another_ssrc_or_too_long_a_time_prove_nothing() {
        let now = Instant::now();
        let mut source = Source::new(LatchMode::Nat);
        source.name(addr("192.168.1.5:4000"));
        let peer = addr("203.0.113.9:1025");
        for sequence in [1, 2, 3, 5, 6, 7, 9] {
            assert!(!source.admits(peer, 7, sequence, now));
        }
        for (ssrc, sequence) in [(7, 20), (7, 21), (7, 22), (8, 23), (8, 24), (8, 25)] {
            assert!(!source.admits(peer, ssrc, sequence, now));
        }
        for (n, sequence) in (40..60).enumerate() {
            assert!(!source.admits(peer, 7, sequence, now + WINDOW * n as u32 / 2));
        }
    }

    #[test]
    fn two_strangers_in_turn_prove_nothing_and_the_named_one_wins_at_once() {
        let now = Instant::now();
        let mut source = Source::new(LatchMode::Nat);
        source.name(addr("10.0.0.1:4000"));
        for sequence in 0..20 {
            assert!(!source.admits(addr("203.0.113.9:1025"), 7, sequence, now));
            assert!(!source.admits(addr("203.0.113.8:1025"), 7, sequence, now));
        }
        assert!(source.admits(addr("10.0.0.1:4000"), 9, 3, now));
        assert_eq!(send(&mut source, "203.0.113.9:1025", 20..40, now), [false; 20]);
        assert_eq!(source.moved_to(), None);
    }

    #[test]
    fn only_another_address_in_sdp_opens_the_lock() {
        let now = Instant::now();
        let mut source = Source::new(LatchMode::Nat);
        source.name(addr("192.168.1.5:4000"));
        send(&mut source, "203.0.113.9:1025", 0..4, now);
        source.name(addr("192.168.1.5:4000"));
        assert_eq!(source.destination(), Some(addr("203.0.113.9:1025")));
        source.name(addr("10.9.9.9:6000"));
        assert_eq!(source.destination(), Some(addr("10.9.9.9:6000")));
        assert_eq!(send(&mut source, "203.0.113.9:1025", 4..6, now), [false, false]);
    }
}
