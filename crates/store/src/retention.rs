//! What has outlived its time goes, a bounded number of rows per transaction, oldest first.
//!
//! # Invariants
//! - A tenant's event log only ever begins later; what is left of it has no gaps.
//! - What a callback that is not delivered still needs stays: its event, out of the log's sight, and
//!   its attempts.
//! - An event outlives its call's record whole.

use engine::vocabulary::{Serial, TenantId};

use crate::error::{ApplyError, StoreError};
use crate::sql::{Connection, Statement, Value};
use crate::work::Edit;
use crate::{Reader, Store};

/// One step: rows of one tenant that are older than `before_ms`, at most `limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    pub tenant: TenantId,
    /// Ms since 1970; what is of this time stays.
    pub before_ms: i64,
    pub limit: u32,
}

/// What a step is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expired {
    Events(Expiry),
    Callbacks(Expiry),
    Records(Expiry),
    Timelines(Vec<Serial>),
}

/// How far the timelines of a tenant have been looked through: the acceptance and the serial of the
/// last call. The default is the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimelineMark {
    pub(crate) created_ms: i64,
    pub(crate) serial: u64,
}

impl Store {
    /// Lets the tenant's event log begin later and removes what stands before; says how many events
    /// left the log or the disk, 0 where nothing is left to do.
    pub async fn expire_events(&self, expiry: Expiry) -> Result<u64, StoreError> {
        self.edit(Edit::Expire(Expired::Events(expiry))).await
    }

    /// Removes callbacks that were delivered or given up, by their last attempt, with all attempts;
    /// says how many. One that is still to be made stays.
    pub async fn expire_callbacks(&self, expiry: Expiry) -> Result<u64, StoreError> {
        self.edit(Edit::Expire(Expired::Callbacks(expiry))).await
    }

    /// Removes records, by the time at which their calls were accepted, with their timelines; says
    /// how many.
    pub async fn expire_records(&self, expiry: Expiry) -> Result<u64, StoreError> {
        self.edit(Edit::Expire(Expired::Records(expiry))).await
    }

    /// Removes the timelines of calls that come behind `from`, by the time at which the calls were
    /// accepted. Says where to go on; `None` where that was the last of the old ones.
    pub async fn expire_timelines(
        &self,
        expiry: Expiry,
        from: TimelineMark,
    ) -> Result<Option<TimelineMark>, StoreError> {
        let page = self.calls_behind(expiry, from).await?;
        let Some(last) = page.last().copied() else { return Ok(None) };
        let serials = page.iter().map(|mark| Serial(mark.serial)).collect();
        self.edit(Edit::Expire(Expired::Timelines(serials))).await?;
        Ok(Some(last))
    }

    async fn calls_behind(
        &self,
        expiry: Expiry,
        from: TimelineMark,
    ) -> Result<Vec<TimelineMark>, StoreError> {
        match self.reader(expiry.tenant).await? {
            Reader::Database(mut loan) => {
                let page = Statement::new(
                    "SELECT created_ms, serial FROM cdrs
                     WHERE tenant = $1 AND created_ms < $2 AND (created_ms, serial) > ($3, $4)
                     ORDER BY created_ms, serial LIMIT $5",
                );
                let page = page.bind(expiry.tenant.0).bind(expiry.before_ms);
                let page = page.bind(from.created_ms).bind(from.serial).bind(expiry.limit);
                let rows = page.fetch_all(&mut loan.connection()).await?;
                let marks = rows.iter().map(|row| {
                    let serial = row.unsigned("serial")?;
                    Ok(TimelineMark { created_ms: row.get("created_ms")?, serial })
                });
                marks.collect()
            }
            Reader::Memory(memory) => Ok(memory.read(|tables| {
                let old = tables.cdrs.older(expiry.tenant, expiry.before_ms);
                let marks = old.filter_map(|serial| {
                    let created_ms = tables.cdrs.rows.get(&serial)?.intent.created_ms;
                    Some(TimelineMark { created_ms, serial: serial.0 })
                });
                marks.filter(|mark| *mark > from).take(expiry.limit as usize).collect()
            })),
        }
    }
}

