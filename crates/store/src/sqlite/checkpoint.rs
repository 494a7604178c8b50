//! Moves the write-ahead log into the database file, apart from the writer.
//!
//! Under load a passive checkpoint on a connection of its own moves what is committed. Since the
//! writer adds meanwhile, the log alone never becomes empty and would grow; past a bound the writer
//! is therefore asked to move the short rest between two groups, after which the log starts again
//! at its beginning. In a pause the log is truncated.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::counters::Counters;
use crate::error::DatabaseError;
use crate::sql::sqlite::SqliteConnection;
use crate::sql::{Connection, Statement};
use crate::writer::{Command, Stopped};

/// Weight of the work after which the log is moved, and what each commit adds by itself.
const STEP: u64 = 4_096;
const COMMIT_WEIGHT: u64 = 32;
/// Pages in the log (of 4 KiB: 32 MiB) from which on the writer has to help.
const BOUND_PAGES: i64 = 8_192;
/// Commits that stay away this long are a pause.
const PAUSE: Duration = Duration::from_secs(2);

/// How much the writer has added to the log.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<LogState>);

#[derive(Default)]
struct LogState {
    commits: AtomicU64,
    /// Since the log was moved last.
    weight: AtomicU64,
    closed: AtomicBool,
    wake: Notify,
}

impl Log {
    /// Called by the writer after each group.
    pub(super) fn notice_commit(&self, weight: usize) {
        let added = weight as u64 + COMMIT_WEIGHT;
        let weight = self.0.weight.fetch_add(added, Relaxed) + added;
        self.0.commits.fetch_add(1, Relaxed);
        // The first one starts the wait for a pause.
        if weight == added || weight >= STEP {
            self.0.wake.notify_one();
        }
    }

    pub(super) fn close(&self) {
        self.0.closed.store(true, Relaxed);
        self.0.wake.notify_one();
    }
}

/// Runs until [`Log::close`].
pub(super) fn start(
    connection: SqliteConnection,
    log: Log,
    writer: mpsc::WeakSender<Command>,
    stopped: Stopped,
    counters: Arc<Counters>,
) -> JoinHandle<()> {
    let checkpointer = Checkpointer { connection, log, writer, stopped, counters };
    tokio::spawn(checkpointer.run())
}

struct Checkpointer {
    connection: SqliteConnection,
    log: Log,
    writer: mpsc::WeakSender<Command>,
    stopped: Stopped,
    counters: Arc<Counters>,
}

impl Checkpointer {
    async fn run(mut self) {
        loop {
            // Nothing to move: no timer runs.
            self.log.0.wake.notified().await;
            if let Err(error) = self.until_pause().await {
                let why = format!("the log could not be moved into the database: {error}");
                tracing::error!(why, "nothing is accepted any more");
                self.stopped.set(why).ok();
            }
            if self.log.0.closed.load(Relaxed) || self.stopped.get().is_some() {
                break;
            }
        }
        // The writer closes last and repairs or reports; an error here tells nothing more.
        self.connection.close().ok();
    }

    /// Moves the log while commits come, until they stay away and it is truncated.
    async fn until_pause(&mut self) -> Result<(), DatabaseError> {
        let mut seen = 0;
        loop {
            if self.log.0.closed.load(Relaxed) || self.stopped.get().is_some() {
                return Ok(());
            }
            if self.log.0.weight.load(Relaxed) >= STEP {
                self.step().await?;
            }
            if timeout(PAUSE, self.log.0.wake.notified()).await.is_ok() {
                continue;
            }
            let commits = self.log.0.commits.load(Relaxed);
            if commits == seen {
                self.log.0.weight.store(0, Relaxed);
                if self.truncate().await? {
                    return Ok(());
                }
            }
            seen = commits;
        }
    }

    async fn step(&mut self) -> Result<(), DatabaseError> {
        self.log.0.weight.store(1, Relaxed);
        let moved = passive(&mut self.connection).await?;
        self.counters.count_checkpoint();
        if moved.log_pages > BOUND_PAGES
            && let Some(writer) = self.writer.upgrade()
        {
            // Waited for, since only one connection can move the log at a time.
            let (done, finished) = oneshot::channel();
            if writer.send(Command::Tidy { done }).await.is_ok() {
                // An error means that the writer is gone, which the loop sees by itself.
                finished.await.ok();
            }
        }
        Ok(())
    }

    /// False where a reader or the writer was in the way.
    async fn truncate(&mut self) -> Result<bool, DatabaseError> {
        let moved = checkpoint(&mut self.connection, "PRAGMA wal_checkpoint(TRUNCATE)").await?;
        self.counters.count_checkpoint();
        Ok(!moved.busy)
    }
}

pub(super) struct Moved {
    busy: bool,
    /// Pages in the log, moved or not.
    log_pages: i64,
}

/// Moves what no reader needs any more, without waiting for anybody.
pub(super) async fn passive(connection: &mut SqliteConnection) -> Result<Moved, DatabaseError> {
    checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)").await
}

async fn checkpoint(
    connection: &mut SqliteConnection,
    pragma: &'static str,
) -> Result<Moved, DatabaseError> {
    let row = Statement::new(pragma).fetch_optional(&mut Connection::Sqlite(connection)).await?;
    let row = row.ok_or(DatabaseError::NoRow)?;
    Ok(Moved { busy: row.flag("busy")?, log_pages: row.get("log")? })
}
