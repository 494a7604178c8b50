//! queryCallDetailRecord (contract §6): the history of every kind of call.

use axum::extract::State;
use engine::cdr::{Cdr, Outcome, Progress};
use engine::intent::Intent;
use engine::vocabulary::CallKind;
use serde::Serialize;
use serde_json::{Map, Value};
use store::{CallQuery, KeptCall, Tasks};

use super::auth::ApiTenant;
use super::body::{ApiBody, CALL_BODY};
use super::two_legs;
use super::wire::{Reply, WireError, WrongType, number_field, object, text_field};
use crate::app::App;
use crate::calls::{CallState, Listed};
use crate::tenants::Tenant;

/// The longest span of a query, ms.
const MAX_SPAN_MS: i64 = 7 * 24 * 3600 * 1000;
const MAX_LIMIT: i64 = 1000;
/// Later times are no times of a call: the year 9999 in ms.
const MAX_MS: i64 = 253_402_300_799_999;

/// In the printed order of the keys.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Found>,
    ret_code: &'static str,
    ret_msg: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    total: u64,
    call_info: Vec<CallInfo>,
}

/// Times are ms since 1970 and JSON numbers, as the printed reply of the live system has them. What only the end of a
/// call brings is absent before it.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct CallInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    release_time: Option<i64>,
    called: String,
    caller_present: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_alerting_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_present: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    talking_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alerting_time: Option<i64>,
    caller: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_talking_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_release_time: Option<i64>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_talk_duration: Option<u64>,
    call_serial_no: String,
    start_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<i64>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    talk_duration: Option<u64>,
    /// 0: to be called, 1: calling, 2: talking, 3: ended.
    state: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_data: Option<String>,
}

/// Why a query is not answered with records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    NoData,
    Time,
    Page,
    Caller,
}

impl Refused {
    fn answer(self) -> Answer {
        let (ret_code, ret_msg) = match self {
            Refused::NoData => ("1", "no data"),
            Refused::Time => {
                ("2", "startTime and endTime must be ms since 1970, in order, at most 7 days apart")
            }
            Refused::Page => ("4", "offset must be 0 or more, limit 1 to 1000"),
            Refused::Caller => ("12", "caller must be at most 32 digits"),
        };
        Answer { result: None, ret_code, ret_msg }
    }
}

/// `POST /apiaccess/CC-Management/v1/mobileAgent/queryCallDetailRecord`
pub async fn query(
    State(app): State<App>,
    ApiTenant(tenant): ApiTenant,
    ApiBody(body): ApiBody<CALL_BODY>,
) -> Result<Reply<impl Serialize>, WireError> {
    let object = object(&body)?;
    let tasks = match number_field(&object, "taskType") {
        Ok(None | Some(0)) => Tasks::AllButIta,
        Ok(Some(1)) => Tasks::Bidirectional,
        Ok(Some(2)) => Tasks::Anonymous,
        Ok(Some(3)) => Tasks::VoiceNotification,
        Ok(Some(4)) => Tasks::Ita,
        Ok(Some(_)) | Err(WrongType) => {
            return Err(WireError::BadRequest("taskType must be 0 to 4".to_owned()));
        }
    };
    let query = match parse(&object, &tenant, tasks) {
        Ok(query) => query,
        Err(refused) => return Ok(Reply(refused.answer())),
    };
    let (total, calls) = app.calls.list(&query).await.map_err(|error| {
        tracing::error!(%error, "call records not read");
        WireError::Failed("the call records could not be read; try again")
    })?;
    if total == 0 {
        return Ok(Reply(Refused::NoData.answer()));
    }
    Ok(Reply(Answer {
        result: Some(Found { total, call_info: calls.iter().map(CallInfo::new).collect() }),
        ret_code: "0",
        ret_msg: "Query call detail record successfully",
    }))
}

