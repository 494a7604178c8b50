//! From packets as they come to audio as it is played: a jitter buffer of 60 ms.
//!
//! Used where somebody hears a leg (a recording, a listener). Payloads wait in the order of their timestamps and are
//! decoded when their time has come, so that codecs with memory see them in order. What is missing is silence. A stream
//! whose timing moves for good (a route change, a timestamp jump) is followed.

use std::collections::VecDeque;

use crate::codec::{Band, Codec, Decoder, FRAME};

/// How long packets wait, in samples at 8 kHz: 60 ms.
const DELAY: i64 = 3 * FRAME as i64;
/// A packet further ahead than this is of a stream whose timestamps jumped: 400 ms.
const FURTHEST: i64 = 20 * FRAME as i64;
/// Packets kept waiting at most.
const LONGEST: usize = 48;
/// So many packets are looked at before it is judged whether the delay is still the one that was meant.
const JUDGED: u8 = 100;
/// So many late packets in a row, over as many frames, mean that the stream has moved. Those of a burst behind a stall come
/// within one frame, and what follows them is in time again.
const MOVED: u8 = 5;

/// One leg's jitter buffer and decoder. Whatever the band of what it gives, it counts time in samples at 8 kHz.
pub(crate) struct Playout {
    band: Band,
    decoder: Option<Decoder>,
    waiting: VecDeque<Waiting>,
    position: Option<Position>,
    /// Decoded and not played yet.
    decoded: Vec<i16>,
    late: Lateness,
    punctuality: Punctuality,
}

/// Late packets, and frames played, since the last packet that was not late.
#[derive(Default)]
struct Lateness {
    packets: u8,
    frames: u8,
}

/// How far ahead of their time the latest packets came, in samples at 8 kHz.
#[derive(Default)]
struct Punctuality {
    packets: u8,
    least: i64,
    most: i64,
}

struct Waiting {
    /// In samples at 8 kHz, on the unwrapped time line of the stream.
    at: i64,
    codec: Codec,
    payload: Box<[u8]>,
}

/// Where playing stands on the stream's time line.
#[derive(Clone, Copy)]
struct Position {
    /// The next sample to be played.
    next: i64,
    /// The last RTP timestamp seen, and the same unwrapped, in units of its clock.
    timestamp: u32,
    unwrapped: i64,
}

impl Playout {
    /// Gives samples of `band`. Of the wide one only codecs may be given to it that have that.
    pub(crate) fn new(band: Band) -> Self {
        Playout {
            band,
            decoder: None,
            waiting: VecDeque::new(),
            position: None,
            decoded: Vec::new(),
            late: Lateness::default(),
            punctuality: Punctuality::default(),
        }
    }

    pub(crate) fn band(&self) -> Band {
        self.band
    }

    /// The stream restarted: its timestamps have nothing to do with those before.
    pub(crate) fn restart(&mut self) {
        self.waiting.clear();
        self.position = None;
        self.late = Lateness::default();
        self.punctuality = Punctuality::default();
    }

    /// Takes one audio packet.
    pub(crate) fn packet(&mut self, timestamp: u32, codec: Codec, payload: &[u8]) {
        let unit = i64::from(codec.clock() / 8_000);
        let position = match &mut self.position {
            Some(position) => {
                let step = timestamp.wrapping_sub(position.timestamp).cast_signed();
                position.unwrapped += i64::from(step);
                position.timestamp = timestamp;
                position
            }
            None => {
                let unwrapped = i64::from(timestamp);
                let next = unwrapped / unit - DELAY;
                self.position.insert(Position { next, timestamp, unwrapped })
            }
        };
        let at = position.unwrapped / unit;
        let late = at < position.next;
        self.late.packet(late);
        if at - position.next > FURTHEST || self.late.is_for_good() {
            position.next = at - DELAY;
            self.waiting.clear();
            self.late = Lateness::default();
            self.punctuality = Punctuality::default();
        } else if late {
            return;
        }
        let correction = self.punctuality.packet(at - position.next);
        self.insert(Waiting { at, codec, payload: payload.into() });
        if correction != 0 {
            self.correct(correction);
        }
    }

