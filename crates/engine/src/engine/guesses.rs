//! Wrong codes, by the address that they came from: who guesses is not heard any more for a time.
//!
//! Whoever guesses learns nothing from the answer, which is the same for a wrong code, a used one, an
//! expired one and a source that is not heard. All sources together have limits too, since addresses
//! are many and can be forged. At the first one only sources that have not guessed wrong lately are
//! heard, so that those who guess do not lock out the callers with a code; at the second one nobody is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::vocabulary::{Deadline, Now};

/// Wrong codes that a source may send in a minute before it is not heard for [`DEAF`].
const PER_SOURCE: u32 = 10;
const MINUTE: Duration = Duration::from_secs(60);
const DEAF: Duration = Duration::from_secs(600);

/// Wrong codes of all sources in a minute, from which on one wrong code makes a source unheard.
const MANY: usize = 600;

/// Wrong codes of all sources in a minute, from which on no code is looked at. With ten random digits
/// and a thousand codes out, a minute of them finds one in 1,600.
const IN_TOTAL: usize = 6_000;

/// Sources that are remembered; the one that is due to be forgotten first makes room.
const SOURCES: usize = 100_000;

#[derive(Debug, Default)]
pub struct Guesses {
    sources: BTreeMap<IpAddr, Source>,
    /// When each of them is forgotten.
    by_age: BTreeSet<(Deadline, IpAddr)>,
    /// When the wrong codes of the last minute came, at most [`IN_TOTAL`] of them.
    lately: VecDeque<Deadline>,
    refused: u64,
}

#[derive(Debug, Clone, Copy)]
struct Source {
    forgotten_at: Deadline,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// So many wrong codes since its first one.
    Counted(u32),
    /// Not heard until it is forgotten.
    Deaf,
}

impl Guesses {
    /// Whether a code from this source is looked at. One that is not counts as refused and as nothing else.
    pub fn is_heard(&mut self, source: IpAddr, now: Now) -> bool {
        self.forget_old(now);
        let source = self.sources.get(&network(source)).map(|source| source.state);
        let wrong = self.lately.len();
        let heard = match source {
            None => wrong < IN_TOTAL,
            Some(State::Counted(_)) => wrong < MANY,
            Some(State::Deaf) => false,
        };
        if !heard {
            self.refused = self.refused.saturating_add(1);
        }
        heard
    }

    /// A code was looked at and is none.
    pub fn was_wrong(&mut self, source: IpAddr, now: Now) {
        self.refused = self.refused.saturating_add(1);
        self.forget_old(now);
        let source = network(source);
        let before = self.sources.get(&source).map(|source| source.state);
        let wrong = match before {
            None => 1,
            Some(State::Counted(wrong)) => wrong + 1,
            Some(State::Deaf) => return,
        };
        if self.lately.len() < IN_TOTAL {
            self.lately.push_back(now.since_start + MINUTE);
        }
        let since = self.sources.get(&source).map(|source| source.forgotten_at);
        let (state, forgotten_at) = if wrong >= PER_SOURCE || self.lately.len() >= MANY {
            (State::Deaf, now.since_start + DEAF)
        } else {
            (State::Counted(wrong), since.unwrap_or(now.since_start + MINUTE))
        };
        self.remember(source, Source { forgotten_at, state });
    }

    /// How many codes were refused since the start.
    pub fn count(&self) -> u64 {
        self.refused
    }

    fn remember(&mut self, address: IpAddr, source: Source) {
        self.by_age.insert((source.forgotten_at, address));
        if let Some(before) = self.sources.insert(address, source)
            && before.forgotten_at != source.forgotten_at
        {
            self.by_age.remove(&(before.forgotten_at, address));
        }
        if self.sources.len() > SOURCES
            && let Some((_, first)) = self.by_age.pop_first()
        {
            self.sources.remove(&first);
        }
    }

    fn forget_old(&mut self, now: Now) {
        while self.lately.pop_front_if(|until| *until <= now.since_start).is_some() {}
        while let Some((due, address)) = self.by_age.first().copied() {
            if due > now.since_start {
                break;
            }
            self.by_age.pop_first();
            self.sources.remove(&address);
        }
    }
}

/// Who has one IPv6 address has the other 2^64 of its network.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now { since_start: Duration::from_secs(seconds), unix_ms: 1_795_000_000_000 }
    }

    fn v4(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn a_source_that_guesses_is_not_heard_for_ten_minutes() {
        let mut guesses = Guesses::default();
        let (bad, good) = (v4(1), v4(2));
        for _ in 0..PER_SOURCE {
            assert!(guesses.is_heard(bad, at(10)));
            guesses.was_wrong(bad, at(10));
        }
        assert!(!guesses.is_heard(bad, at(10)) && guesses.is_heard(good, at(10)));
        assert!(!guesses.is_heard(bad, at(609)) && guesses.is_heard(bad, at(610)));
    }

    #[test]
    fn a_wrong_code_now_and_then_is_a_mistake() {
        let mut guesses = Guesses::default();
        for n in 0..100 {
            let now = at(n * 7);
            assert!(guesses.is_heard(v4(1), now), "at {now:?}");
            guesses.was_wrong(v4(1), now);
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let mut guesses = Guesses::default();
        for n in 0..PER_SOURCE {
            let address: IpAddr = format!("2001:db8:1:2::{n:x}").parse().unwrap();
            guesses.was_wrong(address, at(1));
        }
        assert!(!guesses.is_heard("2001:db8:1:2:ffff::1".parse().unwrap(), at(1)));
        assert!(guesses.is_heard("2001:db8:1:3::1".parse().unwrap(), at(1)));
    }

    #[test]
    fn many_sources_share_one_limit() {
        let mut guesses = Guesses::default();
        let mut heard = 0;
        for n in 0..IN_TOTAL as u32 * 2 {
            for _ in 0..PER_SOURCE {
                if guesses.is_heard(v4(n), at(1)) {
                    guesses.was_wrong(v4(n), at(1));
                    heard += 1;
                }
            }
        }
        assert_eq!(heard, IN_TOTAL);
        assert!(guesses.lately.len() <= IN_TOTAL);
        let innocent = v4(u32::MAX);
        assert!(!guesses.is_heard(innocent, at(60)) && guesses.is_heard(innocent, at(61)));
        assert_eq!(guesses.count(), u64::from(IN_TOTAL as u32 * 2 * PER_SOURCE) + 1);
    }

    #[test]
    fn memory_is_bounded_and_what_is_old_is_forgotten() {
        let mut guesses = Guesses::default();
        for n in 0..2 * SOURCES as u32 {
            guesses.was_wrong(v4(n), at(1));
        }
        assert_eq!((guesses.sources.len(), guesses.by_age.len()), (SOURCES, SOURCES));
        assert!(guesses.is_heard(v4(u32::MAX), at(601)));
        assert_eq!((guesses.sources.len(), guesses.by_age.len()), (0, 0));
    }
}
