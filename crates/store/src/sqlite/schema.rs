//! Versions of the schema; `PRAGMA user_version` says which one a file has.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Executor as _};

use crate::error::StoreError;

/// Entry n brings a file from version n to n + 1. Entries are never changed once released; a new
/// version is a new entry.
const MIGRATIONS: &[&[&str]] = &[&[
    crate::intents::SCHEMA,
    crate::attempts::SCHEMA,
    crate::idempotency::SCHEMA,
    crate::events::SCHEMA,
    crate::cdrs::SCHEMA,
    crate::timelines::SCHEMA,
    crate::callbacks::SCHEMA,
    crate::tenants::SCHEMA,
    crate::tokens::SCHEMA,
    crate::secrets::SCHEMA,
    crate::voice_recordings::SCHEMA,
    crate::voice_templates::SCHEMA,
    crate::meta::SCHEMA,
]];

/// Brings the file to the newest version, or refuses a file that is newer.
pub(crate) async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let found: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    let known = MIGRATIONS.len() as i64;
    let newer = || StoreError::NewerSchema { found, known };
    let missing = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found..));
    for (index, steps) in missing.ok_or_else(newer)?.iter().enumerate() {
        let mut transaction = connection.begin().await?;
        for step in *steps {
            transaction.execute(*step).await?;
        }
        let version = found + index as i64 + 1;
        let mark = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {version}"));
        transaction.execute(mark).await?;
        transaction.commit().await?;
    }
    Ok(())
}
