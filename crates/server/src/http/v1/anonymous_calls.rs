//! `POST /v1/anonymous_calls`: the same call as createcall, in words of our own.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use engine::vocabulary::CallKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Problem;
use crate::app::App;
use crate::http::anonymous_call::{Refused, Wish, expect};
use crate::http::auth::V1Tenant;
use crate::http::body::{CALL_BODY, V1Body};
use crate::http::ordering::{NotPlaced, idempotency};

/// A call that an app begins by dialling a code over SIP, without an account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAnonymousCall {
    /// Who is called once the app has dialled its code.
    #[schema(example = "88884432", max_length = 32)]
    called: String,
    /// The number that the called party sees; default the tenant's first access code.
    #[serde(default)]
    caller_shown: Option<String>,
    /// Comes back in callbacks and records, at most 1024 characters.
    #[serde(default)]
    #[schema(max_length = 1024)]
    call_data: Option<String>,
}

/// A task that is on disk: an INVITE to `access_code` at `sip_service_address` begins the call, once.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExpectedCall {
    /// The call's serial number.
    #[schema(example = "1308434073450058757")]
    serial: String,
    /// The `Idempotency-Key` came before: this is the earlier call.
    replayed: bool,
    /// `ip:port`.
    #[schema(example = "10.137.203.215:5063")]
    sip_service_address: String,
    /// 18 digits.
    #[schema(example = "179080024609291000")]
    access_code: String,
    /// From then on the code is void, ms since 1970.
    valid_until_ms: i64,
}

/// Ask for a code. With an `Idempotency-Key`, repeating the request is safe for 24 h and gives the same code.
#[utoipa::path(
    post,
    path = "/v1/anonymous_calls",
    request_body = NewAnonymousCall,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters")),
    responses(
        (status = 201, body = ExpectedCall),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem, description = "an equal call is unfinished"),
        (status = 413, body = Problem),
        (status = 422, body = Problem, description = "`code` tells what to change"),
        (status = 429, body = Problem, description = "the tenant's day is used up"),
        (status = 500, body = Problem),
        (status = 503, body = Problem, description = "too many codes are out (`queue_full`), the server has too much to do (`busy`) or stops")
    )
)]
pub async fn create(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
    headers: HeaderMap,
    V1Body(body): V1Body<CALL_BODY>,
) -> Result<(StatusCode, Json<ExpectedCall>), Problem> {
    let _under_way = app.admission.enter().ok_or_else(Problem::busy)?;
    let wish = read(&body)?;
    let kind = CallKind::AnonymousCall;
    let idempotency =
        idempotency(tenant.id, kind, &headers, &body).map_err(Problem::bad_request)?;
    match expect(&app, &tenant, wish, idempotency).await {
        Ok(expected) => Ok((
            StatusCode::CREATED,
            Json(ExpectedCall {
                serial: expected.accepted.serial.to_string(),
                replayed: expected.accepted.replayed,
                sip_service_address: expected.sip_address.to_string(),
                access_code: expected.code,
                valid_until_ms: expected.valid_until_ms,
            }),
        )),
        Err(NotPlaced::Refused(why)) => Err(refused(why)),
        Err(NotPlaced::ByEngine(refusal)) => Err(refusal.into()),
    }
}

/// What a body asks for.
fn read(body: &[u8]) -> Result<Wish, Problem> {
    let wanted: NewAnonymousCall = super::object(body)?;
    Ok(Wish {
        called: Ok(Some(wanted.called)),
        call_data: Ok(wanted.call_data),
        caller_present: Ok(wanted.caller_shown),
    })
}

fn refused(refused: Refused) -> Problem {
    if refused.is_ours() {
        Problem::unavailable(refused.name(), &refused.to_string(), 5)
    } else {
        Problem::unprocessable(refused.name(), refused.to_string())
    }
}
