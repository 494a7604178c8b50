//! Callbacks: what became of each, those that were given up, and trying again by hand.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use store::{
    CallbackAttempt, CallbackId, CallbackNext, CallbackResult, CallbackState, CallbackStatus,
};
use utoipa::ToSchema;

use super::{Problem, calls};
use crate::app::{App, unix_ms};
use crate::http::auth::V1Tenant;

/// One delivery of one event.
#[derive(Debug, Serialize, ToSchema)]
pub struct Callback {
    /// The position of its event in the log; the number to replay it by.
    position: u64,
    serial: Option<String>,
    url: String,
    status: Status,
    /// When it is tried next, where it is pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_try_ms: Option<i64>,
    /// How often it was tried, over all replays.
    attempts: u32,
    /// Each try, where one call is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    tries: Option<Vec<Attempt>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Pending,
    Delivered,
    /// Given up: among the dead letters.
    Dead,
}

/// One try.
#[derive(Debug, Serialize, ToSchema)]
pub struct Attempt {
    number: u32,
    at_ms: i64,
    duration_ms: u32,
    /// What was sent, without secrets.
    request: String,
    /// The receiver's status code, where it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// The receiver's body, shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<String>,
    /// Why there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// When the next try was planned, where one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_at_ms: Option<i64>,
}

impl Attempt {
    pub fn new(attempt: &CallbackAttempt) -> Attempt {
        let (status, reply, error) = match &attempt.result {
            CallbackResult::Reply { status, body } => (Some(*status), Some(body.clone()), None),
            CallbackResult::Error { why } => (None, None, Some(why.clone())),
        };
        let retry_at_ms = match attempt.next {
            CallbackNext::RetryAt(at_ms) => Some(at_ms),
            CallbackNext::Delivered | CallbackNext::Dead => None,
        };
        Attempt {
            number: attempt.number,
            at_ms: attempt.at_ms,
            duration_ms: attempt.duration_ms,
            request: attempt.request.clone(),
            status,
            reply,
            error,
            retry_at_ms,
        }
    }
}

impl Callback {
    fn new(state: CallbackState, tries: Option<&[CallbackAttempt]>) -> Callback {
        let (status, next_try_ms) = match state.status {
            CallbackStatus::Pending { next_try_ms } => (Status::Pending, Some(next_try_ms)),
            CallbackStatus::Delivered => (Status::Delivered, None),
            CallbackStatus::Dead => (Status::Dead, None),
        };
        Callback {
            position: state.id.position,
            serial: state.serial.map(|serial| serial.to_string()),
            url: state.url,
            status,
            next_try_ms,
            attempts: state.attempts,
            tries: tries.map(|tries| tries.iter().map(Attempt::new).collect()),
        }
    }
}

/// The callbacks of a call, each with its tries.
#[utoipa::path(
    get,
    path = "/v1/calls/{serial}/callbacks",
    params(("serial" = String, Path, description = "the call's serial number")),
    responses((status = 200, body = Vec<Callback>), (status = 401, body = Problem), (status = 404, body = Problem))
)]
pub async fn of_call(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
    Path(serial): Path<String>,
) -> Result<Json<Vec<Callback>>, Problem> {
    calls::find(&app, tenant.id, &serial).await?;
    let found = app.store.callbacks_of(tenant.id, calls::parse_serial(&serial)?).await?;
    let shown = found.into_iter().map(|(state, tries)| Callback::new(state, Some(&tries)));
    Ok(Json(shown.collect()))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeadQuery {
    #[serde(default)]
    offset: Option<u32>,
    /// 1 to 1000, default 100.
    #[serde(default)]
    limit: Option<u32>,
}

/// The dead letters: callbacks that were given up, oldest event first.
#[utoipa::path(
    get,
    path = "/v1/callbacks/dead",
    params(DeadQuery),
    responses((status = 200, body = Vec<Callback>), (status = 400, body = Problem), (status = 401, body = Problem))
)]
pub async fn dead(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
    query: Result<Query<DeadQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Vec<Callback>>, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    let limit = query.limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(Problem::bad_request("limit must be 1 to 1000"));
    }
    let page = app.store.dead_letters(tenant.id, query.offset.unwrap_or(0), limit).await?;
    Ok(Json(page.into_iter().map(|state| Callback::new(state, None)).collect()))
}

/// Deliver a callback again, whatever became of it. The event's id stays the same.
#[utoipa::path(
    post,
    path = "/v1/callbacks/{position}/replay",
    params(("position" = u64, Path, description = "the position of its event in the log")),
    responses((status = 202, description = "it is tried at once"), (status = 401, body = Problem), (status = 404, body = Problem))
)]
pub async fn replay(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
    Path(position): Path<String>,
) -> Result<StatusCode, Problem> {
    let position = position.parse().ok().filter(|position| *position <= i64::MAX as u64);
    let position = position.ok_or_else(Problem::not_found)?;
    // The id names the tenant, so that another tenant's callback is simply not there.
    let id = CallbackId { tenant: tenant.id, position };
    let found = app.store.replay(id, unix_ms()).await?;
    if found { Ok(StatusCode::ACCEPTED) } else { Err(Problem::not_found()) }
}
