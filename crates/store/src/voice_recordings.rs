//! Uploaded recordings. The audio is a file in the data directory; the row says which one, what
//! is in it, and whether it may be played.

use engine::vocabulary::TenantId;
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::Store;
use crate::error::{ApplyError, StoreError};
use crate::rows;
use crate::work::Edit;

pub(crate) const SCHEMA: &str = "
CREATE TABLE voice_recordings (
    tenant      INTEGER NOT NULL,
    voice_id    TEXT NOT NULL,
    name        TEXT NOT NULL,
    status      TEXT NOT NULL,
    uploaded_ms INTEGER NOT NULL,
    body        TEXT NOT NULL,
    PRIMARY KEY (tenant, voice_id),
    UNIQUE (tenant, name)
) WITHOUT ROWID;
CREATE INDEX voice_recordings_by_time
    ON voice_recordings (tenant, uploaded_ms, voice_id, status);
";

const MATCHING: &str = "FROM voice_recordings WHERE tenant = ?1 AND (?2 IS NULL OR status = ?2)";

/// One uploaded recording (contract §5.3, §5.4b).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoiceRecording {
    pub tenant: TenantId,
    /// Chosen by the server, unique per tenant.
    pub voice_id: String,
    /// Unique per tenant; `voiceFileName` of a playlist.
    pub name: String,
    /// What it may be used for; `"3"` is voice notification (return code 18 otherwise).
    pub scene: String,
    pub status: VoiceStatus,
    /// Ms since 1970.
    pub uploaded_ms: i64,
    pub upload_account: Option<String>,
    /// When it was approved or rejected, ms since 1970.
    pub audited_ms: Option<i64>,
    pub audit_account: Option<String>,
    pub comment: String,
    /// Where the outcome of the review is posted.
    pub callback_url: Option<String>,
    /// The file with the audio, relative to the data directory.
    pub file_name: String,
    /// The format it was uploaded in: `wav`, `mp3`.
    pub format: String,
    pub duration_ms: u64,
    pub size_bytes: u64,
    pub sha256: [u8; 32],
}

/// How far a recording is from being played; return codes 19, 20, none and 21.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoiceStatus {
    /// Stored, not submitted for review.
    Uploaded,
    /// Submitted, not reviewed.
    Submitted,
    Approved,
    Rejected,
}

impl Store {
    /// Adds a recording.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the tenant has one with its id or its name.
    pub async fn put_voice_recording(&self, recording: VoiceRecording) -> Result<(), StoreError> {
        self.edit(Edit::PutVoiceRecording(recording)).await?;
        Ok(())
    }

    /// Replaces the recording with the same tenant and id; false where there is none.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where another recording of the tenant has its name.
    pub async fn update_voice_recording(
        &self,
        recording: VoiceRecording,
    ) -> Result<bool, StoreError> {
        Ok(self.edit(Edit::UpdateVoiceRecording(recording)).await? > 0)
    }

    /// How many recordings a tenant has (of one status, where given), and one page, oldest first.
    pub async fn voice_recordings(
        &self,
        tenant: TenantId,
        status: Option<VoiceStatus>,
        offset: u32,
        limit: u32,
    ) -> Result<(u64, Vec<VoiceRecording>), StoreError> {
        match self {
            Store::Sqlite(sqlite) => {
                page(&mut *sqlite.reader().await?, tenant, status, offset, limit).await
            }
            Store::Memory(memory) => Ok(memory.read(|tables| {
                let of_tenant = tables.voice_recordings.values().filter(|r| r.tenant == tenant);
                let mut matching: Vec<&VoiceRecording> = of_tenant
                    .filter(|recording| status.is_none_or(|status| status == recording.status))
                    .collect();
                matching.sort_by_key(|recording| (recording.uploaded_ms, &recording.voice_id));
                let page = matching.iter().skip(offset as usize).take(limit as usize);
                (matching.len() as u64, page.map(|recording| (*recording).clone()).collect())
            })),
        }
    }

