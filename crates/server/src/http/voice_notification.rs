//! createVoiceNotification, v2 (page 003) and v1 (contract §5.2).

mod order;
mod refused;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse as _, Response};
use engine::intent::{Idempotency, IdempotencyKey, Order};
use engine::vocabulary::{CallKind, TenantId};
use serde::Serialize;
use serde_json::{Map, Value};

pub use order::{Entry, Field, PlaylistWish, TenantView, Wish, judge};
pub use refused::Refused;

use super::auth::ApiTenant;
use super::body::{ApiBody, CALL_BODY};
use super::wire::{Reply, WireError, WrongType, number_field, object, text_field};
use crate::access::sha256;
use crate::app::{App, unix_ms};
use crate::calls::{Accepted, Quota, Refusal, Request};
use crate::tenants::Tenant;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Characters of an `Idempotency-Key`.
const MAX_KEY: usize = 255;
/// Seconds that a client is asked to wait when the server has too much to do.
pub const BUSY_RETRY_S: u32 = 1;

/// The reply, in the printed order of its keys.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    ret_msg: String,
    ret_code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Created>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    call_serial_no: String,
}

/// `POST /apiaccess/rest/voiceNotification/v2/createVoiceNotification`
pub async fn create_v2(
    State(app): State<App>,
    ApiTenant(tenant): ApiTenant,
    headers: HeaderMap,
    ApiBody(body): ApiBody<CALL_BODY>,
) -> Result<Response, WireError> {
    create(&app, &tenant, &headers, &body, wish_v2).await
}

/// `POST /apiaccess/rest/voiceNotification/v1/createVoiceNotification`
pub async fn create_v1(
    State(app): State<App>,
    ApiTenant(tenant): ApiTenant,
    headers: HeaderMap,
    ApiBody(body): ApiBody<CALL_BODY>,
) -> Result<Response, WireError> {
    create(&app, &tenant, &headers, &body, wish_v1).await
}

async fn create(
    app: &App,
    tenant: &Tenant,
    headers: &HeaderMap,
    body: &Bytes,
    wish: fn(&Map<String, Value>) -> Wish,
) -> Result<Response, WireError> {
    let Some(_under_way) = app.admission.enter() else { return Ok(too_busy()) };
    if !tenant.settings.voice_notification {
        return Err(WireError::Unauthorised("the voice notification service is switched off"));
    }
    let object = object(body)?;
    let idempotency = idempotency(tenant.id, headers, body).map_err(WireError::BadRequest)?;
    let order = match judged(app, tenant, wish(&object)) {
        Ok(order) => order,
        Err(refused) => return Ok(refusal(refused.code(), refused.to_string())),
    };
    match place(app, request(app, tenant, idempotency, order)).await {
        Ok(accepted) => Ok(Reply(Answer {
            ret_msg: "Created successfully.".to_owned(),
            ret_code: "0".to_owned(),
            result: Some(Created { call_serial_no: accepted.serial.to_string() }),
        })
        .into_response()),
        Err(Refusal::QueueFull { retry_after_s }) => Ok(later(
            &format!("too many calls wait; try again in {retry_after_s} s"),
            retry_after_s,
        )),
        Err(Refusal::DailyLimit { quota, retry_after_s }) => {
            Ok(later(&quota_text(quota, retry_after_s), retry_after_s))
        }
        Err(Refusal::Duplicate) => Ok(refusal(
            1,
            "a call with this caller and called is not finished; try again later".to_owned(),
        )),
        Err(Refusal::KeyReused) => Err(WireError::KeyReused),
        // A notification has no code that could be taken.
        Err(Refusal::Stopping | Refusal::CodeTaken) => {
            Err(WireError::Failed("the server takes no calls now"))
        }
    }
}

/// Judges a wish against the tenant's settings and its shelf.
pub fn judged(app: &App, tenant: &Tenant, wish: Wish) -> Result<Order, Refused> {
    let (defaults, fraud) = (&app.config.defaults, &app.config.fraud);
    app.voices.read(tenant.id, |shelf| judge(wish, TenantView { tenant, defaults, fraud, shelf }))
}

