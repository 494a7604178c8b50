//! Softphones: the numbers under which a tenant's people register, each with its password, sealed.

use engine::vocabulary::TenantId;

use crate::error::{ApplyError, StoreError};
use crate::sql::{Connection, Row, Statement};
use crate::work::Edit;
use crate::{Reader, Scope, Store};

/// A number belongs to one tenant: it is the user name of its phones.
pub(crate) const SCHEMA: &str = "
CREATE TABLE softphones (
    number          TEXT PRIMARY KEY,
    tenant          INTEGER NOT NULL,
    sealed_password BLOB NOT NULL,
    remark          TEXT NOT NULL,
    suspended       INTEGER NOT NULL,
    from_file       INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX softphones_by_tenant ON softphones (tenant, number);
";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Softphone {
    pub tenant: TenantId,
    /// Unique among all tenants.
    pub number: String,
    /// Ciphertext; the server seals and opens it.
    pub sealed_password: Vec<u8>,
    pub remark: String,
    /// It may neither register nor take calls.
    pub suspended: bool,
    /// Written by the configuration file and read-only to the interface.
    pub from_file: bool,
}

impl Softphone {
    /// Whether phones that have registered as this one may stay as `other`.
    pub(crate) fn keeps_its_places(&self, other: &Softphone) -> bool {
        self.sealed_password == other.sealed_password && !other.suspended
    }
}

impl Store {
    /// Adds a softphone or replaces the tenant's own of that number. With another password, or suspended, it is
    /// registered nowhere.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where another tenant has the number.
    pub async fn put_softphone(&self, softphone: Softphone) -> Result<(), StoreError> {
        self.edit(Edit::PutSoftphone(softphone)).await?;
        Ok(())
    }

    /// Says whether it was there.
    pub async fn remove_softphone(
        &self,
        tenant: TenantId,
        number: &str,
    ) -> Result<bool, StoreError> {
        let number = number.to_owned();
        Ok(self.edit(Edit::RemoveSoftphone { tenant, number }).await? > 0)
    }

    /// All softphones, by number.
    pub async fn softphones(&self) -> Result<Vec<Softphone>, StoreError> {
        match self.reader(Scope::All).await? {
            Reader::Database(mut loan) => {
                let all = Statement::new("SELECT * FROM softphones ORDER BY number");
                all.fetch_all(&mut loan.connection()).await?.iter().map(decode).collect()
            }
            Reader::Memory(memory) => {
                Ok(memory.read(|tables| tables.softphones.values().cloned().collect()))
            }
        }
    }
}

pub(crate) const TAKEN: &str = "another tenant has a softphone of this number";

/// The row of another tenant changes nothing, which is counted.
pub(crate) async fn put(
    connection: &mut Connection<'_>,
    softphone: &Softphone,
) -> Result<u64, ApplyError> {
    let kept_password: &[u8] = if softphone.suspended { &[] } else { &softphone.sealed_password };
    let leave = Statement::new(
        "DELETE FROM registrations WHERE number IN (
             SELECT number FROM softphones
             WHERE number = $1 AND tenant = $2 AND sealed_password <> $3)",
    );
    let leave = leave.bind(softphone.number.as_str()).bind(softphone.tenant.0);
    leave.bind(kept_password).execute(connection).await?;
    let put = Statement::new(
        "INSERT INTO softphones (number, tenant, sealed_password, remark, suspended, from_file)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (number) DO UPDATE SET sealed_password = excluded.sealed_password,
             remark = excluded.remark, suspended = excluded.suspended,
             from_file = excluded.from_file
         WHERE softphones.tenant = excluded.tenant",
    );
    let put = put.bind(softphone.number.as_str()).bind(softphone.tenant.0);
    let put = put.bind(softphone.sealed_password.as_slice()).bind(softphone.remark.as_str());
    let put = put.bind(softphone.suspended).bind(softphone.from_file);
    match put.execute(connection).await? {
        0 => Err(ApplyError::Conflict(TAKEN.to_owned())),
        rows => Ok(rows),
    }
}

pub(crate) async fn remove(
    connection: &mut Connection<'_>,
    tenant: TenantId,
    number: &str,
) -> Result<u64, ApplyError> {
    let remove = Statement::new("DELETE FROM softphones WHERE number = $1 AND tenant = $2");
    let removed = remove.bind(number).bind(tenant.0).execute(connection).await?;
    if removed > 0 {
        let gone = Statement::new("DELETE FROM registrations WHERE number = $1");
        gone.bind(number).execute(connection).await?;
    }
    Ok(removed)
}

fn decode(row: &Row) -> Result<Softphone, StoreError> {
    Ok(Softphone {
        tenant: TenantId(row.narrow("softphones", "tenant")?),
        number: row.get("number")?,
        sealed_password: row.get("sealed_password")?,
        remark: row.get("remark")?,
        suspended: row.flag("suspended")?,
        from_file: row.flag("from_file")?,
    })
}
