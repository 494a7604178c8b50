//! Versions of the schema, the same on both databases.

use crate::error::StoreError;
use crate::postgres::walls::{self, Wall};

/// What a version adds to the one before.
pub(crate) struct Version {
    pub(crate) steps: &'static [&'static str],
    /// On PostgreSQL alone, after the steps.
    pub(crate) walls: &'static [Wall],
}

/// Entry n brings a database from version n to n + 1. Entries are never changed once released; a
/// new version is a new entry.
pub(crate) const MIGRATIONS: &[Version] = &[
    tables(&[
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
    ]),
    tables(&[
        crate::attempts::TWO_LEGS,
        crate::softphones::SCHEMA,
        crate::number_bindings::SCHEMA,
        crate::ita_usage::SCHEMA,
    ]),
    tables(&[crate::registrations::SCHEMA]),
    Version { steps: &[], walls: walls::OF_VERSION_4 },
];

/// Before there were walls.
const fn tables(steps: &'static [&'static str]) -> Version {
    Version { steps, walls: &[] }
}

/// What a database of version `found` still needs, each with the version that it leads to.
pub(crate) fn missing(
    found: i64,
) -> Result<impl Iterator<Item = (i64, &'static Version)>, StoreError> {
    let known = MIGRATIONS.len() as i64;
    let missing = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found..));
    let missing = missing.ok_or(StoreError::NewerSchema { found, known })?;
    Ok((found + 1..).zip(missing))
}

/// The same table for PostgreSQL: its names of the types, and text in the order of its bytes, as
/// SQLite has it.
pub(crate) fn for_postgres(step: &str) -> String {
    step.replace(" WITHOUT ROWID", "")
        .replace("INTEGER", "BIGINT")
        .replace("BLOB", "BYTEA")
        .replace("TEXT", "TEXT COLLATE \"C\"")
}
