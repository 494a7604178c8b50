//! Wrong codes, by who sent them: who guesses is not heard any more for a time.
//!
//! Whoever guesses learns nothing from the answer, which is the same for a wrong code, a used one, an
//! expired one and a source that is not heard. All sources together have limits too, since addresses
//! are many. At the first one only sources that have not guessed wrong lately are heard, so that those
//! who guess do not lock out the callers with a code; at the second one nobody is.
//!
//! An address that a datagram merely claims may be somebody else's. It has a tally of its own, and so have
//! all of them together: who has shown that it receives at its address is not locked out by what others send
//! in its name. A trunk carries the mistakes of many people and a softphone is known: each has a larger
//! allowance, pauses only until its minute is over, and neither adds to the limits of strangers nor is held
//! by them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::action::Origin;
use crate::vocabulary::{Deadline, Now};

/// Wrong codes that a stranger may send in a minute before it is not heard for [`DEAF`].
const PER_STRANGER: u32 = 10;
const MINUTE: Duration = Duration::from_secs(60);
const DEAF: Duration = Duration::from_secs(600);

/// Wrong codes in a minute after which a trunk, a softphone is not heard until that is over.
const PER_TRUNK: u32 = 600;
const PER_SOFTPHONE: u32 = 60;

/// Wrong codes of all strangers in a minute, from which on one wrong code makes a source unheard. This and the next
/// count those whose address is only claimed and those who were reached at it apart.
const MANY: usize = 600;

/// Wrong codes of all strangers in a minute, from which on no code is looked at. With ten random digits
/// and a thousand codes out, a minute of both kinds finds one in 1,600.
const IN_TOTAL: usize = 3_000;

/// Guessers that are remembered; the one that is due to be forgotten first makes room.
const GUESSERS: usize = 100_000;

#[derive(Debug, Default)]
pub struct Guesses {
    guessers: BTreeMap<Guesser, Tally>,
    /// When each of them is forgotten.
    by_age: BTreeSet<(Deadline, Guesser)>,
    /// When the wrong codes of the last minute came, at most [`IN_TOTAL`] each.
    claimed: VecDeque<Deadline>,
    reached: VecDeque<Deadline>,
    refused: u64,
}

/// Whose wrong codes are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guesser {
    Claimed(IpAddr),
    Reached(IpAddr),
    Trunk(IpAddr),
    Softphone(String),
}

