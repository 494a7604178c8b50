use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use axum::http::Method;
use engine::intent::{AnonymousCall, Intent, Order};
use engine::writes::Write;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::calls::{Quota, Request};
use crate::config::{Defaults, Fraud};
use crate::http::testing::{Got, TENANT, World, settings, tenant};
use crate::http::tests::ANONYMOUS;
use crate::tenants::{Anonymous, TenantSettings};

/// The request of page 000.
fn printed() -> Value {
    json!({"called": "88884432", "callData": "1", "callerPresent": "95599"})
}

fn with(changes: Value) -> Value {
    let mut body = printed();
    for (key, value) in changes.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

async fn world() -> World {
    let anonymous_call = Anonymous { enabled: true, ..Anonymous::default() };
    World::with(TenantSettings { anonymous_call, ..settings() }).await
}

async fn post_with(world: &World, headers: &[(&str, &str)], body: Value) -> Got {
    let bearer = format!("Bearer {}", world.token);
    let mut all = vec![("authorization", &*bearer), ("X-APP-Key", "key-1")];
    all.extend(headers);
    world.send(Method::POST, ANONYMOUS, &all, body.to_string()).await
}

async fn post(world: &World, body: Value) -> Got {
    post_with(world, &[], body).await
}

async fn code(world: &World, body: Value) -> String {
    let got = post(world, body).await;
    assert_eq!(got.status, 200, "{}", got.text);
    let json = got.json();
    assert_eq!(json["resultData"].is_object(), json["resultCode"] == "0", "{}", got.text);
    assert!(!json["resultDesc"].as_str().unwrap().is_empty());
    json["resultCode"].as_str().unwrap().to_owned()
}

fn call_of(request: &Request) -> AnonymousCall {
    let OrderKind::AnonymousCall(call) = &request.order.kind else { panic!("{request:?}") };
    call.clone()
}

fn asked(world: &World) -> (Order, AnonymousCall) {
    let request = world.last_asked();
    let call = call_of(&request);
    (request.order, call)
}

#[tokio::test]
async fn the_printed_request_gets_the_printed_reply() {
    let world = world().await;
    world.reset(|tenant| tenant.settings.anonymous_call.access_code = Some("17908".into()));
    let got = post(&world, printed()).await;
    let (order, call) = asked(&world);
    assert_eq!(
        got.text,
        format!(
            r#"{{"resultCode":"0","resultDesc":"Success","resultData":{{"callSerialNo":"1308434073450058757","sipServiceAddress":"10.137.203.215:5063","accesscode":"{}"}}}}"#,
            call.code
        )
    );
    assert_eq!(got.header("content-type"), "application/json;charset=UTF-8");
    assert!(call.code.len() == 18 && call.code.starts_with("17908"), "{}", call.code);
    assert_eq!((&*order.called, &*order.caller_present), ("88884432", "95599"));
    assert_eq!((order.place, call.call_data.as_deref()), ("sim".into(), Some("1")));
    let left_ms = call.valid_until_ms - unix_ms();
    assert!((50_000..=60_000).contains(&left_ms), "{left_ms}");
    assert_eq!(world.last_asked().queue_timeout.as_secs(), 60);
}

#[tokio::test]
async fn the_app_key_is_mandatory_here_alone() {
    let world = world().await;
    assert_eq!(world.post(ANONYMOUS, printed()).await.status, 403);
    let bearer = format!("Bearer {}", world.token);
    let headers = [("authorization", &*bearer), ("x-app-key", "key-2")];
    let other = world.send(Method::POST, ANONYMOUS, &headers, printed().to_string()).await;
    assert_eq!(other.status, 403, "another tenant's");
    assert_eq!(post(&world, json!([])).await.status, 400);
    assert!(world.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn every_result_code_of_the_request_and_the_tenant_is_reached() {
    let mut world = world().await;
    for wrong in [
        json!({"called": null}),
        json!({"called": "88;DROP"}),
        json!({"called": "1".repeat(33)}),
        json!({"called": ["88884432"]}),
        json!({"called": "6666614"}),
        json!({"callData": "x".repeat(1025)}),
        json!({"callerPresent": "123"}),
        json!({"callerPresent": {}}),
    ] {
        assert_eq!(code(&world, with(wrong.clone())).await, "30010000003", "{wrong}");
    }
    assert!(world.asked.lock().unwrap().is_empty(), "a refused request reaches nobody");
    for good in [json!({}), json!({"called": 88884432, "callData": null, "callerPresent": null})] {
        assert_eq!(code(&world, with(good)).await, "0");
    }
    assert_eq!(asked(&world).0.caller_present, "2222201", "the default");
    world.reset(|tenant| tenant.settings.trial_numbers = Some(Vec::new()));
    assert_eq!(code(&world, printed()).await, "30010000003");
    world.reset(|tenant| {
        tenant.settings.trial_numbers = None;
        tenant.access_codes = vec!["123456789".into(), "95599".into()];
    });
    assert_eq!(code(&world, printed()).await, "30010010003");
    world.reset(|tenant| tenant.settings.anonymous_call.access_code = Some("17908".into()));
    assert_eq!(code(&world, printed()).await, "0");
    world.reset(|tenant| tenant.access_codes.clear());
    assert_eq!(code(&world, printed()).await, "30010010002");
    world.unlisted();
    assert_eq!(code(&world, printed()).await, "30010000002");
    world.ready.store(false, Ordering::Relaxed);
    assert_eq!(code(&world, printed()).await, "30010009999");
    world.reset(|tenant| tenant.settings.anonymous_call.enabled = false);
    assert_eq!(code(&world, printed()).await, "30010000001");
}

#[tokio::test]
async fn codes_that_depend_on_other_calls() {
    let world = world().await;
    let quota = Quota::Calls;
    for (refusal, expected, after) in [
        (Refusal::QueueFull { retry_after_s: 17 }, "30010010001", "17"),
        (Refusal::DailyLimit { quota, retry_after_s: 3_600 }, "30010010001", "3600"),
        (Refusal::Duplicate, "30010010001", ""),
        (Refusal::Stopping, "30010019999", "5"),
    ] {
        world.answers.lock().unwrap().push_back(Err(refusal));
        let got = post(&world, printed()).await;
        let told = got.json()["resultCode"].as_str().unwrap().to_owned();
        assert_eq!((&*told, got.header("retry-after")), (expected, after));
    }
    world.answers.lock().unwrap().push_back(Err(Refusal::KeyReused));
    assert_eq!(post(&world, printed()).await.status, 422);
    let under_way: Vec<_> =
        std::iter::from_fn(|| world.app.admission.enter()).take(100_000).collect();
    let got = post(&world, json!({})).await;
    assert_eq!(got.json()["resultCode"], "30010010001");
    assert_eq!(got.header("retry-after"), "1");
    drop(under_way);
}

#[tokio::test]
async fn a_code_that_is_taken_is_drawn_anew() {
    let world = world().await;
    let taken = |times| {
        world.answers.lock().unwrap().extend(vec![Err(Refusal::CodeTaken); times]);
    };
    taken(4);
    assert_eq!(code(&world, printed()).await, "0");
    let codes: BTreeSet<String> = {
        let asked = world.asked.lock().unwrap();
        asked.iter().map(|request| call_of(request).code).collect()
    };
    assert_eq!(codes.len(), 5, "{codes:?}");
    taken(5);
    assert_eq!(code(&world, printed()).await, "30011019999");
}

#[tokio::test]
async fn a_task_that_is_not_stored_in_time_is_given_up() {
    let world = world().await;
    world.silent.store(true, Ordering::Relaxed);
    tokio::time::pause();
    assert_eq!(code(&world, printed()).await, "30011010001");
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_code() {
    let world = world().await;
    assert_eq!(code(&world, printed()).await, "0");
    let (order, first) = asked(&world);
    let intent = Intent {
        serial: Serial(5),
        tenant: TENANT,
        created_ms: unix_ms(),
        queue_deadline_ms: unix_ms() + 60_000,
        order,
    };
    let write = Write::Accepted { intent: Box::new(intent), idempotency: None, started: true };
    world.app.store.submit(vec![write]).await.unwrap();
    let repeated = Accepted { serial: Serial(5), replayed: true };
    world.answers.lock().unwrap().push_back(Ok(repeated));
    let got = post_with(&world, &[("Idempotency-Key", "tap-1")], printed()).await.json();
    assert_eq!(got["resultData"]["accesscode"], json!(first.code));
    assert_eq!(got["resultData"]["callSerialNo"], "5");
    assert_eq!(world.last_asked().idempotency.unwrap().key.kind, CallKind::AnonymousCall);
}

fn any_field() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
        "[0-9+]{0,34}".prop_map(Value::from),
    ]
}

proptest! {
    #[test]
    fn nothing_wrong_becomes_an_order(
        called in any_field(),
        call_data in any_field(),
        caller_present in any_field(),
    ) {
        let body = json!({"called": called, "callData": call_data, "callerPresent": caller_present});
        let tenant = tenant(TENANT, TenantSettings { routes: Vec::new(), ..settings() });
        let (defaults, fraud) = (Defaults::default(), Fraud::default());
        let view = TenantView { tenant: &tenant, defaults: &defaults, fraud: &fraud };
        let wish = wish(&Bytes::from(body.to_string())).ok().unwrap();
        // Nothing has a route: nobody can be called.
        prop_assert_eq!(judge(wish, view).unwrap_err().code(), "30010000003");
    }
}
