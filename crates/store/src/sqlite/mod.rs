//! The embedded database: one writer that groups commits, readers, checkpoints apart.

mod checkpoint;
mod directory;
mod disk;
mod readers;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use self::disk::SqliteDisk;
pub(crate) use self::readers::ReaderLoan;
use self::readers::Readers;
use crate::error::StoreError;
use crate::sql::sqlite::SqliteConnection;
use crate::sql::{Connection, Loan, Statement, schema};
use crate::writer::Writer;

/// How long a connection waits for another one's lock (a finishing checkpoint) before it fails.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// Statements that each connection keeps prepared: more than there are of them.
const PREPARED: usize = 256;

/// The store in a file of one data directory.
#[derive(Debug)]
pub struct Sqlite {
    readers: Arc<Readers>,
    writer: Writer,
}

/// The directory and the file in it, opened.
struct Opened {
    lock: File,
    writes: rusqlite::Connection,
    checkpoints: rusqlite::Connection,
    readers: Readers,
}

impl Sqlite {
    pub(crate) async fn open(directory: &Path) -> Result<Self, StoreError> {
        let directory = directory.to_owned();
        // Bringing a long file to a new version takes its time.
        let opened = spawn_blocking(move || Opened::open(&directory)).await;
        let Opened { lock, writes, checkpoints, readers } = opened.map_err(|ended| {
            StoreError::Stopped { why: format!("it was not opened to the end: {ended}") }
        })??;
        let mut connection = SqliteConnection::Own(writes);
        let positions =
            crate::events::last_positions(&mut Connection::Sqlite(&mut connection)).await?;
        let (writer, inbox) = Writer::channel();
        let log = checkpoint::Log::default();
        let checkpointer = checkpoint::start(
            SqliteConnection::shared(checkpoints),
            log.clone(),
            writer.commands(),
            Arc::clone(writer.stopped()),
            Arc::clone(writer.counters()),
        );
        let disk = SqliteDisk { connection, log, checkpointer, lock };
        inbox.serve_on_a_thread(disk, positions)?;
        Ok(Sqlite { readers: Arc::new(readers), writer })
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    pub(crate) async fn reader(&self) -> Result<Loan, StoreError> {
        Ok(Loan::Sqlite(self.readers.lend().await?))
    }

    /// Each connection may keep 16 MB of pages. SQLite is built with its caches in one group, so asking one connection
    /// empties all of them.
    pub(crate) async fn release_memory(&self) -> Result<(), StoreError> {
        let shrink = Statement::new("PRAGMA shrink_memory");
        shrink.execute(&mut self.reader().await?.connection()).await?;
        Ok(())
    }

    /// Writes what is queued, then lets go of the directory.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

impl Opened {
    fn open(directory: &Path) -> Result<Opened, StoreError> {
        let lock = directory::lock(directory)?;
        let file = directory.join("offhook.db");
        let mut writes = connect(&file)?;
        migrate(&mut writes)?;
        let checkpoints = connect(&file)?;
        checkpoints.busy_timeout(Duration::ZERO)?;
        let readers = Readers::open(|| {
            let connection = connect(&file)?;
            connection.pragma_update(None, "query_only", "ON")?;
            Ok(connection)
        })?;
        directory::sync(directory)?;
        Ok(Opened { lock, writes, checkpoints, readers })
    }
}

/// Brings the file to the newest version, or refuses a file that is newer; `PRAGMA user_version`
/// says which one it has.
fn migrate(connection: &mut rusqlite::Connection) -> Result<(), StoreError> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (version, added) in schema::missing(found)? {
        let transaction = connection.transaction()?;
        for step in added.steps {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

/// How each connection is opened. Checkpoints are ours (see `checkpoint.rs`).
fn connect(file: &Path) -> Result<rusqlite::Connection, rusqlite::Error> {
    let connection = rusqlite::Connection::open(file)?;
    connection.busy_timeout(LOCK_WAIT)?;
    connection.set_prepared_statement_cache_capacity(PREPARED);
    connection.execute_batch(
        // The last one: a commit must not fail because a temporary file finds no free descriptor.
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA cache_size = -16384;
         PRAGMA temp_store = MEMORY;",
    )?;
    Ok(connection)
}

#[cfg(test)]
mod tests;
