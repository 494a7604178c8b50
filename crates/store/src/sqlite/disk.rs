//! The writer's connection to the file.
//!
//! A commit that fails is never tried again: what the disk holds then is not known, and a second
//! fsync may report success for pages that the kernel has thrown away. The store stops instead.

use std::fs::File;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::checkpoint::{self, Log};
use crate::error::{ApplyError, DatabaseError};
use crate::sql::sqlite::SqliteConnection;
use crate::sql::{Connection, Statement};
use crate::writer::{Disk, Fate};

pub(super) struct SqliteDisk {
    pub(super) connection: SqliteConnection,
    pub(super) log: Log,
    pub(super) checkpointer: JoinHandle<()>,
    /// Held until the connections are closed.
    pub(super) lock: File,
}

impl Disk for SqliteDisk {
    /// A disk answers, late or with an error.
    const PATIENCE: Option<Duration> = None;

    fn connection(&mut self) -> Connection<'_> {
        Connection::Sqlite(&mut self.connection)
    }

    async fn begin(&mut self) -> Result<(), ApplyError> {
        loop {
            match self.execute("BEGIN IMMEDIATE").await {
                Ok(()) => return Ok(()),
                // Nothing was written, so that trying again is safe.
                Err(error) if is_busy(&error) => tracing::warn!(
                    "another process holds the database's write lock; nothing is stored until it \
                     lets go"
                ),
                Err(error) => return Err(ApplyError::broken(error)),
            }
        }
    }

    async fn commit(&mut self) -> Result<(), ApplyError> {
        self.execute("COMMIT").await.map_err(ApplyError::broken)
    }

    async fn resolve(&mut self, why: String, _since: Instant) -> Result<Fate, String> {
        Err(why)
    }

    fn notice_commit(&mut self, weight: usize) {
        self.log.notice_commit(weight);
    }

    /// Moves what is left of the log, so that it starts again at its beginning.
    async fn tidy(&mut self) -> Result<(), String> {
        let moved = checkpoint::passive(&mut self.connection).await;
        moved.map(drop).map_err(|error| error.to_string())
    }

    async fn close(self, failed: bool) {
        self.log.close();
        if self.checkpointer.await.is_err() {
            tracing::warn!("the checkpointer ended early; the next start moves the log");
        }
        if failed {
            // Closing the last connection would checkpoint, and trust an fsync that comes after a
            // failed one. Both stay as they are until the process ends, which is soon; the next
            // start reads the log.
            std::mem::forget((self.connection, self.lock));
        } else {
            if let Err(error) = self.connection.close() {
                tracing::warn!(%error, "the database was not closed cleanly; the next start repairs it");
            }
            drop(self.lock);
        }
    }
}

impl SqliteDisk {
    async fn execute(&mut self, statement: &'static str) -> Result<(), DatabaseError> {
        Statement::new(statement).execute(&mut self.connection()).await.map(drop)
    }
}

/// SQLITE_BUSY, in its plain form and its extended ones.
fn is_busy(error: &DatabaseError) -> bool {
    let DatabaseError::Sqlite(error) = error else { return false };
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}
