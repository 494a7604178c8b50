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
//! - After a commit whose end is not known nothing is accepted any more. SQLite cannot say what
//!   became of a failed one; PostgreSQL is asked, for as long as [`OUTAGE_LIMIT`].
//! - All stores do the same; one suite of tests runs on all three.
//! - What reads for a tenant names it. On PostgreSQL no other tenant's row exists for that read (`postgres/walls.rs`).

#![forbid(unsafe_code)]

mod attempts;
mod batch;
mod callbacks;
mod cdrs;
mod counters;
pub mod crash_points;
mod error;
mod events;
mod history;
mod idempotency;
mod intents;
mod ita_usage;
mod memory;
mod meta;
mod number_bindings;
mod postgres;
mod recovery;
mod registrations;
mod retention;
mod rows;
mod scope;
mod secrets;
mod softphones;
mod sql;
mod sqlite;
mod tenants;
mod timelines;
mod tokens;
mod voice_recordings;
mod voice_templates;
mod work;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use batch::{Batch, Committed, EventPosition, Submitted};
pub use callbacks::{
    CallbackAttempt, CallbackDue, CallbackId, CallbackNext, CallbackResult, CallbackState,
    CallbackStatus, MAX_CALLBACK_TEXT_BYTES, OFFER_MS,
};
pub use counters::CountersSnapshot;
pub use error::{CommitError, StoreError};
pub use history::{CallQuery, KeptCall, Tasks};
pub use idempotency::AcceptedRequest;
pub use intents::{Claim, IntentState, NaturalKey};
pub use memory::Memory;
pub use number_bindings::NumberBinding;
pub use postgres::{OUTAGE_LIMIT, Postgres, PostgresUrl};
pub use recovery::Recovery;
pub use registrations::Registration;
pub use retention::{Expiry, TimelineMark};
pub use scope::Scope;
pub use softphones::Softphone;
pub use sqlite::Sqlite;
pub use tenants::Tenant;
pub use timelines::MAX_TIMELINE_BYTES;
pub use tokens::{Token, TokenKind};
pub use voice_recordings::{VoiceRecording, VoiceStatus};
pub use voice_templates::VoiceTemplate;

use counters::Counters;
use sql::Loan;
use work::{EXPIRED_AT_ONCE, Edit, Outcome, Work};
use writer::Writer;

/// Where the rows are kept.
#[derive(Debug, Clone)]
pub enum StoreConfig {
    /// In `offhook.db` of this directory, which one process may use at a time.
    Sqlite { directory: PathBuf },
    /// In a database of a PostgreSQL server, which one process may use at a time.
    Postgres {
        url: PostgresUrl,
        /// How long to wait for the session of a process that was killed to end; default 30 s.
        take_over: Option<Duration>,
    },
    /// Nowhere but in this process: tests and simulated worlds.
    Memory,
}

impl StoreConfig {
    pub fn postgres(url: PostgresUrl) -> StoreConfig {
        StoreConfig::Postgres { url, take_over: None }
    }
}

/// A handle; clones share one store.
#[derive(Debug, Clone)]
pub enum Store {
    Sqlite(Arc<Sqlite>),
    Postgres(Arc<Postgres>),
    Memory(Arc<Memory>),
}

/// Where something is read.
pub(crate) enum Reader<'a> {
    Database(Loan),
    Memory(&'a Memory),
}

/// Where something is written.
enum Place<'a> {
    Database(&'a Writer),
    Memory(&'a Arc<Memory>),
}

impl Store {
    /// Opens the store, creating or migrating what is needed. Databases need a tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Directory`], [`StoreError::Locked`], [`StoreError::InUse`],
    /// [`StoreError::Unreachable`], [`StoreError::NewerSchema`] or [`StoreError::Database`]; each
    /// says what to do.
    pub async fn open(config: StoreConfig) -> Result<Store, StoreError> {
        match config {
            StoreConfig::Sqlite { directory } => {
                Ok(Store::Sqlite(Arc::new(Sqlite::open(&directory).await?)))
            }
            StoreConfig::Postgres { url, take_over } => {
                Ok(Store::Postgres(Arc::new(Postgres::open(&url, take_over).await?)))
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
        match self.place() {
            Place::Database(writer) => writer.submit(batch.into()),
            Place::Memory(memory) => memory.submit(batch.into()),
        }
    }

    /// What was done since the store was opened.
    pub fn counters(&self) -> CountersSnapshot {
        let counters: &Counters = match self.place() {
            Place::Database(writer) => writer.counters(),
            Place::Memory(memory) => memory.counters(),
        };
        counters.snapshot()
    }

    /// Whether the database is away at the moment and may come back: what is submitted waits.
    pub fn is_away(&self) -> bool {
        match self {
            Store::Sqlite(_) | Store::Memory(_) => false,
            Store::Postgres(postgres) => postgres.is_away(),
        }
    }

    /// Lets go of pages that are only kept because they may be read again.
    pub async fn release_memory(&self) -> Result<(), StoreError> {
        match self {
            Store::Sqlite(sqlite) => sqlite.release_memory().await,
            // Its pages are kept by another process, or are the data themselves.
            Store::Postgres(_) | Store::Memory(_) => Ok(()),
        }
    }

    /// Writes what is queued, then accepts nothing more and lets go of the database.
    pub async fn close(&self) {
        match self {
            Store::Sqlite(sqlite) => sqlite.close().await,
            Store::Postgres(postgres) => postgres.close().await,
            Store::Memory(memory) => {
                memory.commit();
                memory.fail("it was closed");
            }
        }
    }

    /// Where nothing is seen but what is within `whose`: PostgreSQL holds it, whatever is asked of it there.
    async fn reader(&self, whose: impl Into<Scope>) -> Result<Reader<'_>, StoreError> {
        Ok(match self {
            Store::Sqlite(sqlite) => Reader::Database(sqlite.reader().await?),
            Store::Postgres(postgres) => Reader::Database(postgres.reader(whose.into()).await?),
            Store::Memory(memory) => Reader::Memory(memory),
        })
    }

    fn place(&self) -> Place<'_> {
        match self {
            Store::Sqlite(sqlite) => Place::Database(sqlite.writer()),
            Store::Postgres(postgres) => Place::Database(postgres.writer()),
            Store::Memory(memory) => Place::Memory(memory),
        }
    }

    async fn perform(&self, work: Work) -> Result<Outcome, StoreError> {
        match self.place() {
            Place::Database(writer) => writer.perform(work).await,
            Place::Memory(memory) => memory.perform(work).await,
        }
    }

    /// An edit that changes a bounded number of rows, until it changes fewer; how many in all.
    async fn edit_in_steps(&self, edit: impl Fn() -> Edit) -> Result<u64, StoreError> {
        let mut changed = 0;
        loop {
            let step = self.edit(edit()).await?;
            changed += step;
            if step < u64::from(EXPIRED_AT_ONCE) {
                return Ok(changed);
            }
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
