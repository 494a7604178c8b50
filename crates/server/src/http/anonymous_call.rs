//! createcall (page 000): an app asks for a code, dials it over SIP, and is connected.

mod code;
mod order;
mod refused;

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use engine::intent::{Idempotency, OrderKind};
use engine::vocabulary::{CallKind, Serial, TenantId};
use serde::Serialize;

pub use order::{Wish, judge};
pub use refused::Refused;

use super::auth::KeyedTenant;
use super::body::{ApiBody, CALL_BODY};
use super::ordering::{
    BUSY_RETRY_S, BUSY_TEXT, DUPLICATE_TEXT, NotPlaced, TenantView, idempotency, place, queue_text,
    quota_text, request,
};
use super::wire::{Reply, WireError, later, object, text_field};
use crate::app::{App, unix_ms};
use crate::calls::{Accepted, Refusal};
use crate::tenants::Tenant;
use code::draw;

/// A task that is not on disk within this time is given up: nobody is called through it without the code.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(10);
/// Codes that are drawn before it is given up that one is free: with ten digits and more to draw the first one is.
const DRAWS: usize = 5;

/// The reply, in the printed order of its keys.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    result_code: &'static str,
    result_desc: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_data: Option<Task>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Task {
    call_serial_no: String,
    sip_service_address: String,
    accesscode: String,
}

/// A task that is on disk.
pub struct Expected {
    pub accepted: Accepted,
    pub sip_address: SocketAddr,
    /// Access code and UVID.
    pub code: String,
    /// The ms since 1970 from which the code is void.
    pub valid_until_ms: i64,
}

/// `POST /apiaccess/ccmessaging/v1/mobileagent/createcall`
pub async fn create(
    State(app): State<App>,
    KeyedTenant(tenant): KeyedTenant,
    headers: HeaderMap,
    ApiBody(body): ApiBody<CALL_BODY>,
) -> Result<Response, WireError> {
    let Some(_under_way) = app.admission.enter() else {
        return Ok(later(refusal("30010010001", BUSY_TEXT.to_owned()), BUSY_RETRY_S));
    };
    let wish = wish(&body)?;
    let kind = CallKind::AnonymousCall;
    let idempotency =
        idempotency(tenant.id, kind, &headers, &body).map_err(WireError::BadRequest)?;
    match expect(&app, &tenant, wish, idempotency).await {
        Ok(expected) => Ok(Reply(Answer {
            result_code: "0",
            result_desc: "Success".to_owned(),
            result_data: Some(Task {
                call_serial_no: expected.accepted.serial.to_string(),
                sip_service_address: expected.sip_address.to_string(),
                accesscode: expected.code,
            }),
        })
        .into_response()),
        Err(NotPlaced::Refused(refused)) => Ok(refusal(refused.code(), refused.to_string())),
        Err(NotPlaced::ByEngine(refusal)) => not_taken(refusal),
    }
}

/// Judges a wish and makes its task. On disk when this returns.
pub async fn expect(
    app: &App,
    tenant: &Tenant,
    wish: Wish,
    idempotency: Option<Idempotency>,
) -> Result<Expected, NotPlaced<Refused>> {
    if !tenant.settings.anonymous_call.enabled {
        return Err(NotPlaced::Refused(Refused::Disabled));
    }
    if !app.calls.is_ready() {
        return Err(NotPlaced::Refused(Refused::NotReady));
    }
    let sip_address = app.sip_service_address(tenant);
    let sip_address = sip_address.ok_or(NotPlaced::Refused(Refused::NoSipServer))?;
    let view = TenantView::of(app, tenant);
    let wanted = judge(wish, view).map_err(NotPlaced::Refused)?;
    let lifetime = Duration::from_secs(tenant.settings.anonymous_call.code_lifetime_s.into());
    for _ in 0..DRAWS {
        let code = draw(&wanted.access_code).map_err(|error| {
            tracing::error!(%error, "no code can be drawn");
            NotPlaced::Refused(Refused::NoCode)
        })?;
        let valid_until_ms = unix_ms() + lifetime.as_millis() as i64;
        let order = wanted.order(code.clone(), valid_until_ms, view);
        let mut request = request(app, tenant, idempotency.clone(), order);
        request.queue_timeout = lifetime;
        let placed = tokio::time::timeout(ACCEPTED_WITHIN, place(app, request)).await;
        match placed.map_err(|_| NotPlaced::Refused(Refused::TooSlow))? {
            Ok(accepted) if accepted.replayed => {
                return replayed(app, tenant.id, accepted, sip_address)
                    .await
                    .map_err(NotPlaced::Refused);
            }
            Ok(accepted) => return Ok(Expected { accepted, sip_address, code, valid_until_ms }),
            Err(Refusal::CodeTaken) => {}
            Err(refusal) => return Err(NotPlaced::ByEngine(refusal)),
        }
    }
    Err(NotPlaced::Refused(Refused::NoCode))
}

/// A repeated request gets the first one's code.
async fn replayed(
    app: &App,
    tenant: TenantId,
    accepted: Accepted,
    sip_address: SocketAddr,
) -> Result<Expected, Refused> {
    let (code, valid_until_ms) =
        stored_code(app, tenant, accepted.serial).await.ok_or(Refused::Stopping)?;
    Ok(Expected { accepted, sip_address, code, valid_until_ms })
}

async fn stored_code(app: &App, tenant: TenantId, serial: Serial) -> Option<(String, i64)> {
    let found = app.calls.find(tenant, serial).await;
    let found = found.inspect_err(|error| tracing::error!(%error, "a call could not be read"));
    match &found.ok()??.call.intent().order.kind {
        OrderKind::AnonymousCall(call) => Some((call.code.clone(), call.valid_until_ms)),
        OrderKind::VoiceNotification { .. } | OrderKind::BidirectionalCall(_) => None,
    }
}

fn not_taken(refused: Refusal) -> Result<Response, WireError> {
    const NOT_ADDED: &str = "30010010001";
    match refused {
        Refusal::QueueFull { retry_after_s } => {
            Ok(later(refusal(NOT_ADDED, queue_text(retry_after_s)), retry_after_s))
        }
        Refusal::DailyLimit { quota, retry_after_s } => {
            Ok(later(refusal(NOT_ADDED, quota_text(quota, retry_after_s)), retry_after_s))
        }
        Refusal::Duplicate => Ok(refusal(NOT_ADDED, DUPLICATE_TEXT.to_owned())),
        Refusal::KeyReused => Err(WireError::KeyReused),
        Refusal::CodeTaken => Ok(refusal(Refused::NoCode.code(), Refused::NoCode.to_string())),
        // It needs no balance.
        Refusal::Stopping | Refusal::BalanceUsedUp => {
            Ok(later(refusal(Refused::Stopping.code(), Refused::Stopping.to_string()), 5))
        }
    }
}

/// Refused: HTTP 200, and a code that tells what to change.
fn refusal(result_code: &'static str, result_desc: String) -> Response {
    Reply(Answer { result_code, result_desc, result_data: None }).into_response()
}

fn wish(body: &Bytes) -> Result<Wish, WireError> {
    let body = object(body)?;
    Ok(Wish {
        called: text_field(&body, "called"),
        call_data: text_field(&body, "callData"),
        caller_present: text_field(&body, "callerPresent"),
    })
}

#[cfg(test)]
mod tests;
