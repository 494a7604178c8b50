//! The event log: one ordered list per tenant. Positions start at 1 and have no gaps, since one
//! writer gives them inside the commit.

use std::collections::{BTreeMap, BTreeSet};

use engine::cdr::Cdr;
use engine::events::{Event, EventKind};
use engine::vocabulary::{Serial, TenantId};

use crate::batch::EventPosition;
use crate::error::StoreError;
use crate::sql::multi_row::{Bind, MultiRow, Values};
use crate::sql::{Connection, Row, Statement};
use crate::{Reader, Scope, Store, rows};

/// `body` is NULL where the event is the terminal one: its record in `cdrs` is the body, which
/// would otherwise stand on disk twice. `first`: the log begins here, since older events expired.
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
    last   INTEGER NOT NULL,
    first  INTEGER NOT NULL DEFAULT 1
);
";

pub(crate) static INSERT: MultiRow =
    MultiRow::new(&["INSERT INTO events (tenant, position, serial, at_ms, body) VALUES {rows}"], 5);
/// Once per tenant and group.
pub(crate) static PUT_LAST_POSITION: MultiRow = MultiRow::new(
    &["INSERT INTO event_positions (tenant, last) VALUES {rows} \
       ON CONFLICT (tenant) DO UPDATE SET last = excluded.last"],
    2,
);

/// What [`decode`] reads, out of `events` and [`JOIN`].
pub(crate) const COLUMNS: &str = "events.tenant, events.position, events.serial, events.at_ms, \
     coalesce(events.body, cdrs.body) AS body, \
     CAST(CASE WHEN events.body IS NULL THEN 1 ELSE 0 END AS BIGINT) AS terminal";
pub(crate) const JOIN: &str =
    "LEFT JOIN cdrs ON events.body IS NULL AND cdrs.serial = events.serial";

impl Store {
    /// A tenant's events behind position `after` (0 for the first), at most `limit`. The log begins
    /// where [`Store::first_event`] says.
    pub async fn events(
        &self,
        tenant: TenantId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<(u64, Event)>, StoreError> {
        match self.reader(tenant).await? {
            Reader::Database(mut loan) => {
                // What stands before the first position waits for a callback only.
                let text = format!(
                    "SELECT {COLUMNS} FROM events {JOIN} WHERE events.tenant = $1
                     AND events.position > $2 AND events.position >=
                         (SELECT first FROM event_positions WHERE tenant = $1)
                     ORDER BY events.position LIMIT $3"
                );
                let after = i64::try_from(after).unwrap_or(i64::MAX);
                let page = Statement::assembled(text, vec![tenant.0.into(), after.into()]);
                let page = page.bind(limit).fetch_all(&mut loan.connection()).await?;
                page.iter().map(decode).collect()
            }
            Reader::Memory(memory) => Ok(memory.read(|tables| {
                let from = after.saturating_add(1).max(tables.events.first(tenant));
                let page = tables.events.rows.range((tenant, from)..=(tenant, u64::MAX));
                let page = page.take(limit as usize);
                page.map(|((_, position), event)| (*position, event.clone())).collect()
            })),
        }
    }

    /// The position at which a tenant's log begins: 1, and a later one once events have expired.
    pub async fn first_event(&self, tenant: TenantId) -> Result<u64, StoreError> {
        match self.reader(tenant).await? {
            Reader::Database(mut loan) => {
                let first = Statement::new(
                    "SELECT coalesce(max(first), 1) AS value FROM event_positions WHERE tenant = $1",
                );
                let first = first.bind(tenant.0).fetch_integer(&mut loan.connection()).await?;
                Ok(first.map_or(1, |first| first as u64))
            }
            Reader::Memory(memory) => Ok(memory.read(|tables| tables.events.first(tenant))),
        }
    }

    /// All events of a call that have not expired, in the order of its tenant's log.
    pub async fn events_of(
        &self,
        whose: impl Into<Scope>,
        serial: Serial,
    ) -> Result<Vec<(u64, Event)>, StoreError> {
        let scope = whose.into();
        match self.reader(scope).await? {
            Reader::Database(mut loan) => {
                let text = format!(
                    "SELECT {COLUMNS} FROM events {JOIN}
                     JOIN event_positions AS log ON log.tenant = events.tenant
                     WHERE events.serial = $1 AND ($2 IS NULL OR events.tenant = $2)
                       AND events.position >= log.first
                     ORDER BY events.tenant, events.position"
                );
                let all = Statement::assembled(text, vec![serial.0.into(), scope.into()]);
                let all = all.fetch_all(&mut loan.connection()).await?;
                all.iter().map(decode).collect()
            }
            Reader::Memory(memory) => Ok(memory.read(|tables| tables.events.of(scope, serial))),
        }
    }
}

/// Where each tenant's log ends, to continue from.
pub(crate) async fn last_positions(
    connection: &mut Connection<'_>,
) -> Result<Positions, StoreError> {
    let rows = Statement::new("SELECT tenant, last FROM event_positions");
    let mut committed = BTreeMap::new();
    for row in rows.fetch_all(connection).await? {
        let tenant = TenantId(row.narrow("event_positions", "tenant")?);
        committed.insert(tenant, row.unsigned("last")?);
    }
    Ok(Positions { committed, given: BTreeMap::new() })
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
        to.push(self.0.0).push(self.1);
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
            .push(self.place.position)
            .push(self.serial.map(|serial| serial.0))
            .push(self.at_ms)
            .push(self.body);
    }
}

