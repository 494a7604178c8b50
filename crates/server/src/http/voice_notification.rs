//! createVoiceNotification, v2 (page 003) and v1 (contract §5.2).

mod order;
mod refused;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use engine::intent::Order;
use engine::vocabulary::CallKind;
use serde_json::{Map, Value};

pub use order::{Entry, PlaylistWish, Wish, judge};
pub use refused::Refused;

use super::auth::ApiTenant;
use super::body::{ApiBody, CALL_BODY};
use super::ordering::{
    BUSY_RETRY_S, BUSY_TEXT, DUPLICATE_TEXT, Field, TenantView, idempotency, place, queue_text,
    quota_text, request,
};
use super::ret_code::{created, refused};
use super::wire::{WireError, WrongType, later, number_field, object, text_field};
use crate::app::App;
use crate::calls::Refusal;
use crate::tenants::Tenant;

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
    let kind = CallKind::VoiceNotification;
    let idempotency = idempotency(tenant.id, kind, headers, body).map_err(WireError::BadRequest)?;
    let order = match judged(app, tenant, wish(&object)) {
        Ok(order) => order,
        Err(why) => return Ok(refused(why.code(), why.to_string())),
    };
    match place(app, request(app, tenant, idempotency, order)).await {
        Ok(accepted) => Ok(created(accepted.serial.to_string())),
        Err(Refusal::QueueFull { retry_after_s }) => {
            Ok(later(refused(3, queue_text(retry_after_s)), retry_after_s))
        }
        Err(Refusal::DailyLimit { quota, retry_after_s }) => {
            Ok(later(refused(3, quota_text(quota, retry_after_s)), retry_after_s))
        }
        Err(Refusal::Duplicate) => Ok(refused(1, DUPLICATE_TEXT.to_owned())),
        Err(Refusal::KeyReused) => Err(WireError::KeyReused),
        // A notification has no code that could be taken, and needs no balance.
        Err(Refusal::Stopping | Refusal::CodeTaken | Refusal::BalanceUsedUp) => {
            Err(WireError::Failed("the server takes no calls now"))
        }
    }
}

/// Judges a wish against the tenant's settings and its shelf.
pub fn judged(app: &App, tenant: &Tenant, wish: Wish) -> Result<Order, Refused> {
    let view = TenantView::of(app, tenant);
    app.voices.read(tenant.id, |shelf| judge(wish, view, shelf))
}

/// The server itself has no time: nothing was looked at.
fn too_busy() -> Response {
    later(refused(3, BUSY_TEXT.to_owned()), BUSY_RETRY_S)
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
