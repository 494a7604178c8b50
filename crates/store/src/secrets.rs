//! Secrets that must be used again (callback shared keys, SIP passwords): ciphertext only; the
//! server seals and opens them.

use engine::vocabulary::TenantId;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use crate::Store;
use crate::error::{ApplyError, StoreError};
use crate::work::Edit;

pub(crate) const SCHEMA: &str = "
CREATE TABLE secrets (
    tenant INTEGER NOT NULL,
    name   TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;
";

impl Store {
    /// The sealed secret of a tenant under `name`.
    pub async fn secret(
        &self,
        tenant: TenantId,
        name: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Store::Sqlite(sqlite) => {
                let row = sqlx::query("SELECT sealed FROM secrets WHERE tenant = ?1 AND name = ?2")
                    .bind(tenant.0)
                    .bind(name)
                    .fetch_optional(&mut *sqlite.reader().await?)
                    .await?;
                Ok(row.map(|row| row.try_get(0)).transpose()?)
            }
            Store::Memory(memory) => {
                Ok(memory.read(|tables| tables.secrets.get(&(tenant, name.to_owned())).cloned()))
            }
        }
    }

    /// Keeps a sealed secret, replacing what was there.
    pub async fn put_secret(
        &self,
        tenant: TenantId,
        name: &str,
        sealed: Vec<u8>,
    ) -> Result<(), StoreError> {
        self.edit(Edit::PutSecret { tenant, name: name.to_owned(), sealed }).await?;
        Ok(())
    }
}

pub(crate) async fn put(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    name: &str,
    sealed: &[u8],
) -> Result<u64, ApplyError> {
    let done =
        sqlx::query("INSERT OR REPLACE INTO secrets (tenant, name, sealed) VALUES (?1, ?2, ?3)")
            .bind(tenant.0)
            .bind(name)
            .bind(sealed)
            .execute(connection)
            .await?;
    Ok(done.rows_affected())
}
