//! Calls: the list of all, one call, cancelling.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use engine::cdr::{CallerLeg, Cause, Cdr, MediaSummary, Outcome};
use engine::intent::{Intent, OrderKind, PlayItem};
use engine::vocabulary::{Serial, TenantId};
use serde::{Deserialize, Serialize};
use store::{CallQuery, KeptCall, Tasks};
use utoipa::ToSchema;

use super::Problem;
use crate::app::App;
use crate::calls::{CallState, CancelError, Listed};
use crate::http::auth::V1Tenant;
use crate::http::two_legs;

/// A call, from the moment at which it was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub struct Call {
    serial: String,
    /// `voice_notification`, `bidirectional_call` or `anonymous_call`.
    kind: &'static str,
    state: CallState,
    called: String,
    caller: String,
    /// The number that the called party sees.
    caller_shown: String,
    /// The number that the caller sees who is called first.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_shown: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_data: Option<String>,
    /// The agent whose call it is, where the client named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_work_no: Option<u32>,
    /// By a virtual number (ITA).
    ita: bool,
    priority: u8,
    /// The trunks for `called`; null where a softphone of that number was called.
    trunk: Option<String>,
    playlist: Vec<PlaylistEntry>,
    play_times: u8,
    callback_url: Option<String>,
    created_ms: i64,
    /// When its wait in the queue is over without a call.
    queue_deadline_ms: i64,
    /// How it ended; absent while it has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<CallEnd>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum PlaylistEntry {
    Recording { recording: String },
    Template { template: String },
}

/// The call's record.
#[derive(Debug, Serialize, ToSchema)]
pub struct CallEnd {
    #[schema(value_type = String, example = "played")]
    outcome: Outcome,
    /// `releaseReason` of the release callback.
    release_reason: &'static str,
    /// The trunk that it was dialled over last.
    trunk: Option<String>,
    /// Why the leg ended.
    #[schema(value_type = Option<String>, example = "hung_up")]
    cause: Option<Cause>,
    /// The SIP status code that ended the leg.
    sip_status: Option<u16>,
    dialled_ms: Option<i64>,
    alerting_ms: Option<i64>,
    talking_ms: Option<i64>,
    released_ms: i64,
    /// Answer to release.
    talk_duration_ms: u64,
    /// Whole rounds of the playlist that were played.
    rounds: u8,
    /// Keys that the called party pressed.
    digits: String,
    recorded: bool,
    #[schema(value_type = Option<Object>)]
    media: Option<MediaSummary>,
    /// The caller's leg, of a call that has one; what is above is the called party's.
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<CallerEnd>,
}

/// The caller's leg in the record of a call of two parties.
#[derive(Debug, Serialize, ToSchema)]
pub struct CallerEnd {
    /// Absent where it is a softphone, or came to us.
    trunk: Option<String>,
    #[schema(value_type = Option<String>, example = "released")]
    cause: Option<Cause>,
    sip_status: Option<u16>,
    dialled_ms: Option<i64>,
    alerting_ms: Option<i64>,
    talking_ms: Option<i64>,
    released_ms: Option<i64>,
    talk_duration_ms: u64,
    #[schema(value_type = Option<Object>)]
    media: Option<MediaSummary>,
}

impl From<CallerLeg> for CallerEnd {
    fn from(leg: CallerLeg) -> CallerEnd {
        CallerEnd {
            trunk: leg.trunk.map(|trunk| trunk.to_string()),
            cause: leg.cause,
            sip_status: leg.sip_status,
            dialled_ms: leg.dialled_ms,
            alerting_ms: leg.alerting_ms,
            talking_ms: leg.talking_ms,
            released_ms: leg.released_ms,
            talk_duration_ms: leg.talk_duration_ms,
            media: leg.media,
        }
    }
}

/// One page of calls.
#[derive(Debug, Serialize, ToSchema)]
pub struct CallPage {
    total: u64,
    calls: Vec<Call>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CallFilter {
    /// The first ms since 1970 that counts, by the time of acceptance.
    #[serde(default)]
    from_ms: Option<i64>,
    /// The last ms since 1970 that counts.
    #[serde(default)]
    to_ms: Option<i64>,
    /// The number that stands for the caller; of a notification the one that was shown.
    #[serde(default)]
    caller: Option<String>,
    #[serde(default)]
    offset: Option<u32>,
    /// 1 to 1000, default 100.
    #[serde(default)]
    limit: Option<u32>,
}

/// The calls in any state, oldest first.
#[utoipa::path(
    get,
    path = "/v1/calls",
    params(CallFilter),
    responses((status = 200, body = CallPage), (status = 400, body = Problem), (status = 401, body = Problem))
)]
pub async fn list(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
    filter: Result<Query<CallFilter>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<CallPage>, Problem> {
    let Query(filter) = filter.map_err(|error| Problem::bad_request(error.body_text()))?;
    let limit = filter.limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(Problem::bad_request("limit must be 1 to 1000"));
    }
    let query = CallQuery {
        tenant: tenant.id,
        start_ms: filter.from_ms.unwrap_or(0),
        end_ms: filter.to_ms.unwrap_or(i64::MAX),
        caller: filter.caller,
        tasks: Tasks::All,
        offset: filter.offset.unwrap_or(0),
        limit,
    };
    let (total, calls) = app.calls.list(&query).await?;
    Ok(Json(CallPage { total, calls: calls.into_iter().map(Call::from).collect() }))
}