/// Reads an event and its position from a row of [`COLUMNS`].
pub(crate) fn decode(row: &Row) -> Result<(u64, Event), StoreError> {
    let body: Option<&str> = row.get("body")?;
    let body = body.ok_or_else(|| StoreError::corrupt("events", "its record is missing"))?;
    let kind = if row.flag("terminal")? {
        EventKind::Ended { cdr: Box::new(rows::parse("cdrs", body)?) }
    } else {
        rows::parse("events", body)?
    };
    let event = Event {
        tenant: TenantId(row.narrow("events", "tenant")?),
        serial: row.get::<Option<i64>>("serial")?.map(|serial| Serial(serial as u64)),
        at_ms: row.get("at_ms")?,
        kind,
    };
    Ok((row.unsigned("position")?, event))
}

/// The log in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Events {
    pub(crate) rows: BTreeMap<(TenantId, u64), Event>,
    by_serial: BTreeSet<(Serial, TenantId, u64)>,
    /// Where a log begins that does not begin at 1 any more.
    first: BTreeMap<TenantId, u64>,
}

impl Events {
    pub(crate) fn insert(&mut self, place: EventPosition, event: &Event) {
        if let Some(serial) = event.serial {
            self.by_serial.insert((serial, place.tenant, place.position));
        }
        self.rows.insert((place.tenant, place.position), event.clone());
    }

    /// Lets the log begin behind what is older than `before_ms`, `limit` events further at the
    /// most; removes what stands before it and is not `needed`. How many left the log or the map.
    pub(crate) fn expire(
        &mut self,
        tenant: TenantId,
        before_ms: i64,
        limit: usize,
        needed: impl Fn(EventPosition) -> bool,
    ) -> u64 {
        let before_first = self.first(tenant);
        let mut first = before_first;
        let old = self.rows.range((tenant, first)..=(tenant, u64::MAX)).take(limit);
        for ((_, position), _) in old.take_while(|(_, event)| event.at_ms < before_ms) {
            first = position + 1;
        }
        self.first.insert(tenant, first);
        let before = self.rows.range((tenant, 0)..(tenant, first)).map(|(place, _)| place.1);
        let removed =
            before.filter(|position| !needed(EventPosition { tenant, position: *position }));
        let removed: Vec<u64> = removed.take(limit).collect();
        for position in &removed {
            let event = self.rows.remove(&(tenant, *position));
            if let Some(serial) = event.and_then(|event| event.serial) {
                self.by_serial.remove(&(serial, tenant, *position));
            }
        }
        (removed.len() as u64).max(first - before_first)
    }

    fn first(&self, tenant: TenantId) -> u64 {
        self.first.get(&tenant).copied().unwrap_or(1)
    }

    fn of(&self, scope: Scope, serial: Serial) -> Vec<(u64, Event)> {
        let all = (serial, TenantId(0), 0)..=(serial, TenantId(u32::MAX), u64::MAX);
        let kept = self.by_serial.range(all).filter(|(_, tenant, position)| {
            scope.holds(*tenant) && *position >= self.first(*tenant)
        });
        kept.filter_map(|(_, tenant, position)| {
            Some((*position, self.rows.get(&(*tenant, *position))?.clone()))
        })
        .collect()
    }
}
