//! The tables in a PostgreSQL server: one writer that groups commits, a pool of readers.
//!
//! One process has a database at a time: the writer's session holds an advisory lock, which ends
//! with the session. So whoever holds it also knows that every transaction of the session before is
//! decided (see `session.rs`). Where several servers are named, the one is used that is no standby.

mod address;
mod session;
pub(crate) mod walls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

pub use self::address::PostgresUrl;
use self::session::Session;
use crate::Scope;
use crate::error::StoreError;
use crate::sql::Loan;
use crate::writer::Writer;

/// How long a database may be away, or the end of a commit unknown, before the store stops.
pub const OUTAGE_LIMIT: Duration = Duration::from_secs(30);

/// A process that was killed is noticed by the server and its session ended within this time.
const TAKE_OVER_LIMIT: Duration = Duration::from_secs(30);
/// Readers at a time. Reads are point queries or bounded pages; the writer is none of them.
const READERS: u32 = 8;
/// How long a reader waits for a connection before it gets an error.
const READER_WAIT: Duration = Duration::from_secs(5);
/// What the server ends by itself, ms: a statement, and a wait for a lock.
const STATEMENT_MS: &str = "10000";
const LOCK_MS: &str = "5000";

/// The store in one database of a server.
#[derive(Debug)]
pub struct Postgres {
    readers: PgPool,
    writer: Writer,
    away: Arc<AtomicBool>,
}

impl Postgres {
    pub(crate) async fn open(
        url: &PostgresUrl,
        take_over: Option<Duration>,
    ) -> Result<Self, StoreError> {
        let away = Arc::new(AtomicBool::new(false));
        let take_over = take_over.unwrap_or(TAKE_OVER_LIMIT);
        let (session, positions) = Session::open(url, take_over, Arc::clone(&away)).await?;
        let readers = session.readers().clone();
        let (writer, inbox) = Writer::channel();
        inbox.serve(session, positions);
        Ok(Postgres { readers, writer, away })
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    pub(crate) fn is_away(&self) -> bool {
        self.away.load(Relaxed)
    }

    pub(crate) async fn reader(&self, scope: Scope) -> Result<Loan, StoreError> {
        Ok(Loan::Postgres(self.readers.begin_with(walls::begin(scope)).await?))
    }

    /// Writes what is queued, then lets go of the database.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Those who read; each connects when it is first asked for.
fn readers(to: PgConnectOptions) -> PgPool {
    let pool = PgPoolOptions::new().max_connections(READERS).acquire_timeout(READER_WAIT);
    pool.connect_lazy_with(to)
}