/// One call, whatever its state.
#[utoipa::path(
    get,
    path = "/v1/calls/{serial}",
    params(("serial" = String, Path, description = "the call's serial number")),
    responses((status = 200, body = Call), (status = 401, body = Problem), (status = 404, body = Problem))
)]
pub async fn show(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
    Path(serial): Path<String>,
) -> Result<Json<Call>, Problem> {
    find(&app, tenant.id, &serial).await.map(Json)
}

/// Drop a call that waits, hang up one that is live.
#[utoipa::path(
    post,
    path = "/v1/calls/{serial}/cancel",
    params(("serial" = String, Path, description = "the call's serial number")),
    responses(
        (status = 202, description = "it ends; its release callback says how"),
        (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it is over already"),
        (status = 503, body = Problem)
    )
)]
pub async fn cancel(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
    Path(serial): Path<String>,
) -> Result<StatusCode, Problem> {
    let serial = parse_serial(&serial)?;
    match app.calls.cancel(tenant.id, serial).await {
        Ok(()) => Ok(StatusCode::ACCEPTED),
        Err(CancelError::NotFound) => Err(Problem::not_found()),
        Err(CancelError::AlreadyOver) => {
            Err(Problem::conflict("already_over", "the call is over already"))
        }
        Err(CancelError::Stopping) => Err(Problem::stopping()),
    }
}

/// A call of this tenant, or 404.
pub async fn find(app: &App, tenant: TenantId, serial: &str) -> Result<Call, Problem> {
    let serial = parse_serial(serial)?;
    let found = app.calls.find(tenant, serial).await?;
    found.map(Call::from).ok_or_else(Problem::not_found)
}

/// A serial number as a path has it; what is none is a call that does not exist.
pub fn parse_serial(text: &str) -> Result<Serial, Problem> {
    text.parse()
        .ok()
        .filter(|serial| *serial <= i64::MAX as u64)
        .map(Serial)
        .ok_or_else(Problem::not_found)
}

impl From<Listed> for Call {
    fn from(listed: Listed) -> Call {
        let state = listed.state();
        match listed.call {
            KeptCall::Unfinished(intent, _) => Call::unfinished(*intent, state),
            KeptCall::Over(record) => Call::ended(*record),
        }
    }
}

impl Call {
    pub fn state(&self) -> CallState {
        self.state
    }

    fn unfinished(intent: Intent, state: CallState) -> Call {
        let (playlist, play_times) = match intent.order.kind.clone() {
            OrderKind::VoiceNotification { playlist, play_times } => (playlist, play_times),
            OrderKind::BidirectionalCall(_) | OrderKind::AnonymousCall(_) => (Vec::new(), 0),
        };
        let entry = |item| match item {
            PlayItem::Recording { voice_id } => PlaylistEntry::Recording { recording: voice_id },
            PlayItem::Speech { template_id, .. } => {
                PlaylistEntry::Template { template: template_id }
            }
        };
        Call {
            serial: intent.serial.to_string(),
            kind: intent.order.call_kind().name(),
            state,
            caller: intent.order.caller_number().to_owned(),
            agent_shown: two_legs::agent_shown(&intent.order).map(str::to_owned),
            call_data: two_legs::call_data(&intent.order).map(str::to_owned),
            agent_work_no: two_legs::agent_work_no(&intent.order),
            ita: intent.order.is_ita(),
            caller_shown: intent.order.caller_present,
            called: intent.order.called,
            priority: intent.order.priority.value(),
            trunk: intent.order.place.route().map(ToString::to_string),
            playlist: playlist.into_iter().map(entry).collect(),
            play_times,
            callback_url: intent.order.callback_url,
            created_ms: intent.created_ms,
            queue_deadline_ms: intent.queue_deadline_ms,
            end: None,
        }
    }

    pub fn ended(record: Cdr) -> Call {
        let end = CallEnd {
            outcome: record.outcome,
            release_reason: record.release_reason(),
            trunk: record.trunk.map(|trunk| trunk.to_string()),
            cause: record.cause,
            sip_status: record.sip_status,
            dialled_ms: record.dialled_ms,
            alerting_ms: record.alerting_ms,
            talking_ms: record.talking_ms,
            released_ms: record.released_ms,
            talk_duration_ms: record.talk_duration_ms,
            rounds: record.rounds,
            digits: record.digits,
            recorded: record.recorded,
            media: record.media,
            caller: record.caller.map(CallerEnd::from),
        };
        Call { end: Some(end), ..Call::unfinished(record.intent, CallState::Ended) }
    }
}
