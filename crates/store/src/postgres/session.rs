//! The writer's session, and what is done when it breaks.
//!
//! Each transaction puts a number of its own into `last_commit`. Where a COMMIT was sent and no
//! answer came, a new session is opened. It has to get the lock of the old one, so that the old
//! transaction is decided by then; the number says how. A standby that has become the primary knows no
//! locks of its predecessor, and nothing of that comes to it any more; the number says besides whether it
//! has all that was confirmed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use tokio::time::{sleep, timeout};

use super::walls::Wall;
use super::{OUTAGE_LIMIT, PostgresUrl, STATEMENT_MS, walls};
use crate::error::{ApplyError, DatabaseError, StoreError};
use crate::events::Positions;
use crate::sql::{Connection, Statement, schema};
use crate::writer::{Disk, Fate};

/// Connecting takes no longer on a server that lives.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);
/// The advisory lock of the one process that may use a database ("offhook" in ASCII).
const LOCK: &str =
    "SELECT CASE WHEN pg_try_advisory_lock(31356312439713643) THEN 1::BIGINT ELSE 0 END AS value";

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL);
INSERT INTO schema_version SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM schema_version);
CREATE TABLE IF NOT EXISTS last_commit (number BIGINT NOT NULL);
INSERT INTO last_commit SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM last_commit);
";

pub(super) struct Session {
    connection: PgConnection,
    servers: Vec<PgConnectOptions>,
    /// The one of them that `connection` leads to.
    server: usize,
    /// Those who read are to read there too.
    readers: PgPool,
    /// Of the transaction that was begun last; never one of an earlier process.
    number: i64,
    /// Of the last transaction that is known to be on disk; `None`: no one of this process is.
    confirmed: Option<i64>,
    away: Arc<AtomicBool>,
}

impl Session {
    /// Connects, takes the database for this process and brings it to the newest version.
    pub(super) async fn open(
        url: &PostgresUrl,
        take_over: Duration,
        away: Arc<AtomicBool>,
    ) -> Result<(Session, Positions), StoreError> {
        // Told apart from all other sessions, so that this process can end its own.
        let number = unix_micros();
        let name = format!("offhook writer {}-{number}", std::process::id());
        let servers: Vec<_> = url.servers().map(|to| to.application_name(&name)).collect();
        let unreachable = |source: sqlx::Error| StoreError::Unreachable {
            database: url.database(),
            source: source.into(),
        };
        let (server, mut connection) = connect_to_any(&servers).await.map_err(unreachable)?;
        let since = Instant::now();
        while !is_locked(&mut connection).await? {
            if since.elapsed() > take_over {
                return Err(StoreError::InUse { database: url.database() });
            }
            sleep(PAUSE).await;
        }
        warn_of_a_server_that_forgets(&mut connection).await?;
        walls::warn_of_a_role_that_ignores_them(&mut connection).await?;
        migrate(&mut connection).await?;
        let positions =
            crate::events::last_positions(&mut Connection::Postgres(&mut connection)).await?;
        let readers = super::readers(reading(&servers[server]));
        let confirmed = None;
        let session = Session { connection, servers, server, readers, number, confirmed, away };
        Ok((session, positions))
    }

    /// These go where the writer goes.
    pub(super) fn readers(&self) -> &PgPool {
        &self.readers
    }

    /// A session in place of one that is of no use any more, on this server, and what the old one committed.
    async fn take_over(&mut self, server: usize) -> Result<Fate, DatabaseError> {
        let mut connection = connect(&self.servers[server]).await?;
        if !is_locked(&mut connection).await? {
            // The server may not know yet that the old one is gone.
            let end = Statement::new(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE application_name = $1 AND pid <> pg_backend_pid()",
            );
            let name = self.servers[server].get_application_name();
            end.bind(name).execute(&mut Connection::Postgres(&mut connection)).await?;
            let why = "the session before still lives".to_owned();
            return Err(sqlx::Error::Protocol(why).into());
        }
        let number = Statement::new("SELECT number AS value FROM last_commit")
            .fetch_integer(&mut Connection::Postgres(&mut connection))
            .await?;
        let fate = match number {
            Some(number) if number == self.number => Fate::Committed,
            // A standby that was not synchronous, or a primary of long ago.
            Some(number) if self.confirmed.is_some_and(|confirmed| number < confirmed) => {
                let why = "the server lacks what was confirmed before".to_owned();
                return Err(sqlx::Error::Protocol(why).into());
            }
            Some(_) | None => Fate::NotCommitted,
        };
        self.connection = connection;
        if std::mem::replace(&mut self.server, server) != server {
            tracing::warn!("another server has the database now");
            self.readers.set_connect_options(reading(&self.servers[server]));
        }
        Ok(fate)
    }
}

