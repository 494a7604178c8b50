//! What we send.

use super::keys::MasterKey;
use super::transform::{ENCRYPTED, Index, Session};
use super::{OVERHEAD, rtcp_ssrc, rtp_header, rtp_names};

/// The context of what we send: one stream. Numbers may come out of order and with gaps, as those of audio that is passed on
/// do, but never twice: whoever numbers the packets sees to that.
pub struct Outbound {
    session: Session,
    /// Highest index of an RTP packet.
    last: Option<u64>,
    next_rtcp: u32,
}

impl Outbound {
    pub fn new(key: &MasterKey) -> Self {
        Outbound { session: Session::new(key), last: None, next_rtcp: 0 }
    }

    /// The same stream goes on under another key: its rollover counter does too (RFC 3711 §3.3.1).
    pub fn rekeyed(&self, key: &MasterKey) -> Self {
        Outbound { session: Session::new(key), ..*self }
    }

    /// Protects the RTP packet of `length` bytes at the start of `buffer`, which needs [`OVERHEAD`] more; returns its new
    /// length. `None` where it is no RTP packet, or where the key has encrypted all that it may.
    pub fn protect_rtp(&mut self, buffer: &mut [u8], length: usize) -> Option<usize> {
        debug_assert!(buffer.len() >= length + OVERHEAD);
        let packet = &mut buffer[..length];
        let clear = rtp_header(packet)?;
        let (sequence, ssrc) = rtp_names(packet);
        let index = match self.last {
            None => u64::from(sequence),
            Some(highest) => nearest(highest, sequence)?,
        };
        let tag = self.session.rtp.seal(Index::Rtp(index), ssrc, clear, packet);
        self.last = self.last.max(Some(index));
        let end = length + tag.bytes().len();
        buffer[length..end].copy_from_slice(tag.bytes());
        Some(end)
    }

    /// Protects a compound RTCP packet. False as above.
    pub fn protect_rtcp(&mut self, packet: &mut Vec<u8>) -> bool {
        if packet.len() < 8 || self.next_rtcp >= ENCRYPTED {
            return false;
        }
        let index = Index::Rtcp(self.next_rtcp);
        self.next_rtcp += 1;
        let tag = self.session.rtcp.seal(index, rtcp_ssrc(packet), 8, packet);
        self.session.rtcp.append_rtcp_trailer(packet, index, &tag);
        true
    }
}

/// The index of a packet whose number is within half a turn of the highest one (RFC 3711 §3.3.1). `None` after 2^48, when
/// the key is worn out, and before the stream's beginning.
fn nearest(highest: u64, sequence: u16) -> Option<u64> {
    let step = sequence.wrapping_sub(highest as u16).cast_signed();
    let index = highest.checked_add_signed(i64::from(step))?;
    (index < 1 << 48).then_some(index)
}
