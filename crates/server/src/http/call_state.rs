//! queryCallState (contract §6): where a call is now.

use axum::extract::State;
use engine::vocabulary::Serial;
use serde::Serialize;
use store::KeptCall;

use super::auth::ApiTenant;
use super::body::{ApiBody, CALL_BODY};
use super::call_records::{reason_code, state};
use super::two_legs;
use super::wire::{Reply, WireError, WrongType, object, text_field};
use crate::app::App;

/// Characters of a serial number in a request.
const MAX_SERIAL: usize = 50;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    ret_code: &'static str,
    ret_msg: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Current>,
}

/// In the order of the table.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Current {
    /// 0: to be called, 1: calling, 2: talking, 3: ended.
    state: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_data: Option<String>,
    caller: String,
    called: String,
}

/// `POST /apiaccess/CC-Management/v1/mobileAgent/queryCallState`
pub async fn query(
    State(app): State<App>,
    ApiTenant(tenant): ApiTenant,
    ApiBody(body): ApiBody<CALL_BODY>,
) -> Result<Reply<impl Serialize>, WireError> {
    let object = object(&body)?;
    let refused = |ret_code, ret_msg| Ok(Reply(Answer { ret_code, ret_msg, result: None }));
    let serial = match text_field(&object, "callSerialNo") {
        Ok(Some(text)) if text.len() <= MAX_SERIAL => text.parse().ok().map(Serial),
        Ok(_) | Err(WrongType) => None,
    };
    let Some(serial) = serial.filter(|serial| serial.0 <= i64::MAX as u64) else {
        return refused("3", "callSerialNo must be a whole number of at most 50 characters");
    };
    let found = app.calls.find(tenant.id, serial).await.map_err(|error| {
        tracing::error!(%serial, %error, "a call could not be read");
        WireError::Failed("the call could not be read; try again")
    })?;
    let Some(found) = found else {
        return refused("1", "there is no call with this callSerialNo");
    };
    let order = &found.call.intent().order;
    let current = Current {
        state: state(found.state()),
        reason_code: match &found.call {
            KeptCall::Over(cdr) => Some(reason_code(cdr)),
            KeptCall::Unfinished(..) => None,
        },
        call_data: two_legs::call_data(order).map(str::to_owned),
        caller: order.caller_number().to_owned(),
        called: order.called.clone(),
    };
    Ok(Reply(Answer { ret_code: "0", ret_msg: "success", result: Some(current) }))
}

#[cfg(test)]
mod tests {
    use engine::cdr::{Outcome, Progress};
    use engine::vocabulary::Serial;
    use serde_json::{Value, json};

    use crate::http::testing::World;
    use crate::http::tests::STATE;

    #[tokio::test]
    async fn a_call_is_to_be_called_calling_talking_and_ended() {
        let world = World::new().await;
        let intent = world.two_legs(7, 1_700_000_000_000).await;
        let state = async || world.post(STATE, json!({"callSerialNo": "7"})).await;
        assert_eq!(
            state().await.text,
            r#"{"retCode":"0","retMsg":"success","result":{"state":0,"callData":"order 7","caller":"66666666","called":"88884432"}}"#
        );
        let at = |progress| world.progress.lock().unwrap().insert(Serial(7), progress);
        let managers = Progress { caller_talking_ms: Some(2), ..Progress::default() };
        at(managers);
        assert_eq!(state().await.json()["result"]["state"], 1, "the customer is called");
        at(Progress { talking_ms: Some(3), ..managers });
        assert_eq!(state().await.json()["result"]["state"], 2);
        world.ended(intent, Outcome::CallerNoAnswer, false).await;
        let over = state().await.json();
        let over = (&over["result"]["state"], &over["result"]["reasonCode"]);
        assert_eq!(over, (&json!(3), &json!(4)));
    }

    #[tokio::test]
    async fn what_is_no_call_has_its_code() {
        let world = World::new().await;
        for (code, serial) in [
            ("1", json!("8")),
            ("1", json!(8)),
            ("3", json!("")),
            ("3", Value::Null),
            ("3", json!("seven")),
            ("3", json!("-1")),
            ("3", json!("9223372036854775808")),
            ("3", json!("1".repeat(51))),
            ("3", json!([7])),
        ] {
            let got = world.post(STATE, json!({"callSerialNo": serial.clone()})).await;
            assert_eq!(
                (got.status.as_u16(), &got.json()["retCode"]),
                (200, &json!(code)),
                "{serial}"
            );
        }
    }
}
