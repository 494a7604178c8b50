//! The tables in a PostgreSQL server: one writer that groups commits, a pool of readers.
//!
//! One process has a database at a time: the writer's session holds an advisory lock, which ends
//! with the session. So whoever holds it also knows that every transaction of the session before is
//! decided (see `session.rs`).

mod session;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use self::session::Session;
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

/// `postgres://user:password@host:port/database?parameters`, as libpq writes it. What it does not
/// say comes from `PGPASSWORD`, `~/.pgpass` and the like. `sslmode=verify-full` demands TLS and a
/// certificate for the host's name.
#[derive(Clone)]
pub struct PostgresUrl(Box<PgConnectOptions>);

impl FromStr for PostgresUrl {
    type Err = StoreError;

    fn from_str(url: &str) -> Result<Self, StoreError> {
        let address = |why: String| {
            // Without what may be a password.
            let host = url.rsplit_once('@').map_or(url, |(_, host)| host);
            StoreError::Address { url: host.to_owned(), why }
        };
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(address("it begins with another scheme".to_owned()));
        }
        let options =
            PgConnectOptions::from_str(url).map_err(|error| address(error.to_string()))?;
        Ok(PostgresUrl(Box::new(options)))
    }
}

impl PostgresUrl {
    /// Host and database, for messages.
    pub fn database(&self) -> String {
        let host = match self.0.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", self.0.get_host(), self.0.get_port()),
        };
        format!("{} at {host}", self.0.get_database().unwrap_or(self.0.get_username()))
    }

    /// How each connection is opened. Statements are not logged, since a slow one would be logged
    /// above debug. Keep-alives let the server notice within half a minute that we are gone.
    fn options(&self) -> PgConnectOptions {
        PgConnectOptions::clone(&self.0)
            .application_name("offhook")
            .statement_cache_capacity(512)
            .options([
                ("synchronous_commit", "on"),
                ("statement_timeout", STATEMENT_MS),
                ("lock_timeout", LOCK_MS),
                ("tcp_keepalives_idle", "10"),
                ("tcp_keepalives_interval", "5"),
                ("tcp_keepalives_count", "3"),
                ("client_min_messages", "warning"),
            ])
            .disable_statement_logging()
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({})", self.database())
    }
}

impl Postgres {
    pub(crate) async fn open(
        url: &PostgresUrl,
        take_over: Option<Duration>,
    ) -> Result<Self, StoreError> {
        let away = Arc::new(AtomicBool::new(false));
        let take_over = take_over.unwrap_or(TAKE_OVER_LIMIT);
        let (session, positions) = Session::open(url, take_over, Arc::clone(&away)).await?;
        let readers = PgPoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(READER_WAIT)
            .connect_lazy_with(url.options());
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

    pub(crate) async fn reader(&self) -> Result<Loan, StoreError> {
        Ok(Loan::Postgres(self.readers.acquire().await?))
    }

    /// Writes what is queued, then lets go of the database.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
