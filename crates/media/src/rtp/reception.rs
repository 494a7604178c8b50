//! What the far side's stream is like: sequence numbers, losses, jitter (RFC 3550 appendix A).

use std::time::{Duration, Instant};

/// A jump forward by more than this is a restart of the stream, not a loss (RFC 3550 A.1).
const MAX_DROPOUT: u16 = 3000;
/// Packets further behind than this are of a restarted stream.
const MAX_MISORDER: u16 = 100;

/// Counters over the life of a leg; streams (SSRCs) may follow each other in it.
#[derive(Default)]
pub(crate) struct Reception {
    stream: Option<Stream>,
    /// Losses of streams that ended.
    lost_before: u64,
    pub packets: u64,
    pub bytes: u64,
    pub ssrc_changes: u64,
}

struct Stream {
    ssrc: u32,
    first: u64,
    /// Highest sequence number with its cycles.
    highest: u64,
    received: u64,
    expected_prior: u64,
    received_prior: u64,
    /// From the first audio packet on.
    timing: Option<Timing>,
}

/// Jitter by RFC 3550 A.8, all in units of the clock.
struct Timing {
    clock: u32,
    jitter: f64,
    start: Instant,
    first_timestamp: u32,
    last_transit: f64,
    least_transit: f64,
}

/// What one packet meant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Received {
    /// It begins a stream: what belongs to the one before is over.
    pub new_stream: bool,
    /// How much longer than the fastest packet of the stream it was on its way.
    pub delay: Duration,
}

/// The figures of a receiver report about the current stream (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    pub ssrc: u32,
    pub fraction_lost: u8,
    pub cumulative_lost: u32,
    pub extended_sequence: u32,
    pub jitter: u32,
}

/// The head of one RTP packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
}

impl Reception {
    /// Counts a packet of the leg's source. `clock` in Hz where the timestamp tells when it was sent, as that of audio
    /// does and that of a digit does not.
    pub(crate) fn packet(
        &mut self,
        head: Head,
        bytes: usize,
        clock: Option<u32>,
        arrived: Instant,
    ) -> Received {
        self.packets += 1;
        self.bytes += bytes as u64;
        let known = self.stream.as_mut().filter(|stream| stream.ssrc == head.ssrc);
        if let Some(stream) = known
            && stream.advance(head.sequence)
        {
            return Received {
                new_stream: false,
                delay: stream.time(head.timestamp, clock, arrived),
            };
        }
        if let Some(ended) = self.stream.take() {
            self.lost_before += ended.lost();
            self.ssrc_changes += u64::from(ended.ssrc != head.ssrc);
        }
        let mut stream = Stream::new(head);
        let delay = stream.time(head.timestamp, clock, arrived);
        self.stream = Some(stream);
        Received { new_stream: true, delay }
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost_before + self.stream.as_ref().map_or(0, Stream::lost)
    }

    pub(crate) fn jitter_ms(&self) -> f32 {
        let timing = self.stream.as_ref().and_then(|stream| stream.timing.as_ref());
        timing.map_or(0.0, |timing| (timing.jitter * 1000.0 / f64::from(timing.clock)) as f32)
    }

    /// Fraction of expected packets that never came.
    pub(crate) fn loss(&self) -> f32 {
        let lost = self.lost();
        lost as f32 / (self.packets + lost).max(1) as f32
    }

    /// The figures since the last report.
    pub(crate) fn report(&mut self) -> Option<Report> {
        self.stream.as_mut().map(Stream::report)
    }
}

impl Stream {
    fn new(head: Head) -> Self {
        // One cycle up, so that a packet from before the first has a number too.
        let first = u64::from(head.sequence) + 0x1_0000;
        Stream {
            ssrc: head.ssrc,
            first,
            highest: first,
            received: 1,
            expected_prior: 0,
            received_prior: 0,
            timing: None,
        }
    }

    /// False where the number is so far off that the stream must have restarted.
    fn advance(&mut self, sequence: u16) -> bool {
        let ahead = sequence.wrapping_sub(self.highest as u16);
        let behind = 0u16.wrapping_sub(ahead);
        if ahead < MAX_DROPOUT {
            self.highest += u64::from(ahead);
        } else if behind > MAX_MISORDER {
            return false;
        } else {
            self.first = self.first.min(self.highest - u64::from(behind));
        }
        self.received += 1;
        true
    }

    /// Returns how much slower than the fastest this packet was.
    fn time(&mut self, timestamp: u32, clock: Option<u32>, arrived: Instant) -> Duration {
        let Some(clock) = clock else { return Duration::ZERO };
        match &mut self.timing {
            Some(timing) if timing.clock == clock => timing.packet(timestamp, arrived),
            Some(_) | None => {
                self.timing = Some(Timing::new(timestamp, clock, arrived));
                Duration::ZERO
            }
        }
    }

    fn expected(&self) -> u64 {
        self.highest - self.first + 1
    }

    fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    fn report(&mut self) -> Report {
        let expected = self.expected() - self.expected_prior;
        let lost = expected.saturating_sub(self.received - self.received_prior);
        self.expected_prior = self.expected();
        self.received_prior = self.received;
        Report {
            ssrc: self.ssrc,
            fraction_lost: (lost * 256).checked_div(expected).unwrap_or(0).min(255) as u8,
            cumulative_lost: self.lost().min(0x7F_FFFF) as u32,
            extended_sequence: (self.highest - 0x1_0000) as u32,
            jitter: self.timing.as_ref().map_or(0, |timing| timing.jitter as u32),
        }
    }
}

impl Timing {
    fn new(timestamp: u32, clock: u32, arrived: Instant) -> Self {
        Timing {
            clock,
            jitter: 0.0,
            start: arrived,
            first_timestamp: timestamp,
            last_transit: 0.0,
            least_transit: 0.0,
        }
    }

    fn packet(&mut self, timestamp: u32, arrived: Instant) -> Duration {
        let sent = f64::from(timestamp.wrapping_sub(self.first_timestamp).cast_signed());
        let at =
            arrived.saturating_duration_since(self.start).as_secs_f64() * f64::from(self.clock);
        let transit = at - sent;
        self.jitter += ((transit - self.last_transit).abs() - self.jitter) / 16.0;
        self.last_transit = transit;
        self.least_transit = self.least_transit.min(transit);
        let slower = ((transit - self.least_transit) / f64::from(self.clock)).clamp(0.0, 3600.0);
        Duration::from_secs_f64(slower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(sequence: u16, n: u32) -> Head {
        Head { ssrc: 1, sequence, timestamp: n.wrapping_mul(160) }
    }

    #[test]
    fn a_wrap_of_the_sequence_is_no_loss() {
        let now = Instant::now();
        let mut reception = Reception::default();
        for n in 0..200u32 {
            reception.packet(head(65_500u16.wrapping_add(n as u16), n), 160, Some(8000), now);
        }
        assert_eq!((reception.packets, reception.lost()), (200, 0));
        assert_eq!(reception.report().unwrap().extended_sequence, 65_500 + 199);
    }

    #[test]
    fn gaps_are_losses_until_the_late_packet_comes() {
        let now = Instant::now();
        let mut reception = Reception::default();
        for n in [0u16, 1, 4, 5, 2] {
            reception.packet(head(n, u32::from(n)), 160, Some(8000), now);
        }
        assert_eq!(reception.lost(), 1);
        let report = reception.report().unwrap();
        assert_eq!((report.fraction_lost, report.cumulative_lost), (42, 1), "a sixth, in 256ths");
        assert_eq!(reception.report().unwrap().fraction_lost, 0);
    }

    #[test]
    fn an_early_packet_that_comes_late_is_counted() {
        let now = Instant::now();
        let mut reception = Reception::default();
        for n in [10u16, 9, 11] {
            reception.packet(head(n, u32::from(n)), 160, Some(8000), now);
        }
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn another_ssrc_or_a_great_jump_begins_a_stream_and_keeps_the_sums() {
        let now = Instant::now();
        let mut reception = Reception::default();
        for n in [0u16, 1, 3] {
            reception.packet(head(n, u32::from(n)), 160, Some(8000), now);
        }
        let other = Head { ssrc: 2, sequence: 40_000, timestamp: 0 };
        assert!(reception.packet(other, 160, Some(8000), now).new_stream);
        assert_eq!((reception.lost(), reception.ssrc_changes), (1, 1));
        let jumped = Head { ssrc: 2, sequence: 50_000, timestamp: 160 };
        assert!(reception.packet(jumped, 160, Some(8000), now).new_stream);
        assert_eq!((reception.lost(), reception.ssrc_changes, reception.packets), (1, 1, 5));
    }

    #[test]
    fn an_even_stream_has_no_jitter_and_a_slow_packet_is_seen() {
        let start = Instant::now();
        let mut reception = Reception::default();
        for n in 0..50u32 {
            let arrived = start + Duration::from_millis(20) * n;
            assert_eq!(
                reception.packet(head(n as u16, n), 160, Some(8000), arrived).delay.as_micros(),
                0
            );
        }
        assert!(reception.jitter_ms() < 0.01);
        let late = start + Duration::from_millis(20 * 50 + 16);
        let delay = reception.packet(head(50, 50), 160, Some(8000), late).delay;
        assert_eq!(delay.as_millis(), 16);
        assert!((reception.jitter_ms() - 1.0).abs() < 0.1, "16 ms off, a sixteenth of it counts");
    }

    proptest::proptest! {
        #[test]
        fn any_heads_are_survived_and_counted(
            heads in proptest::collection::vec(
                (0u32..3, proptest::num::u16::ANY, proptest::num::u32::ANY, 0u32..3), 0..60,
            ),
        ) {
            let start = Instant::now();
            let mut reception = Reception::default();
            for &(ssrc, sequence, timestamp, clock) in &heads {
                let clock = [None, Some(8000), Some(48_000)][clock as usize];
                let head = Head { ssrc, sequence, timestamp };
                reception.packet(head, 160, clock, start + Duration::from_millis(u64::from(sequence)));
                reception.report();
            }
            proptest::prop_assert_eq!(reception.packets, heads.len() as u64);
            proptest::prop_assert!((0.0..=1.0).contains(&reception.loss()));
        }
    }
}
