//! Uploaded recordings: the list, and their review where the tenant reviews by hand.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use store::{VoiceRecording, VoiceStatus};
use utoipa::ToSchema;

use super::Problem;
use crate::app::{App, unix_ms};
use crate::http::auth::V1Tenant;
use crate::http::body::{CALL_BODY, V1Body};
use crate::http::recordings::report_review;
use crate::tenants::Tenant;
use crate::voices::{ReviewStep, VoiceError};

const MAX_COMMENT: usize = 500;

/// An uploaded recording.
#[derive(Debug, Serialize, ToSchema)]
pub struct Recording {
    id: String,
    name: String,
    status: Status,
    uploaded_ms: i64,
    reviewed_ms: Option<i64>,
    comment: String,
    /// What it was uploaded as: `wav` or `mp3`.
    format: String,
    duration_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Uploaded,
    Submitted,
    Approved,
    Rejected,
}

impl From<VoiceRecording> for Recording {
    fn from(recording: VoiceRecording) -> Recording {
        Recording {
            id: recording.voice_id,
            name: recording.name,
            status: match recording.status {
                VoiceStatus::Uploaded => Status::Uploaded,
                VoiceStatus::Submitted => Status::Submitted,
                VoiceStatus::Approved => Status::Approved,
                VoiceStatus::Rejected => Status::Rejected,
            },
            uploaded_ms: recording.uploaded_ms,
            reviewed_ms: recording.audited_ms,
            comment: recording.comment,
            format: recording.format,
            duration_ms: recording.duration_ms,
        }
    }
}

/// One page of recordings.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordingPage {
    total: u64,
    recordings: Vec<Recording>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    #[serde(default)]
    offset: Option<u32>,
    /// 1 to 1000, default 100.
    #[serde(default)]
    limit: Option<u32>,
}

/// What a reviewer says.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Goes into the review callback; at most 500 bytes.
    #[serde(default)]
    comment: String,
}

/// The tenant's recordings in any state, oldest first.
#[utoipa::path(
    get,
    path = "/v1/recordings",
    params(Page),
    responses((status = 200, body = RecordingPage), (status = 400, body = Problem), (status = 401, body = Problem))
)]
pub async fn list(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
    page: Result<Query<Page>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<RecordingPage>, Problem> {
    let Query(page) = page.map_err(|error| Problem::bad_request(error.body_text()))?;
    let limit = page.limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(Problem::bad_request("limit must be 1 to 1000"));
    }
    let offset = page.offset.unwrap_or(0);
    let (total, found) = app.store.voice_recordings(tenant.id, None, offset, limit).await?;
    Ok(Json(RecordingPage { total, recordings: found.into_iter().map(Recording::from).collect() }))
}

/// Submit an upload that was stored with `submit: false`.
#[utoipa::path(
    post,
    path = "/v1/recordings/{id}/submit",
    params(("id" = String, Path, description = "the recording's id")),
    responses((status = 200, body = Recording), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub async fn submit(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
    Path(id): Path<String>,
) -> Result<Json<Recording>, Problem> {
    review(&app, &tenant, &id, ReviewStep::Submit, &Verdict::default()).await
}

/// Approve: from now on it can be played; the review callback says so.
#[utoipa::path(
    post,
    path = "/v1/recordings/{id}/approve",
    params(("id" = String, Path, description = "the recording's id")),
    request_body = Verdict,
    responses((status = 200, body = Recording), (status = 400, body = Problem), (status = 413, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub async fn approve(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
    Path(id): Path<String>,
    V1Body(body): V1Body<CALL_BODY>,
) -> Result<Json<Recording>, Problem> {
    review(&app, &tenant, &id, ReviewStep::Approve, &verdict(&body)?).await
}

/// Reject: it cannot be played; the review callback says why.
#[utoipa::path(
    post,
    path = "/v1/recordings/{id}/reject",
    params(("id" = String, Path, description = "the recording's id")),
    request_body = Verdict,
    responses((status = 200, body = Recording), (status = 400, body = Problem), (status = 413, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub async fn reject(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
    Path(id): Path<String>,
    V1Body(body): V1Body<CALL_BODY>,
) -> Result<Json<Recording>, Problem> {
    review(&app, &tenant, &id, ReviewStep::Reject, &verdict(&body)?).await
}

fn verdict(body: &[u8]) -> Result<Verdict, Problem> {
    if body.is_empty() {
        return Ok(Verdict::default());
    }
    let verdict: Verdict = super::object(body)?;
    if verdict.comment.len() > MAX_COMMENT {
        return Err(Problem::bad_request(format!("comment must have at most {MAX_COMMENT} bytes")));
    }
    Ok(verdict)
}

async fn review(
    app: &App,
    tenant: &Tenant,
    id: &str,
    step: ReviewStep,
    verdict: &Verdict,
) -> Result<Json<Recording>, Problem> {
    let done = app.voices.review(tenant.id, id, step, &verdict.comment, unix_ms()).await;
    let recording = done.map_err(|error| match error {
        VoiceError::NotFound => Problem::not_found(),
        VoiceError::WrongStatus(_) => Problem::conflict("wrong_status", error.to_string()),
        VoiceError::Store(error) => Problem::from(error),
        other => {
            tracing::error!(error = %other, "review failed");
            Problem::unavailable("storage", "the review could not be stored", 5)
        }
    })?;
    if step != ReviewStep::Submit {
        report_review(app, &recording).await.map_err(|_| {
            Problem::unavailable("storage", "the review callback could not be stored", 5)
        })?;
    }
    Ok(Json(recording.into()))
}