impl Disk for Session {
    /// Longer than the server lets a statement run.
    const PATIENCE: Option<Duration> = Some(Duration::from_secs(15));

    fn connection(&mut self) -> Connection<'_> {
        Connection::Postgres(&mut self.connection)
    }

    async fn begin(&mut self) -> Result<(), ApplyError> {
        self.number += 1;
        let begin = format!("BEGIN; UPDATE last_commit SET number = {}", self.number);
        let begun = self.connection.execute(sqlx::raw_sql(AssertSqlSafe(begin))).await;
        begun.map(drop).map_err(ApplyError::broken)
    }

    async fn commit(&mut self) -> Result<(), ApplyError> {
        let done = Statement::new("COMMIT").execute(&mut self.connection()).await;
        done.map_err(ApplyError::broken)?;
        self.confirmed = Some(self.number);
        Ok(())
    }

    async fn resolve(&mut self, why: String, since: Instant) -> Result<Fate, String> {
        if !self.away.swap(true, Relaxed) {
            tracing::warn!(%why, "the database does not answer; what is to be written waits");
        }
        let mut last = why;
        let mut servers = (0..self.servers.len()).cycle().skip(self.server);
        while since.elapsed() < OUTAGE_LIMIT {
            sleep(PAUSE).await;
            let server = servers.next().unwrap_or(self.server);
            match timeout(CONNECT_LIMIT, self.take_over(server)).await {
                Ok(Ok(fate)) => {
                    if fate == Fate::Committed {
                        self.confirmed = Some(self.number);
                    }
                    self.away.store(false, Relaxed);
                    tracing::info!("the database answers again");
                    return Ok(fate);
                }
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => last = format!("no answer within {} s", CONNECT_LIMIT.as_secs()),
            }
        }
        Err(format!("the database was away for {} s: {last}", since.elapsed().as_secs()))
    }

    fn notice_commit(&mut self, _weight: usize) {}

    async fn tidy(&mut self) -> Result<(), String> {
        Ok(())
    }

    async fn close(self, failed: bool) {
        if failed {
            return;
        }
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "the database was not left in form; it ends the session by itself");
        }
    }
}

/// How readers reach the server that is written. A request that goes away while its transaction begins leaves it open:
/// the server ends such a session.
fn reading(server: &PgConnectOptions) -> PgConnectOptions {
    let ends = [("idle_in_transaction_session_timeout", STATEMENT_MS)];
    server.clone().application_name("offhook").options(ends)
}

/// The first server that can be written.
async fn connect_to_any(
    servers: &[PgConnectOptions],
) -> Result<(usize, PgConnection), sqlx::Error> {
    let mut last = sqlx::Error::PoolTimedOut;
    for (server, options) in servers.iter().enumerate() {
        match connect(options).await {
            Ok(connection) => return Ok((server, connection)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// To a server that can be written, as the writer, who sees everything.
async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let connect = async {
        let mut connection = options.connect().await?;
        let standby = sqlx::query_scalar(walls::IS_STANDBY_SEEING_ALL);
        if standby.fetch_one(&mut connection).await? {
            return Err(sqlx::Error::Protocol("the server is a standby".to_owned()));
        }
        Ok(connection)
    };
    match timeout(CONNECT_LIMIT, connect).await {
        Ok(connected) => connected,
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

async fn is_locked(connection: &mut PgConnection) -> Result<bool, DatabaseError> {
    let locked = Statement::new(LOCK).fetch_integer(&mut Connection::Postgres(connection)).await?;
    Ok(locked == Some(1))
}

async fn migrate(connection: &mut PgConnection) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    transaction.execute(sqlx::raw_sql(SCHEMA)).await?;
    let found = Statement::new("SELECT max(version) AS value FROM schema_version")
        .fetch_integer(&mut Connection::Postgres(&mut transaction))
        .await?;
    for (version, added) in schema::missing(found.unwrap_or(0))? {
        let steps = added.steps.iter().map(|step| schema::for_postgres(step));
        for step in steps.chain(added.walls.iter().map(Wall::sql)) {
            transaction.execute(sqlx::raw_sql(AssertSqlSafe(step))).await?;
        }
        let mark = Statement::new("UPDATE schema_version SET version = $1").bind(version);
        mark.execute(&mut Connection::Postgres(&mut transaction)).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// A promise to a caller is worth what the server's disk is worth.
async fn warn_of_a_server_that_forgets(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    let on = Statement::new(
        "SELECT count(*) AS value FROM pg_settings
         WHERE name IN ('fsync', 'full_page_writes') AND setting = 'on'",
    );
    if on.fetch_integer(&mut Connection::Postgres(connection)).await? != Some(2) {
        tracing::warn!(
            "the database server runs with fsync or full_page_writes off: after a power cut it may \
             have lost accepted calls"
        );
    }
    Ok(())
}

fn unix_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as i64)
}
