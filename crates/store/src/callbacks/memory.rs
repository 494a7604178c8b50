//! The two tables of callbacks in memory.

use std::collections::{BTreeMap, BTreeSet};

use engine::vocabulary::{Serial, TenantId};

use super::{CallbackAttempt, CallbackId, CallbackNext, CallbackState, CallbackStatus};
use crate::Scope;
use crate::retention::Expiry;

#[derive(Debug, Clone, Default)]
pub(crate) struct Callbacks {
    states: BTreeMap<CallbackId, CallbackState>,
    attempts: BTreeMap<(CallbackId, u32), CallbackAttempt>,
    due: BTreeSet<(i64, CallbackId)>,
    by_serial: BTreeSet<(Serial, CallbackId)>,
}

impl Callbacks {
    pub(crate) fn insert(
        &mut self,
        id: CallbackId,
        serial: Option<Serial>,
        url: &str,
        due_ms: i64,
    ) {
        let status = CallbackStatus::Pending { next_try_ms: due_ms };
        let state = CallbackState { id, serial, url: url.to_owned(), status, attempts: 0 };
        self.states.insert(id, state);
        self.due.insert((due_ms, id));
        self.by_serial.extend(serial.map(|serial| (serial, id)));
    }

    /// What is wrong with an attempt, if anything is.
    pub(crate) fn refuses(&self, attempt: &CallbackAttempt) -> Option<&'static str> {
        if !self.states.contains_key(&attempt.id) {
            return Some("an attempt of a callback that does not exist");
        }
        let given = self.attempts.contains_key(&(attempt.id, attempt.number));
        given.then_some("an attempt's number was given before")
    }

    pub(crate) fn insert_attempt(&mut self, attempt: &CallbackAttempt) {
        let status = match attempt.next {
            CallbackNext::Delivered => CallbackStatus::Delivered,
            CallbackNext::RetryAt(next_try_ms) => CallbackStatus::Pending { next_try_ms },
            CallbackNext::Dead => CallbackStatus::Dead,
        };
        self.advance(attempt.id, status);
        if let Some(state) = self.states.get_mut(&attempt.id) {
            state.attempts = attempt.number;
        }
        self.attempts.insert((attempt.id, attempt.number), attempt.clone());
    }

    pub(crate) fn replay(&mut self, id: CallbackId, now_ms: i64) -> u64 {
        self.advance(id, CallbackStatus::Pending { next_try_ms: now_ms })
    }

    pub(crate) fn is_undelivered(&self, id: CallbackId) -> bool {
        self.states.get(&id).is_some_and(|state| state.status != CallbackStatus::Delivered)
    }

    /// Removes what is over since before the time, by its last attempt, the oldest first.
    pub(crate) fn expire(&mut self, expiry: &Expiry) -> u64 {
        let all = CallbackId { tenant: expiry.tenant, position: 0 }..=CallbackId {
            tenant: expiry.tenant,
            position: u64::MAX,
        };
        let mut old: Vec<(i64, CallbackId)> = self
            .states
            .range(all)
            .filter(|(_, state)| !matches!(state.status, CallbackStatus::Pending { .. }))
            .filter_map(|(id, state)| Some((self.attempts.get(&(*id, state.attempts))?.at_ms, *id)))
            .filter(|(at_ms, _)| *at_ms < expiry.before_ms)
            .collect();
        old.sort_unstable();
        old.truncate(expiry.limit as usize);
        for (_, id) in &old {
            let state = self.states.remove(id);
            if let Some(serial) = state.and_then(|state| state.serial) {
                self.by_serial.remove(&(serial, *id));
            }
            self.attempts.retain(|(of, _), _| of != id);
        }
        old.len() as u64
    }

    /// Ids in the order in which they are due, with their times.
    pub(crate) fn by_due_time(&self) -> impl Iterator<Item = (i64, CallbackId)> + '_ {
        self.due.iter().copied()
    }

    pub(crate) fn state(&self, id: CallbackId) -> Option<&CallbackState> {
        self.states.get(&id)
    }

    pub(crate) fn of(
        &self,
        scope: Scope,
        serial: Serial,
    ) -> Vec<(CallbackState, Vec<CallbackAttempt>)> {
        let first = CallbackId { tenant: TenantId(0), position: 0 };
        let last = CallbackId { tenant: TenantId(u32::MAX), position: u64::MAX };
        let ids = self.by_serial.range((serial, first)..=(serial, last));
        let ids = ids.filter(|(_, id)| scope.holds(id.tenant));
        ids.filter_map(|(_, id)| {
            let attempts = self.attempts.range((*id, 0)..=(*id, u32::MAX));
            Some((self.states.get(id)?.clone(), attempts.map(|(_, a)| a.clone()).collect()))
        })
        .collect()
    }

    pub(crate) fn dead_letters(
        &self,
        tenant: TenantId,
        offset: u32,
        limit: u32,
    ) -> Vec<CallbackState> {
        let first = CallbackId { tenant, position: 0 };
        let last = CallbackId { tenant, position: u64::MAX };
        self.states
            .range(first..=last)
            .map(|(_, state)| state)
            .filter(|state| state.status == CallbackStatus::Dead)
            .skip(offset as usize)
            .take(limit as usize)
            .cloned()
            .collect()
    }

    fn advance(&mut self, id: CallbackId, status: CallbackStatus) -> u64 {
        let Some(state) = self.states.get_mut(&id) else { return 0 };
        if let CallbackStatus::Pending { next_try_ms } = state.status {
            self.due.remove(&(next_try_ms, id));
        }
        if let CallbackStatus::Pending { next_try_ms } = status {
            self.due.insert((next_try_ms, id));
        }
        state.status = status;
        1
    }
}
