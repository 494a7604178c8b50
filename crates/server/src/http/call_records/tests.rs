use engine::cdr::{Outcome, Progress};
use engine::vocabulary::{Serial, TenantId};
use serde_json::{Value, json};
use store::VoiceStatus;

use super::reason_code;
use crate::http::testing::{TENANT, World};
use crate::http::tests::RECORDS;

const T0: i64 = 1_621_576_992_000;

async fn world() -> World {
    let world = World::new().await;
    world.recording("100001", "welcome.wav", "3", VoiceStatus::Approved).await;
    for (serial, outcome) in [(1, Outcome::Played), (2, Outcome::CutShort), (3, Outcome::NoAnswer)]
    {
        let intent = world.accepted(serial, T0 + serial as i64).await;
        world.ended(intent, outcome, false).await;
    }
    world
}

fn asked(changes: Value) -> Value {
    let mut body =
        json!({"startTime": T0.to_string(), "endTime": (T0 + 1000).to_string(), "taskType": "3"});
    for (key, value) in changes.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

#[tokio::test]
async fn a_record_reads_as_printed() {
    let world = world().await;
    let got = world.post(RECORDS, asked(json!({"limit": "1"}))).await;
    assert_eq!(
        got.text,
        r#"{"result":{"total":3,"callInfo":[{"releaseTime":1621576998701,"called":"8899","callerPresent":"2222201","talkingTime":1621576993201,"alertingTime":1621576992201,"caller":"2222201","callSerialNo":"1","startTime":1621576992001,"endTime":1621576998701,"talkDuration":5,"state":3,"reasonCode":1}]},"retCode":"0","retMsg":"Query call detail record successfully"}"#
    );
}

#[tokio::test]
async fn a_call_is_listed_from_the_moment_it_is_accepted() {
    let world = World::new().await;
    world.recording("100001", "welcome.wav", "3", VoiceStatus::Approved).await;
    let intents = [world.accepted(1, T0).await, world.accepted(2, T0 + 1).await];
    let over = world.accepted(3, T0 + 2).await;
    world.ended(over, Outcome::Played, false).await;
    let claimed = store::Claim::One { tenant: TENANT, serial: Serial(2) };
    world.app.store.claim(claimed).await.unwrap();
    let calls = async || {
        let reply = world.post(RECORDS, asked(json!({}))).await.json();
        assert_eq!(reply["result"]["total"], 3, "{reply}");
        reply["result"]["callInfo"].as_array().cloned().unwrap()
    };
    let states = |calls: &[Value]| -> Vec<Value> {
        calls.iter().map(|call| call["state"].clone()).collect()
    };
    let listed = calls().await;
    assert_eq!(states(&listed), [0, 1, 3]);
    assert_eq!(
        listed[0],
        json!({"called": "8899", "callerPresent": "2222201", "caller": "2222201",
               "callSerialNo": "1", "startTime": T0, "state": 0})
    );
    let rings = Progress { alerting_ms: Some(T0 + 5), ..Progress::default() };
    let talks = Progress { talking_ms: Some(T0 + 9), ..rings };
    world.progress.lock().unwrap().insert(Serial(1), rings);
    world.progress.lock().unwrap().insert(Serial(2), talks);
    let listed = calls().await;
    assert_eq!(states(&listed), [1, 2, 3], "the engine knows more than the disk");
    assert_eq!(
        (&listed[0]["alertingTime"], &listed[0]["talkingTime"]),
        (&json!(T0 + 5), &json!(null))
    );
    assert_eq!(listed[1]["talkingTime"], T0 + 9);
    // The record is on disk and the engine has not let go yet.
    for intent in intents {
        world.ended(intent, Outcome::Played, false).await;
    }
    assert_eq!(states(&calls().await), [3, 3, 3]);
}

#[tokio::test]
async fn pages_filters_and_task_types() {
    let world = world().await;
    let serials = async |changes: Value| -> Vec<Value> {
        let reply = world.post(RECORDS, asked(changes)).await.json();
        let info = reply["result"]["callInfo"].as_array().cloned().unwrap_or_default();
        info.iter().map(|call| call["callSerialNo"].clone()).collect()
    };
    assert_eq!(serials(json!({})).await, ["1", "2", "3"]);
    assert_eq!(serials(json!({"taskType": 0})).await, ["1", "2", "3"]);
    assert_eq!(serials(json!({"taskType": null})).await, ["1", "2", "3"]);
    assert_eq!(serials(json!({"offset": 1, "limit": 1})).await, ["2"]);
    assert_eq!(serials(json!({"startTime": T0 + 3})).await, ["3"]);
    assert_eq!(serials(json!({"caller": "2222201"})).await, ["1", "2", "3"]);
    for (code, changes) in [
        ("1", json!({"caller": "95599"})),
        ("1", json!({"taskType": "1"})),
        ("1", json!({"taskType": "2"})),
        ("1", json!({"taskType": "4"})),
        ("1", json!({"startTime": T0 - 2000, "endTime": T0 - 1000})),
        ("2", json!({"startTime": null})),
        ("2", json!({"endTime": "yesterday"})),
        ("2", json!({"startTime": T0 + 2000})),
        ("2", json!({"endTime": T0 + 7 * 86_400_000 + 1})),
        ("2", json!({"startTime": -1})),
        ("2", json!({"startTime": i64::MIN, "endTime": i64::MAX})),
        ("4", json!({"limit": 0})),
        ("4", json!({"limit": 1001})),
        ("4", json!({"offset": -1})),
        ("4", json!({"offset": "x"})),
        ("12", json!({"caller": "anonymous"})),
    ] {
        let reply = world.post(RECORDS, asked(changes.clone())).await.json();
        assert_eq!(reply["retCode"], code, "{changes}");
        assert!(reply["result"].is_null() && !reply["retMsg"].as_str().unwrap().is_empty());
    }
    for wrong in [json!({"taskType": 5}), json!({"taskType": -1}), json!({"taskType": "all"})] {
        assert_eq!(world.post(RECORDS, asked(wrong)).await.status, 400);
    }
}

#[tokio::test]
async fn a_record_of_two_legs_reads_as_printed() {
    let world = World::new().await;
    let intent = world.two_legs(7, T0).await;
    let unfinished = world.post(RECORDS, asked(json!({"taskType": "1"}))).await.json();
    let unfinished = &unfinished["result"]["callInfo"][0];
    assert_eq!(
        *unfinished,
        json!({"called": "88884432", "callerPresent": "2222201", "agentPresent": "95599",
               "caller": "66666666", "callSerialNo": "7", "startTime": T0, "state": 0,
               "callData": "order 7"})
    );
    world.ended(intent, Outcome::CallerHungUp, false).await;
    let got = world.post(RECORDS, asked(json!({"taskType": "1"}))).await;
    assert_eq!(
        got.text,
        r#"{"result":{"total":1,"callInfo":[{"releaseTime":1621576998700,"called":"88884432","callerPresent":"2222201","agentAlertingTime":1621576992002,"agentPresent":"95599","talkingTime":1621576993200,"alertingTime":1621576992200,"caller":"66666666","agentTalkingTime":1621576992003,"agentReleaseTime":1621576998703,"agentTalkDuration":6,"callSerialNo":"7","startTime":1621576992000,"endTime":1621576998700,"talkDuration":5,"state":3,"reasonCode":1,"callData":"order 7"}]},"retCode":"0","retMsg":"Query call detail record successfully"}"#
    );
    for (task_type, code) in [("0", "0"), ("2", "1"), ("3", "1"), ("4", "1")] {
        let reply = world.post(RECORDS, asked(json!({"taskType": task_type}))).await.json();
        assert_eq!(reply["retCode"], code, "{task_type}");
    }
    let managers = world.post(RECORDS, asked(json!({"taskType": 0, "caller": "66666666"}))).await;
    assert_eq!(managers.json()["result"]["total"], 1);
}

#[tokio::test]
async fn another_tenants_calls_are_not_there() {
    let mut world = world().await;
    world.token = world.other_token.clone();
    assert_eq!(world.post(RECORDS, asked(json!({}))).await.json()["retCode"], "1");
}

#[tokio::test]
async fn every_outcome_has_its_reason() {
    let world = World::new().await;
    world.recording("100001", "welcome.wav", "3", VoiceStatus::Approved).await;
    let intent = world.accepted(1, T0).await;
    assert_eq!(intent.tenant, TenantId(1));
    let mut cdr = world.ended(intent, Outcome::Played, false).await;
    for (outcome, reason) in [
        (Outcome::Played, 1),
        (Outcome::CutShort, 0),
        (Outcome::NoAnswer, 5),
        (Outcome::Refused, 5),
        (Outcome::Failed, 3),
        (Outcome::NoResource, 6),
        (Outcome::QueueTimeout, 6),
        (Outcome::Restricted, 10),
        (Outcome::RecordingFailed, 999),
        (Outcome::Cancelled, 1),
        (Outcome::Interrupted, 998),
        (Outcome::Unknown, 998),
    ] {
        cdr.outcome = outcome;
        assert_eq!(reason_code(&cdr), reason, "{outcome:?}");
    }
    cdr.talking_ms = None;
    cdr.outcome = Outcome::Restricted;
    assert_eq!(reason_code(&cdr), 6, "it was never dialled");
    cdr.dialled_ms = None;
    cdr.outcome = Outcome::Failed;
    assert_eq!(reason_code(&cdr), 6);
}
