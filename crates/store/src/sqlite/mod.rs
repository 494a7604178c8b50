//! The embedded database: one writer that groups commits, a pool of readers, checkpoints apart.

mod checkpoint;
mod directory;
mod disk;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};

use self::disk::SqliteDisk;
use crate::callbacks::Offered;
use crate::error::StoreError;
use crate::sql::{Connection, Loan, schema};
use crate::writer::Writer;

/// Readers at a time. Reads are point queries or bounded pages; the writer is none of them.
const READERS: u32 = 4;
/// How long a connection waits for another one's lock (a finishing checkpoint) before it fails.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// The store in a file of one data directory.
#[derive(Debug)]
pub struct Sqlite {
    readers: SqlitePool,
    writer: Writer,
    offered: Mutex<Offered>,
}

impl Sqlite {
    pub(crate) async fn open(directory: &Path) -> Result<Self, StoreError> {
        let lock = directory::lock(directory)?;
        let file = directory.join("offhook.db");
        let mut connection = options(&file).connect().await?;
        migrate(&mut connection).await?;
        let positions =
            crate::events::last_positions(&mut Connection::Sqlite(&mut connection)).await?;
        let checkpoints = options(&file).busy_timeout(Duration::ZERO).connect().await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options(&file).pragma("query_only", "ON"))
            .await?;
        directory::sync(directory)?;

        let (writer, inbox) = Writer::channel();
        let log = checkpoint::Log::default();
        let checkpointer = checkpoint::start(
            checkpoints,
            log.clone(),
            writer.commands(),
            Arc::clone(writer.stopped()),
            Arc::clone(writer.counters()),
        );
        inbox.serve(SqliteDisk { connection, log, checkpointer, lock }, positions);
        Ok(Sqlite { readers, writer, offered: Mutex::default() })
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    pub(crate) fn offered(&self) -> &Mutex<Offered> {
        &self.offered
    }

    pub(crate) async fn reader(&self) -> Result<Loan, StoreError> {
        Ok(Loan::Sqlite(self.readers.acquire().await?))
    }

    /// Each connection may keep 16 MB of pages. SQLite is built with its caches in one group, so asking one connection
    /// empties all of them.
    pub(crate) async fn release_memory(&self) -> Result<(), StoreError> {
        sqlx::query("PRAGMA shrink_memory").execute(&self.readers).await?;
        Ok(())
    }

    /// Writes what is queued, then lets go of the directory.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Brings the file to the newest version, or refuses a file that is newer; `PRAGMA user_version`
/// says which one it has.
async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let found: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    for (version, steps) in schema::missing(found)? {
        let mut transaction = connection.begin().await?;
        for step in steps {
            transaction.execute(*step).await?;
        }
        let mark = AssertSqlSafe(format!("PRAGMA user_version = {version}"));
        transaction.execute(mark).await?;
        transaction.commit().await?;
    }
    Ok(())
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

#[cfg(test)]
mod tests;
