//! The stream that we send: sequence numbers and timestamps from random starts, without gaps (RFC 3550 §5.1).

use rtp_types::RtpPacketBuilder;

use crate::srtp;

/// Room for a header, the longest payload we send, and what SRTP puts behind it.
pub(crate) const LONGEST: usize = 12 + 512 + srtp::OVERHEAD;

/// One outgoing stream.
pub(crate) struct OutStream {
    pub ssrc: u32,
    sequence: u16,
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
            timestamp: rand::random(),
            marker: true,
            packets: 0,
            bytes: 0,
        }
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
        let packet = RtpPacketBuilder::<&[u8], &[u8]>::new()
            .payload_type(payload_type)
            .marker_bit(marker)
            .sequence_number(self.sequence)
            .timestamp(timestamp)
            .ssrc(self.ssrc)
            .payload(payload);
        self.sequence = self.sequence.wrapping_add(1);
        packet.write_into(out).unwrap_or_else(|error| {
            // Payloads are ours and shorter than the buffer; a packet of none is not sent.
            tracing::error!(?error, "an RTP packet could not be built");
            0
        })
    }
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
