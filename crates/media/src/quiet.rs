//! Whether a far side has fallen silent for good: told once, when neither audio nor reports came for long enough.

use std::time::Duration;

use crate::codec::FRAME_MS;

/// Counts in ticks of 20 ms.
#[derive(Default)]
pub(crate) enum Quiet {
    #[default]
    Unwatched,
    /// `heard`: the packets so far; nothing has come since the tick `since`.
    Counting {
        after: u64,
        since: u64,
        heard: u64,
    },
    Told {
        after: u64,
        heard: u64,
    },
}

impl Quiet {
    pub(crate) fn watch(&mut self, after: Option<Duration>, now: u64, heard: u64) {
        *self = match after {
            None => Quiet::Unwatched,
            Some(after) => Quiet::Counting { after: ticks(after), since: now, heard },
        };
    }

    /// Offer and answer agree anew.
    pub(crate) fn negotiated(&mut self, now: u64) {
        match *self {
            Quiet::Unwatched => {}
            Quiet::Counting { after, heard, .. } | Quiet::Told { after, heard } => {
                *self = Quiet::Counting { after, since: now, heard };
            }
        }
    }

    /// To be called every tick with the packets so far and whether any are to be expected at all; tells for how long there
    /// was none.
    pub(crate) fn tick(&mut self, now: u64, packets: u64, expected: bool) -> Option<Duration> {
        match self {
            Quiet::Unwatched => None,
            Quiet::Counting { since, heard, .. } if packets != *heard || !expected => {
                (*since, *heard) = (now, packets);
                None
            }
            &mut Quiet::Counting { after, since, heard } => {
                let silent = now.saturating_sub(since);
                (silent >= after).then(|| {
                    *self = Quiet::Told { after, heard };
                    Duration::from_millis(silent * u64::from(FRAME_MS))
                })
            }
            Quiet::Told { heard, .. } if packets == *heard => None,
            Quiet::Told { after, .. } => {
                *self = Quiet::Counting { after: *after, since: now, heard: packets };
                None
            }
        }
    }
}

fn ticks(time: Duration) -> u64 {
    (time.as_millis() as u64).div_ceil(u64::from(FRAME_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Option<Duration> = Some(Duration::from_millis(200));

    /// The ticks at which it was told, with packets and expectation as functions of the tick.
    fn told(quiet: &mut Quiet, ticks: u64, heard: impl Fn(u64) -> (u64, bool)) -> Vec<(u64, u128)> {
        (0..ticks)
            .filter_map(|now| {
                let (packets, expected) = heard(now);
                quiet.tick(now, packets, expected).map(|silent| (now, silent.as_millis()))
            })
            .collect()
    }

    #[test]
    fn silence_is_told_once_and_again_after_a_packet() {
        let mut quiet = Quiet::default();
        assert_eq!(told(&mut quiet, 100, |_| (5, true)), [], "nobody asked");
        quiet.watch(AFTER, 0, 5);
        assert_eq!(told(&mut quiet, 50, |_| (5, true)), [(10, 200)]);
        quiet.watch(AFTER, 0, 0);
        let packets = |now: u64| (now.min(20) / 4 + u64::from(now > 40), true);
        assert_eq!(told(&mut quiet, 100, packets), [(30, 200), (51, 200)]);
        quiet.watch(None, 0, 0);
        assert_eq!(told(&mut quiet, 100, |_| (0, true)), []);
    }

    #[test]
    fn while_nothing_is_expected_nothing_is_missed() {
        let mut quiet = Quiet::default();
        quiet.watch(AFTER, 0, 0);
        let held = |now| (0, !(5..60).contains(&now));
        assert_eq!(told(&mut quiet, 100, held), [(69, 200)], "counted from the end of the hold");
    }

    #[test]
    fn a_negotiation_starts_the_count_afresh() {
        let mut quiet = Quiet::default();
        quiet.negotiated(3);
        quiet.watch(AFTER, 0, 0);
        assert_eq!(quiet.tick(9, 0, true), None);
        quiet.negotiated(9);
        assert_eq!(quiet.tick(18, 0, true), None);
        assert_eq!(quiet.tick(19, 0, true), Some(Duration::from_millis(200)));
        quiet.negotiated(20);
        assert_eq!(quiet.tick(30, 0, true), Some(Duration::from_millis(200)));
    }
}
