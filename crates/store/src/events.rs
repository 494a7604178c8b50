//! The event log: one ordered list per tenant. Positions start at 1 and have no gaps, since one
//! writer gives them inside the commit.

use std::collections::{BTreeMap, BTreeSet};

use engine::cdr::Cdr;
use engine::events::{Event, EventKind};
use engine::vocabulary::{Serial, TenantId};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::batch::EventPosition;
use crate::error::StoreError;
use crate::sqlite::multi_row::{Bind, MultiRow, Values};
use crate::{Store, rows};

/// `body` is NULL where the event is the terminal one: its record in `cdrs` is the body, which
/// would otherwise stand on disk twice.
pub(crate) const SCHEMA: &str = "
CREATE TABLE events (
    tenant   INTEGER NOT NULL,
    position INTEGER NOT NULL,
    serial   INTEGER,
    at_ms    INTEGER NOT NULL,
    body     TEXT,
    PRIMARY KEY (tenant, position)
) WITHOUT ROWID;
CREATE INDEX events_by_serial ON events (serial) WHERE serial IS NOT NULL;
CREATE TABLE event_positions (
    tenant INTEGER PRIMARY KEY,
    last   INTEGER NOT NULL
);
";

pub(crate) static INSERT: MultiRow =
    MultiRow::new("INSERT INTO events (tenant, position, serial, at_ms, body) VALUES {rows}", 5);
pub(crate) static PUT_LAST_POSITION: MultiRow =
    MultiRow::new("INSERT OR REPLACE INTO event_positions (tenant, last) VALUES {rows}", 2);

/// What [`decode`] reads, out of `events` and [`JOIN`].
pub(crate) const COLUMNS: &str = "events.tenant, events.position, events.serial, events.at_ms, \
     coalesce(events.body, cdrs.body) AS body, events.body IS NULL AS terminal";
pub(crate) const JOIN: &str =
    "LEFT JOIN cdrs ON events.body IS NULL AND cdrs.serial = events.serial";

impl Store {
    /// A tenant's events behind position `after` (0 for the first), at most `limit`.
    pub async fn events(
        &self,
        tenant: TenantId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<(u64, Event)>, StoreError> {
        match self {
            Store::Sqlite(sqlite) => {
                let text = format!(
                    "SELECT {COLUMNS} FROM events {JOIN} WHERE events.tenant = ?1
                     AND events.position > ?2 ORDER BY events.position LIMIT ?3"
                );
                let rows = sqlx::query(sqlx::AssertSqlSafe(text))
                    .bind(tenant.0)
                    .bind(i64::try_from(after).unwrap_or(i64::MAX))
                    .bind(limit)
                    .fetch_all(&mut *sqlite.reader().await?)
                    .await?;
                rows.iter().map(decode).collect()
            }
            Store::Memory(memory) => Ok(memory.read(|tables| {
                let behind = (tenant, after.saturating_add(1))..=(tenant, u64::MAX);
                let page = tables.events.rows.range(behind).take(limit as usize);
                page.map(|((_, position), event)| (*position, event.clone())).collect()
            })),
        }
    }

    /// All events of a call, in the order of its tenant's log.
    pub async fn events_of(&self, serial: Serial) -> Result<Vec<(u64, Event)>, StoreError> {
        match self {
            Store::Sqlite(sqlite) => {
                let text = format!(
                    "SELECT {COLUMNS} FROM events {JOIN} WHERE events.serial = ?1
                     ORDER BY events.tenant, events.position"
                );
                let rows = sqlx::query(sqlx::AssertSqlSafe(text))
                    .bind(serial.0 as i64)
                    .fetch_all(&mut *sqlite.reader().await?)
                    .await?;
                rows.iter().map(decode).collect()
            }
            Store::Memory(memory) => Ok(memory.read(|tables| tables.events.of(serial))),
        }
    }
}

/// Where each tenant's log ends, to continue from.
pub(crate) async fn last_positions(
    connection: &mut SqliteConnection,
) -> Result<Positions, StoreError> {
    let rows: Vec<(u32, i64)> =
        sqlx::query_as("SELECT tenant, last FROM event_positions").fetch_all(connection).await?;
    let committed = rows.into_iter().map(|(tenant, last)| (TenantId(tenant), last as u64));
    Ok(Positions { committed: committed.collect(), given: BTreeMap::new() })
}

/// The positions given so far; those of the open transaction are taken back if it fails.
#[derive(Debug, Clone, Default)]
pub(crate) struct Positions {
    committed: BTreeMap<TenantId, u64>,
    given: BTreeMap<TenantId, u64>,
}

impl Positions {
    pub(crate) fn next(&mut self, tenant: TenantId) -> EventPosition {
        let committed = self.committed.get(&tenant).copied().unwrap_or(0);
        let last = self.given.entry(tenant).or_insert(committed);
        *last += 1;
        EventPosition { tenant, position: *last }
    }