    pub async fn voice_recording(
        &self,
        tenant: TenantId,
        voice_id: &str,
    ) -> Result<Option<VoiceRecording>, StoreError> {
        match self {
            Store::Sqlite(sqlite) => {
                let by_id = "SELECT body FROM voice_recordings WHERE tenant = ?1 AND voice_id = ?2";
                one(&mut *sqlite.reader().await?, by_id, tenant, voice_id).await
            }
            Store::Memory(memory) => Ok(memory.read(|tables| {
                tables.voice_recordings.get(&(tenant, voice_id.to_owned())).cloned()
            })),
        }
    }

    pub async fn voice_recording_by_name(
        &self,
        tenant: TenantId,
        name: &str,
    ) -> Result<Option<VoiceRecording>, StoreError> {
        match self {
            Store::Sqlite(sqlite) => {
                let by_name = "SELECT body FROM voice_recordings WHERE tenant = ?1 AND name = ?2";
                one(&mut *sqlite.reader().await?, by_name, tenant, name).await
            }
            Store::Memory(memory) => Ok(memory.read(|tables| {
                let mut all = tables.voice_recordings.values();
                all.find(|recording| recording.tenant == tenant && recording.name == name).cloned()
            })),
        }
    }
}

impl VoiceStatus {
    /// The name in the database and in `/v1`.
    pub fn name(self) -> &'static str {
        match self {
            VoiceStatus::Uploaded => "uploaded",
            VoiceStatus::Submitted => "submitted",
            VoiceStatus::Approved => "approved",
            VoiceStatus::Rejected => "rejected",
        }
    }
}

pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    recording: &VoiceRecording,
) -> Result<u64, ApplyError> {
    let insert = "INSERT INTO voice_recordings (tenant, voice_id, name, status, uploaded_ms, body)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    write(connection, insert, recording).await
}

pub(crate) async fn update(
    connection: &mut SqliteConnection,
    recording: &VoiceRecording,
) -> Result<u64, ApplyError> {
    let update = "UPDATE voice_recordings SET name = ?3, status = ?4, uploaded_ms = ?5, body = ?6
                  WHERE tenant = ?1 AND voice_id = ?2";
    write(connection, update, recording).await
}

async fn write(
    connection: &mut SqliteConnection,
    statement: &'static str,
    recording: &VoiceRecording,
) -> Result<u64, ApplyError> {
    let done = sqlx::query(statement)
        .bind(recording.tenant.0)
        .bind(&recording.voice_id)
        .bind(&recording.name)
        .bind(recording.status.name())
        .bind(recording.uploaded_ms)
        .bind(rows::json(recording))
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

async fn page(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    status: Option<VoiceStatus>,
    offset: u32,
    limit: u32,
) -> Result<(u64, Vec<VoiceRecording>), StoreError> {
    let status = status.map(VoiceStatus::name);
    let count = format!("SELECT count(*) {MATCHING}");
    let total: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count))
        .bind(tenant.0)
        .bind(status)
        .fetch_one(&mut *connection)
        .await?;
    let page = format!("SELECT body {MATCHING} ORDER BY uploaded_ms, voice_id LIMIT ?3 OFFSET ?4");
    let rows = sqlx::query(sqlx::AssertSqlSafe(page))
        .bind(tenant.0)
        .bind(status)
        .bind(limit)
        .bind(offset)
        .fetch_all(connection)
        .await?;
    Ok((total as u64, rows.iter().map(decode).collect::<Result<_, _>>()?))
}

async fn one(
    connection: &mut SqliteConnection,
    query: &'static str,
    tenant: TenantId,
    value: &str,
) -> Result<Option<VoiceRecording>, StoreError> {
    let row = sqlx::query(query).bind(tenant.0).bind(value).fetch_optional(connection).await?;
    row.as_ref().map(decode).transpose()
}

fn decode(row: &SqliteRow) -> Result<VoiceRecording, StoreError> {
    rows::parse("voice_recordings", row.try_get("body")?)
}