fn parse(body: &Map<String, Value>, tenant: &Tenant, tasks: Tasks) -> Result<CallQuery, Refused> {
    let time = |name| match number_field(body, name) {
        Ok(Some(ms @ 0..=MAX_MS)) => Ok(ms),
        Ok(_) | Err(WrongType) => Err(Refused::Time),
    };
    let (start_ms, end_ms) = (time("startTime")?, time("endTime")?);
    if end_ms < start_ms || end_ms - start_ms > MAX_SPAN_MS {
        return Err(Refused::Time);
    }
    let page = |name, default| number_field(body, name).map(|given| given.unwrap_or(default));
    let offset = page("offset", 0).ok().and_then(|offset| u32::try_from(offset).ok());
    let limit = page("limit", 100).ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    let (Some(offset), Some(limit)) = (offset, limit) else { return Err(Refused::Page) };
    let caller = text_field(body, "caller").map_err(|WrongType| Refused::Caller)?;
    let plain = |number: &String| {
        number.len() <= 32 && number.trim_start_matches('+').bytes().all(|b| b.is_ascii_digit())
    };
    if caller.as_ref().is_some_and(|number| !plain(number)) {
        return Err(Refused::Caller);
    }
    let (tenant, limit) = (tenant.id, limit as u32);
    Ok(CallQuery { tenant, start_ms, end_ms, caller, tasks, offset, limit })
}

impl CallInfo {
    fn new(listed: &Listed) -> CallInfo {
        let state = state(listed.state());
        match &listed.call {
            KeptCall::Unfinished(intent, _) => {
                CallInfo::unfinished(intent, listed.progress.unwrap_or_default(), state)
            }
            KeptCall::Over(cdr) => CallInfo {
                agent_release_time: cdr.caller.as_ref().and_then(|leg| leg.released_ms),
                agent_talk_duration: cdr.caller.as_ref().map(|leg| leg.talk_duration_ms / 1000),
                release_time: Some(cdr.released_ms),
                end_time: Some(cdr.released_ms),
                talk_duration: Some(cdr.talk_duration_ms / 1000),
                reason_code: Some(reason_code(cdr)),
                ..CallInfo::unfinished(&cdr.intent, cdr.progress(), state)
            },
        }
    }

    fn unfinished(intent: &Intent, progress: Progress, state: u8) -> CallInfo {
        let order = &intent.order;
        CallInfo {
            release_time: None,
            called: order.called.clone(),
            caller_present: order.caller_present.clone(),
            talking_time: progress.talking_ms,
            alerting_time: progress.alerting_ms,
            // Nobody but the server calls in a notification: the number it shows is the caller.
            caller: order.caller_number().to_owned(),
            agent_alerting_time: progress.caller_alerting_ms,
            agent_present: two_legs::agent_shown(order).map(str::to_owned),
            agent_talking_time: progress.caller_talking_ms,
            agent_release_time: None,
            agent_talk_duration: None,
            call_data: two_legs::call_data(order).map(str::to_owned),
            call_serial_no: intent.serial.to_string(),
            start_time: intent.created_ms,
            end_time: None,
            talk_duration: None,
            state,
            reason_code: None,
        }
    }
}

/// `state` of queryCallState.
pub fn state(state: CallState) -> u8 {
    match state {
        CallState::Waiting => 0,
        CallState::Calling => 1,
        CallState::Talking => 2,
        CallState::Ended => 3,
    }
}

/// `reasonCode` of queryCallState: 0 called hung up, 1 caller (the server) hung up, 3 the called leg
/// failed, 5 called did not answer, 6 failed to start; others as `releaseReason` of the callback. A call of two parties has
/// the code of its callback.
pub fn reason_code(cdr: &Cdr) -> u16 {
    if cdr.kind() != CallKind::VoiceNotification {
        return cdr.release_reason().parse().expect("a reason is a number");
    }
    match cdr.outcome {
        Outcome::CutShort | Outcome::CalledHungUp => 0,
        Outcome::Played | Outcome::Cancelled | Outcome::CallerHungUp => 1,
        Outcome::CallerFailed => 2,
        Outcome::CalledFailed => 3,
        Outcome::CallerNoAnswer => 4,
        Outcome::Failed if cdr.dialled_ms.is_some() => 3,
        Outcome::NoAnswer | Outcome::Refused => 5,
        Outcome::Failed | Outcome::NoResource | Outcome::QueueTimeout | Outcome::Unused => 6,
        // It was cut when the tenant's minutes were used up.
        Outcome::Restricted if cdr.talking_ms.is_some() => 10,
        Outcome::Restricted => 6,
        Outcome::RecordingFailed => 999,
        Outcome::Interrupted | Outcome::Unknown | Outcome::TimeUp => 998,
    }
}

#[cfg(test)]
mod tests;
