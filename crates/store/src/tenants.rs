//! Tenants: who may call, by which key.

use engine::vocabulary::TenantId;
use serde_json::Value;

use crate::error::{ApplyError, StoreError};
use crate::sql::{Connection, Row, Statement};
use crate::work::Edit;
use crate::{Reader, Scope, Store, rows};

pub(crate) const SCHEMA: &str = "
CREATE TABLE tenants (
    id                INTEGER PRIMARY KEY,
    name              TEXT NOT NULL,
    app_key           TEXT NOT NULL UNIQUE,
    app_secret_sha256 BLOB NOT NULL,
    access_codes      TEXT NOT NULL,
    settings          TEXT NOT NULL,
    suspended         INTEGER NOT NULL,
    from_file         INTEGER NOT NULL
);
";

/// One VDN of the pages.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
    /// One per tenant; the name under which it asks for tokens.
    pub app_key: String,
    pub app_secret_sha256: [u8; 32],
    pub access_codes: Vec<String>,
    /// The server's own typed settings; opaque here.
    pub settings: Value,
    /// Its calls and requests are refused.
    pub suspended: bool,
    /// Written by the configuration file and read-only to the interface.
    pub from_file: bool,
}

impl Store {
    /// Adds a tenant or replaces the one with its id.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where another tenant has the app key.
    pub async fn put_tenant(&self, tenant: Tenant) -> Result<(), StoreError> {
        self.edit(Edit::PutTenant(tenant)).await?;
        Ok(())
    }

    pub async fn tenant(&self, id: TenantId) -> Result<Option<Tenant>, StoreError> {
        match self.reader(id).await? {
            Reader::Database(mut loan) => {
                let query = Statement::new("SELECT * FROM tenants WHERE id = $1").bind(id.0);
                let row = query.fetch_optional(&mut loan.connection()).await?;
                row.as_ref().map(decode).transpose()
            }
            Reader::Memory(memory) => Ok(memory.read(|tables| tables.tenants.get(&id).cloned())),
        }
    }

    pub async fn tenant_by_app_key(&self, app_key: &str) -> Result<Option<Tenant>, StoreError> {
        match self.reader(Scope::All).await? {
            Reader::Database(mut loan) => {
                let query = Statement::new("SELECT * FROM tenants WHERE app_key = $1");
                let row = query.bind(app_key).fetch_optional(&mut loan.connection()).await?;
                row.as_ref().map(decode).transpose()
            }
            Reader::Memory(memory) => Ok(memory.read(|tables| {
                tables.tenants.values().find(|tenant| tenant.app_key == app_key).cloned()
            })),
        }
    }

    /// All tenants, by id.
    pub async fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        match self.reader(Scope::All).await? {
            Reader::Database(mut loan) => {
                let all = Statement::new("SELECT * FROM tenants ORDER BY id");
                all.fetch_all(&mut loan.connection()).await?.iter().map(decode).collect()
            }
            Reader::Memory(memory) => {
                Ok(memory.read(|tables| tables.tenants.values().cloned().collect()))
            }
        }
    }
}

/// Replaces by id only: a key that another tenant has is a conflict, not a replacement of that one.
pub(crate) async fn put(
    connection: &mut Connection<'_>,
    tenant: &Tenant,
) -> Result<u64, ApplyError> {
    let put = Statement::new(
        "INSERT INTO tenants (id, name, app_key, app_secret_sha256, access_codes, settings,
             suspended, from_file)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, app_key = excluded.app_key,
             app_secret_sha256 = excluded.app_secret_sha256,
             access_codes = excluded.access_codes, settings = excluded.settings,
             suspended = excluded.suspended, from_file = excluded.from_file",
    );
    let put = put
        .bind(tenant.id.0)
        .bind(tenant.name.as_str())
        .bind(tenant.app_key.as_str())
        .bind(tenant.app_secret_sha256.as_slice())
        .bind(rows::json(&tenant.access_codes))
        .bind(rows::json(&tenant.settings))
        .bind(tenant.suspended)
        .bind(tenant.from_file);
    Ok(put.execute(connection).await?)
}

fn decode(row: &Row) -> Result<Tenant, StoreError> {
    Ok(Tenant {
        id: TenantId(row.narrow("tenants", "id")?),
        name: row.get("name")?,
        app_key: row.get("app_key")?,
        app_secret_sha256: rows::sha256("tenants", row.get("app_secret_sha256")?)?,
        access_codes: rows::parse("tenants", row.get("access_codes")?)?,
        settings: rows::parse("tenants", row.get("settings")?)?,
        suspended: row.flag("suspended")?,
        from_file: row.flag("from_file")?,
    })
}
