//! The stream that we send: sequence numbers and timestamps from random starts, without gaps (RFC 3550 §5.1).

use crate::srtp;

/// Bytes in front of a payload.
const HEAD: usize = 12;

/// Longest payload that we send: 200 ms of G.711.
pub(crate) const LONGEST_PAYLOAD: usize = 1_600;
/// Room for a header, the longest payload we send, and what SRTP puts behind it.
pub(crate) const LONGEST: usize = HEAD + LONGEST_PAYLOAD + srtp::OVERHEAD;

/// One outgoing stream.
pub(crate) struct OutStream {
    pub ssrc: u32,
    /// That of the next packet of our own.
    sequence: u16,
    /// Bit n: the packet `sequence - 1 - n` was sent, or may not be any more.
    used: u64,
    timestamp: u32,
    /// The next packet begins a talk spurt: it carries the marker bit.
    marker: bool,
    pub packets: u64,
    pub bytes: u64,
}

impl OutStream {
    pub(crate) fn new() -> Self {
        OutStream {
            ssrc: rand::random(),
            sequence: rand::random(),
            used: u64::MAX,
            timestamp: rand::random(),
            marker: true,
            packets: 0,
            bytes: 0,
        }
    }

    /// The number of the next packet.
    pub(crate) fn sequence(&self) -> u16 {
        self.sequence
    }

    /// The timestamp of the current 20 ms.
    pub(crate) fn timestamp(&self) -> u32 {
        self.timestamp
    }

    /// Time passes, whether anything is sent or not.
    pub(crate) fn advance(&mut self, ticks: u32) {
        self.timestamp = self.timestamp.wrapping_add(ticks);
    }

    /// What follows comes after a pause.
    pub(crate) fn mark(&mut self) {
        self.marker = true;
    }

    /// Writes an audio packet for the current 20 ms; returns its length.
    pub(crate) fn audio(
        &mut self,
        payload_type: u8,
        payload: &[u8],
        out: &mut [u8; LONGEST],
    ) -> usize {
        let marker = std::mem::take(&mut self.marker);
        self.write(payload_type, self.timestamp, marker, payload, out)
    }

    /// Writes an event packet, whose timestamp is that of the event's start.
    pub(crate) fn event(
        &mut self,
        payload_type: u8,
        start: u32,
        first: bool,
        payload: &[u8],
        out: &mut [u8; LONGEST],
    ) -> usize {
        self.marker = true;
        self.write(payload_type, start, first, payload, out)
    }

    /// Writes a packet of another stream with its place in ours; returns its length. `None` where a packet with that
    /// number was sent before, or may have been: under SRTP it would be encrypted with the same key stream. The marker bit
    /// is also set where the packet is the first after a pause.
    pub(crate) fn relayed(
        &mut self,
        place: Place,
        payload_type: u8,
        payload: &[u8],
        out: &mut [u8; LONGEST],
    ) -> Option<usize> {
        let ahead = place.sequence.wrapping_sub(self.sequence).cast_signed();
        if let Ok(ahead) = u32::try_from(ahead) {
            self.used = self.used.checked_shl(ahead + 1).unwrap_or(0) | 1;
            self.sequence = place.sequence.wrapping_add(1);
            // A digit has the time at which it began: it says nothing of the time that it is.
            if place.length > 0 {
                self.timestamp = place.timestamp.wrapping_add(place.length);
            }
        } else {
            let bit = 1u64.checked_shl(u32::from(ahead.unsigned_abs()) - 1).unwrap_or(0);
            if bit == 0 || self.used & bit != 0 {
                return None;
            }
            self.used |= bit;
        }
        let marker = std::mem::take(&mut self.marker) || place.marker;
        let head = (place.sequence, place.timestamp, marker);
        Some(build(self.ssrc, head, payload_type, payload, out))
    }

    /// The kernel took a packet of so many payload bytes.
    pub(crate) fn sent(&mut self, payload_bytes: usize) {
        self.packets += 1;
        self.bytes += payload_bytes as u64;
    }

    fn write(
        &mut self,
        payload_type: u8,
        timestamp: u32,
        marker: bool,
        payload: &[u8],
        out: &mut [u8; LONGEST],
    ) -> usize {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        self.used = self.used << 1 | 1;
        build(self.ssrc, (sequence, timestamp, marker), payload_type, payload, out)
    }
}

/// The place of another stream's packet in ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub sequence: u16,
    pub timestamp: u32,
    /// How much later the audio behind it begins; zero for what is no audio.
    pub length: u32,
    pub marker: bool,
}