/// An order with what the engine limits and remembers it by.
pub fn request(
    app: &App,
    tenant: &Tenant,
    idempotency: Option<Idempotency>,
    order: Order,
) -> Request {
    Request {
        tenant: tenant.id,
        limits: tenant.settings.limits(&app.config.defaults),
        idempotency,
        queue_timeout: tenant.settings.queue_timeout(&app.config.defaults),
        order,
    }
}

/// Hands an order in and keeps an eye on where its tenant calls.
pub async fn place(app: &App, request: Request) -> Result<Accepted, Refusal> {
    let (tenant, called) = (request.tenant, request.order.called.clone());
    let accepted = app.calls.accept(request).await?;
    if !accepted.replayed {
        match app.new_prefixes.note(tenant, accepted.serial, &called, unix_ms()).await {
            Ok(true) => app.doorbell.send_modify(|count| *count += 1),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "where a tenant calls could not be stored"),
        }
    }
    Ok(accepted)
}

/// What a client is told whose tenant has used up its day.
pub fn quota_text(quota: Quota, retry_after_s: u32) -> String {
    let what = match quota {
        Quota::Calls => "calls",
        Quota::Minutes => "minutes",
    };
    format!("the tenant's {what} of today are used up; its day is over in {retry_after_s} s")
}

/// The `Idempotency-Key` of a request, with the hash of the body as it came.
pub fn idempotency(
    tenant: TenantId,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Option<Idempotency>, String> {
    let Some(value) = headers.get(&IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().ok().map(str::trim);
    match key.filter(|key| !key.is_empty() && key.len() <= MAX_KEY) {
        Some(key) => Ok(Some(Idempotency {
            key: IdempotencyKey { tenant, kind: CallKind::VoiceNotification, key: key.to_owned() },
            body_sha256: sha256(body),
        })),
        None => Err(format!("Idempotency-Key must be 1 to {MAX_KEY} visible ASCII characters")),
    }
}

/// Refused: HTTP 200, and a code that tells what to change.
fn refusal(code: u32, ret_msg: String) -> Response {
    Reply(Answer { ret_msg, ret_code: code.to_string(), result: None }).into_response()
}

/// The server itself has no time: nothing was looked at.
fn too_busy() -> Response {
    later("the server has too much to do; try again in a moment", BUSY_RETRY_S)
}

fn later(ret_msg: &str, retry_after_s: u32) -> Response {
    let mut response = refusal(3, ret_msg.to_owned());
    response.headers_mut().insert(header::RETRY_AFTER, retry_after_s.into());
    response
}

/// What a body of v2 asks for.
pub fn wish_v2(body: &Map<String, Value>) -> Wish {
    wish(body, PlaylistWish::List(entries(body)))
}

/// What a body of v1 asks for.
pub fn wish_v1(body: &Map<String, Value>) -> Wish {
    let content = PlaylistWish::Content(text_field(body, "voiceContent"));
    Wish { call_data: text_field(body, "callData"), ..wish(body, content) }
}

fn wish(body: &Map<String, Value>, playlist: PlaylistWish) -> Wish {
    Wish {
        called: text_field(body, "called"),
        call_data: Ok(None),
        playlist,
        callback_url: text_field(body, "callBackUrl"),
        caller_present: text_field(body, "callerPresent"),
        play_times: number_field(body, "playTimes"),
        priority: number_field(body, "priority"),
    }
}

fn entries(body: &Map<String, Value>) -> Field<Vec<Entry>> {
    match body.get("playList") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(entries)) => entries
            .iter()
            .map(|entry| entry.as_object().map(self::entry).ok_or(WrongType))
            .collect::<Result<_, _>>()
            .map(Some),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            Err(WrongType)
        }
    }
}

fn entry(entry: &Map<String, Value>) -> Entry {
    Entry {
        voice_id: text_field(entry, "voiceId"),
        voice_file_name: text_field(entry, "voiceFileName"),
        template_id: text_field(entry, "templateId"),
        template_params: params(entry),
    }
}

/// Texts, or numbers, as clients send codes and amounts.
fn params(entry: &Map<String, Value>) -> Field<Vec<String>> {
    let Some(value) = entry.get("templateParams").filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let values = value.as_array().ok_or(WrongType)?;
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(WrongType),
    };
    values.iter().map(text).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests;