    /// The rows that carry the open transaction's positions over a restart.
    pub(crate) fn given(&self) -> Vec<LastPositionRow> {
        self.given.iter().map(|(tenant, last)| LastPositionRow(*tenant, *last)).collect()
    }

    pub(crate) fn commit(&mut self) {
        self.committed.append(&mut self.given);
    }

    /// Where the open transaction stands, for [`Positions::take_back_to`].
    pub(crate) fn mark(&self) -> BTreeMap<TenantId, u64> {
        self.given.clone()
    }

    pub(crate) fn take_back_to(&mut self, mark: BTreeMap<TenantId, u64>) {
        self.given = mark;
    }

    pub(crate) fn roll_back(&mut self) {
        self.given.clear();
    }
}

pub(crate) struct LastPositionRow(TenantId, u64);

impl Bind for LastPositionRow {
    fn bind(self, to: &mut Values) {
        to.push(self.0.0).push(self.1 as i64);
    }
}

pub(crate) struct EventRow {
    place: EventPosition,
    serial: Option<Serial>,
    at_ms: i64,
    body: Option<String>,
}

impl EventRow {
    /// `recorded`: the record of this serial is written by the same batch.
    pub(crate) fn new(place: EventPosition, event: &Event, recorded: Option<&Cdr>) -> Self {
        let body = match &event.kind {
            EventKind::Ended { cdr } if Some(&**cdr) == recorded => None,
            kind => Some(rows::json(kind)),
        };
        EventRow { place, serial: event.serial, at_ms: event.at_ms, body }
    }
}

impl Bind for EventRow {
    fn bind(self, to: &mut Values) {
        to.push(self.place.tenant.0)
            .push(self.place.position as i64)
            .push(self.serial.map(|serial| serial.0 as i64))
            .push(self.at_ms)
            .push(self.body);
    }
}

/// Reads an event and its position from a row of [`COLUMNS`].
pub(crate) fn decode(row: &SqliteRow) -> Result<(u64, Event), StoreError> {
    let body: Option<&str> = row.try_get("body")?;
    let body = body.ok_or_else(|| StoreError::corrupt("events", "its record is missing"))?;
    let kind = if row.try_get("terminal")? {
        EventKind::Ended { cdr: Box::new(rows::parse("cdrs", body)?) }
    } else {
        rows::parse("events", body)?
    };
    let event = Event {
        tenant: TenantId(row.try_get("tenant")?),
        serial: row.try_get::<Option<i64>, _>("serial")?.map(|serial| Serial(serial as u64)),
        at_ms: row.try_get("at_ms")?,
        kind,
    };
    Ok((row.try_get::<i64, _>("position")? as u64, event))
}

/// The log in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Events {
    pub(crate) rows: BTreeMap<(TenantId, u64), Event>,
    by_serial: BTreeSet<(Serial, TenantId, u64)>,
}

impl Events {
    pub(crate) fn insert(&mut self, place: EventPosition, event: &Event) {
        if let Some(serial) = event.serial {
            self.by_serial.insert((serial, place.tenant, place.position));
        }
        self.rows.insert((place.tenant, place.position), event.clone());
    }

    fn of(&self, serial: Serial) -> Vec<(u64, Event)> {
        let all = (serial, TenantId(0), 0)..=(serial, TenantId(u32::MAX), u64::MAX);
        let events = self.by_serial.range(all);
        events
            .filter_map(|(_, tenant, position)| {
                Some((*position, self.rows.get(&(*tenant, *position))?.clone()))
            })
            .collect()
    }
}
