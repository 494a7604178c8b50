//! When the next group may be committed: a commit costs nearly the same for one piece of work and for a hundred, so that
//! they are spaced where much comes in. What comes alone never waits, nor do a few together.

use std::time::Duration;

use tokio::time::Instant;

/// Pieces of work in a group, taken over several, from which on more are about to come. Whoever waits for one commit before
/// asking for the next has one in each.
const LOAD: f64 = 2.0;
/// What the newest group counts in that.
const NEWEST: f64 = 1.0 / 8.0;
/// The least time between the starts of two commits under load.
const SPACING: Duration = Duration::from_millis(4);

#[derive(Default)]
pub(super) struct Pace {
    /// Pieces in a group.
    mean: f64,
}

impl Pace {
    /// A group of so many pieces is about to be committed. `None`: the next need not wait.
    pub(super) fn next_start(&mut self, pieces: usize, now: Instant) -> Option<Instant> {
        self.mean += NEWEST * (pieces as f64 - self.mean);
        (self.mean >= LOAD).then(|| now + SPACING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of these groups let the next one wait.
    fn spaced(groups: impl IntoIterator<Item = usize>) -> usize {
        let (mut pace, now) = (Pace::default(), Instant::now());
        groups.into_iter().filter_map(|pieces| pace.next_start(pieces, now)).count()
    }

    #[test]
    fn what_comes_alone_never_waits_nor_do_a_few_together() {
        assert_eq!(spaced([1; 1_000]), 0);
        assert_eq!(spaced([1, 1, 4, 3, 1, 1, 4, 3, 1, 1]), 0);
    }

    #[test]
    fn under_load_a_group_waits_though_there_is_a_small_one_now_and_then() {
        let load = (0..1_000).map(|n| if n % 4 == 0 { 1 } else { 8 });
        assert!(spaced(load) > 990);
        let begin = Instant::now();
        assert_eq!(Pace { mean: 8.0 }.next_start(8, begin), Some(begin + SPACING));
    }

    #[test]
    fn when_the_load_is_over_nobody_waits_any_more() {
        let over = std::iter::repeat_n(16, 100).chain([1; 1_000]);
        assert!(spaced(over) < 150);
    }
}