    /// The next 20 ms: `out` has the length of a frame of the band.
    pub(crate) fn pull(&mut self, out: &mut [i16]) {
        out.fill(0);
        self.late.frame();
        let Some(mut next) = self.position.map(|position| position.next) else { return };
        // In samples of the band; those at 8 kHz count as so many.
        let each = self.band.frame() / FRAME;
        let mut filled = 0;
        while filled < out.len() {
            let room = out.len() - filled;
            if !self.decoded.is_empty() {
                let count = self.decoded.len().min(room);
                out[filled..filled + count].copy_from_slice(&self.decoded[..count]);
                self.decoded.drain(..count);
                filled += count;
                next += (count / each) as i64;
                continue;
            }
            let room = (room / each) as i64;
            match self.waiting.front() {
                Some(packet) if packet.at < next + room => {
                    // Missing audio before the packet stays silent.
                    let gap = (packet.at - next).clamp(0, room);
                    filled += gap as usize * each;
                    next += gap;
                    self.decode_front();
                }
                Some(_) | None => {
                    next += room;
                    filled = out.len();
                }
            }
        }
        if let Some(position) = &mut self.position {
            position.next = next;
        }
    }

    /// Frames until all that waits has been played.
    pub(crate) fn remaining_frames(&self) -> usize {
        let (Some(position), Some(last)) = (self.position, self.waiting.back()) else {
            return self.decoded.len().div_ceil(self.band.frame());
        };
        let samples = (last.at - position.next).clamp(0, FURTHEST) as usize + FRAME;
        samples.div_ceil(FRAME)
    }

    /// Goes on so many samples later in the stream; where they are less than zero, earlier, so that they are filled.
    fn correct(&mut self, samples: i64) {
        let Some(position) = &mut self.position else { return };
        position.next += samples;
        let next = position.next;
        if samples > 0 {
            self.decoded.clear();
            self.waiting.retain(|packet| packet.at >= next);
        }
    }

    fn insert(&mut self, packet: Waiting) {
        let place = self
            .waiting
            .iter()
            .rposition(|known| known.at <= packet.at)
            .map_or(0, |before| before + 1);
        let doubled =
            place.checked_sub(1).is_some_and(|before| self.waiting[before].at == packet.at);
        if !doubled && self.waiting.len() < LONGEST {
            self.waiting.insert(place, packet);
        }
    }

    fn decode_front(&mut self) {
        let Some(packet) = self.waiting.pop_front() else { return };
        if self.decoder.as_ref().is_none_or(|decoder| decoder.codec() != packet.codec) {
            self.decoder = Some(Decoder::new(packet.codec, self.band));
        }
        let Some(decoder) = &mut self.decoder else { return };
        // What cannot be decoded is silent, as if it were lost.
        if decoder.decode(&packet.payload, &mut self.decoded).is_err() {
            tracing::debug!(codec = ?packet.codec, "a payload could not be decoded");
        }
    }
}

impl Lateness {
    fn packet(&mut self, late: bool) {
        match late {
            true => self.packets = self.packets.saturating_add(1),
            false => *self = Lateness::default(),
        }
    }

    fn frame(&mut self) {
        if self.packets > 0 {
            self.frames = self.frames.saturating_add(1);
        }
    }

    fn is_for_good(&self) -> bool {
        self.packets >= MOVED && self.frames + 1 >= MOVED
    }
}

