//! Where another leg's packets belong in the stream that we send: as far apart as they came, in our own numbers and times.

use super::reception::Head;
use super::stream::Place;

/// How far out of order a packet may come and still be passed on.
const MOST_BEHIND: u16 = 60;

/// The way from one stream into another. It begins with a packet of the one at a place of the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Relay {
    /// What is added to the source's numbers and times.
    sequence: u16,
    timestamp: u32,
    /// The highest number that came, and how many there are from it down to the last that may still come.
    highest: u16,
    window: u16,
    /// The time of the last audio in order.
    audio: Option<u32>,
}

/// What a packet is, as far as its place goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carries {
    /// As long as this, in units of the clock.
    Audio(u32),
    /// A digit, whose packets all have the time at which it began.
    Event,
}

/// Why a packet has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misplaced {
    /// It is from before the beginning, or so late that nobody waits for it any more.
    Late,
    /// The source's clock went back: another beginning is needed.
    WentBack,
}

impl Relay {
    /// Begins with the packet `head`, which gets this number and time.
    pub(crate) fn beginning(head: Head, sequence: u16, timestamp: u32) -> Self {
        Relay {
            sequence: sequence.wrapping_sub(head.sequence),
            timestamp: timestamp.wrapping_sub(head.timestamp),
            highest: head.sequence.wrapping_sub(1),
            window: 0,
            audio: None,
        }
    }

    pub(crate) fn place(
        &mut self,
        head: Head,
        marker: bool,
        carries: Carries,
    ) -> Result<Place, Misplaced> {
        let ahead = head.sequence.wrapping_sub(self.highest).cast_signed();
        if ahead <= 0 && ahead.unsigned_abs() >= self.window {
            return Err(Misplaced::Late);
        }
        if ahead > 0 {
            if let Carries::Audio(_) = carries {
                let back = |last: u32| head.timestamp.wrapping_sub(last).cast_signed() < 0;
                if self.audio.is_some_and(back) {
                    return Err(Misplaced::WentBack);
                }
                self.audio = Some(head.timestamp);
            }
            self.advance(head.sequence, ahead.unsigned_abs());
        }
        let length = match carries {
            Carries::Audio(length) => length,
            Carries::Event => 0,
        };
        Ok(Place {
            sequence: head.sequence.wrapping_add(self.sequence),
            timestamp: head.timestamp.wrapping_add(self.timestamp),
            length,
            marker,
        })
    }

    /// A packet is not passed on, and shall not look like a lost one.
    pub(crate) fn leave_out(&mut self, head: Head) {
        let ahead = head.sequence.wrapping_sub(self.highest).cast_signed();
        if ahead > 0 {
            self.advance(head.sequence, ahead.unsigned_abs());
            self.sequence = self.sequence.wrapping_sub(1);
        }
    }

    fn advance(&mut self, sequence: u16, ahead: u16) {
        self.highest = sequence;
        self.window = self.window.saturating_add(ahead).min(MOST_BEHIND + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(sequence: u16, timestamp: u32) -> Head {
        Head { ssrc: 1, sequence, timestamp }
    }

    fn audio(relay: &mut Relay, sequence: u16, timestamp: u32) -> Result<(u16, u32), Misplaced> {
        let place = relay.place(head(sequence, timestamp), false, Carries::Audio(160));
        place.map(|place| (place.sequence, place.timestamp))
    }

    #[test]
    fn gaps_and_order_stay_as_they_came_across_every_wrap() {
        let mut relay = Relay::beginning(head(65_534, u32::MAX - 100), 65_530, u32::MAX - 500);
        let at =
            |n: u16| (65_530u16.wrapping_add(n), (u32::MAX - 500).wrapping_add(160 * u32::from(n)));
        for n in [0, 1, 2, 5, 3, 9] {
            let timestamp = (u32::MAX - 100).wrapping_add(160 * u32::from(n));
            assert_eq!(audio(&mut relay, 65_534u16.wrapping_add(n), timestamp), Ok(at(n)), "{n}");
        }
    }

    #[test]
    fn what_is_from_before_the_beginning_or_far_too_late_has_no_place() {
        let mut relay = Relay::beginning(head(1_000, 8_000), 5, 80);
        assert_eq!(audio(&mut relay, 1_000, 8_000), Ok((5, 80)));
        assert_eq!(audio(&mut relay, 999, 7_840), Err(Misplaced::Late));
        for n in 1..40_000u32 {
            assert!(audio(&mut relay, (1_000 + n) as u16, 8_000 + 160 * n).is_ok());
        }
        let last = (1_000 + 39_999) as u16;
        assert!(audio(&mut relay, last - MOST_BEHIND, 160).is_ok());
        assert_eq!(audio(&mut relay, last - MOST_BEHIND - 1, 160), Err(Misplaced::Late));
    }

    #[test]
    fn a_clock_that_goes_back_is_told_and_one_that_leaps_ahead_is_followed() {
        let mut relay = Relay::beginning(head(1, 1_000_000), 1, 0);
        assert_eq!(audio(&mut relay, 1, 1_000_000), Ok((1, 0)));
        assert_eq!(audio(&mut relay, 2, 1_800_000), Ok((2, 800_000)));
        assert_eq!(audio(&mut relay, 3, 160), Err(Misplaced::WentBack));
    }

    #[test]
    fn the_packets_of_a_digit_keep_its_time_and_disturb_nothing() {
        let mut relay = Relay::beginning(head(1, 1_600), 11, 100);
        audio(&mut relay, 1, 1_600).unwrap();
        audio(&mut relay, 2, 1_760).unwrap();
        for n in 3..6 {
            let place = relay.place(head(n, 1_700), n == 3, Carries::Event).unwrap();
            assert_eq!((place.sequence, place.timestamp, place.marker), (10 + n, 200, n == 3));
        }
        assert_eq!(audio(&mut relay, 6, 2_400), Ok((16, 900)));
    }

    #[test]
    fn what_is_left_out_is_no_gap() {
        let mut relay = Relay::beginning(head(1, 0), 11, 0);
        audio(&mut relay, 1, 0).unwrap();
        (2..7).for_each(|n| relay.leave_out(head(n, 160)));
        relay.leave_out(head(3, 160));
        assert_eq!(audio(&mut relay, 7, 960), Ok((12, 960)));
    }

    proptest::proptest! {
        #[test]
        fn any_heads_are_survived_and_audio_in_order_never_goes_back(
            heads in proptest::collection::vec((proptest::num::u16::ANY, proptest::num::u32::ANY), 1..60),
        ) {
            let mut relay = Relay::beginning(head(heads[0].0, heads[0].1), 7, 7);
            let mut last: Option<Place> = None;
            for (sequence, timestamp) in heads {
                let Ok(place) = relay.place(head(sequence, timestamp), false, Carries::Audio(160)) else { continue };
                if let Some(before) = last && place.sequence.wrapping_sub(before.sequence).cast_signed() > 0 {
                    assert!(place.timestamp.wrapping_sub(before.timestamp).cast_signed() >= 0);
                }
                if last.is_none_or(|before| place.sequence.wrapping_sub(before.sequence).cast_signed() > 0) {
                    last = Some(place);
                }
            }
        }
    }
}
