//! Uploaded recordings. The audio is a file in the data directory; the row says which one, what
//! is in it, and whether it may be played.

use engine::vocabulary::TenantId;
use serde::{Deserialize, Serialize};

use crate::error::{ApplyError, StoreError};
use crate::sql::{Connection, Row, Statement, Value};
use crate::work::Edit;
use crate::{Reader, Store, rows};

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

const MATCHING: &str = "FROM voice_recordings WHERE tenant = $1 AND ($2 IS NULL OR status = $2)";

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
        match self.reader(tenant).await? {
            Reader::Database(mut loan) => {
                page(&mut loan.connection(), tenant, status, offset, limit).await
            }
            Reader::Memory(memory) => Ok(memory.read(|tables| {
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
        match self.reader(tenant).await? {
            Reader::Database(mut loan) => {
                let by_id = "SELECT body FROM voice_recordings WHERE tenant = $1 AND voice_id = $2";
                one(&mut loan.connection(), by_id, tenant, voice_id).await
            }
            Reader::Memory(memory) => Ok(memory.read(|tables| {
                tables.voice_recordings.get(&(tenant, voice_id.to_owned())).cloned()
            })),
        }
    }

    pub async fn voice_recording_by_name(
        &self,
        tenant: TenantId,
        name: &str,
    ) -> Result<Option<VoiceRecording>, StoreError> {
        match self.reader(tenant).await? {
            Reader::Database(mut loan) => {
                let by_name = "SELECT body FROM voice_recordings WHERE tenant = $1 AND name = $2";
                one(&mut loan.connection(), by_name, tenant, name).await
            }
            Reader::Memory(memory) => Ok(memory.read(|tables| {
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
    connection: &mut Connection<'_>,
    recording: &VoiceRecording,
) -> Result<u64, ApplyError> {
    let insert = "INSERT INTO voice_recordings (tenant, voice_id, name, status, uploaded_ms, body)
                  VALUES ($1, $2, $3, $4, $5, $6)";
    write(connection, insert, recording).await
}

pub(crate) async fn update(
    connection: &mut Connection<'_>,
    recording: &VoiceRecording,
) -> Result<u64, ApplyError> {
    let update = "UPDATE voice_recordings SET name = $3, status = $4, uploaded_ms = $5, body = $6
                  WHERE tenant = $1 AND voice_id = $2";
    write(connection, update, recording).await
}

async fn write(
    connection: &mut Connection<'_>,
    statement: &'static str,
    recording: &VoiceRecording,
) -> Result<u64, ApplyError> {
    let write = Statement::new(statement)
        .bind(recording.tenant.0)
        .bind(recording.voice_id.as_str())
        .bind(recording.name.as_str())
        .bind(recording.status.name())
        .bind(recording.uploaded_ms)
        .bind(rows::json(recording));
    Ok(write.execute(connection).await?)
}

async fn page(
    connection: &mut Connection<'_>,
    tenant: TenantId,
    status: Option<VoiceStatus>,
    offset: u32,
    limit: u32,
) -> Result<(u64, Vec<VoiceRecording>), StoreError> {
    let matching = || -> Vec<Value> { vec![tenant.0.into(), status.map(VoiceStatus::name).into()] };
    let count = format!("SELECT count(*) AS value {MATCHING}");
    let total = Statement::assembled(count, matching()).fetch_integer(connection).await?;
    let page = format!("SELECT body {MATCHING} ORDER BY uploaded_ms, voice_id LIMIT $3 OFFSET $4");
    let page = Statement::assembled(page, matching()).bind(limit).bind(offset);
    let rows = page.fetch_all(connection).await?;
    Ok((total.unwrap_or(0) as u64, rows.iter().map(decode).collect::<Result<_, _>>()?))
}

async fn one(
    connection: &mut Connection<'_>,
    query: &'static str,
    tenant: TenantId,
    value: &str,
) -> Result<Option<VoiceRecording>, StoreError> {
    let query = Statement::new(query).bind(tenant.0).bind(value);
    let row = query.fetch_optional(connection).await?;
    row.as_ref().map(decode).transpose()
}

fn decode(row: &Row) -> Result<VoiceRecording, StoreError> {
    rows::parse("voice_recordings", row.get("body")?)
}
