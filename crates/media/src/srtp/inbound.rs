//! What comes in under the far side's key.

use super::keys::MasterKey;
use super::replay::Window;
use super::transform::{ENCRYPTED, Index, Session};
use super::{rtcp_ssrc, rtp_header, rtp_names, word};

/// Streams (SSRCs) of one key that are remembered. Only packets that proved themselves make one; the oldest gives way.
const STREAMS: usize = 16;

/// Why a packet was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// No packet of this kind, or too short to be protected.
    Malformed,
    /// Not made with the far side's key, or changed on its way, or not encrypted, or beyond the key's lifetime.
    Forged,
    /// Seen before, or so old that nobody knows.
    Replayed,
}

/// The context of what the far side sends.
pub struct Inbound {
    session: Session,
    tag_length: usize,
    /// Behind each packet, where the far side names its key.
    mki: Vec<u8>,
    /// Packets that the key may still open.
    left: u64,
    streams: Vec<Stream>,
    /// Streams under the key before this one, whose rollover counters may go on.
    earlier: Vec<(u32, u64)>,
}

struct Stream {
    ssrc: u32,
    rtp: Option<Window>,
    rtcp: Option<Window>,
}

impl Inbound {
    /// `mki`: the master key identifier that the far side puts behind each packet, mostly empty. `lifetime`: the packets
    /// after which its key is worn out.
    pub fn new(key: &MasterKey, mki: &[u8], lifetime: u64) -> Self {
        Inbound {
            session: Session::new(key),
            tag_length: key.suite().tag_length(),
            mki: mki.to_vec(),
            left: lifetime,
            streams: Vec::new(),
            earlier: Vec::new(),
        }
    }

    /// What comes under the far side's next key: its streams may go on where they are.
    pub fn rekeyed(&self, key: &MasterKey, mki: &[u8], lifetime: u64) -> Self {
        let earlier = self.streams.iter().filter_map(|stream| {
            let window = stream.rtp.as_ref()?;
            Some((stream.ssrc, window.highest()))
        });
        Inbound { earlier: earlier.collect(), ..Inbound::new(key, mki, lifetime) }
    }

    /// Opens an RTP packet into `clear`, which is at least as long; returns the length of what is in there.
    pub fn open_rtp(&mut self, packet: &[u8], clear: &mut [u8]) -> Result<usize, Refused> {
        let head = rtp_header(packet).ok_or(Refused::Malformed)?;
        let length = packet.len().checked_sub(self.tag_length + self.mki.len());
        let length = length.filter(|&length| length >= head).ok_or(Refused::Malformed)?;
        let (mki, tag) = self.session.rtp.rtp_trailer(&packet[length..], self.tag_length);
        if mki != self.mki || self.left == 0 {
            return Err(Refused::Forged);
        }
        let (sequence, ssrc) = rtp_names(packet);
        let known = self.streams.iter().position(|stream| stream.ssrc == ssrc);
        let window = known.and_then(|known| self.streams[known].rtp);
        let clear = &mut clear[..length];
        let mut open = |index| {
            clear.copy_from_slice(&packet[..length]);
            self.session.rtp.open(Index::Rtp(index), ssrc, head, clear, tag)
        };
        let index = match window {
            Some(window) => {
                let index = nearest(window.highest(), sequence);
                if !window.is_fresh(index) {
                    return Err(Refused::Replayed);
                }
                open(index).then_some(index)
            }
            None => self.first_indices(ssrc, sequence).into_iter().flatten().find(|&i| open(i)),
        };
        let index = index.ok_or(Refused::Forged)?;
        self.left -= 1;
        note(&mut self.stream(known, ssrc).rtp, index);
        Ok(length)
    }

    /// Opens a compound RTCP packet into `clear`; as above.
    pub fn open_rtcp(&mut self, packet: &[u8], clear: &mut [u8]) -> Result<usize, Refused> {
        let behind = self.tag_length + self.mki.len() + 4;
        let length = packet.len().checked_sub(behind);
        let length = length.filter(|&length| length >= 8).ok_or(Refused::Malformed)?;
        if packet[0] >> 6 != 2 {
            return Err(Refused::Malformed);
        }
        let cipher = &self.session.rtcp;
        let (esrtcp, mki, tag) = cipher.rtcp_trailer(&packet[length..], self.tag_length);
        let esrtcp = word(esrtcp);
        if mki != self.mki || esrtcp & ENCRYPTED == 0 || self.left == 0 {
            return Err(Refused::Forged);
        }
        let (index, ssrc) = (esrtcp & !ENCRYPTED, rtcp_ssrc(packet));
        let known = self.streams.iter().position(|stream| stream.ssrc == ssrc);
        let window = known.and_then(|known| self.streams[known].rtcp);
        if window.is_some_and(|window| !window.is_fresh(index.into())) {
            return Err(Refused::Replayed);
        }
        let clear = &mut clear[..length];
        clear.copy_from_slice(&packet[..length]);
        if !cipher.open(Index::Rtcp(index), ssrc, 8, clear, tag) {
            return Err(Refused::Forged);
        }
        self.left -= 1;
        note(&mut self.stream(known, ssrc).rtcp, index.into());
        Ok(length)
    }

    /// Streams that are remembered.
    #[cfg(test)]
    pub(super) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// What the first packet of a stream may be: the stream of the key before goes on, or it is new (rollover counter 0),
    /// or it has wrapped once before we came to hear it.
    fn first_indices(&self, ssrc: u32, sequence: u16) -> [Option<u64>; 3] {
        let earlier = self.earlier.iter().find(|(known, _)| *known == ssrc);
        let sequence64 = u64::from(sequence);
        [
            earlier.map(|(_, highest)| nearest(*highest, sequence)),
            Some(sequence64),
            Some(sequence64 + (1 << 16)),
        ]
    }

    fn stream(&mut self, known: Option<usize>, ssrc: u32) -> &mut Stream {
        let index = known.unwrap_or_else(|| {
            if self.streams.len() == STREAMS {
                self.streams.remove(0);
            }
            self.streams.push(Stream { ssrc, rtp: None, rtcp: None });
            self.streams.len() - 1
        });
        &mut self.streams[index]
    }
}

fn note(window: &mut Option<Window>, index: u64) {
    match window {
        Some(window) => window.note(index),
        None => *window = Some(Window::starting(index)),
    }
}

/// The index of this sequence number that is nearest to the highest one so far (RFC 3711 §3.3.1).
fn nearest(highest: u64, sequence: u16) -> u64 {
    let ahead = sequence.wrapping_sub(highest as u16);
    if ahead < 1 << 15 {
        return highest + u64::from(ahead);
    }
    let behind = u64::from(0u16.wrapping_sub(ahead));
    // Before the very first packet there is nothing: then it can only be far ahead.
    highest.checked_sub(behind).unwrap_or(highest + u64::from(ahead))
}
