//! What a tenant's ITA calls have talked in all, ever: its balance is what it has paid for, less this. Records go after
//! a while; this stays.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::cdr::Cdr;
use engine::vocabulary::{Serial, TenantId};

use crate::error::{ApplyError, StoreError};
use crate::sql::{Connection, Row, Statement};
use crate::{Reader, Scope, Store, rows};

pub(crate) const SCHEMA: &str = "
CREATE TABLE ita_usage (
    tenant    INTEGER PRIMARY KEY,
    talked_ms INTEGER NOT NULL
);
";

/// Ms by tenant.
pub(crate) type Talked = BTreeMap<TenantId, u64>;

impl Store {
    /// What the tenant's ITA calls that are over have talked in all.
    pub async fn ita_talked(&self, tenant: TenantId) -> Result<Duration, StoreError> {
        let talked_ms = match self.reader(tenant).await? {
            Reader::Database(mut loan) => {
                let query = Statement::new("SELECT talked_ms FROM ita_usage WHERE tenant = $1");
                let row = query.bind(tenant.0).fetch_optional(&mut loan.connection()).await?;
                row.map(|row| row.unsigned("talked_ms")).transpose()?.unwrap_or(0)
            }
            Reader::Memory(memory) => {
                memory.read(|tables| tables.ita_talked.get(&tenant).copied().unwrap_or(0))
            }
        };
        Ok(Duration::from_millis(talked_ms))
    }

    /// The same of every tenant that has talked so.
    pub async fn ita_talked_by_all(&self) -> Result<Vec<(TenantId, Duration)>, StoreError> {
        match self.reader(Scope::All).await? {
            Reader::Database(mut loan) => {
                let all = Statement::new("SELECT tenant, talked_ms FROM ita_usage ORDER BY tenant");
                let rows = all.fetch_all(&mut loan.connection()).await?;
                let talked = |row: &Row| {
                    let tenant = TenantId(row.narrow("ita_usage", "tenant")?);
                    Ok((tenant, Duration::from_millis(row.unsigned("talked_ms")?)))
                };
                rows.iter().map(talked).collect()
            }
            Reader::Memory(memory) => Ok(memory.read(|tables| {
                let talked = tables.ita_talked.iter();
                talked.map(|(tenant, ms)| (*tenant, Duration::from_millis(*ms))).collect()
            })),
        }
    }

    /// The tenant's ITA calls that wait in the queue, oldest first. For a start, and for tenants with a balance.
    pub async fn ita_waiting(&self, tenant: TenantId) -> Result<Vec<Serial>, StoreError> {
        match self.reader(tenant).await? {
            Reader::Database(mut loan) => {
                let waiting = Statement::new(
                    "SELECT serial FROM intents WHERE tenant = $1 AND kind = $2 AND started = 0
                     ORDER BY serial",
                );
                let waiting = waiting.bind(tenant.0).bind(rows::ITA);
                let waiting = waiting.fetch_all(&mut loan.connection()).await?;
                waiting.iter().map(|row| Ok(Serial(row.unsigned("serial")?))).collect()
            }
            Reader::Memory(memory) => Ok(memory.read(|tables| {
                let all = tables.intents.rows.values();
                let waiting = all.filter(|(intent, started)| {
                    !started && intent.tenant == tenant && intent.order.is_ita()
                });
                waiting.map(|(intent, _)| intent.serial).collect()
            })),
        }
    }
}

/// Counts a call that is over, where it is one of those.
pub(crate) fn add(talked: &mut Talked, cdr: &Cdr) {
    if cdr.intent.order.is_ita() && cdr.talk_duration_ms > 0 {
        *talked.entry(cdr.intent.tenant).or_default() += cdr.talk_duration_ms;
    }
}

pub(crate) async fn put(connection: &mut Connection<'_>, talked: Talked) -> Result<(), ApplyError> {
    for (tenant, talked_ms) in talked {
        let put = Statement::new(
            "INSERT INTO ita_usage (tenant, talked_ms) VALUES ($1, $2)
             ON CONFLICT (tenant) DO UPDATE SET
                 talked_ms = ita_usage.talked_ms + excluded.talked_ms",
        );
        put.bind(tenant.0).bind(talked_ms).execute(connection).await?;
    }
    Ok(())
}
