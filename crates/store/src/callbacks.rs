//! Callbacks: deliveries of events, at least once, with what each attempt said.
//!
//! ```text
//! Pending ──2xx──▶ Delivered
//!    │  ▲─ retry ─┘(Pending, later)
//!    └──given up──▶ Dead ──replay──▶ Pending
//! ```
//! A row is written with its event; its id is the event's place, the same for every attempt and
//! across restarts. The body is read from the event log.

use std::sync::Mutex;

use engine::events::Event;
use engine::vocabulary::{Serial, TenantId};
use serde::{Deserialize, Serialize};

use crate::batch::EventPosition;
use crate::error::StoreError;
use crate::work::{Edit, Work};
use crate::{Place, Reader, Scope, Store};

pub(crate) mod known;
pub(crate) mod memory;
pub(crate) mod offered;
pub(crate) mod rows;

pub(crate) use known::Known;
pub(crate) use offered::Offered;
pub(crate) use rows::SCHEMA;

/// A callback is known by the place of its event.
pub type CallbackId = EventPosition;

/// The most that is kept of the request and of the reply of one attempt, in bytes each; the rest
/// is cut.
pub const MAX_CALLBACK_TEXT_BYTES: usize = 16 << 10;

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallbackStatus {
    Pending {
        next_try_ms: i64,
    },
    Delivered,
    /// Given up; [`Store::replay`] starts it again.
    Dead,
}

/// One delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackState {
    pub id: CallbackId,
    pub serial: Option<Serial>,
    pub url: String,
    pub status: CallbackStatus,
    /// Attempts that were made, over all replays.
    pub attempts: u32,
}

/// A delivery that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackDue {
    pub id: CallbackId,
    pub url: String,
    /// The number of the attempt that is to be made, from 1.
    pub attempt_number: u32,
    pub event: Event,
}

/// One attempt, as it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackAttempt {
    pub id: CallbackId,
    /// From 1; each number once per callback.
    pub number: u32,
    /// When it began, ms since 1970.
    pub at_ms: i64,
    pub duration_ms: u32,
    /// What was sent: headers without secrets, and body.
    pub request: String,
    pub result: CallbackResult,
    pub next: CallbackNext,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackResult {
    /// The receiver answered, with whatever status.
    Reply { status: u16, body: String },
    /// No answer: refused, timed out, forbidden address.
    Error { why: String },
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackNext {
    Delivered,
    /// Tried again at this ms since 1970.
    RetryAt(i64),
    Dead,
}

impl Store {
    /// Deliveries that are due, the longest overdue first. Each is *offered*: it is not given
    /// again before its attempt is stored, or for [`OFFER_MS`] where none is. So a receiver that
    /// is slow to answer takes no place from the others. Offers are not on disk: after a restart
    /// all that is due is given again.
    pub async fn callbacks_due(
        &self,
        now_ms: i64,
        limit: u32,
    ) -> Result<Vec<CallbackDue>, StoreError> {
        let limit = limit as usize;
        let known = match self.place() {
            Place::Database(writer) => writer.known(),
            Place::Memory(memory) => return Ok(memory.callbacks_due(now_ms, limit)),
        };
        let wanted = known::lock(known).begin_look(now_ms, limit);
        if let Some(reach) = wanted {
            self.look(known, now_ms, reach).await?;
        }
        Ok(known::lock(known).give(now_ms, limit))
    }

    /// When [`Store::callbacks_due`] has something to give next, ms since 1970.
    pub async fn next_callback_ms(&self) -> Result<Option<i64>, StoreError> {
        let known = match self.place() {
            Place::Database(writer) => writer.known(),
            Place::Memory(memory) => return Ok(memory.next_callback_ms()),
        };
        let wanted = known::lock(known).begin_first_look();
        if let Some(reach) = wanted {
            self.look(known, i64::MIN, reach).await?;
        }
        Ok(known::lock(known).next_ms())
    }

    async fn look(
        &self,
        known: &Mutex<Known>,
        now_ms: i64,
        reach: usize,
    ) -> Result<(), StoreError> {
        match self.reader(Scope::All).await? {
            Reader::Database(mut loan) => {
                rows::look(&mut loan.connection(), known, now_ms, reach).await
            }
            Reader::Memory(_) => Ok(()),
        }
    }

    /// Stores an attempt and what follows it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the callback is not known, or the number was given before.
    pub async fn callback_attempt(&self, attempt: CallbackAttempt) -> Result<(), StoreError> {
        let (id, next) = (attempt.id, attempt.next);
        self.perform(Work::CallbackAttempt(attempt.bounded())).await?;
        match self.place() {
            Place::Database(writer) => known::lock(writer.known()).attempted(id, next),
            Place::Memory(memory) => offered::lock(memory.offered()).withdraw(id),
        }
        Ok(())
    }

    /// The deliveries of a call's events, each with its attempts in order.
    pub async fn callbacks_of(
        &self,
        whose: impl Into<Scope>,
        serial: Serial,
    ) -> Result<Vec<(CallbackState, Vec<CallbackAttempt>)>, StoreError> {
        let scope = whose.into();
        match self.reader(scope).await? {
            Reader::Database(mut loan) => rows::of(&mut loan.connection(), scope, serial).await,
            Reader::Memory(memory) => Ok(memory.read(|tables| tables.callbacks.of(scope, serial))),
        }
    }

    /// Makes a delivery due at `now_ms` again, whatever became of it; false where there is none.
    pub async fn replay(&self, id: CallbackId, now_ms: i64) -> Result<bool, StoreError> {
        let replayed = self.edit(Edit::ReplayCallback { id, now_ms }).await? > 0;
        if let (true, Place::Database(writer)) = (replayed, self.place()) {
            known::lock(writer.known()).due_at(now_ms);
        }
        Ok(replayed)
    }

    /// A page of the deliveries of a tenant that were given up, oldest event first.
    pub async fn dead_letters(
        &self,
        tenant: TenantId,
        offset: u32,
        limit: u32,
    ) -> Result<Vec<CallbackState>, StoreError> {
        match self.reader(tenant).await? {
            Reader::Database(mut loan) => {
                rows::dead_letters(&mut loan.connection(), tenant, offset, limit).await
            }
            Reader::Memory(memory) => {
                Ok(memory.read(|tables| tables.callbacks.dead_letters(tenant, offset, limit)))
            }
        }
    }
}

pub use offered::OFFER_MS;

impl CallbackAttempt {
    fn bounded(mut self) -> Self {
        cut(&mut self.request);
        match &mut self.result {
            CallbackResult::Reply { body, .. } => cut(body),
            CallbackResult::Error { why } => cut(why),
        }
        self
    }
}

fn cut(text: &mut String) {
    text.truncate(text.floor_char_boundary(MAX_CALLBACK_TEXT_BYTES));
}
