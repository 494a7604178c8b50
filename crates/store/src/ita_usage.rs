//! What a tenant's ITA calls have talked in all, ever: its balance is what it has paid for, less this. Records go after
//! a while; this stays.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::cdr::Cdr;
use engine::intent::{BidirectionalCall, OrderKind};
use engine::vocabulary::TenantId;

use crate::error::{ApplyError, StoreError};
use crate::sql::{Connection, Statement};
use crate::{Reader, Store};

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
        let talked_ms = match self.reader().await? {
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
}

/// Counts a call that is over, where it is one of those.
pub(crate) fn add(talked: &mut Talked, cdr: &Cdr) {
    let OrderKind::BidirectionalCall(BidirectionalCall { ita: true, .. }) = &cdr.intent.order.kind
    else {
        return;
    };
    if cdr.talk_duration_ms > 0 {
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
