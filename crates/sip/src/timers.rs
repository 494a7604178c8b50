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

/// A deadline that can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerHandle(Instant, u64);

#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeMap<TimerHandle, TimerKey>,
    count: u64,
}

impl Timers {
    pub fn set(&mut self, at: Instant, key: TimerKey) -> TimerHandle {
        self.count += 1;
        let handle = TimerHandle(at, self.count);
        self.due.insert(handle, key);
        handle
    }

    pub fn cancel(&mut self, handle: TimerHandle) {
        self.due.remove(&handle);
    }

    pub fn earliest(&self) -> Option<Instant> {
        self.due.first_key_value().map(|(handle, _)| handle.0)
    }

    /// The next deadline that is not after `now`, with the time at which it was due.
    pub fn pop(&mut self, now: Instant) -> Option<(Instant, TimerKey)> {
        let entry = self.due.first_entry()?;
        if entry.key().0 > now {
            return None;
        }
        let at = entry.key().0;
        Some((at, entry.remove()))
    }

    pub fn len(&self) -> usize {
        self.due.len()
    }
}
