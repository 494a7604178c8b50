//! What offhook knows after a restart: accepted calls, their attempts and records, the event log,
//! callbacks, tenants and what may be played.
//!
//! One hot verb, [`Store::submit`]: writes that are stored together or not at all. Batches are
//! applied in the order in which they were submitted, and those that wait share a commit, so that
//! the group grows with the load. A batch is on disk when its [`Submitted`] resolves; nothing that
//! promises it may happen before.
//!
//! # Invariants
//! - One writer. Everything that changes a row passes its queue, in order; the queue is bounded.
//! - Positions in a tenant's event log are given inside the commit and have no gaps.
//! - After a commit has failed nothing is accepted any more, and the commit is not tried again.
//! - Both backends do the same; one suite of tests runs on both.

#![forbid(unsafe_code)]

mod attempts;
mod batch;
mod callbacks;
mod cdrs;
mod counters;
pub mod crash_points;
mod error;
mod events;
mod idempotency;
mod intents;
mod memory;
mod meta;
mod recovery;
mod rows;
mod secrets;
mod sqlite;
mod tenants;
mod timelines;
mod tokens;
mod voice_recordings;
mod voice_templates;
mod work;

use std::path::PathBuf;
use std::sync::Arc;

pub use batch::{Batch, Committed, EventPosition, Submitted};
pub use callbacks::{
    CallbackAttempt, CallbackDue, CallbackId, CallbackNext, CallbackResult, CallbackState,
    CallbackStatus, MAX_CALLBACK_TEXT_BYTES, OFFER_MS,
};
pub use cdrs::CdrQuery;
pub use counters::CountersSnapshot;
pub use error::{CommitError, StoreError};
pub use idempotency::AcceptedRequest;
pub use intents::{Claim, IntentState, NaturalKey};
pub use memory::Memory;
pub use recovery::Recovery;
pub use sqlite::Sqlite;
pub use tenants::Tenant;
pub use timelines::MAX_TIMELINE_BYTES;
pub use tokens::{Token, TokenKind};
pub use voice_recordings::{VoiceRecording, VoiceStatus};
pub use voice_templates::VoiceTemplate;

use work::{Edit, Outcome, Work};

/// Where the rows are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreConfig {
    /// In `offhook.db` of this directory, which one process may use at a time.
    Sqlite { directory: PathBuf },
    /// Nowhere but in this process: tests and simulated worlds.
    Memory,
}

/// A handle; clones share one store.
#[derive(Debug, Clone)]
pub enum Store {
    Sqlite(Arc<Sqlite>),
    Memory(Arc<Memory>),
}

impl Store {
    /// Opens the store, creating or migrating what is needed. SQLite needs a tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Directory`], [`StoreError::Locked`], [`StoreError::NewerSchema`] or
    /// [`StoreError::Database`]; each says what to do.
    pub async fn open(config: StoreConfig) -> Result<Store, StoreError> {
        match config {
            StoreConfig::Sqlite { directory } => {
                Ok(Store::Sqlite(Arc::new(Sqlite::open(&directory).await?)))
            }
            StoreConfig::Memory => Ok(Store::memory()),
        }
    }

    /// An empty store in memory; needs no runtime.
    pub fn memory() -> Store {
        Store::Memory(Arc::default())
    }

    /// Queues a batch, in the order of the calls. It is on disk when the result resolves to `Ok`.
    ///
    /// # Errors
    /// The result is [`CommitError::Busy`] at once where the queue is full: a batch that accepts a
    /// call is refused earlier than others, so that calls that are up can end. After a failed
    /// commit it is [`CommitError::Stopped`] for good.
    pub fn submit(&self, batch: impl Into<Batch>) -> Submitted {
        match self {
            Store::Sqlite(sqlite) => sqlite.submit(batch.into()),
            Store::Memory(memory) => memory.submit(batch.into()),
        }
    }

    /// What was done since the store was opened.
    pub fn counters(&self) -> CountersSnapshot {
        match self {
            Store::Sqlite(sqlite) => sqlite.counters().snapshot(),
            Store::Memory(memory) => memory.counters().snapshot(),
        }
    }

    /// Writes what is queued, then accepts nothing more and lets go of the data directory.
    pub async fn close(&self) {
        match self {
            Store::Sqlite(sqlite) => sqlite.close().await,
            Store::Memory(memory) => {
                memory.commit();
                memory.fail("it was closed");
            }
        }
    }

    async fn perform(&self, work: Work) -> Result<Outcome, StoreError> {
        match self {
            Store::Sqlite(sqlite) => sqlite.perform(work).await,
            Store::Memory(memory) => memory.perform(work).await,
        }
    }

    /// How many rows an edit changed.
    async fn edit(&self, edit: Edit) -> Result<u64, StoreError> {
        match self.perform(Work::Edit(Box::new(edit))).await? {
            Outcome::Changed(rows) => Ok(rows),
            Outcome::Committed(_) | Outcome::Claimed(_) => {
                unreachable!("an edit is answered as an edit")
            }
        }
    }
}
