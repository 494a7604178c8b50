//! Every deadline of the core in one ordered map.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{BindingId, LegId, ProbeId, RegistrationId, RequestId};

/// Round-trip estimate (RFC 3261 §17.1.1.1).
pub(crate) const T1: Duration = Duration::from_millis(500);
/// Longest retransmission interval.
pub(crate) const T2: Duration = Duration::from_secs(4);
/// Longest time that a message stays in the network.
pub(crate) const T4: Duration = Duration::from_secs(5);
/// 64·T1: timers B, F, H, J, L, M and D, and how long a 2xx is retransmitted.
pub(crate) const GIVE_UP: Duration = Duration::from_secs(32);

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimerKey {
    Client(crate::transactions::ClientKey, ClientTimer),
    Server(crate::transactions::ServerId, ServerTimer),
    Leg(LegId, LegTimer),
    Registration(RegistrationId),
    /// A peer that has not answered a probe.
    Probe(ProbeId),
    /// A request that the caller never answered.
    Unanswered(RequestId),
    /// An INVITE about which the caller has said nothing.
    Undecided(LegId),
    /// The life of a phone's binding is over.
    Binding(BindingId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientTimer {
    /// A and E.
    Resend,
    /// B and F.
    GiveUp,
    /// Of an INVITE: its CANCEL found nothing.
    CancelAgain,
    /// D, K and M.
    Forget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerTimer {
    /// G.
    Resend,
    /// H, I, J and L.
    Forget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LegTimer {
    /// A target has said nothing while there is another.
    Patience,
    /// No final response after our CANCEL.
    CancelLimit,
    /// Our 2xx again.
    ResendAnswer,
    /// No ACK for it.
    AckLimit,
    /// Our reliable provisional again.
    ResendProvisional,
    /// No PRACK for it.
    PrackLimit,
    /// Our re-INVITE after a 491.
    RetryOffer,
    /// The session is to be refreshed by us, or has not been by the far side.
    Session,
}

/// A timer that fires later than this says that the process stood still, not that a peer was silent: what came meanwhile
/// has not been read yet. So long it has to be read, before anything is concluded or sent again.
pub(crate) const STOOD_STILL: Duration = Duration::from_secs(1);
const READ_FIRST: Duration = Duration::from_millis(500);

/// What a timer does for which a peer's silence is the reason; limits first, so that nothing is sent again for what they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Silence {
    Ends,
    SendsAgain,
}

impl TimerKey {
    fn silence(&self) -> Option<Silence> {
        match self {
            TimerKey::Client(_, ClientTimer::Resend | ClientTimer::CancelAgain) => {
                Some(Silence::SendsAgain)
            }
            TimerKey::Client(_, ClientTimer::GiveUp | ClientTimer::Forget)
            | TimerKey::Server(_, ServerTimer::Forget)
            | TimerKey::Leg(
                _,
                LegTimer::Patience
                | LegTimer::CancelLimit
                | LegTimer::AckLimit
                | LegTimer::PrackLimit
                | LegTimer::Session,
            )
            | TimerKey::Probe(_)
            | TimerKey::Binding(_) => Some(Silence::Ends),
            // Responses of ours may go again at any time, and the rest waits for nobody.
            TimerKey::Server(_, ServerTimer::Resend)
            | TimerKey::Leg(
                _,
                LegTimer::ResendAnswer | LegTimer::ResendProvisional | LegTimer::RetryOffer,
            )
            | TimerKey::Registration(_)
            | TimerKey::Unanswered(_)
            | TimerKey::Undecided(_) => None,
        }
    }
}

/// A deadline that can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerHandle(Instant, u64);

impl TimerHandle {
    pub fn at(self) -> Instant {
        self.0
    }
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeMap<TimerHandle, TimerKey>,
    count: u64,
    /// Came due while the process stood still, and fires at `held_until`.
    held: BTreeMap<(Silence, TimerHandle), TimerKey>,
    held_until: Option<Instant>,
}

impl Timers {
    pub fn set(&mut self, at: Instant, key: TimerKey) -> TimerHandle {
        self.count += 1;
        let handle = TimerHandle(at, self.count);
        self.due.insert(handle, key);
        handle
    }

    pub fn cancel(&mut self, handle: TimerHandle) {
        if self.due.remove(&handle).is_none() && !self.held.is_empty() {
            self.held.remove(&(Silence::Ends, handle));
            self.held.remove(&(Silence::SendsAgain, handle));
        }
    }

    pub fn earliest(&self) -> Option<Instant> {
        let due = self.due.first_key_value().map(|(handle, _)| handle.0);
        let held = self.held_until.filter(|_| !self.held.is_empty());
        [due, held].into_iter().flatten().min()
    }

    /// The next deadline that is not after `now`, with the time at which it was due.
    pub fn pop(&mut self, now: Instant) -> Option<(Instant, TimerKey)> {
        if self.held.is_empty() {
            self.held_until = None;
        }
        if let Some(until) = self.held_until
            && until <= now
        {
            if late(until, now) {
                self.held_until = Some(now + READ_FIRST);
            } else if let Some((_, key)) = self.held.pop_first() {
                return Some((until, key));
            } else {
                self.held_until = None;
            }
        }
        loop {
            let entry = self.due.first_entry()?;
            let handle = *entry.key();
            if handle.0 > now {
                return None;
            }
            let key = entry.remove();
            // What is due a moment before it went on is not late itself, and has seen as little.
            let stood_still = late(handle.0, now) || self.held_until.is_some();
            match key.silence().filter(|_| stood_still) {
                Some(silence) => {
                    self.held_until.get_or_insert(now + READ_FIRST);
                    self.held.insert((silence, handle), key);
                }
                None => return Some((handle.0, key)),
            }
        }
    }

    pub fn len(&self) -> usize {
        self.due.len() + self.held.len()
    }
}

fn late(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) > STOOD_STILL
}
