//! The event log of a tenant: read from any position on, or waited for.

use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use engine::events::{Event, EventKind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::Problem;
use super::calls::Call;
use crate::app::App;
use crate::http::auth::V1Tenant;

const MAX_WAIT_S: u32 = crate::config::LONGEST_WAIT_S;
const MAX_LIMIT: u32 = 1000;
/// A lost ring of the doorbell costs at most this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// One entry of the log.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogEntry {
    /// From 1, without gaps; `after` of the next request.
    position: u64,
    at_ms: i64,
    /// `call.accepted`, `call.queued`, `call.dialling`, `call.ringing`, `call.answered`,
    /// `call.play_started`, `call.digit`, `call.round_played`, `call.leg_ended`, `call.ended`,
    /// `recording.reviewed`, `tenant.new_prefix`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The call that it belongs to.
    serial: Option<String>,
    #[schema(value_type = Object)]
    data: Value,
}

/// One page of the log.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogPage {
    events: Vec<LogEntry>,
    /// Where the log begins: 1, and a later position once events have expired. Where it is more than
    /// one behind the `after` of the request, those between are gone.
    first: u64,
    /// `after` of the next request.
    last: u64,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// The last position that was read; default 0, from the beginning.
    #[serde(default)]
    after: Option<u64>,
    /// 1 to 1000, default 100.
    #[serde(default)]
    limit: Option<u32>,
    /// Seconds to wait for an event where there is none, 0 to 30; default 0. The server may wait no longer than
    /// `http.longest_wait_s`.
    #[serde(default)]
    wait: Option<u32>,
}

/// What happened after a position, in order. A listener that was away reads on where it stopped.
#[utoipa::path(
    get,
    path = "/v1/events",
    params(LogQuery),
    responses((status = 200, body = LogPage), (status = 400, body = Problem), (status = 401, body = Problem))
)]
pub async fn read(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
    query: Result<Query<LogQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<LogPage>, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    let (after, limit) = (query.after.unwrap_or(0), query.limit.unwrap_or(100));
    let wait_s = query.wait.unwrap_or(0);
    if !(1..=MAX_LIMIT).contains(&limit) || wait_s > MAX_WAIT_S {
        return Err(Problem::bad_request("limit must be 1 to 1000, wait 0 to 30"));
    }
    let wait_s = wait_s.min(app.config.http.longest_wait_s);
    let until = Instant::now() + Duration::from_secs(wait_s.into());
    let mut doorbell = app.doorbell.subscribe();
    loop {
        doorbell.mark_unchanged();
        let page = app.store.events(tenant.id, after, limit).await?;
        if !page.is_empty() || Instant::now() >= until {
            let last = page.last().map_or(after, |(position, _)| *position);
            let events = page.into_iter().map(LogEntry::new).collect();
            let first = app.store.first_event(tenant.id).await?;
            // A reader whose next events are gone goes on where the log begins.
            let last = last.max(first - 1);
            return Ok(Json(LogPage { events, first, last }));
        }
        let look_again = until.min(Instant::now() + LOOK_AGAIN);
        // Rung or silent: in each case the log itself is looked at.
        let _ = tokio::time::timeout_at(look_again, doorbell.changed()).await;
    }
}

impl LogEntry {
    fn new((position, event): (u64, Event)) -> LogEntry {
        LogEntry {
            position,
            at_ms: event.at_ms,
            kind: event.kind.name(),
            serial: event.serial.map(|serial| serial.to_string()),
            data: data(event.kind),
        }
    }
}

/// What an event says besides its name. Numbers of 64 bits become strings: JavaScript rounds them.
pub fn data(kind: EventKind) -> Value {
    if let EventKind::Ended { cdr } = kind {
        return serde_json::to_value(Call::ended(*cdr)).expect("a call has string keys only");
    }
    let mut value = serde_json::to_value(&kind).expect("an event has string keys only");
    if let Some(object) = value.as_object_mut() {
        object.remove("type");
        // The legs of `call.bridged` are named by the parties; elsewhere those names hold numbers to dial.
        for name in ["leg", "caller", "called"] {
            if let Some(leg) = object.get_mut(name).filter(|value| value.is_number()) {
                *leg = Value::String(leg.to_string());
            }
        }
        return value;
    }
    Value::Object(Map::new())
}
