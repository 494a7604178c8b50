//! `POST /v1/bidirectional_calls`: the same call as createCall, in words of our own.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use engine::vocabulary::CallKind;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Problem;
use super::voice_notifications::{Created, created};
use crate::app::App;
use crate::http::auth::V1Tenant;
use crate::http::bidirectional_call::{Manager, Refused, Wish, order_call};
use crate::http::body::{CALL_BODY, V1Body};
use crate::http::listener::Source;
use crate::http::ordering::{NotPlaced, idempotency};
use crate::tenants::Bidirectional;

/// Two parties who are called one after the other and connected.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBidirectionalCall {
    /// Who is called first: a softphone of the tenant, or a number that it may call.
    #[schema(example = "66666666", max_length = 32)]
    caller: String,
    /// Who is called once the caller has answered.
    #[schema(example = "88884432", max_length = 32)]
    called: String,
    /// The number that the called party sees; default the tenant's first access code. Not for a tenant of ITA calls,
    /// whose parties both see a virtual number; nor are the two below.
    #[serde(default)]
    caller_shown: Option<String>,
    /// The number that the caller sees; default the tenant's first access code.
    #[serde(default)]
    agent_shown: Option<String>,
    /// Comes back in callbacks and records, at most 1024 characters.
    #[serde(default)]
    #[schema(max_length = 1024)]
    call_data: Option<String>,
    /// Where the release callback goes; must be in the tenant's trust list.
    #[serde(default)]
    callback_url: Option<String>,
    /// The agent whose call it is; comes back in `/v1/calls` and in the event log.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 99999)]
    agent_work_no: Option<i64>,
}

/// Place a bidirectional call. With an `Idempotency-Key`, repeating the request is safe for 24 h.
#[utoipa::path(
    post,
    path = "/v1/bidirectional_calls",
    request_body = NewBidirectionalCall,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters")),
    responses(
        (status = 201, body = Created),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem, description = "an equal call is unfinished"),
        (status = 413, body = Problem),
        (status = 422, body = Problem, description = "`code` tells what to change"),
        (status = 429, body = Problem, description = "the tenant's day is used up"),
        (status = 500, body = Problem),
        (status = 503, body = Problem, description = "the queue is full (`queue_full`), the server has too much to do (`busy`) or stops")
    )
)]
pub async fn create(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
    source: Source,
    headers: HeaderMap,
    V1Body(body): V1Body<CALL_BODY>,
) -> Result<(StatusCode, Json<Created>), Problem> {
    let _under_way = app.admission.enter().ok_or_else(Problem::busy)?;
    if tenant.settings.bidirectional_call == Bidirectional::Off {
        return Err(Problem::unprocessable("service_off", "bidirectional calls are switched off"));
    }
    let wish = read(&body)?;
    let kind = CallKind::BidirectionalCall;
    let idempotency =
        idempotency(tenant.id, kind, &headers, &body).map_err(Problem::bad_request)?;
    match order_call(&app, &tenant, wish, source, idempotency).await {
        Ok(accepted) => Ok(created(accepted)),
        Err(NotPlaced::Refused(why)) => Err(refused(why)),
        Err(NotPlaced::ByEngine(refusal)) => Err(refusal.into()),
    }
}

/// What a body asks for.
fn read(body: &[u8]) -> Result<Wish, Problem> {
    let wanted: NewBidirectionalCall = super::object(body)?;
    Ok(Wish {
        manager: Manager::Number(Ok(Some(wanted.caller))),
        called: Ok(Some(wanted.called)),
        call_data: Ok(wanted.call_data),
        caller_present: Ok(wanted.caller_shown),
        agent_present: Ok(wanted.agent_shown),
        agent_work_no: Ok(wanted.agent_work_no),
        callback_url: Ok(wanted.callback_url),
    })
}

fn refused(refused: Refused) -> Problem {
    match refused {
        Refused::Storage => Problem::unavailable("storage", &refused.to_string(), 5),
        Refused::TrialDay => Problem::conflict(refused.name(), refused.to_string()),
        refused => Problem::unprocessable(refused.name(), refused.to_string()),
    }
}
