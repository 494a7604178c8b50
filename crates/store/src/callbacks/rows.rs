//! The two tables of callbacks in a database.

use std::collections::BTreeMap;
use std::sync::Mutex;

use engine::events::Event;
use engine::vocabulary::{Serial, TenantId};

use super::known::{self, Known};
use super::{
    CallbackAttempt, CallbackDue, CallbackId, CallbackNext, CallbackState, CallbackStatus,
};
use crate::batch::EventPosition;
use crate::error::{ApplyError, StoreError};
use crate::sql::multi_row::{Bind, MultiRow, Values};
use crate::sql::{Connection, Row, Statement};
use crate::{Scope, events, rows};

/// `state`: 0 pending, 1 delivered, 2 dead. `next_try_ms` of what is not pending any more is when
/// its last attempt was made, by which it expires.
pub(crate) const SCHEMA: &str = "
CREATE TABLE callbacks (
    tenant      INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    serial      INTEGER,
    url         TEXT NOT NULL,
    state       INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    next_try_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant, position)
) WITHOUT ROWID;
CREATE INDEX callbacks_due ON callbacks (next_try_ms, tenant, position) WHERE state = 0;
CREATE INDEX callbacks_dead ON callbacks (tenant, position) WHERE state = 2;
CREATE INDEX callbacks_over ON callbacks (tenant, next_try_ms) WHERE state <> 0;
CREATE INDEX callbacks_by_serial ON callbacks (serial) WHERE serial IS NOT NULL;
CREATE TABLE callback_attempts (
    tenant      INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    at_ms       INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    request     TEXT NOT NULL,
    result      TEXT NOT NULL,
    next        TEXT NOT NULL
);
CREATE UNIQUE INDEX callback_attempts_by_callback
    ON callback_attempts (tenant, position, number);
";

const PENDING: i64 = 0;
const DELIVERED: i64 = 1;
const DEAD: i64 = 2;

pub(crate) static INSERT: MultiRow = MultiRow::new(
    &["INSERT INTO callbacks (tenant, position, serial, url, state, attempts, next_try_ms) \
       VALUES {rows}"],
    7,
);
static INSERT_ATTEMPT: MultiRow = MultiRow::new(
    &["INSERT INTO callback_attempts (tenant, position, number, at_ms, duration_ms, request, \
       result, next) VALUES {rows}"],
    8,
);
/// Each attempt advances its callback; fewer rows mean that there is none.
static ADVANCE: MultiRow = MultiRow::new(
    &["UPDATE callbacks SET attempts = new.column3, state = new.column4,
           next_try_ms = new.column5
       FROM (VALUES {rows}) AS new
       WHERE callbacks.tenant = new.column1 AND callbacks.position = new.column2"],
    5,
);

const COLUMNS: &str = "tenant, position, serial, url, state, attempts, next_try_ms";

/// A new delivery, due at once.
pub(crate) struct CallbackRow {
    pub(crate) id: CallbackId,
    pub(crate) serial: Option<Serial>,
    pub(crate) url: String,
    pub(crate) due_ms: i64,
}

impl Bind for CallbackRow {
    fn bind(self, to: &mut Values) {
        to.push(self.id.tenant.0)
            .push(self.id.position)
            .push(self.serial.map(|serial| serial.0))
            .push(self.url)
            .push(PENDING)
            .push(0_i64)
            .push(self.due_ms);
    }
}

struct AttemptRow(CallbackAttempt);

impl Bind for AttemptRow {
    fn bind(self, to: &mut Values) {
        let attempt = self.0;
        to.push(attempt.id.tenant.0)
            .push(attempt.id.position)
            .push(attempt.number)
            .push(attempt.at_ms)
            .push(attempt.duration_ms)
            .push(attempt.request)
            .push(rows::json(&attempt.result))
            .push(rows::json(&attempt.next));
    }
}

/// What an attempt changes of its callback.
struct Advance {
    id: CallbackId,
    number: u32,
    state: i64,
    next_try_ms: i64,
}

impl Advance {
    fn new(attempt: &CallbackAttempt) -> Advance {
        let (state, next_try_ms) = match attempt.next {
            CallbackNext::Delivered => (DELIVERED, attempt.at_ms),
            CallbackNext::RetryAt(at_ms) => (PENDING, at_ms),
            CallbackNext::Dead => (DEAD, attempt.at_ms),
        };
        Advance { id: attempt.id, number: attempt.number, state, next_try_ms }
    }
}

impl Bind for Advance {
    fn bind(self, to: &mut Values) {
        to.push(self.id.tenant.0)
            .push(self.id.position)
            .push(self.number)
            .push(self.state)
            .push(self.next_try_ms);
    }
}

/// Stores attempts; at most one of each callback.
pub(crate) async fn insert_attempts(
    connection: &mut Connection<'_>,
    attempts: Vec<CallbackAttempt>,
) -> Result<(), ApplyError> {
    let advances = attempts.iter().map(Advance::new).collect::<Vec<_>>();
    let expected = advances.len() as u64;
    INSERT_ATTEMPT.execute(connection, attempts.into_iter().map(AttemptRow)).await?;
    if ADVANCE.execute(connection, advances).await? == expected {
        Ok(())
    } else {
        Err(ApplyError::Conflict("an attempt of a callback that does not exist".to_owned()))
    }
}

pub(crate) async fn replay(
    connection: &mut Connection<'_>,
    id: CallbackId,
    now_ms: i64,
) -> Result<u64, ApplyError> {
    let replay = Statement::new(
        "UPDATE callbacks SET state = 0, next_try_ms = $3 WHERE tenant = $1 AND position = $2",
    );
    Ok(replay.bind(id.tenant.0).bind(id.position).bind(now_ms).execute(connection).await?)
}

/// Makes the first rows that are due known, unless they are, and when the next one is due.
pub(super) async fn look(
    connection: &mut Connection<'_>,
    known: &Mutex<Known>,
    now_ms: i64,
    reach: usize,
) -> Result<(), StoreError> {
    let first = Statement::new(
        "SELECT next_try_ms, tenant, position FROM callbacks WHERE state = 0
         ORDER BY next_try_ms, tenant, position LIMIT $1",
    );
    let rows = first.bind(reach as i64 + 1).fetch_all(connection).await?;
    let mut next_ms = None;
    for (n, row) in rows.iter().enumerate() {
        let (id, due_ms) = (place(row)?, row.get::<i64>("next_try_ms")?);
        if known::lock(known).holds(id) {
            continue;
        }
        if due_ms > now_ms || n == reach {
            next_ms = Some(due_ms);
            break;
        }
        // `None`: its attempt was stored after the list was read.
        if let Some(due) = one_due(connection, id, now_ms).await? {
            known::lock(known).found(due_ms, due);
        }
    }
    known::lock(known).end_look(now_ms, next_ms);
    Ok(())
}

async fn one_due(
    connection: &mut Connection<'_>,
    id: CallbackId,
    now_ms: i64,
) -> Result<Option<CallbackDue>, StoreError> {
    let text = format!(
        "SELECT {}, callbacks.url, callbacks.attempts FROM callbacks
         JOIN events ON events.tenant = callbacks.tenant AND events.position = callbacks.position
         {}
         WHERE callbacks.tenant = $1 AND callbacks.position = $2
           AND callbacks.state = 0 AND callbacks.next_try_ms <= $3",
        events::COLUMNS,
        events::JOIN,
    );
    let values = vec![id.tenant.0.into(), id.position.into(), now_ms.into()];
    let row = Statement::assembled(text, values).fetch_optional(connection).await?;
    row.map(|row| {
        let (_, event): (u64, Event) = events::decode(&row)?;
        let attempt_number = row.narrow::<u32>("callbacks", "attempts")? + 1;
        Ok(CallbackDue { id, url: row.get("url")?, attempt_number, event })
    })
    .transpose()
}

pub(super) async fn of(
    connection: &mut Connection<'_>,
    scope: Scope,
    serial: Serial,
) -> Result<Vec<(CallbackState, Vec<CallbackAttempt>)>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS} FROM callbacks WHERE serial = $1 AND ($2 IS NULL OR tenant = $2)
         ORDER BY tenant, position"
    );
    let states = Statement::assembled(text, vec![serial.0.into(), scope.into()]);
    let states = states.fetch_all(connection).await?;
    let attempts = Statement::new(
        "SELECT attempts.* FROM callbacks JOIN callback_attempts AS attempts
         ON attempts.tenant = callbacks.tenant AND attempts.position = callbacks.position
         WHERE callbacks.serial = $1 AND ($2 IS NULL OR callbacks.tenant = $2)
         ORDER BY attempts.number",
    );
    let attempts = attempts.bind(serial.0).bind(scope).fetch_all(connection).await?;
    let mut by_callback = BTreeMap::<CallbackId, Vec<CallbackAttempt>>::new();
    for row in &attempts {
        let attempt = decode_attempt(row)?;
        by_callback.entry(attempt.id).or_default().push(attempt);
    }
    states
        .iter()
        .map(|row| {
            let state = decode(row)?;
            let attempts = by_callback.remove(&state.id).unwrap_or_default();
            Ok((state, attempts))
        })
        .collect()
}

