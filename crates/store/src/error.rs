//! What can go wrong, whose fault it is, and what to do.

use std::io;
use std::path::PathBuf;

use sqlx::postgres::PgDatabaseError;

/// Why the store could not be opened, read or changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operator's: the directory is missing rights, is no directory, or its disk is broken.
    #[error(
        "the data directory {path} cannot be used: {source}; check that it exists and that this user may write to it"
    )]
    Directory { path: PathBuf, source: io::Error },
    /// The operator's: two processes were given one data directory.
    #[error(
        "the data directory {path} is in use by another process; stop it or choose another directory"
    )]
    Locked { path: PathBuf },
    /// The operator's: an older binary was started on a newer database.
    #[error(
        "the database has schema {found}, this binary knows {known} at the most; start the newer offhook that wrote it, or restore a backup"
    )]
    NewerSchema { found: i64, known: i64 },
    /// The operator's: two processes were given one database.
    #[error(
        "the database {database} is in use by another offhook; stop that one or choose another database"
    )]
    InUse { database: String },
    /// The operator's: the address of the database says nothing.
    #[error(
        "`{url}` is no address of a PostgreSQL database ({why}); write postgres://user@host/database"
    )]
    Address { url: String, why: String },
    /// The database server is not there, or does not let us in.
    #[error(
        "the database {database} cannot be opened: {source}; see to the server and to [storage] url"
    )]
    Unreachable { database: String, source: DatabaseError },
    /// A commit failed earlier, or the store was closed. Nothing is accepted any more; the process
    /// has to end, and the next start finds what was committed.
    #[error("the store has stopped: {why}")]
    Stopped { why: String },
    /// More is waiting for the disk than may wait; nothing was stored.
    #[error("too much is waiting to be written; try again later")]
    Busy,
    /// The caller's: the row contradicts one that is already there. Nothing of it was stored.
    #[error("refused, nothing was stored: {what}")]
    Conflict { what: String },
    /// A row cannot be read back: the file was changed by someone else or the disk is broken.
    #[error("a row of table {table} cannot be read: {why}; restore a backup")]
    Corrupt { table: &'static str, why: String },
    /// The database refused to open or to be read.
    #[error("the database cannot be read: {0}")]
    Database(#[from] DatabaseError),
    /// The operator's: the process has as many threads as it may.
    #[error("the store's thread could not be started: {source}; raise the limit of threads")]
    Thread { source: io::Error },
}

/// What the database itself says.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
    #[error("a query that always gives a row gave none")]
    NoRow,
    #[error("the process is ending")]
    Ending,
}

/// What is asked of a database goes by its own errors.
impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::Database(error.into())
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        StoreError::Database(error.into())
    }
}

/// Why a batch was not stored. In each case nothing of the batch is on disk, or, after
/// [`CommitError::Stopped`], it is not known to be: whatever waited for it must not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A commit failed, or the store was closed. Every later batch fails in the same way.
    #[error("the store has stopped: {why}")]
    Stopped { why: String },
    /// The writer's queue is full.
    #[error("too much is waiting to be written; try again later")]
    Busy,
    /// The batch contradicts stored rows (a serial or an idempotency key given twice); others are
    /// not affected.
    #[error("refused, nothing was stored: {what}")]
    Conflict { what: String },
}

impl From<CommitError> for StoreError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Stopped { why } => StoreError::Stopped { why },
            CommitError::Busy => StoreError::Busy,
            CommitError::Conflict { what } => StoreError::Conflict { what },
        }
    }
}

impl StoreError {
    pub(crate) fn corrupt(table: &'static str, why: impl ToString) -> StoreError {
        StoreError::Corrupt { table, why: why.to_string() }
    }
}

/// Why one piece of work was not applied inside a transaction.
#[derive(Debug)]
pub(crate) enum ApplyError {
    /// The work's own fault: it contradicts what is stored.
    Conflict(String),
    /// The database's: the transaction and with it the store are lost.
    Broken(String),
}

impl ApplyError {
    /// For what no row of ours can be the cause of.
    pub(crate) fn broken(error: impl ToString) -> ApplyError {
        ApplyError::Broken(error.to_string())
    }
}

impl From<DatabaseError> for ApplyError {
    fn from(error: DatabaseError) -> Self {
        match contradiction(&error) {
            Some(what) => ApplyError::Conflict(what),
            None => ApplyError::broken(error),
        }
    }
}

/// What the row says against others, where it is at fault and not the database. Both name table and column, never a
/// value.
fn contradiction(error: &DatabaseError) -> Option<String> {
    match error {
        DatabaseError::Sqlite(rusqlite::Error::SqliteFailure(cause, message)) => {
            let constraint = cause.code == rusqlite::ErrorCode::ConstraintViolation;
            constraint.then(|| message.clone().unwrap_or_else(|| cause.to_string()))
        }
        DatabaseError::Postgres(sqlx::Error::Database(cause)) => {
            let postgres = cause.try_downcast_ref::<PgDatabaseError>()?;
            // SQLSTATE, by its class: one statement with a key twice, a value that no column takes (a
            // text with a NUL), a constraint (PostgreSQL, appendix A).
            let contradicts = matches!(postgres.code().get(..2), Some("21" | "22" | "23"));
            contradicts.then(|| cause.message().to_owned())
        }
        DatabaseError::Sqlite(_)
        | DatabaseError::Postgres(_)
        | DatabaseError::NoRow
        | DatabaseError::Ending => None,
    }
}
