//! Idempotency keys of accepted requests: a repeated request meets its first reply.

use std::collections::BTreeMap;

use engine::intent::{Idempotency, IdempotencyKey};
use engine::vocabulary::Serial;

use crate::error::{ApplyError, StoreError};
use crate::sql::multi_row::{Bind, MultiRow, Values};
use crate::sql::{Connection, Statement};
use crate::work::{EXPIRED_AT_ONCE, Edit};
use crate::{Reader, Store, rows};

/// How long a key is kept (decisions.md, Idempotency).
const KEPT_MS: i64 = 24 * 60 * 60 * 1000;

pub(crate) const SCHEMA: &str = "
CREATE TABLE idempotency (
    tenant      INTEGER NOT NULL,
    kind        TEXT NOT NULL,
    key         TEXT NOT NULL,
    serial      INTEGER NOT NULL,
    body_sha256 BLOB NOT NULL,
    accepted_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant, kind, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_by_age ON idempotency (accepted_ms);
";

/// A key may be used again once it is older than it is kept, also before it was removed; the
/// number 86400000 is [`KEPT_MS`]. A younger one changes no row, which the caller counts.
static INSERT: MultiRow = MultiRow::new(
    &[
        "INSERT INTO idempotency (tenant, kind, key, serial, body_sha256, accepted_ms) VALUES {rows} \
       ON CONFLICT (tenant, kind, key) DO UPDATE SET serial = excluded.serial, \
       body_sha256 = excluded.body_sha256, accepted_ms = excluded.accepted_ms \
       WHERE idempotency.accepted_ms <= excluded.accepted_ms - 86400000",
    ],
    6,
);

/// The accepted request that a key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptedRequest {
    pub serial: Serial,
    /// SHA-256 of the body that came with the key; another body under the key is HTTP 422.
    pub body_sha256: [u8; 32],
    /// When it was accepted, ms since 1970. The key holds for 24 h from here.
    pub accepted_ms: i64,
}

impl Store {
    /// The request that was accepted under this key, until [`Store::expire_idempotency`] removes it.
    pub async fn idempotency(
        &self,
        key: &IdempotencyKey,
    ) -> Result<Option<AcceptedRequest>, StoreError> {
        match self.reader(key.tenant).await? {
            Reader::Database(mut loan) => {
                let query = Statement::new(
                    "SELECT serial, body_sha256, accepted_ms FROM idempotency
                     WHERE tenant = $1 AND kind = $2 AND key = $3",
                );
                let query = query.bind(key.tenant.0).bind(key.kind.name()).bind(key.key.as_str());
                let row = query.fetch_optional(&mut loan.connection()).await?;
                row.map(|row| {
                    Ok(AcceptedRequest {
                        serial: Serial(row.unsigned("serial")?),
                        body_sha256: rows::sha256("idempotency", row.get("body_sha256")?)?,
                        accepted_ms: row.get("accepted_ms")?,
                    })
                })
                .transpose()
            }
            Reader::Memory(memory) => {
                Ok(memory.read(|tables| tables.idempotency.rows.get(key).copied()))
            }
        }
    }

    /// Removes the keys that were accepted 24 h before `now_ms` or earlier; says how many.
    pub async fn expire_idempotency(&self, now_ms: i64) -> Result<u64, StoreError> {
        self.edit_in_steps(|| Edit::ExpireIdempotency { accepted_until_ms: now_ms - KEPT_MS }).await
    }
}

pub(crate) struct IdempotencyRow {
    idempotency: Idempotency,
    serial: Serial,
    accepted_ms: i64,
}

impl IdempotencyRow {
    pub(crate) fn new(idempotency: &Idempotency, serial: Serial, accepted_ms: i64) -> Self {
        IdempotencyRow { idempotency: idempotency.clone(), serial, accepted_ms }
    }
}

impl Bind for IdempotencyRow {
    fn bind(self, to: &mut Values) {
        let Idempotency { key, body_sha256 } = self.idempotency;
        to.push(key.tenant.0)
            .push(key.kind.name())
            .push(key.key)
            .push(self.serial.0)
            .push(body_sha256.to_vec())
            .push(self.accepted_ms);
    }
}

pub(crate) async fn insert(
    connection: &mut Connection<'_>,
    rows: Vec<IdempotencyRow>,
) -> Result<(), ApplyError> {
    let expected = rows.len() as u64;
    if INSERT.execute(connection, rows).await? == expected {
        Ok(())
    } else {
        Err(ApplyError::Conflict(TAKEN.to_owned()))
    }
}

pub(crate) async fn expire(
    connection: &mut Connection<'_>,
    accepted_until_ms: i64,
) -> Result<u64, ApplyError> {
    let removed = Statement::new(
        "DELETE FROM idempotency WHERE (tenant, kind, key) IN
             (SELECT tenant, kind, key FROM idempotency WHERE accepted_ms <= $1
              ORDER BY accepted_ms LIMIT $2)",
    );
    Ok(removed.bind(accepted_until_ms).bind(EXPIRED_AT_ONCE).execute(connection).await?)
}

pub(crate) const TAKEN: &str = "an idempotency key belongs to another accepted request";

/// The table in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct IdempotencyKeys {
    rows: BTreeMap<IdempotencyKey, AcceptedRequest>,
}

impl IdempotencyKeys {
    pub(crate) fn is_taken(&self, key: &IdempotencyKey, accepted_ms: i64) -> bool {
        self.rows.get(key).is_some_and(|first| first.accepted_ms > accepted_ms - KEPT_MS)
    }

    pub(crate) fn insert(&mut self, idempotency: &Idempotency, serial: Serial, accepted_ms: i64) {
        let body_sha256 = idempotency.body_sha256;
        let accepted = AcceptedRequest { serial, body_sha256, accepted_ms };
        self.rows.insert(idempotency.key.clone(), accepted);
    }

    pub(crate) fn expire(&mut self, accepted_until_ms: i64) -> u64 {
        let before = self.rows.len();
        self.rows.retain(|_, accepted| accepted.accepted_ms > accepted_until_ms);
        (before - self.rows.len()) as u64
    }
}
