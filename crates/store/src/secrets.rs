//! Secrets that must be used again (callback shared keys, SIP passwords): ciphertext only; the
//! server seals and opens them.

use engine::vocabulary::TenantId;

use crate::error::{ApplyError, StoreError};
use crate::sql::{Connection, Statement};
use crate::work::Edit;
use crate::{Reader, Store};

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
        match self.reader(tenant).await? {
            Reader::Database(mut loan) => {
                let query =
                    Statement::new("SELECT sealed FROM secrets WHERE tenant = $1 AND name = $2");
                let query = query.bind(tenant.0).bind(name);
                let row = query.fetch_optional(&mut loan.connection()).await?;
                Ok(row.map(|row| row.get("sealed")).transpose()?)
            }
            Reader::Memory(memory) => {
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

    /// Forgets secrets for good: what they opened cannot be opened any more. All of them or none; says how many were
    /// there.
    pub async fn remove_secrets(
        &self,
        tenant: TenantId,
        names: Vec<String>,
    ) -> Result<u64, StoreError> {
        self.edit(Edit::RemoveSecrets { tenant, names }).await
    }
}

pub(crate) async fn put(
    connection: &mut Connection<'_>,
    tenant: TenantId,
    name: &str,
    sealed: &[u8],
) -> Result<u64, ApplyError> {
    let put = Statement::new(
        "INSERT INTO secrets (tenant, name, sealed) VALUES ($1, $2, $3)
         ON CONFLICT (tenant, name) DO UPDATE SET sealed = excluded.sealed",
    );
    Ok(put.bind(tenant.0).bind(name).bind(sealed).execute(connection).await?)
}

pub(crate) async fn remove(
    connection: &mut Connection<'_>,
    tenant: TenantId,
    names: &[String],
) -> Result<u64, ApplyError> {
    let mut removed = 0;
    for name in names {
        let remove = Statement::new("DELETE FROM secrets WHERE tenant = $1 AND name = $2");
        removed += remove.bind(tenant.0).bind(&**name).execute(connection).await?;
    }
    Ok(removed)
}
