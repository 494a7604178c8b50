//! What is posted of a call of two parties (contract §6): that they are connected, and how the call ended.

use engine::cdr::Cdr;
use engine::intent::Intent;
use time::UtcOffset;

use super::release::{Fields, wire_time};
use crate::http::two_legs::call_data;
use crate::recordings;

/// The connection callback. Printed as a Java map in the documentation; sent as JSON.
pub fn connected(call: &Intent) -> Fields {
    Fields::from([
        ("callData", call_data(&call.order).unwrap_or_default().to_owned()),
        ("callSerialNo", call.serial.to_string()),
        ("called", call.order.called.clone()),
        ("serviceNo", call.order.caller_present.clone()),
    ])
}

/// The release callback; what begins with `agent` is the first party's leg. A time that does not exist is empty.
pub fn released(cdr: &Cdr, zone: UtcOffset) -> Fields {
    let intent = &cdr.intent;
    let optional = |ms: Option<i64>| ms.map(|ms| wire_time(ms, zone)).unwrap_or_default();
    let agent = cdr.caller.as_ref();
    let agent_talked = agent.map_or(0, |leg| leg.talk_duration_ms) / 1000;
    let recordfile = if cdr.recorded { recordings::wire_name(intent) } else { String::new() };
    Fields::from([
        ("agentAlertingTime", optional(agent.and_then(|leg| leg.alerting_ms))),
        ("agentReleaseTime", optional(agent.and_then(|leg| leg.released_ms))),
        ("agentTalkDuration", agent_talked.to_string()),
        ("agentTalkingTime", optional(agent.and_then(|leg| leg.talking_ms))),
        ("alertingTime", optional(cdr.alerting_ms)),
        ("callData", call_data(&intent.order).unwrap_or_default().to_owned()),
        ("callSerialNo", intent.serial.to_string()),
        ("called", intent.order.called.clone()),
        ("caller", intent.order.caller_number().to_owned()),
        ("callerPresent", intent.order.caller_present.clone()),
        ("createCallTime", wire_time(intent.created_ms, zone)),
        ("locationId", "0".to_owned()),
        ("recordfile", recordfile),
        ("releaseReason", cdr.release_reason().to_owned()),
        ("releaseTime", wire_time(cdr.released_ms, zone)),
        ("serviceNo", intent.order.caller_present.clone()),
        ("talkDuration", (cdr.talk_duration_ms / 1000).to_string()),
        ("talkingTime", optional(cdr.talking_ms)),
    ])
}

#[cfg(test)]
mod tests {
    use engine::cdr::Outcome;
    use engine::events::EventKind;
    use engine::vocabulary::LegId;

    use super::*;
    use crate::callbacks::release::body;
    use crate::http::testing::World;

    const CREATED_MS: i64 = 1_645_524_268_823;

    fn text(event: &EventKind, call: Option<&Intent>) -> String {
        String::from_utf8(body(event, call, UtcOffset::UTC, None).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_release_tells_of_both_legs() {
        let world = World::new().await;
        let intent = world.two_legs(7, CREATED_MS).await;
        let cdr = Box::new(world.ended(intent, Outcome::CallerHungUp, true).await);
        assert_eq!(
            text(&EventKind::Ended { cdr }, None),
            concat!(
                r#"{"agentAlertingTime":"2022/02/22,10:04:28:825","#,
                r#""agentReleaseTime":"2022/02/22,10:04:35:526","agentTalkDuration":"6","#,
                r#""agentTalkingTime":"2022/02/22,10:04:28:826","#,
                r#""alertingTime":"2022/02/22,10:04:29:023","callData":"order 7","#,
                r#""callSerialNo":"7","called":"88884432","caller":"66666666","#,
                r#""callerPresent":"2222201","createCallTime":"2022/02/22,10:04:28:823","#,
                r#""locationId":"0","recordfile":"Y:/1/mobileAgent/20220222/1645524268-7.wav","#,
                r#""releaseReason":"1","releaseTime":"2022/02/22,10:04:35:523","#,
                r#""serviceNo":"2222201","talkDuration":"5","#,
                r#""talkingTime":"2022/02/22,10:04:30:023"}"#
            )
        );
    }

    #[tokio::test]
    async fn a_connection_names_its_call() {
        let world = World::new().await;
        let intent = world.two_legs(7, CREATED_MS).await;
        let bridged = EventKind::Bridged { caller: LegId(1), called: LegId(2) };
        assert_eq!(
            text(&bridged, Some(&intent)),
            r#"{"callData":"order 7","callSerialNo":"7","called":"88884432","serviceNo":"2222201"}"#
        );
        assert!(body(&bridged, None, UtcOffset::UTC, None).is_none(), "of no call");
    }
}
