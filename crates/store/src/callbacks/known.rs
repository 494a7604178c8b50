//! Deliveries that are known without asking the database: the writer says which it has just committed, so that a
//! callback is normally given without having been read. What waits for a later try, or for lack of room, is looked
//! up, at the time that is noted here.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::writes::Write;

use super::{CallbackDue, CallbackId, CallbackNext, OFFER_MS, Offered};
use crate::batch::EventPosition;

/// New deliveries that are kept; those past it are read from the database in their turn.
const KEPT: usize = 1_024;
/// The database is asked at least this often, ms: a clock that was set costs no delivery more than this.
const LOOK_MS: i64 = OFFER_MS;

#[derive(Debug, Default)]
pub(crate) struct Known {
    offered: Offered,
    /// Not offered yet, by the time at which each is due.
    waiting: BTreeMap<(i64, CallbackId), CallbackDue>,
    rows: Rows,
}

/// The rows that are not in memory.
#[derive(Debug)]
struct Rows {
    /// When they were looked at last; [`NEVER`] at first.
    looked_ms: i64,
    /// When the first of them is due, as far as is known; `None`: there is none.
    first_ms: Option<i64>,
    /// Of that, what was heard of since the last look began.
    heard_ms: Option<i64>,
}

const NEVER: i64 = i64::MIN;

impl Default for Rows {
    fn default() -> Self {
        Rows { looked_ms: NEVER, first_ms: Some(NEVER), heard_ms: None }
    }
}

pub(crate) fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    // A panic elsewhere leaves it whole: what is held and does not wait is offered again after its time.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    /// A batch was committed, its events at these places.
    pub(crate) fn committed(&mut self, writes: Vec<Write>, places: &[EventPosition]) {
        let events = writes.into_iter().filter_map(|write| match write {
            Write::Event { event, callback } => Some((event, callback)),
            Write::Accepted { .. }
            | Write::Attempt(_)
            | Write::Answered { .. }
            | Write::Withdrawn { .. }
            | Write::Cancelled { .. }
            | Write::Ended(_) => None,
        });
        for ((event, url), id) in events.zip(places) {
            let Some(url) = url else { continue };
            let due_ms = event.at_ms;
            if self.waiting.len() < KEPT {
                let due = CallbackDue { id: *id, url: url.to_string(), attempt_number: 1, event };
                self.found(due_ms, due);
            } else {
                self.due_at(due_ms);
            }
        }
    }

    /// A delivery that waits, unless somebody has it.
    pub(super) fn found(&mut self, due_ms: i64, due: CallbackDue) {
        if self.offered.hold(due.id) {
            self.waiting.insert((due_ms, due.id), due);
        }
    }

    /// A row is due at this time.
    pub(super) fn due_at(&mut self, due_ms: i64) {
        for earliest in [&mut self.rows.first_ms, &mut self.rows.heard_ms] {
            *earliest = Some(earliest.map_or(due_ms, |known| known.min(due_ms)));
        }
    }

    /// An attempt is on disk.
    pub(super) fn attempted(&mut self, id: CallbackId, next: CallbackNext) {
        self.offered.withdraw(id);
        match next {
            CallbackNext::RetryAt(at_ms) => self.due_at(at_ms),
            CallbackNext::Delivered | CallbackNext::Dead => {}
        }
    }

    pub(super) fn holds(&self, id: CallbackId) -> bool {
        self.offered.holds(id)
    }

    /// Whether the database has to be asked before [`Known::give`]: for how many rows then, of which all but `limit`
    /// are known already.
    pub(super) fn begin_look(&mut self, now_ms: i64, limit: usize) -> Option<usize> {
        if self.offered.expire(now_ms) {
            self.due_at(now_ms);
        }
        let Rows { looked_ms, first_ms, .. } = self.rows;
        let is_due = first_ms.is_some_and(|first| first <= now_ms);
        let is_old = now_ms < looked_ms || now_ms >= looked_ms.saturating_add(LOOK_MS);
        (is_due || is_old).then(|| self.reach(limit))
    }

    /// The same before the first [`Known::next_ms`].
    pub(super) fn begin_first_look(&mut self) -> Option<usize> {
        (self.rows.first_ms == Some(NEVER)).then(|| self.reach(0))
    }

    fn reach(&mut self, limit: usize) -> usize {
        self.rows.heard_ms = None;
        self.offered.len() + limit
    }

    /// What the rows say: when the first of those that are not in memory is due.
    pub(super) fn end_look(&mut self, now_ms: i64, next_ms: Option<i64>) {
        self.rows.looked_ms = now_ms;
        self.rows.first_ms = next_ms.into_iter().chain(self.rows.heard_ms).min();
    }

    /// Those that are due, the longest overdue first; offered from now on.
    pub(super) fn give(&mut self, now_ms: i64, limit: usize) -> Vec<CallbackDue> {
        let mut given = Vec::new();
        while given.len() < limit
            && let Some(first) = self.waiting.first_entry()
            && first.key().0 <= now_ms
        {
            let due = first.remove();
            self.offered.give(due.id, now_ms);
            given.push(due);
        }
        given
    }

    /// When there is something to give next.
    pub(super) fn next_ms(&self) -> Option<i64> {
        let waiting = self.waiting.first_key_value().map(|((due_ms, _), _)| *due_ms);
        waiting.into_iter().chain(self.rows.first_ms).chain(self.offered.next_ms()).min()
    }
}