/// Version 2 and nothing optional (RFC 3550 §5.1).
fn build(
    ssrc: u32,
    (sequence, timestamp, marker): (u16, u32, bool),
    payload_type: u8,
    payload: &[u8],
    out: &mut [u8; LONGEST],
) -> usize {
    let length = HEAD + payload.len();
    let Some(room) = out.get_mut(HEAD..length) else {
        // Payloads are shorter than the buffer; a packet of none is not sent.
        tracing::error!(length, "an RTP packet is too long");
        return 0;
    };
    room.copy_from_slice(payload);
    out[0] = 0x80;
    out[1] = u8::from(marker) << 7 | payload_type & 0x7F;
    out[2..4].copy_from_slice(&sequence.to_be_bytes());
    out[4..8].copy_from_slice(&timestamp.to_be_bytes());
    out[8..HEAD].copy_from_slice(&ssrc.to_be_bytes());
    length
}

#[cfg(test)]
mod tests {
    use rtp_types::RtpPacket;

    use super::*;

    #[test]
    fn the_first_packet_is_marked_and_numbers_and_times_go_on_from_random_starts() {
        let mut stream = OutStream::new();
        let mut out = [0; LONGEST];
        let mut heads = Vec::new();
        for _ in 0..3 {
            let length = stream.audio(8, &[0xD5; 160], &mut out);
            let packet = RtpPacket::parse(&out[..length]).unwrap();
            assert_eq!((packet.payload_type(), packet.payload().len()), (8, 160));
            heads.push((packet.marker_bit(), packet.sequence_number(), packet.timestamp()));
            stream.advance(160);
        }
        let (_, sequence, timestamp) = heads[0];
        let expected: Vec<_> = (0..3u16)
            .map(|n| (n == 0, sequence.wrapping_add(n), timestamp.wrapping_add(160 * u32::from(n))))
            .collect();
        assert_eq!(heads, expected);
        assert_ne!(OutStream::new().ssrc, stream.ssrc);
    }

    #[test]
    fn relayed_packets_have_their_places_once_and_our_own_go_on_behind_them() {
        let mut stream = OutStream::new();
        let mut out = [0; LONGEST];
        stream.audio(8, &[0xD5; 160], &mut out);
        stream.advance(160);
        let (base, time) = (stream.sequence(), stream.timestamp());
        let relay = |stream: &mut OutStream, n: i16| {
            let mut out = [0; LONGEST];
            let place = Place {
                sequence: base.wrapping_add_signed(n),
                timestamp: time.wrapping_add_signed(160 * i32::from(n)),
                length: 160,
                marker: false,
            };
            let length = stream.relayed(place, 8, &[1; 160], &mut out)?;
            let packet = RtpPacket::parse(&out[..length]).unwrap();
            assert_eq!(
                (packet.sequence_number(), packet.timestamp()),
                (place.sequence, place.timestamp)
            );
            Some(packet.marker_bit())
        };
        stream.mark();
        let sent: Vec<_> =
            [0, 1, 4, 2, 2, 4, 3, -1, 80, 79, 3, 15, 17].map(|n| relay(&mut stream, n)).to_vec();
        let (yes, no) = (Some(false), None);
        let expected = [Some(true), yes, yes, yes, no, no, yes, no, yes, yes, no, no, yes];
        assert_eq!(sent, expected, "{base}");
        let length = stream.audio(8, &[0xD5; 160], &mut out);
        let own = RtpPacket::parse(&out[..length]).unwrap();
        let behind = (base.wrapping_add(81), time.wrapping_add(81 * 160));
        assert_eq!((own.sequence_number(), own.timestamp()), behind);
        assert_eq!(relay(&mut stream, 81), None);
        assert_eq!(relay(&mut stream, 30_000), yes);
    }

    #[test]
    fn audio_after_an_event_is_marked() {
        let mut stream = OutStream::new();
        let mut out = [0; LONGEST];
        stream.audio(8, &[0xD5; 160], &mut out);
        stream.advance(160);
        let start = stream.timestamp();
        for first in [true, false] {
            let length = stream.event(101, start, first, &[1, 10, 0, 160], &mut out);
            let packet = RtpPacket::parse(&out[..length]).unwrap();
            assert_eq!((packet.timestamp(), packet.marker_bit()), (start, first));
            stream.advance(160);
        }
        let length = stream.audio(8, &[0xD5; 160], &mut out);
        assert!(RtpPacket::parse(&out[..length]).unwrap().marker_bit());
    }
}
