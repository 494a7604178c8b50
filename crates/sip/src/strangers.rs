//! INVITEs of whom we do not know: let through where the number may be the code of a task, refused
//! in one and the same way else.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    LegId, Origin, StrangerPolicy,
    guesses::{Allowance, Guesser, Guesses},
    message::Source,
    reached::Reached,
    stack::Stack,
    timers::{TimerHandle, TimerKey},
};

/// What every stranger hears who does not get through, whatever the reason.
pub(crate) const NOBODY_HERE: u16 = 404;

#[derive(Debug)]
pub(crate) struct Strangers {
    policy: StrangerPolicy,
    trusted: BTreeSet<IpAddr>,
    guesses: Guesses,
    reached: Reached,
    /// Legs that the caller has not said a word about yet.
    undecided: BTreeMap<LegId, TimerHandle>,
    /// Whose guess the leg of a stranger may turn out to be.
    guessers: BTreeMap<LegId, Guesser>,
}

/// What becomes of an INVITE from an address that is not trusted and that shows no password.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// As [`Origin::Stranger`] or [`Origin::Reached`].
    LetIn(Origin),
    NobodyHere,
    /// Too many at a time, or too many wrong guesses of everybody.
    Later,
}

/// How long the caller may take to say anything about an INVITE.
const DECISION: Duration = Duration::from_secs(10);
/// Longest code of a task, in digits.
const LONGEST_CODE: usize = 18;

impl Strangers {
    pub fn new(policy: StrangerPolicy) -> Strangers {
        let StrangerPolicy { guesses_per_source, guesses_in_all, .. } = policy;
        let allowance =
            Allowance { login: 0, source: guesses_per_source, everybody: guesses_in_all };
        Strangers {
            policy,
            trusted: BTreeSet::new(),
            guesses: Guesses::new(allowance),
            reached: Reached::default(),
            undecided: BTreeMap::new(),
            guessers: BTreeMap::new(),
        }
    }

    pub fn trust(&mut self, sources: BTreeSet<IpAddr>) {
        self.trusted = sources.into_iter().map(|ip| ip.to_canonical()).collect();
    }

    pub fn is_trusted(&self, ip: IpAddr) -> bool {
        self.trusted.contains(&ip.to_canonical())
    }

    /// What others send in the name of an address locks out nobody who was reached there, and all that is sent in
    /// made-up names locks out nobody who was reached anywhere.
    pub fn admit(&self, number: &str, source: Source, stack: &Stack) -> Admission {
        let may_be_a_code = (1..=LONGEST_CODE).contains(&number.len())
            && number.bytes().all(|byte| byte.is_ascii_digit());
        let is_here = source.transport.is_reliable() || self.reached.has(source.remote, stack.now);
        let origin = if is_here { Origin::Reached } else { Origin::Stranger };
        let guesser = guesser(&origin, source.remote.ip());
        if !may_be_a_code || guesser.is_none_or(|one| self.guesses.is_locked(&one, stack.now)) {
            return Admission::NobodyHere;
        }
        if !is_here && self.guesses.is_locked(&Guesser::Everybody, stack.now) {
            return Admission::Later;
        }
        Admission::LetIn(origin)
    }

    /// Somebody there has received an answer of ours.
    pub fn reached(&mut self, addr: SocketAddr, stack: &Stack) {
        self.reached.add(addr, stack.now);
    }

    /// Whether the caller has too many INVITEs before it to be shown another.
    pub fn is_full(&self) -> bool {
        self.undecided.len() >= self.policy.max_undecided
    }

    /// An INVITE is before the caller.
    pub fn asked(&mut self, leg: LegId, origin: &Origin, ip: IpAddr, stack: &mut Stack) {
        let handle = stack.timers.set(stack.now + DECISION, TimerKey::Undecided(leg));
        self.undecided.insert(leg, handle);
        self.guessers.extend(guesser(origin, ip).map(|guesser| (leg, guesser)));
    }

    /// The caller has said something about it.
    pub fn decided(&mut self, leg: LegId, stack: &mut Stack) {
        if let Some(handle) = self.undecided.remove(&leg) {
            stack.timers.cancel(handle);
        }
    }

    /// The leg is over. Taken back before the caller could say a word it counts like a wrong number: nobody gets
    /// more looks at them by being quick.
    pub fn over(&mut self, leg: LegId, stack: &mut Stack) {
        if self.undecided.contains_key(&leg) {
            self.turned_away(leg, stack);
        }
        self.guessers.remove(&leg);
    }

    /// The number was a wrong guess.
    pub fn turned_away(&mut self, leg: LegId, stack: &mut Stack) {
        self.decided(leg, stack);
        if let Some(guesser) = self.guessers.remove(&leg) {
            if matches!(guesser, Guesser::Claimed(_)) {
                self.guesses.count(Guesser::Everybody, stack.now);
            }
            self.guesses.count(guesser, stack.now);
        }
    }
}

/// Whose guesses those of a stranger are counted with; `None` for whom somebody vouches.
fn guesser(origin: &Origin, ip: IpAddr) -> Option<Guesser> {
    match origin {
        Origin::Stranger => Some(Guesser::Claimed(ip.into())),
        Origin::Reached => Some(Guesser::Source(ip.into())),
        Origin::Trusted | Origin::User(_) => None,
    }
}