impl Expired {
    /// Rows that the step may touch.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Expired::Events(expiry) | Expired::Callbacks(expiry) | Expired::Records(expiry) => {
                expiry.limit as usize
            }
            Expired::Timelines(serials) => serials.len(),
        }
    }
}

/// Runs a step inside the writer's transaction; how many rows of its table it removed.
pub(crate) async fn expire(
    connection: &mut Connection<'_>,
    expired: &Expired,
) -> Result<u64, ApplyError> {
    match expired {
        Expired::Events(expiry) => events(connection, *expiry).await,
        Expired::Callbacks(expiry) => {
            let old = "SELECT position FROM callbacks WHERE tenant = $1 AND state <> 0
                       AND next_try_ms < $2 ORDER BY next_try_ms, position LIMIT $3";
            let attempts = "DELETE FROM callback_attempts WHERE tenant = $1 AND position IN";
            remove(connection, attempts, old, *expiry).await?;
            let callbacks = "DELETE FROM callbacks WHERE tenant = $1 AND position IN";
            remove(connection, callbacks, old, *expiry).await
        }
        Expired::Records(expiry) => {
            let old = "SELECT serial FROM cdrs WHERE tenant = $1 AND created_ms < $2
                       ORDER BY created_ms, serial LIMIT $3";
            // The record was the body of its terminal event (see `events.rs`), which may live longer.
            let bodies = r#"UPDATE events SET body = '{"type":"ended","cdr":' ||
                                (SELECT body FROM cdrs WHERE cdrs.serial = events.serial) || '}'
                            WHERE body IS NULL AND serial IN"#;
            remove(connection, bodies, old, *expiry).await?;
            remove(connection, "DELETE FROM timelines WHERE serial IN", old, *expiry).await?;
            remove(connection, "DELETE FROM cdrs WHERE serial IN", old, *expiry).await
        }
        Expired::Timelines(serials) => {
            let mut removed = 0;
            for serial in serials {
                let one = Statement::new("DELETE FROM timelines WHERE serial = $1");
                removed += one.bind(serial.0).execute(connection).await?;
            }
            Ok(removed)
        }
    }
}

/// Runs a statement over the rows that `old` finds.
async fn remove(
    connection: &mut Connection<'_>,
    statement: &'static str,
    old: &'static str,
    expiry: Expiry,
) -> Result<u64, ApplyError> {
    let values: Vec<Value> =
        vec![expiry.tenant.0.into(), expiry.before_ms.into(), expiry.limit.into()];
    let text = format!("{statement} ({old})");
    Ok(Statement::assembled(text, values).execute(connection).await?)
}

/// First the log begins later, then what stands before its beginning goes, but for what a callback
/// still needs.
async fn events(connection: &mut Connection<'_>, expiry: Expiry) -> Result<u64, ApplyError> {
    let page = Statement::new(
        "SELECT position, at_ms FROM events WHERE tenant = $1 AND position >=
             (SELECT first FROM event_positions WHERE tenant = $1)
         ORDER BY position LIMIT $2",
    );
    let page = page.bind(expiry.tenant.0).bind(expiry.limit).fetch_all(connection).await?;
    let (mut begin, mut left) = (None, 0);
    for row in &page {
        if row.get::<i64>("at_ms")? >= expiry.before_ms {
            break;
        }
        begin = Some(row.get::<i64>("position")? + 1);
        left += 1;
    }
    if let Some(begin) = begin {
        let put = Statement::new("UPDATE event_positions SET first = $2 WHERE tenant = $1");
        put.bind(expiry.tenant.0).bind(begin).execute(connection).await?;
    }
    let remove = Statement::new(
        "DELETE FROM events WHERE tenant = $1 AND position IN
             (SELECT old.position FROM events AS old WHERE old.tenant = $1
              AND old.position < (SELECT first FROM event_positions WHERE tenant = $1)
              AND NOT EXISTS (SELECT 1 FROM callbacks WHERE callbacks.tenant = old.tenant
                              AND callbacks.position = old.position AND callbacks.state <> 1)
              ORDER BY old.position LIMIT $2)",
    );
    let removed = remove.bind(expiry.tenant.0).bind(expiry.limit).execute(connection).await?;
    Ok(removed.max(left))
}
