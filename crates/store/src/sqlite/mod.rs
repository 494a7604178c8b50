//! The embedded database: one writer that groups commits, a pool of readers, checkpoints apart.

mod checkpoint;
mod directory;
mod group;
pub(crate) mod multi_row;
mod schema;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Sqlite as SqliteDatabase};
use tokio::sync::{mpsc, oneshot};

use self::writer::Writer;
use crate::batch::{Batch, Submitted};
use crate::callbacks::Offered;
use crate::counters::Counters;
use crate::error::{CommitError, StoreError};
use crate::work::{Outcome, QUEUE_LIMIT, QUEUE_RESERVE, Reply, Work};

/// Readers at a time. Reads are point queries or bounded pages; the writer is none of them.
const READERS: u32 = 4;
/// How long a connection waits for another one's lock (a finishing checkpoint) before it fails.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// The store in a file of one data directory.
#[derive(Debug)]
pub struct Sqlite {
    readers: SqlitePool,
    commands: mpsc::Sender<Command>,
    stopped: Stopped,
    counters: Arc<Counters>,
    offered: Mutex<Offered>,
}

/// Why nothing is accepted any more, once that is so.
pub(crate) type Stopped = Arc<OnceLock<String>>;

#[derive(Debug)]
pub(crate) enum Command {
    Work {
        work: Work,
        reply: Reply,
    },
    /// The log is long: move what is left of it, between two groups, so that it starts again.
    FinishCheckpoint {
        done: oneshot::Sender<()>,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
}

impl Sqlite {
    pub(crate) async fn open(directory: &Path) -> Result<Self, StoreError> {
        let lock = directory::lock(directory)?;
        let file = directory.join("offhook.db");
        let mut connection = options(&file).connect().await?;
        schema::migrate(&mut connection).await?;
        let positions = crate::events::last_positions(&mut connection).await?;
        let checkpoints = options(&file).busy_timeout(Duration::ZERO).connect().await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options(&file).pragma("query_only", "ON"))
            .await?;
        directory::sync(directory)?;

        let stopped = Stopped::default();
        let counters = Arc::new(Counters::default());
        let (commands, queue) = mpsc::channel(QUEUE_LIMIT);
        let log = checkpoint::Log::default();
        let checkpointer = checkpoint::start(
            checkpoints,
            log.clone(),
            commands.downgrade(),
            Arc::clone(&stopped),
            Arc::clone(&counters),
        );
        let writer = Writer {
            connection,
            positions,
            log,
            checkpointer,
            stopped: Arc::clone(&stopped),
            counters: Arc::clone(&counters),
            lock,
        };
        tokio::spawn(writer.run(queue));
        Ok(Sqlite { readers, commands, stopped, counters, offered: Mutex::default() })
    }

    pub(crate) fn submit(&self, batch: Batch) -> Submitted {
        if batch.accepts() && self.commands.capacity() < QUEUE_RESERVE {
            self.counters.count_refused();
            return Submitted::refused(CommitError::Busy);
        }
        let (reply, answer) = oneshot::channel();
        match self.enqueue(Command::Work { work: Work::Submit(batch), reply }) {
            Ok(()) => Submitted::new(answer, None),
            Err(error) => Submitted::refused(error),
        }
    }

    /// Hands work to the writer and waits for its commit.
    pub(crate) async fn perform(&self, work: Work) -> Result<Outcome, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Command::Work { work, reply })?;
        match answer.await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(StoreError::Stopped { why: "its writer is gone".into() }),
        }
    }

    pub(crate) async fn reader(&self) -> Result<PoolConnection<SqliteDatabase>, StoreError> {
        Ok(self.readers.acquire().await?)
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn offered(&self) -> &Mutex<Offered> {
        &self.offered
    }

    /// Writes what is queued, then lets go of the directory.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        let (reply, closed) = oneshot::channel();
        if self.commands.send(Command::Close { reply }).await.is_ok() {
            // An error means that the writer went away by itself, which is closed as well.
            closed.await.ok();
        }
    }

    fn enqueue(&self, command: Command) -> Result<(), CommitError> {
        if let Some(why) = self.stopped.get() {
            return Err(CommitError::Stopped { why: why.clone() });
        }
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                self.counters.count_refused();
                CommitError::Busy
            }
            mpsc::error::TrySendError::Closed(_) => CommitError::Stopped {
                why: self.stopped.get().cloned().unwrap_or_else(|| "its writer is gone".into()),
            },
        })
    }
}

/// How each connection is opened. Checkpoints are ours (see `checkpoint.rs`); statements are not
/// logged, since a slow one would be logged above debug.
fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(LOCK_WAIT)
        .statement_cache_capacity(512)
        .pragma("wal_autocheckpoint", "0")
        .pragma("cache_size", "-16384")
        // A commit must not fail because a temporary file finds no free descriptor.
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
}
