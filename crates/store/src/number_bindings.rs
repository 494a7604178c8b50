//! Bindings of ITA calls: two parties who reach each other by calling a virtual number, for a while.

use engine::intent::{Binding, Intent, OrderKind};
use engine::vocabulary::TenantId;

use crate::error::{ApplyError, StoreError};
use crate::sql::multi_row::{Bind, MultiRow, Values};
use crate::sql::{Connection, Row, Statement};
use crate::work::{EXPIRED_AT_ONCE, Edit};
use crate::{Reader, Scope, Store};

pub(crate) const SCHEMA: &str = "
CREATE TABLE number_bindings (
    x          TEXT NOT NULL,
    party_a    TEXT NOT NULL,
    party_b    TEXT NOT NULL,
    tenant     INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (x, party_a, party_b)
) WITHOUT ROWID;
CREATE INDEX number_bindings_by_expiry ON number_bindings (expires_ms);
";

/// Of each three numbers one row: a statement changes none twice.
pub(crate) static PUT: MultiRow = MultiRow::new(
    &["INSERT INTO number_bindings (x, party_a, party_b, tenant, expires_ms) VALUES {rows} \
       ON CONFLICT (x, party_a, party_b) DO UPDATE SET tenant = excluded.tenant, \
           expires_ms = excluded.expires_ms"],
    5,
);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberBinding {
    pub tenant: TenantId,
    /// The virtual number, which both parties see and call.
    pub x: String,
    pub party_a: String,
    pub party_b: String,
    /// The ms since 1970 from which it holds no more.
    pub expires_ms: i64,
}

impl Store {
    /// Adds a binding, or gives the one of the same three numbers another end. Whether it fits
    /// those that are there is the server's to say.
    pub async fn put_number_binding(&self, binding: NumberBinding) -> Result<(), StoreError> {
        self.edit(Edit::PutNumberBinding(binding)).await?;
        Ok(())
    }

    /// Says whether it was there.
    pub async fn remove_number_binding(&self, binding: NumberBinding) -> Result<bool, StoreError> {
        Ok(self.edit(Edit::RemoveNumberBinding(binding)).await? > 0)
    }

    /// All bindings, also those that are over, by their numbers.
    pub async fn number_bindings(&self) -> Result<Vec<NumberBinding>, StoreError> {
        match self.reader(Scope::All).await? {
            Reader::Database(mut loan) => {
                let all =
                    Statement::new("SELECT * FROM number_bindings ORDER BY x, party_a, party_b");
                all.fetch_all(&mut loan.connection()).await?.iter().map(decode).collect()
            }
            Reader::Memory(memory) => {
                Ok(memory.read(|tables| tables.number_bindings.values().cloned().collect()))
            }
        }
    }

    /// Removes the bindings that are over at `now_ms`; says how many.
    pub async fn expire_number_bindings(&self, now_ms: i64) -> Result<u64, StoreError> {
        self.edit_in_steps(|| Edit::ExpireNumberBindings { now_ms }).await
    }
}

/// What an accepted call binds, in the commit that accepts it.
pub(crate) fn bound_by(intent: &Intent) -> Option<NumberBinding> {
    let OrderKind::BidirectionalCall(call) = &intent.order.kind else { return None };
    let Binding { party_a, party_b, expires_ms } = call.binding.clone()?;
    let x = intent.order.caller_present.clone();
    Some(NumberBinding { tenant: intent.tenant, x, party_a, party_b, expires_ms })
}

/// What no two bindings share.
pub(crate) type Numbers = (String, String, String);

impl NumberBinding {
    pub(crate) fn numbers(&self) -> Numbers {
        (self.x.clone(), self.party_a.clone(), self.party_b.clone())
    }
}

impl Bind for NumberBinding {
    fn bind(self, to: &mut Values) {
        to.push(self.x).push(self.party_a).push(self.party_b);
        to.push(self.tenant.0).push(self.expires_ms);
    }
}

pub(crate) async fn remove(
    connection: &mut Connection<'_>,
    binding: &NumberBinding,
) -> Result<u64, ApplyError> {
    let remove = Statement::new(
        "DELETE FROM number_bindings WHERE x = $1 AND party_a = $2 AND party_b = $3
             AND tenant = $4",
    );
    let remove = remove.bind(binding.x.as_str()).bind(binding.party_a.as_str());
    let remove = remove.bind(binding.party_b.as_str()).bind(binding.tenant.0);
    Ok(remove.execute(connection).await?)
}

pub(crate) async fn expire(
    connection: &mut Connection<'_>,
    now_ms: i64,
) -> Result<u64, ApplyError> {
    let expire = Statement::new(
        "DELETE FROM number_bindings WHERE (x, party_a, party_b) IN
             (SELECT x, party_a, party_b FROM number_bindings WHERE expires_ms <= $1
              ORDER BY expires_ms LIMIT $2)",
    );
    Ok(expire.bind(now_ms).bind(EXPIRED_AT_ONCE).execute(connection).await?)
}

fn decode(row: &Row) -> Result<NumberBinding, StoreError> {
    Ok(NumberBinding {
        tenant: TenantId(row.narrow("number_bindings", "tenant")?),
        x: row.get("x")?,
        party_a: row.get("party_a")?,
        party_b: row.get("party_b")?,
        expires_ms: row.get("expires_ms")?,
    })
}
