use axum::http::Method;
use proptest::prelude::*;
use serde_json::json;
use store::VoiceStatus;

use super::*;
use crate::access::sha256;
use crate::calls::{Accepted, Quota};
use crate::config::{Defaults, Fraud};
use crate::http::testing::{TENANT, World, settings, tenant};
use crate::http::tests::{CREATE_V1, CREATE_V2, printed};
use crate::tenants::PrefixRoute;
use crate::voices::Shelf;
use engine::intent::{OrderKind, PlayItem};
use engine::vocabulary::Serial;

/// The body of page 003 with `changes` merged over it; `null` takes a key out.
fn with(changes: Value) -> Value {
    let mut body = printed();
    for (key, value) in changes.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

async fn stocked(settings: crate::tenants::TenantSettings) -> (World, String) {
    let world = World::with(settings).await;
    world.recording("100001", "welcome.wav", "3", VoiceStatus::Approved).await;
    world.recording("100002", "ivr.wav", "0", VoiceStatus::Approved).await;
    world.recording("200018", "tone.wav", "1", VoiceStatus::Approved).await;
    world.recording("200019", "draft.wav", "3", VoiceStatus::Uploaded).await;
    world.recording("200020", "waiting.wav", "3", VoiceStatus::Submitted).await;
    world.recording("200021", "bad.wav", "3", VoiceStatus::Rejected).await;
    let template = world.template("Dear ${TXT_8}, your code is ${NUM_6}.").await;
    (world, template)
}

async fn code(world: &World, body: Value) -> String {
    let got = world.post(CREATE_V2, body).await;
    assert_eq!(got.status, 200, "{}", got.text);
    got.json()["retCode"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_printed_request_gets_the_printed_reply() {
    let (world, _) = stocked(settings()).await;
    let got = world.post(CREATE_V2, printed()).await;
    assert_eq!(
        got.text,
        r#"{"retMsg":"Created successfully.","retCode":"0","result":{"callSerialNo":"1308434073450058757"}}"#
    );
    assert_eq!(got.header("content-type"), "application/json;charset=UTF-8");
    let asked = world.last_asked();
    assert_eq!((asked.tenant, &*asked.order.called), (TENANT, "8899"));
    assert_eq!(asked.order.caller_present, "2222201");
    assert_eq!(asked.order.callback_url.as_deref(), Some("http://127.0.0.1:8800/callbackTest"));
    let playlist = vec![PlayItem::Recording { voice_id: "100001".into() }];
    assert_eq!(asked.order.kind, OrderKind::VoiceNotification { playlist, play_times: 1 });
    assert_eq!(asked.order.priority.value(), 9);
}

/// Each body gets its code, and a refused one reaches nobody.
async fn answered(world: &World, table: &[(&str, Value)]) {
    for (expected, body) in table {
        let asked = world.asked.lock().unwrap().len();
        assert_eq!(code(world, body.clone()).await, *expected, "{body}");
        let now = world.asked.lock().unwrap().len();
        assert_eq!(now > asked, *expected == "0", "a refused request reaches nobody: {body}");
    }
}

#[tokio::test]
async fn every_return_code_of_the_call_has_its_request() {
    let (world, _) = stocked(settings()).await;
    let long = "1".repeat(33);
    answered(&world, &[
        ("0", with(json!({}))),
        (
            "0",
            with(
                json!({"called": 8899, "callerPresent": 2222201, "playTimes": "2", "priority": 1}),
            ),
        ),
        ("0", with(json!({"callBackUrl": null, "callerPresent": null, "playTimes": null}))),
        ("0", with(json!({"callBackUrl": "", "callerPresent": "", "priority": ""}))),
        ("0", with(json!({"callBackUrl": "aHR0cDovLzEyNy4wLjAuMTo4ODAwL2I="}))),
        ("5", with(json!({"called": null}))),
        ("5", with(json!({"called": ""}))),
        ("5", with(json!({"called": "88 99"}))),
        ("5", with(json!({"called": "88;DROP"}))),
        ("5", with(json!({"called": ["8899"]}))),
        ("5", with(json!({"called": long}))),
        ("5", with(json!({"called": "+"}))),
        ("5", with(json!({"called": "6666614"}))),
        ("7", with(json!({"callerPresent": "123"}))),
        ("7", with(json!({"callerPresent": "13800138000"}))),
        ("7", with(json!({"callerPresent": {}}))),
        ("9", with(json!({"callBackUrl": "http://evil.example.com/"}))),
        ("9", with(json!({"callBackUrl": "ftp://hooks.example.com/"}))),
        (
            "9",
            with(json!({"callBackUrl": format!("http://hooks.example.com/{}", "a".repeat(256))})),
        ),
        ("9", with(json!({"callBackUrl": 7}))),
        ("10", with(json!({"playTimes": 0}))),
        ("10", with(json!({"playTimes": 6}))),
        ("10", with(json!({"playTimes": 1.5}))),
        ("10", with(json!({"playTimes": "many"}))),
        ("36", with(json!({"priority": "0"}))),
        ("36", with(json!({"priority": 10}))),
        ("36", with(json!({"priority": "high"}))),
    ]).await;
}

#[tokio::test]
async fn every_return_code_of_the_playlist_has_its_request() {
    let (world, template) = stocked(settings()).await;
    let entry = |entry: Value| with(json!({"playList": [entry]}));
    let filled = |params: Value| entry(json!({"templateId": template, "templateParams": params}));
    let recording = |id: &str| entry(json!({"voiceId": id}));
    answered(
        &world,
        &[
            ("0", entry(json!({"voiceFileName": "welcome.wav"}))),
            ("0", recording("100002")),
            ("0", entry(json!({"voiceId": 100001, "templateId": "nonsense"}))),
            ("0", filled(json!(["Ann", 123456]))),
            ("11", with(json!({"playList": null}))),
            ("11", with(json!({"playList": []}))),
            ("11", with(json!({"playList": vec![json!({"voiceId": "100001"}); 6]}))),
            ("11", with(json!({"playList": "100001"}))),
            ("11", with(json!({"playList": ["100001"]}))),
            ("12", entry(json!({}))),
            ("12", entry(json!({"voiceId": "", "templateParams": ["1"]}))),
            ("12", entry(json!({"voiceId": true}))),
            ("13", filled(json!(["x".repeat(33), "1"]))),
            ("13", filled(json!(["nine char", "1"]))),
            ("14", filled(json!(["${x}", "1"]))),
            ("14", filled(json!(["Ann", "12a"]))),
            ("15", filled(json!([]))),
            ("15", filled(json!(null))),
            ("15", filled(json!(vec!["1"; 11]))),
            ("15", filled(json!(["Ann"]))),
            ("15", filled(json!("Ann"))),
            ("17", recording("404")),
            ("17", entry(json!({"templateId": "404"}))),
            ("17", entry(json!({"voiceFileName": "404.wav"}))),
            ("18", recording("200018")),
            ("19", recording("200019")),
            ("20", recording("200020")),
            ("21", recording("200021")),
            ("22", entry(json!({"templateId": "100001"}))),
            ("23", recording(&template)),
        ],
    )
    .await;
}

#[tokio::test]
async fn codes_that_depend_on_the_tenant() {
    let (world, _) = stocked(settings()).await;
    world.reset(|tenant| tenant.settings.caller_transparency = true);
    assert_eq!(code(&world, with(json!({"callerPresent": "13800138000"}))).await, "0");
    assert_eq!(code(&world, with(json!({"callerPresent": "1380013800"}))).await, "7");
    let everywhere = PrefixRoute { prefix: String::new(), route: "sim".into() };
    world.reset(|tenant| tenant.settings.routes.push(everywhere));
    for number in ["+88213300001", "0088213300001"] {
        let premium = || with(json!({"called": number}));
        assert_eq!(code(&world, premium()).await, "5", "a route does not open it");
        world.reset(|tenant| tenant.settings.premium = true);
        assert_eq!(code(&world, premium()).await, "0", "its own switch does");
        world.reset(|tenant| tenant.settings.premium = false);
    }
    world.reset(|tenant| tenant.settings.trial_numbers = Some(vec!["8800".into()]));
    assert_eq!(code(&world, with(json!({}))).await, "16");
    assert_eq!(code(&world, with(json!({"called": "8800"}))).await, "0");
    world.reset(|tenant| tenant.access_codes.clear());
    assert_eq!(code(&world, with(json!({}))).await, "6");
    world.reset(|tenant| tenant.settings.voice_notification = false);
    assert_eq!(world.post(CREATE_V2, printed()).await.status, 401);
}

#[tokio::test]
async fn codes_that_depend_on_other_calls() {
    let (world, _) = stocked(settings()).await;
    let answer = |refusal| world.answers.lock().unwrap().push_back(Err(refusal));
    answer(Refusal::Duplicate);
    assert_eq!(code(&world, printed()).await, "1");
    answer(Refusal::QueueFull { retry_after_s: 17 });
    let full = world.post(CREATE_V2, printed()).await;
    assert_eq!((full.status.as_u16(), full.header("retry-after")), (200, "17"));
    assert_eq!(full.json()["retCode"], "3");
    for quota in [Quota::Calls, Quota::Minutes] {
        answer(Refusal::DailyLimit { quota, retry_after_s: 3_600 });
        let used_up = world.post(CREATE_V2, printed()).await;
        assert_eq!((used_up.status.as_u16(), used_up.header("retry-after")), (200, "3600"));
        assert_eq!(used_up.json()["retCode"], "3");
        assert!(used_up.text.contains("3600 s"), "{}", used_up.text);
    }
    answer(Refusal::KeyReused);
    assert_eq!(world.post(CREATE_V2, printed()).await.status, 422);
    answer(Refusal::Stopping);
    let stopping = world.post(CREATE_V2, printed()).await;
    assert_eq!(stopping.status, 500);
    assert!(stopping.json()["exceptionInfo"].is_string(), "{}", stopping.text);
}

#[tokio::test]
async fn what_is_wrong_is_told_in_the_documented_order() {
    let (world, template) = stocked(settings()).await;
    let params = |params: Value| json!([{"templateId": template, "templateParams": params}]);
    let mut body = json!({
        "called": "x", "playList": [], "callBackUrl": "x", "callerPresent": "x", "playTimes": 9,
        "priority": 99
    });
    let steps = [
        ("5", "called", json!("6666614")),
        ("11", "playList", json!([{}])),
        ("12", "playList", params(json!([]))),
        ("15", "playList", params(json!(["x".repeat(40), "$"]))),
        ("13", "playList", params(json!(["x", "$"]))),
        ("14", "playList", json!([{"voiceId": "404"}])),
        ("9", "callBackUrl", json!("http://hooks.example.com/")),
        ("7", "callerPresent", json!("95599")),
        ("10", "playTimes", json!(5)),
        ("36", "priority", json!("9")),
        ("5", "called", json!("8899")),
        ("17", "playList", json!([{"voiceId": "100001"}])),
    ];
    for (expected, key, cure) in steps {
        assert_eq!(code(&world, body.clone()).await, expected, "{body}");
        body[key] = cure;
    }
    assert_eq!(code(&world, body).await, "0");
}

#[tokio::test]
async fn a_template_is_filled_when_the_call_is_accepted() {
    let (world, template) = stocked(settings()).await;
    let entry = json!({"templateId": template, "templateParams": ["Ann", "004821"]});
    assert_eq!(code(&world, with(json!({"playList": [entry], "playTimes": 3}))).await, "0");
    let OrderKind::VoiceNotification { playlist, play_times } = world.last_asked().order.kind
    else {
        panic!("another kind of call")
    };
    let [PlayItem::Speech { template_id, text }] = &playlist[..] else { panic!("{playlist:?}") };
    assert_eq!((template_id, play_times), (&template, 3));
    let filled: crate::speech::filled::FilledText = text.parse().unwrap();
    assert_eq!(filled.to_string(), *text);
    assert!(text.contains("Dear Ann") && text.contains(">004821<"), "{text}");
}

#[tokio::test]
async fn v1_names_one_recording() {
    let (world, template) = stocked(settings()).await;
    let table = [
        ("0", json!({"called": "8899", "voiceContent": "100001"})),
        ("0", json!({"called": "8899", "voiceContent": 100001, "priority": "3"})),
        ("8", json!({"called": "8899"})),
        ("8", json!({"called": "8899", "voiceContent": "1".repeat(1025)})),
        ("8", json!({"called": "8899", "voiceContent": "404"})),
        ("20", json!({"called": "8899", "voiceContent": "200020"})),
        ("23", json!({"called": "8899", "voiceContent": template})),
        ("36", json!({"called": "8899", "voiceContent": "100001", "priority": "x"})),
        ("5", json!({"voiceContent": "100001"})),
    ];
    for (expected, body) in table {
        let got = world.post(CREATE_V1, body.clone()).await;
        assert_eq!(got.json()["retCode"], expected, "{body}");
    }
}

#[tokio::test]
async fn an_idempotency_key_goes_with_the_hash_of_the_body() {
    let (world, _) = stocked(settings()).await;
    let bearer = format!("Bearer {}", world.token);
    let body = printed().to_string();
    let send = async |key: &str| {
        let headers = [("authorization", &*bearer), ("Idempotency-KEY", key)];
        world.send(Method::POST, CREATE_V2, &headers, body.clone()).await
    };
    let replayed = Accepted { serial: Serial(5), replayed: true };
    world.answers.lock().unwrap().push_back(Ok(replayed));
    let got = send("order-17").await;
    assert_eq!(got.json()["result"]["callSerialNo"], "5");
    let idempotency = world.last_asked().idempotency.unwrap();
    assert_eq!((idempotency.key.tenant, &*idempotency.key.key), (TENANT, "order-17"));
    assert_eq!(idempotency.body_sha256, sha256(body.as_bytes()));
    assert_eq!(send("").await.status, 400);
    assert_eq!(send(&"k".repeat(256)).await.status, 400);
}

#[tokio::test]
async fn a_tenants_limits_go_with_its_calls() {
    let (world, _) = stocked(settings()).await;
    world.reset(|tenant| {
        tenant.settings.calls_per_second = Some(3);
        tenant.settings.queue_timeout_s = Some(30);
        tenant.settings.ring_limit_s = Some(20);
        tenant.settings.refuse_duplicates = true;
        tenant.settings.record = true;
        tenant.settings.default_callback_url = Some("http://hooks.example.com/d".into());
    });
    assert_eq!(code(&world, with(json!({"callBackUrl": null}))).await, "0");
    let asked = world.last_asked();
    assert_eq!(asked.limits.pace.calls_per_second, 3);
    assert_eq!(asked.limits.pace.concurrent_calls, 10_000);
    assert!(asked.limits.refuse_duplicates && asked.order.record);
    assert_eq!((asked.queue_timeout.as_secs(), asked.order.ring_limit_s), (30, 20));
    assert_eq!(asked.order.callback_url.as_deref(), Some("http://hooks.example.com/d"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
        "[0-9+]{0,34}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        let keys = prop_oneof![
            Just("called"),
            Just("playList"),
            Just("voiceId"),
            Just("templateId"),
            Just("templateParams"),
            Just("callBackUrl"),
            Just("callerPresent"),
            Just("playTimes"),
            Just("priority"),
            Just("voiceContent"),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..7).prop_map(Value::from),
            prop::collection::btree_map(keys.prop_map(str::to_owned), inner, 0..9)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_body_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = object(&Bytes::from(bytes));
    }

    #[test]
    fn no_json_panics_and_nothing_wrong_becomes_an_order(body in any_json()) {
        let tenant = tenant(TENANT, settings());
        let (defaults, fraud, shelf) = (Defaults::default(), Fraud::default(), Shelf::default());
        let view = TenantView { tenant: &tenant, defaults: &defaults, fraud: &fraud };
        if let Some(object) = body.as_object() {
            // The shelf is empty: whatever is asked for cannot be played.
            for wish in [wish_v1(object), wish_v2(object)] {
                let refused = judge(wish, view, &shelf).unwrap_err();
                prop_assert!((5..=36).contains(&refused.code()) && !refused.to_string().is_empty());
            }
        }
    }
}

#[tokio::test]
async fn a_server_without_time_refuses_before_it_reads() {
    let world = World::new().await;
    let all = std::iter::from_fn(|| world.app.admission.enter());
    let under_way: Vec<_> = all.take(100_000).collect();
    for (path, body) in [(CREATE_V2, "no JSON at all"), (CREATE_V1, "{}")] {
        let token = format!("Bearer {}", world.token);
        let got = world.send(Method::POST, path, &[("authorization", &token)], body).await;
        assert_eq!((got.status.as_u16(), got.header("retry-after")), (200, "1"));
        assert_eq!(got.json()["retCode"], "3");
    }
    let got = world.post("/v1/voice_notifications", json!({})).await;
    assert_eq!((got.status.as_u16(), got.header("retry-after")), (503, "1"));
    assert_eq!(got.json()["code"], "busy");
    assert!(world.asked.lock().unwrap().is_empty(), "the engine heard nothing of it");
    drop(under_way);
    let got = world.post("/v1/voice_notifications", json!({})).await;
    assert_eq!(got.json()["code"], "bad_request", "now it is read");
}