#[derive(Debug, Clone, Copy)]
struct Tally {
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

impl Guesser {
    pub fn new(source: IpAddr, origin: Origin) -> Guesser {
        match origin {
            Origin::Claimed => Guesser::Claimed(network(source)),
            Origin::Reached => Guesser::Reached(network(source)),
            Origin::Trunk => Guesser::Trunk(source.to_canonical()),
            Origin::Softphone(number) => Guesser::Softphone(number),
        }
    }
}

impl Guesses {
    /// Whether a code of this one is looked at. One that is not counts as refused and as nothing else.
    pub fn is_heard(&mut self, guesser: &Guesser, now: Now) -> bool {
        self.forget_old(now);
        let state = self.guessers.get(guesser).map(|tally| tally.state);
        let wrong = self.lately(guesser).map_or(0, |lately| lately.len());
        let heard = match state {
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
    pub fn was_wrong(&mut self, guesser: Guesser, now: Now) {
        self.refused = self.refused.saturating_add(1);
        self.forget_old(now);
        let before = self.guessers.get(&guesser).copied();
        let wrong = match before.map(|tally| tally.state) {
            None => 1,
            Some(State::Counted(wrong)) => wrong + 1,
            Some(State::Deaf) => return,
        };
        let mut many = false;
        if let Some(lately) = self.lately(&guesser) {
            if lately.len() < IN_TOTAL {
                lately.push_back(now.since_start + MINUTE);
            }
            many = lately.len() >= MANY;
        }
        let minute_over = before.map_or(now.since_start + MINUTE, |tally| tally.forgotten_at);
        let (allowed, deaf_until) = match &guesser {
            Guesser::Claimed(_) | Guesser::Reached(_) => (PER_STRANGER, now.since_start + DEAF),
            Guesser::Trunk(_) => (PER_TRUNK, minute_over),
            Guesser::Softphone(_) => (PER_SOFTPHONE, minute_over),
        };
        let (state, forgotten_at) = if wrong >= allowed || many {
            (State::Deaf, deaf_until)
        } else {
            (State::Counted(wrong), minute_over)
        };
        self.remember(guesser, Tally { forgotten_at, state });
    }

    /// How many codes were refused since the start.
    pub fn count(&self) -> u64 {
        self.refused
    }

    /// The wrong codes of all who are counted with this one.
    fn lately(&mut self, guesser: &Guesser) -> Option<&mut VecDeque<Deadline>> {
        match guesser {
            Guesser::Claimed(_) => Some(&mut self.claimed),
            Guesser::Reached(_) => Some(&mut self.reached),
            Guesser::Trunk(_) | Guesser::Softphone(_) => None,
        }
    }

    fn remember(&mut self, guesser: Guesser, tally: Tally) {
        self.by_age.insert((tally.forgotten_at, guesser.clone()));
        if let Some(before) = self.guessers.insert(guesser.clone(), tally)
            && before.forgotten_at != tally.forgotten_at
        {
            self.by_age.remove(&(before.forgotten_at, guesser));
        }
        if self.guessers.len() > GUESSERS
            && let Some((_, first)) = self.by_age.pop_first()
        {
            self.guessers.remove(&first);
        }
    }

    fn forget_old(&mut self, now: Now) {
        for lately in [&mut self.claimed, &mut self.reached] {
            while lately.pop_front_if(|until| *until <= now.since_start).is_some() {}
        }
        while let Some((due, _)) = self.by_age.first()
            && *due <= now.since_start
            && let Some((_, guesser)) = self.by_age.pop_first()
        {
            self.guessers.remove(&guesser);
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

    fn claimed(n: u32) -> Guesser {
        Guesser::new(IpAddr::from(n.to_be_bytes()), Origin::Claimed)
    }

    fn reached(n: u32) -> Guesser {
        Guesser::new(IpAddr::from(n.to_be_bytes()), Origin::Reached)
    }

    /// Wrong codes of one guesser; how many of them were looked at.
    fn guess(guesses: &mut Guesses, guesser: &Guesser, codes: u32, now: Now) -> u32 {
        let looked_at = (0..codes).filter(|_| {
            let heard = guesses.is_heard(guesser, now);
            if heard {
                guesses.was_wrong(guesser.clone(), now);
            }
            heard
        });
        looked_at.count() as u32
    }

    #[test]
    fn a_stranger_that_guesses_is_not_heard_for_ten_minutes() {
        let mut guesses = Guesses::default();
        let (bad, good) = (claimed(1), claimed(2));
        assert_eq!(guess(&mut guesses, &bad, 1_000, at(10)), PER_STRANGER);
        assert!(!guesses.is_heard(&bad, at(10)) && guesses.is_heard(&good, at(10)));
        assert!(!guesses.is_heard(&bad, at(609)) && guesses.is_heard(&bad, at(610)));
    }

    #[test]
    fn what_is_sent_in_the_name_of_an_address_locks_nobody_out_who_was_reached_there() {
        let mut guesses = Guesses::default();
        for n in 0..20_000 {
            guess(&mut guesses, &claimed(n % 5_000), 1, at(1));
        }
        assert!(!guesses.is_heard(&claimed(7), at(2)) && !guesses.is_heard(&claimed(9_999), at(2)));
        assert!(guesses.is_heard(&reached(7), at(2)));
        assert_eq!(guess(&mut guesses, &reached(7), 1_000, at(2)), PER_STRANGER, "no freedom");
    }

    #[test]
    fn a_trunk_and_a_softphone_pause_until_their_minute_is_over_and_hold_up_no_stranger() {
        let mut guesses = Guesses::default();
        let source = IpAddr::from([192, 0, 2, 1]);
        let trunk = Guesser::new(source, Origin::Trunk);
        let phone = Guesser::new(source, Origin::Softphone("66666666".into()));
        let other = Guesser::new(source, Origin::Softphone("66666667".into()));
        assert_eq!(guess(&mut guesses, &trunk, 10_000, at(10)), PER_TRUNK);
        assert_eq!(guess(&mut guesses, &phone, 10_000, at(10)), PER_SOFTPHONE);
        assert!(!guesses.is_heard(&trunk, at(69)) && !guesses.is_heard(&phone, at(69)));
        assert!(guesses.is_heard(&other, at(69)), "phones behind one address are counted apart");
        assert!(guesses.is_heard(&trunk, at(70)) && guesses.is_heard(&phone, at(70)));
        assert!(guesses.claimed.is_empty() && guesses.reached.is_empty());
        for n in 0..20_000 {
            guess(&mut guesses, &claimed(n), 1, at(71));
        }
        assert!(guesses.is_heard(&trunk, at(71)), "strangers hold up no trunk");
    }

    #[test]
    fn a_wrong_code_now_and_then_is_a_mistake() {
        let mut guesses = Guesses::default();
        for n in 0..100 {
            assert_eq!(guess(&mut guesses, &claimed(1), 1, at(n * 7)), 1, "after {n}");
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let mut guesses = Guesses::default();
        let of = |text: &str| Guesser::new(text.parse().unwrap(), Origin::Reached);
        for n in 0..PER_STRANGER {
            guesses.was_wrong(of(&format!("2001:db8:1:2::{n:x}")), at(1));
        }
        assert!(!guesses.is_heard(&of("2001:db8:1:2:ffff::1"), at(1)));
        assert!(guesses.is_heard(&of("2001:db8:1:3::1"), at(1)));
    }

    #[test]
    fn many_sources_share_one_limit() {
        let mut guesses = Guesses::default();
        let mut heard = 0;
        for n in 0..IN_TOTAL as u32 * 2 {
            heard += guess(&mut guesses, &claimed(n), PER_STRANGER, at(1));
        }
        assert_eq!(heard as usize, IN_TOTAL);
        assert!(guesses.claimed.len() <= IN_TOTAL);
        let innocent = claimed(u32::MAX);
        assert!(!guesses.is_heard(&innocent, at(60)) && guesses.is_heard(&innocent, at(61)));
        assert_eq!(guesses.count(), u64::from(IN_TOTAL as u32 * 2 * PER_STRANGER) + 1);
    }

    #[test]
    fn memory_is_bounded_and_what_is_old_is_forgotten() {
        let mut guesses = Guesses::default();
        for n in 0..2 * GUESSERS as u32 {
            guesses.was_wrong(claimed(n), at(1));
        }
        assert_eq!((guesses.guessers.len(), guesses.by_age.len()), (GUESSERS, GUESSERS));
        assert!(guesses.is_heard(&claimed(u32::MAX), at(601)));
        assert_eq!((guesses.guessers.len(), guesses.by_age.len()), (0, 0));
    }
}