pub(super) async fn dead_letters(
    connection: &mut Connection<'_>,
    tenant: TenantId,
    offset: u32,
    limit: u32,
) -> Result<Vec<CallbackState>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS} FROM callbacks WHERE state = 2 AND tenant = $1
         ORDER BY position LIMIT $2 OFFSET $3"
    );
    let values = vec![tenant.0.into(), limit.into(), offset.into()];
    let rows = Statement::assembled(text, values).fetch_all(connection).await?;
    rows.iter().map(decode).collect()
}

fn place(row: &Row) -> Result<CallbackId, StoreError> {
    let tenant = TenantId(row.narrow("callbacks", "tenant")?);
    Ok(EventPosition { tenant, position: row.unsigned("position")? })
}

fn decode(row: &Row) -> Result<CallbackState, StoreError> {
    let status = match row.get::<i64>("state")? {
        PENDING => CallbackStatus::Pending { next_try_ms: row.get("next_try_ms")? },
        DELIVERED => CallbackStatus::Delivered,
        DEAD => CallbackStatus::Dead,
        other => return Err(StoreError::corrupt("callbacks", format!("state {other}"))),
    };
    Ok(CallbackState {
        id: place(row)?,
        serial: row.get::<Option<i64>>("serial")?.map(|serial| Serial(serial as u64)),
        url: row.get("url")?,
        status,
        attempts: row.narrow("callbacks", "attempts")?,
    })
}

fn decode_attempt(row: &Row) -> Result<CallbackAttempt, StoreError> {
    Ok(CallbackAttempt {
        id: place(row)?,
        number: row.narrow("callback_attempts", "number")?,
        at_ms: row.get("at_ms")?,
        duration_ms: row.narrow("callback_attempts", "duration_ms")?,
        request: row.get("request")?,
        result: rows::parse("callback_attempts", row.get("result")?)?,
        next: rows::parse("callback_attempts", row.get("next")?)?,
    })
}
