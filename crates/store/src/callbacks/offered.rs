//! Which deliveries somebody is making right now.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::callbacks::CallbackId;

/// How long an offered delivery is left alone, ms. Longer than an attempt may take (15 s), so that
/// only a delivery whose worker has died is offered twice.
pub const OFFER_MS: i64 = 60_000;

/// Not offered yet.
const HELD: i64 = i64::MAX;

/// Offered deliveries, with the ms since 1970 at which each may be offered again.
#[derive(Debug, Default)]
pub(crate) struct Offered {
    until: BTreeMap<CallbackId, i64>,
}

pub(crate) fn lock(offered: &Mutex<Offered>) -> MutexGuard<'_, Offered> {
    // A panic elsewhere leaves the map whole: each change is one call.
    offered.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Offered {
    /// How many rows of the due index may have to be passed over.
    pub(crate) fn len(&self) -> usize {
        self.until.len()
    }

    pub(crate) fn holds(&self, id: CallbackId) -> bool {
        self.until.contains_key(&id)
    }

    /// Of `due`, those that nobody has, now offered.
    pub(crate) fn offer(
        &mut self,
        due: impl Iterator<Item = CallbackId>,
        now_ms: i64,
        limit: usize,
    ) -> Vec<CallbackId> {
        self.expire(now_ms);
        let free: Vec<_> = due.filter(|id| !self.holds(*id)).take(limit).collect();
        free.iter().for_each(|id| self.give(*id, now_ms));
        free
    }

    /// Lets go of what was offered too long ago; whether there was any.
    pub(crate) fn expire(&mut self, now_ms: i64) -> bool {
        let before = self.until.len();
        self.until.retain(|_, until| *until > now_ms);
        self.until.len() < before
    }

    /// Keeps one that is going to be offered from others; false where it has somebody.
    pub(crate) fn hold(&mut self, id: CallbackId) -> bool {
        let vacant = !self.until.contains_key(&id);
        if vacant {
            self.until.insert(id, HELD);
        }
        vacant
    }

    /// It is offered from now on.
    pub(crate) fn give(&mut self, id: CallbackId, now_ms: i64) {
        self.until.insert(id, now_ms + OFFER_MS);
    }

    pub(crate) fn withdraw(&mut self, id: CallbackId) {
        self.until.remove(&id);
    }

    /// When the first offer ends.
    pub(crate) fn next_ms(&self) -> Option<i64> {
        self.until.values().min().copied().filter(|until| *until < HELD)
    }
}