impl Punctuality {
    /// Notes one packet. Once it has seen enough: by how much the delay is too long, or too short (less than zero), where even
    /// the packets that speak against it are a frame off or more. So a
    /// far side whose clock is slower or faster than ours stays beside the other channel of a recording.
    fn packet(&mut self, ahead: i64) -> i64 {
        if self.packets == 0 {
            (self.least, self.most) = (ahead, ahead);
        }
        self.packets += 1;
        (self.least, self.most) = (self.least.min(ahead), self.most.max(ahead));
        if self.packets < JUDGED {
            return 0;
        }
        self.packets = 0;
        let (too_long, too_short) = (self.least - DELAY, self.most - DELAY);
        match () {
            () if too_long >= FRAME as i64 => too_long,
            () if too_short <= -(FRAME as i64) => too_short,
            () => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PCMA payload whose every sample decodes to much the same, apart for each `n`.
    fn payload(n: u8) -> Vec<u8> {
        vec![0x80 | n; FRAME]
    }

    fn level(n: u8) -> i16 {
        audio_codec_algorithms::decode_alaw(0x80 | n)
    }

    fn pull(playout: &mut Playout) -> i16 {
        let mut out = [0; FRAME];
        playout.pull(&mut out);
        assert!(out.iter().all(|&sample| sample == out[0]), "one frame, one level: {out:?}");
        out[0]
    }

    fn play(packets: &[(u32, u8)], frames: usize) -> Vec<i16> {
        let mut playout = Playout::new(Band::Narrow);
        for &(timestamp, n) in packets {
            playout.packet(timestamp, Codec::Pcma, &payload(n));
        }
        (0..frames).map(|_| pull(&mut playout)).collect()
    }

    #[test]
    fn audio_comes_sixty_ms_after_its_packet_in_order_without_doubles() {
        let played = play(&[(0, 1), (320, 3), (160, 2), (320, 3), (480, 4)], 8);
        assert_eq!(played, [0, 0, 0, level(1), level(2), level(3), level(4), 0]);
    }

    #[test]
    fn a_lost_packet_is_silence_of_its_length() {
        assert_eq!(play(&[(0, 1), (480, 4)], 7), [0, 0, 0, level(1), 0, 0, level(4)]);
    }

    #[test]
    fn timestamps_wrap() {
        let start = u32::MAX - 159;
        assert_eq!(play(&[(start, 1), (0, 2), (160, 3)], 6)[3..], [level(1), level(2), level(3)]);
    }

    #[test]
    fn a_packet_after_its_time_is_dropped_and_a_stream_that_stays_late_is_followed() {
        let mut playout = Playout::new(Band::Narrow);
        playout.packet(0, Codec::Pcma, &payload(1));
        for _ in 0..20 {
            pull(&mut playout);
        }
        for n in 1..MOVED {
            playout.packet(u32::from(n) * 160, Codec::Pcma, &payload(2));
            assert_eq!(pull(&mut playout), 0);
        }
        playout.packet(u32::from(MOVED) * 160, Codec::Pcma, &payload(3));
        let played: Vec<i16> = (0..4).map(|_| pull(&mut playout)).collect();
        assert_eq!(played, [0, 0, 0, level(3)]);
    }

    #[test]
    fn a_jump_of_the_timestamps_is_followed() {
        let mut playout = Playout::new(Band::Narrow);
        playout.packet(0, Codec::Pcma, &payload(1));
        playout.packet(1_000_000, Codec::Pcma, &payload(2));
        let played: Vec<i16> = (0..4).map(|_| pull(&mut playout)).collect();
        assert_eq!(played, [0, 0, 0, level(2)]);
    }

    /// How many frames after its packet came each level is heard first.
    fn delays(arrivals: impl Iterator<Item = (u32, u8)>, pulls: u32) -> Vec<Option<u32>> {
        let mut arrivals: VecDeque<(u32, u8)> = arrivals.collect();
        let (mut playout, mut came, mut delays) =
            (Playout::new(Band::Narrow), Vec::new(), Vec::new());
        for pull_at in 0..pulls {
            while arrivals.front().is_some_and(|(at, _)| *at <= pull_at) {
                let (at, n) = arrivals.pop_front().unwrap();
                playout.packet(160 * came.len() as u32, Codec::Pcma, &payload(n));
                came.push((at, level(n)));
                delays.push(None);
            }
            let mut out = [0; FRAME];
            playout.pull(&mut out);
            let heard = came.iter().rposition(|(at, level)| *level == out[0] && pull_at - at < 32);
            if let Some(index) = heard.filter(|_| out[0] != 0) {
                delays[index].get_or_insert(pull_at - came[index].0);
            }
        }
        delays
    }

    #[test]
    fn a_burst_behind_a_stall_does_not_make_all_that_follows_late() {
        // Ten packets in their time, 300 ms of nothing, what was held back at once, and on in time.
        let at = |n: u32| if (10..25).contains(&n) { 25 } else { n };
        let delays = delays((0..300).map(|n| (at(n), (n % 16) as u8)), 310);
        for stretch in [0..10, 25..290] {
            let heard: Vec<u32> = delays[stretch.clone()].iter().flatten().copied().collect();
            assert_eq!(heard, vec![3; stretch.len()], "{delays:?}");
        }
    }

    #[test]
    fn a_far_side_whose_clock_is_slow_or_fast_stays_within_two_frames() {
        // Two in a thousand, many times what a crystal is off.
        for (what, numerator) in [("slow", 501), ("fast", 499)] {
            let arrivals = (0..3_000u32).map(|n| (n * numerator / 500, (n % 16) as u8));
            let delays = delays(arrivals, 2_900);
            let heard: Vec<u32> = delays[..2_800].iter().flatten().copied().collect();
            assert!(heard.iter().all(|delay| (1..=5).contains(delay)), "{what}: {heard:?}");
            assert!(heard.len() > 2_700, "{what}: {}", heard.len());
        }
    }

    #[test]
    fn any_packet_length_fills_frames() {
        let mut playout = Playout::new(Band::Narrow);
        for n in 0..6u32 {
            playout.packet(n * 80, Codec::Pcma, &payload(1)[..80]);
        }
        playout.packet(480, Codec::Pcma, &[0x82; 480]);
        let played: Vec<i16> = (0..10).map(|_| pull(&mut playout)).collect();
        assert_eq!(played[3..9], [level(1), level(1), level(1), level(2), level(2), level(2)]);
        assert_eq!(played[9], 0);
    }

    #[test]
    fn a_flood_is_bounded() {
        let mut playout = Playout::new(Band::Narrow);
        for n in 0..100_000u32 {
            playout.packet(n % 3000, Codec::Pcma, &payload(1));
        }
        assert!(playout.waiting.len() <= LONGEST);
    }

    #[test]
    fn the_wide_band_has_the_same_delay_and_gaps_and_twice_the_samples() {
        let mut playout = Playout::new(Band::Wide);
        for (at, length) in [(0u32, 160), (320, 80), (400, 80)] {
            playout.packet(at, Codec::G722, &vec![0xFF; length]);
        }
        let mut frames = Vec::new();
        for _ in 0..playout.remaining_frames() {
            let mut out = [1; 2 * FRAME];
            playout.pull(&mut out);
            frames.push(out.iter().any(|sample| *sample != 0));
        }
        assert_eq!(frames, [false, false, false, true, false, true, false]);
        assert_eq!(playout.decoded.len(), 0, "what was decoded is whole frames");
    }

    proptest::proptest! {
        #[test]
        fn any_packets_in_any_order_are_survived(
            packets in proptest::collection::vec(
                (proptest::num::u32::ANY, 0usize..4, 0usize..400, proptest::num::u8::ANY), 0..40,
            ),
        ) {
            let mut playout = Playout::new(Band::Narrow);
            let mut wide = Playout::new(Band::Wide);
            for (timestamp, codec, length, byte) in packets {
                // Near each other half of the time, else anywhere.
                let timestamp = if byte % 2 == 0 { timestamp % 10_000 } else { timestamp };
                playout.packet(timestamp, Codec::ALL[codec], &vec![byte; length]);
                playout.pull(&mut [0; FRAME]);
                wide.packet(timestamp, Codec::ALL[2 + codec % 2], &vec![byte; length]);
                wide.pull(&mut [0; 2 * FRAME]);
            }
        }
    }

    #[test]
    fn what_waits_can_be_played_out_at_the_end() {
        let mut playout = Playout::new(Band::Narrow);
        playout.packet(0, Codec::Pcma, &payload(1));
        playout.packet(160, Codec::Pcma, &payload(2));
        let rest: Vec<i16> = (0..playout.remaining_frames()).map(|_| pull(&mut playout)).collect();
        assert_eq!(rest, [0, 0, 0, level(1), level(2)]);
    }
}
