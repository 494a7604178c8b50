//! `POST /v1/voice_notifications`: the same call as createVoiceNotification, in words of our own.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use engine::vocabulary::CallKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Problem;
use crate::app::App;
use crate::calls::Accepted;
use crate::http::auth::V1Tenant;
use crate::http::body::{CALL_BODY, V1Body};
use crate::http::ordering::{idempotency, place, request};
use crate::http::voice_notification::{Entry, PlaylistWish, Wish, judged};

/// A call that plays a list to one number.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewVoiceNotification {
    /// The number to call.
    #[schema(example = "8899", max_length = 32)]
    called: String,
    /// 1 to 5 entries, played in order.
    #[schema(min_items = 1, max_items = 5)]
    playlist: Vec<NewEntry>,
    /// How often the whole list is played, 1 to 5.
    #[serde(default)]
    #[schema(default = 1, minimum = 1, maximum = 5)]
    play_times: Option<i64>,
    /// The number shown; default the tenant's first access code.
    #[serde(default)]
    caller: Option<String>,
    /// 1 (first) to 9 (last, the default).
    #[serde(default)]
    #[schema(default = 9, minimum = 1, maximum = 9)]
    priority: Option<i64>,
    /// Where the release callback goes; must be in the tenant's trust list.
    #[serde(default)]
    callback_url: Option<String>,
}

/// Exactly one of `recording`, `recording_name` and `template`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEntry {
    /// The id of an uploaded recording.
    #[serde(default)]
    recording: Option<String>,
    /// The unique name of an uploaded recording.
    #[serde(default)]
    recording_name: Option<String>,
    /// The id of a text template.
    #[serde(default)]
    template: Option<String>,
    /// One value for each variable of the template, in order.
    #[serde(default)]
    params: Option<Vec<String>>,
}

/// A call that is on disk.
#[derive(Debug, Serialize, ToSchema)]
pub struct Created {
    /// The call's serial number.
    #[schema(example = "1308434073450058757")]
    serial: String,
    /// The `Idempotency-Key` came before: this is the earlier call.
    replayed: bool,
}

/// Place a voice notification. With an `Idempotency-Key`, repeating the request is safe for 24 h.
#[utoipa::path(
    post,
    path = "/v1/voice_notifications",
    request_body = NewVoiceNotification,
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
    headers: HeaderMap,
    V1Body(body): V1Body<CALL_BODY>,
) -> Result<(StatusCode, Json<Created>), Problem> {
    let _under_way = app.admission.enter().ok_or_else(Problem::busy)?;
    if !tenant.settings.voice_notification {
        return Err(Problem::unprocessable("service_off", "voice notifications are switched off"));
    }
    let wish = read(&body)?;
    let kind = CallKind::VoiceNotification;
    let idempotency =
        idempotency(tenant.id, kind, &headers, &body).map_err(Problem::bad_request)?;
    let order = judged(&app, &tenant, wish)
        .map_err(|refused| Problem::unprocessable(refused.name(), refused.to_string()))?;
    let accepted = place(&app, request(&app, &tenant, idempotency, order)).await?;
    Ok(created(accepted))
}

/// 201.
pub fn created(accepted: Accepted) -> (StatusCode, Json<Created>) {
    let Accepted { serial, replayed } = accepted;
    (StatusCode::CREATED, Json(Created { serial: serial.to_string(), replayed }))
}

/// What a body asks for.
pub fn read(body: &[u8]) -> Result<Wish, Problem> {
    super::object(body).map(wish)
}

fn wish(wanted: NewVoiceNotification) -> Wish {
    let entry = |entry: NewEntry| Entry {
        voice_id: Ok(entry.recording),
        voice_file_name: Ok(entry.recording_name),
        template_id: Ok(entry.template),
        template_params: Ok(entry.params),
    };
    Wish {
        called: Ok(Some(wanted.called)),
        call_data: Ok(None),
        playlist: PlaylistWish::List(Ok(Some(wanted.playlist.into_iter().map(entry).collect()))),
        callback_url: Ok(wanted.callback_url),
        caller_present: Ok(wanted.caller),
        play_times: Ok(wanted.play_times),
        priority: Ok(wanted.priority),
    }
}
