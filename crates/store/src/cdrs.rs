//! Call records: one per accepted call, written once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use engine::Used;
use engine::cdr::Cdr;
use engine::intent::Intent;
use engine::vocabulary::{Serial, TenantId};

use crate::error::{DatabaseError, StoreError};
use crate::sql::multi_row::{Bind, MultiRow, Values};
use crate::sql::{PerDatabase, Row, Statement};
use crate::{Reader, Scope, Store, rows};

/// `caller_present` is the number that stands for the caller, whoever that is (`Order::caller_number`).
/// The index answers a count by itself and gives the order of a page.
pub(crate) const SCHEMA: &str = "
CREATE TABLE cdrs (
    serial         INTEGER PRIMARY KEY,
    tenant         INTEGER NOT NULL,
    created_ms     INTEGER NOT NULL,
    kind           TEXT NOT NULL,
    caller_present TEXT NOT NULL,
    called         TEXT NOT NULL,
    body           TEXT NOT NULL
);
CREATE INDEX cdrs_by_time ON cdrs (tenant, created_ms, serial, kind, caller_present);
";

pub(crate) static INSERT: MultiRow = MultiRow::new(
    &["INSERT INTO cdrs (serial, tenant, created_ms, kind, caller_present, called, body) \
       VALUES {rows}"],
    7,
);

/// The calls of a day by the time of acceptance, their talk by the time of the answer. A call that
/// waited over midnight may have been accepted before the day began.
const USED: PerDatabase = PerDatabase {
    sqlite: "SELECT
        (SELECT count(*) FROM cdrs WHERE tenant = $1 AND created_ms >= $2)
            + (SELECT count(*) FROM intents WHERE tenant = $1 AND created_ms >= $2) AS calls,
        (SELECT coalesce(sum(json_extract(body, '$.talk_duration_ms')), 0) FROM cdrs
            WHERE tenant = $1 AND created_ms >= $3
            AND json_extract(body, '$.talking_ms') >= $2) AS talked_ms",
    postgres: "SELECT
        (SELECT count(*) FROM cdrs WHERE tenant = $1 AND created_ms >= $2)
            + (SELECT count(*) FROM intents WHERE tenant = $1 AND created_ms >= $2) AS calls,
        (SELECT coalesce(sum((body::json ->> 'talk_duration_ms')::bigint), 0)::bigint FROM cdrs
            WHERE tenant = $1 AND created_ms >= $3
            AND (body::json ->> 'talking_ms')::bigint >= $2) AS talked_ms",
};

impl Store {
    /// The record of a call that is over.
    pub async fn cdr(
        &self,
        whose: impl Into<Scope>,
        serial: Serial,
    ) -> Result<Option<Cdr>, StoreError> {
        let scope = whose.into();
        match self.reader(scope).await? {
            Reader::Database(mut loan) => {
                let query = Statement::new(
                    "SELECT body FROM cdrs WHERE serial = $1 AND ($2 IS NULL OR tenant = $2)",
                );
                let query = query.bind(serial.0).bind(scope);
                let row = query.fetch_optional(&mut loan.connection()).await?;
                row.as_ref().map(decode).transpose()
            }
            Reader::Memory(memory) => Ok(memory.read(|tables| {
                let record = tables.cdrs.rows.get(&serial);
                record.filter(|cdr| scope.holds(cdr.intent.tenant)).cloned()
            })),
        }
    }

    /// What a tenant has used since `day_start_ms`: calls accepted, and talk of calls answered since then that are
    /// over and were accepted at `accepted_from_ms` or later. It reads each record of that time: for a start, and for
    /// tenants with such limits only.
    pub async fn used_since(
        &self,
        tenant: TenantId,
        day_start_ms: i64,
        accepted_from_ms: i64,
    ) -> Result<Used, StoreError> {
        match self.reader(tenant).await? {
            Reader::Database(mut loan) => {
                let mut connection = loan.connection();
                let query = Statement::new(USED.on(&connection)).bind(tenant.0);
                let query = query.bind(day_start_ms).bind(accepted_from_ms);
                let row = query.fetch_optional(&mut connection).await?;
                let row = row.ok_or(DatabaseError::NoRow)?;
                Ok(used(row.get("calls")?, row.get("talked_ms")?))
            }
            Reader::Memory(memory) => Ok(memory.read(|tables| {
                let own =
                    |intent: &Intent| intent.tenant == tenant && intent.created_ms >= day_start_ms;
                let over = tables.cdrs.rows.values();
                let waiting = tables.intents.rows.values().filter(|(intent, _)| own(intent));
                let calls = over.clone().filter(|cdr| own(&cdr.intent)).count() + waiting.count();
                let talked: u64 = over
                    .filter(|cdr| cdr.intent.tenant == tenant)
                    .filter(|cdr| cdr.intent.created_ms >= accepted_from_ms)
                    .filter(|cdr| cdr.talking_ms.is_some_and(|at| at >= day_start_ms))
                    .map(|cdr| cdr.talk_duration_ms)
                    .sum();
                used(calls as i64, talked as i64)
            })),
        }
    }
}

fn used(calls: i64, talked_ms: i64) -> Used {
    let talked = Duration::from_millis(u64::try_from(talked_ms).unwrap_or(0));
    Used { calls: u32::try_from(calls).unwrap_or(u32::MAX), talked }
}

fn decode(row: &Row) -> Result<Cdr, StoreError> {
    parse(row.get("body")?)
}

pub(crate) fn parse(body: &str) -> Result<Cdr, StoreError> {
    rows::parse("cdrs", body)
}

pub(crate) struct CdrRow(pub(crate) Cdr);

impl Bind for CdrRow {
    fn bind(self, to: &mut Values) {
        let body = rows::json(&self.0);
        let kind = rows::task(&self.0.intent.order);
        let intent = self.0.intent;
        to.push(intent.serial.0)
            .push(intent.tenant.0)
            .push(intent.created_ms)
            .push(kind)
            .push(intent.order.caller_number())
            .push(&*intent.order.called)
            .push(body);
    }
}

/// The table in memory, with its index by time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cdrs {
    pub(crate) rows: BTreeMap<Serial, Cdr>,
    by_time: BTreeSet<(TenantId, i64, Serial)>,
}

impl Cdrs {
    pub(crate) fn insert(&mut self, cdr: &Cdr) {
        let intent = &cdr.intent;
        self.by_time.insert((intent.tenant, intent.created_ms, intent.serial));
        self.rows.insert(intent.serial, cdr.clone());
    }

    /// Of the records of a tenant, the oldest that were accepted before `before_ms`.
    pub(crate) fn older(&self, tenant: TenantId, before_ms: i64) -> impl Iterator<Item = Serial> {
        let old = (tenant, i64::MIN, Serial(0))..(tenant, before_ms, Serial(0));
        self.by_time.range(old).map(|(_, _, serial)| *serial)
    }

    pub(crate) fn remove(&mut self, serial: Serial) {
        if let Some(cdr) = self.rows.remove(&serial) {
            self.by_time.remove(&(cdr.intent.tenant, cdr.intent.created_ms, serial));
        }
    }
}
