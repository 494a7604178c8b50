//! One timeline per call: its events, what SIP and media noted, and each try of its callbacks.

use axum::Json;
use axum::extract::{Path, State};
use engine::vocabulary::{Serial, TenantId};
use serde::Serialize;
use serde_json::{Value, json};
use store::{CallbackAttempt, CallbackState};
use utoipa::ToSchema;

use super::calls;
use super::{Problem, callbacks, events};
use crate::app::App;
use crate::calls::{CallState, Note};
use crate::http::auth::V1Tenant;

/// One line of the timeline.
#[derive(Debug, Serialize, ToSchema)]
pub struct Line {
    at_ms: i64,
    source: Source,
    /// What happened; for events the name in the log.
    what: String,
    #[schema(value_type = Object)]
    data: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The event log.
    Event,
    /// SIP messages, media, waits.
    Note,
    /// A try to deliver a callback.
    Callback,
}

/// A call's timeline.
#[derive(Debug, Serialize, ToSchema)]
pub struct Timeline {
    serial: String,
    state: CallState,
    lines: Vec<Line>,
}

/// Everything that happened to a call, in order of time; while it is live, so far.
#[utoipa::path(
    get,
    path = "/v1/calls/{serial}/timeline",
    params(("serial" = String, Path, description = "the call's serial number")),
    responses((status = 200, body = Timeline), (status = 401, body = Problem), (status = 404, body = Problem))
)]
pub async fn timeline(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
    Path(text): Path<String>,
) -> Result<Json<Timeline>, Problem> {
    let call = calls::find(&app, tenant.id, &text).await?;
    let serial = calls::parse_serial(&text)?;
    let mut lines: Vec<Line> = Vec::new();
    for (position, event) in app.store.events_of(tenant.id, serial).await? {
        let what = event.kind.name().to_owned();
        let mut data = events::data(event.kind);
        data["position"] = json!(position);
        lines.push(Line { at_ms: event.at_ms, source: Source::Event, what, data });
    }
    lines.extend(notes(&app, tenant.id, serial).await?.into_iter().map(note_line));
    for (state, attempts) in app.store.callbacks_of(tenant.id, serial).await? {
        lines.extend(attempts.iter().map(|attempt| callback_line(&state, attempt)));
    }
    // Stable: what bears the same time stays in the order of its source.
    lines.sort_by_key(|line| line.at_ms);
    Ok(Json(Timeline { serial: text, state: call.state(), lines }))
}

/// Those of an ended call are stored with its record; until then the engine's owner has them.
async fn notes(app: &App, tenant: TenantId, serial: Serial) -> Result<Vec<Note>, Problem> {
    match app.store.timeline(tenant, serial).await? {
        None => Ok(app.calls.live_notes(serial).await),
        Some(stored) => Ok(serde_json::from_slice(&stored).unwrap_or_else(|error| {
            tracing::warn!(%error, "stored notes cannot be read");
            Vec::new()
        })),
    }
}

fn note_line(note: Note) -> Line {
    let mut data = serde_json::to_value(&note).expect("a note has string keys only");
    let tag = data.as_object_mut().and_then(|fields| {
        fields.remove("at_ms");
        fields.remove("note")
    });
    let what = tag.as_ref().and_then(Value::as_str).unwrap_or("note").to_owned();
    Line { at_ms: note.at_ms, source: Source::Note, what, data }
}

fn callback_line(state: &CallbackState, attempt: &CallbackAttempt) -> Line {
    let data = serde_json::to_value(callbacks::Attempt::new(attempt));
    let mut data = data.expect("an attempt has string keys only");
    data["url"] = json!(state.url);
    // The line has it.
    data.as_object_mut().and_then(|fields| fields.remove("at_ms"));
    Line {
        at_ms: attempt.at_ms,
        source: Source::Callback,
        what: "callback.attempt".to_owned(),
        data,
    }
}
