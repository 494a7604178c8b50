//! Single values of the server: its node key, what it has set up.

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use crate::Store;
use crate::error::{ApplyError, StoreError};
use crate::work::Edit;

pub(crate) const SCHEMA: &str = "
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
";

impl Store {
    /// The value kept under `key`.
    pub async fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Store::Sqlite(sqlite) => {
                let row = sqlx::query("SELECT value FROM meta WHERE key = ?1")
                    .bind(key)
                    .fetch_optional(&mut *sqlite.reader().await?)
                    .await?;
                Ok(row.map(|row| row.try_get(0)).transpose()?)
            }
            Store::Memory(memory) => Ok(memory.read(|tables| tables.meta.get(key).cloned())),
        }
    }

    /// Keeps `value` under `key`, replacing what was there.
    pub async fn put_meta(&self, key: &str, value: Vec<u8>) -> Result<(), StoreError> {
        self.edit(Edit::PutMeta { key: key.to_owned(), value }).await?;
        Ok(())
    }
}

pub(crate) async fn put(
    connection: &mut SqliteConnection,
    key: &str,
    value: &[u8],
) -> Result<u64, ApplyError> {
    let done = sqlx::query("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")
        .bind(key)
        .bind(value)
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}
