//! Single values of the server: its node key, what it has set up.

use crate::error::{ApplyError, StoreError};
use crate::sql::{Connection, Statement};
use crate::work::Edit;
use crate::{Reader, Scope, Store};

pub(crate) const SCHEMA: &str = "
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
";

impl Store {
    /// The value kept under `key`.
    pub async fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self.reader(Scope::All).await? {
            Reader::Database(mut loan) => {
                let query = Statement::new("SELECT value FROM meta WHERE key = $1").bind(key);
                let row = query.fetch_optional(&mut loan.connection()).await?;
                Ok(row.map(|row| row.get("value")).transpose()?)
            }
            Reader::Memory(memory) => Ok(memory.read(|tables| tables.meta.get(key).cloned())),
        }
    }

    /// Keeps `value` under `key`, replacing what was there.
    pub async fn put_meta(&self, key: &str, value: Vec<u8>) -> Result<(), StoreError> {
        self.edit(Edit::PutMeta { key: key.to_owned(), value }).await?;
        Ok(())
    }
}

pub(crate) async fn put(
    connection: &mut Connection<'_>,
    key: &str,
    value: &[u8],
) -> Result<u64, ApplyError> {
    let put = Statement::new(
        "INSERT INTO meta (key, value) VALUES ($1, $2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    );
    Ok(put.bind(key).bind(value).execute(connection).await?)
}
