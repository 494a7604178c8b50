//! INVITEs of whom we do not know: let through where the number may be the code of a task, refused
//! in one and the same way else.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use crate::{
    LegId, StrangerPolicy,
    guesses::{Allowance, Guesser, Guesses},
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
    /// Legs that the caller has not said a word about yet.
    undecided: BTreeMap<LegId, TimerHandle>,
    /// Where legs of strangers came from.
    sources: BTreeMap<LegId, IpAddr>,
}

/// What becomes of an INVITE from an address that is not trusted and that shows no password.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    LetIn,
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
            undecided: BTreeMap::new(),
            sources: BTreeMap::new(),
        }
    }

    pub fn trust(&mut self, sources: BTreeSet<IpAddr>) {
        self.trusted = sources.into_iter().map(|ip| ip.to_canonical()).collect();
    }

    pub fn is_trusted(&self, ip: IpAddr) -> bool {
        self.trusted.contains(&ip.to_canonical())
    }

    pub fn admit(&self, number: &str, ip: IpAddr, stack: &Stack) -> Admission {
        let may_be_a_code = (1..=LONGEST_CODE).contains(&number.len())
            && number.bytes().all(|byte| byte.is_ascii_digit());
        if !may_be_a_code || self.guesses.is_locked(&Guesser::Source(ip.into()), stack.now) {
            return Admission::NobodyHere;
        }
        if self.guesses.is_locked(&Guesser::Everybody, stack.now) {
            return Admission::Later;
        }
        Admission::LetIn
    }

    /// Whether the caller has too many INVITEs before it to be shown another.
    pub fn is_full(&self) -> bool {
        self.undecided.len() >= self.policy.max_undecided
    }

    /// An INVITE is before the caller; `stranger` says where one came from that nobody vouches for.
    pub fn asked(&mut self, leg: LegId, stranger: Option<IpAddr>, stack: &mut Stack) {
        let handle = stack.timers.set(stack.now + DECISION, TimerKey::Undecided(leg));
        self.undecided.insert(leg, handle);
        self.sources.extend(stranger.map(|ip| (leg, ip)));
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
        self.sources.remove(&leg);
    }

    /// The number was a wrong guess.
    pub fn turned_away(&mut self, leg: LegId, stack: &mut Stack) {
        self.decided(leg, stack);
        if let Some(ip) = self.sources.remove(&leg) {
            self.guesses.count(Guesser::Everybody, stack.now);
            self.guesses.count(Guesser::Source(ip.into()), stack.now);
        }
    }
}
