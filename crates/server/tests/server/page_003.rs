//! The example of page 003, sent as it is printed, and what follows from it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::support::{APP_KEY, PATIENCE, World};

/// The printed request, with this receiver in place of `xx.xx.xx.xx:8800`.
fn printed(world: &World) -> String {
    format!(
        r#"{{ "called": "8899", "playList": [{{ "voiceId": "{}", "templateParams": ["100","200"] }}], "playTimes": 1, "callerPresent": "2222201", "callBackUrl": "http://{}/callbackTest" }}"#,
        world.voice_id,
        world.callbacks.address()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_request_is_answered_as_printed_and_ends_with_its_callback() {
    let world = World::start().await;
    let reply =
        world.client.create_voice_notification(&printed(&world), None).await.expect("a reply");
    let serial = reply.call_serial_no().expect("it is accepted");
    assert_eq!(
        reply.body,
        format!(
            r#"{{"retMsg":"Created successfully.","retCode":"0","result":{{"callSerialNo":"{serial}"}}}}"#
        )
    );
    let released = world.released(&serial).await;
    assert_eq!(released["called"], "8899");
    assert_eq!(released["callerPresent"], "2222201");
    assert_eq!(released["releaseReason"], "1", "played to the end");
    assert!(released.get("signature").is_none(), "no shared key is configured");

    let report = tokio::time::timeout(
        PATIENCE,
        world.carrier.call_ended(|call| call.call_id.starts_with(&serial)),
    );
    let report = report.await.expect("the carrier saw the call");
    assert_eq!((report.to_user.as_str(), report.from_user.as_str()), ("8899", "2222201"));
    assert_eq!((report.invites, report.dialogs), (1, 1));

    let record = world.record(&serial).await;
    assert_eq!(record["end"]["outcome"], "played");
    assert_eq!(record["end"]["rounds"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timeline_tells_everything_that_happened() {
    let world = World::start().await;
    let serial = world.call("8899").await;
    world.released(&serial).await;
    let timeline = world.client.timeline(&serial).await.expect("a timeline");
    let lines: Vec<&str> = timeline["lines"]
        .as_array()
        .expect("lines")
        .iter()
        .filter_map(|line| line["what"].as_str())
        .collect();
    for what in [
        "call.accepted",
        "call.dialling",
        "sip",
        "call.ringing",
        "call.answered",
        "negotiated",
        "call.ended",
    ] {
        assert!(lines.contains(&what), "{what} is missing in {lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timeline_has_the_last_message_too() {
    let world = World::start().await;
    let serial = world.call("8899").await;
    world.released(&serial).await;
    let answered = async {
        loop {
            let timeline = world.client.timeline(&serial).await.expect("a timeline");
            let lines = timeline["lines"].as_array().expect("lines");
            let answer_to_bye = lines.iter().any(|line| {
                let message = line["data"]["message"].as_str().unwrap_or_default();
                message.starts_with("SIP/2.0 200") && message.contains("BYE")
            });
            if answer_to_bye {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("the answer to the BYE is noted");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_has_the_call_as_documented() {
    let world = World::start().await;
    let serial = world.call("8899").await;
    world.released(&serial).await;
    let now = i64::try_from(
        SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis(),
    )
    .expect("it fits");
    let day = 86_400_000;
    for (task_type, code) in [("0", "0"), ("3", "0"), ("2", "1")] {
        let query = world.client.query_call_detail_record(now - day, now + day, task_type, 0, 100);
        let reply: Value = query.await.expect("a reply").parse().expect("JSON");
        assert_eq!(reply["retCode"], code, "{reply}");
        if code == "0" {
            assert_eq!(reply["result"]["total"], 1);
            let call = &reply["result"]["callInfo"][0];
            assert_eq!(call["callSerialNo"], serial.as_str());
            assert_eq!(call["called"], "8899");
            assert_eq!(call["state"], 3);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_number_and_no_key_is_in_the_log() {
    let world = World::start().await;
    let serial = world.call("13812345678").await;
    world.released(&serial).await;
    let log = world.server.log();
    for secret in ["13812345678", APP_KEY, crate::support::APP_SECRET] {
        assert!(!log.contains(secret), "{secret} stands in the log");
    }
}
