use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::http::Method;
use engine::intent::{BidirectionalCall, Caller, Intent, Order, OrderKind, Party, Place};
use engine::vocabulary::{Serial, TenantId};
use engine::writes::Write;
use proptest::prelude::*;
use serde_json::json;
use store::{Store, StoreConfig};

use super::*;
use crate::calls::Quota;
use crate::config::{Defaults, Fraud};
use crate::http::router;
use crate::http::testing::{Got, TENANT, World, settings, tenant};
use crate::http::tests::{CALL_V1, CALL_V3};
use crate::tenants::{
    BindingMode, Ita, NewSoftphone, NumberBindings, Pair, PrefixRoute, Softphones, TenantSettings,
    TrialDays,
};

const X: &str = "13800000000";
const Y: &str = "13800000001";

/// Page 001's body with its comma and a number that has a route.
fn printed() -> Value {
    json!({"caller": 8888888, "softPhone": 66666666, "called": 88884432})
}

/// The printed body with `changes` merged over it; `null` takes a key out.
fn with(changes: Value) -> Value {
    let mut body = printed();
    for (key, value) in changes.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

async fn world() -> World {
    let world = World::with(settings()).await;
    world.softphone("66666666").await;
    let suspended =
        NewSoftphone::new("66666667".into(), "password".into(), String::new(), true).unwrap();
    let sealer = &world.app.access.sealer;
    world.app.softphones.put(TENANT, suspended, false, sealer).await.unwrap();
    world
}

async fn ita_world(ita: Ita) -> World {
    let world = world().await;
    world.reset(|tenant| {
        tenant.settings.bidirectional_call = Bidirectional::Ita;
        tenant.settings.ita = ita;
    });
    world
}

fn pool(numbers: &[&str]) -> Ita {
    Ita { numbers: numbers.iter().map(|&x| x.into()).collect(), ..Ita::default() }
}

fn code_of(got: &Got) -> String {
    assert_eq!(got.status, 200, "{}", got.text);
    got.json()["retCode"].as_str().unwrap().to_owned()
}

async fn code(world: &World, body: Value) -> String {
    code_of(&world.post(CALL_V3, body).await)
}

/// Each body gets its code, and a refused one reaches nobody.
async fn answered(world: &World, path: &str, table: &[(&str, Value)]) {
    for (expected, body) in table {
        let asked = world.asked.lock().unwrap().len();
        let got = world.post(path, body.clone()).await;
        assert_eq!(code_of(&got), *expected, "{body}: {}", got.text);
        let now = world.asked.lock().unwrap().len();
        assert_eq!(now > asked, *expected == "0", "a refused request reaches nobody: {body}");
    }
}

fn asked(world: &World) -> (Order, BidirectionalCall) {
    let order = world.last_asked().order;
    let OrderKind::BidirectionalCall(call) = order.kind.clone() else { panic!("{order:?}") };
    (order, call)
}

fn dialled(call: &BidirectionalCall) -> Party {
    let Caller::Dialled(party) = &call.caller else { panic!("{call:?}") };
    party.clone()
}

#[tokio::test]
async fn the_printed_request_gets_the_printed_reply() {
    let world = world().await;
    let printed = "{\n\"caller\": 8888888,\n\t\"softPhone\": 66666666 \"called\": 6666614\n}";
    let bearer = format!("Bearer {}", world.token);
    let headers = [("authorization", &*bearer), ("x-app-key", "key-1")];
    let got = world.send(Method::POST, CALL_V3, &headers, printed).await;
    assert_eq!(got.status, 400);
    assert!(got.json()["exceptionInfo"].as_str().unwrap().contains("line 3"), "{}", got.text);
    let corrected = printed.replace("66666666 ", "66666666, ");
    let got = world.send(Method::POST, CALL_V3, &headers, corrected).await;
    assert_eq!(got.text, r#"{"retMsg":"Called is not configured","retCode":"5"}"#);
    assert_eq!(got.header("content-type"), "application/json;charset=UTF-8");
}

#[tokio::test]
async fn the_manager_is_called_where_caller_or_else_soft_phone_says() {
    let world = world().await;
    let got = world.post(CALL_V3, with(json!({"caller": null, "callData": "order 7"}))).await;
    assert_eq!(
        got.text,
        r#"{"retMsg":"Created successfully.","retCode":"0","result":{"callSerialNo":"1308434073450058757"}}"#
    );
    let (order, call) = asked(&world);
    assert_eq!((&*order.called, &*order.caller_present), ("88884432", "2222201"));
    assert_eq!((order.place, call.ita), ("sim".into(), false));
    assert_eq!(call.call_data.as_deref(), Some("order 7"));
    let party = dialled(&call);
    assert_eq!((&*party.number, party.place), ("66666666", Place::Softphone));
    assert_eq!(party.presented, "2222201");

    assert_eq!(code(&world, with(json!({"callerPresent": "95599"}))).await, "0");
    let (order, call) = asked(&world);
    assert_eq!(order.caller_present, "95599");
    let party = dialled(&call);
    assert_eq!((&*party.number, party.place), ("8888888", Place::Trunks("sim".into())));
}

#[tokio::test]
async fn every_return_code_of_v3_has_its_request() {
    let world = world().await;
    let long = "1".repeat(33);
    answered(
        &world,
        CALL_V3,
        &[
            ("0", printed()),
            ("0", with(json!({"callData": "x".repeat(1024), "callerPresent": 2222201}))),
            ("0", with(json!({"caller": "66666666"}))),
            ("0", with(json!({"callData": "通".repeat(1024)}))),
            ("2", with(json!({"callData": "x".repeat(1025)}))),
            ("2", with(json!({"callData": {}}))),
            ("5", with(json!({"softPhone": null}))),
            ("5", with(json!({"softPhone": "six"}))),
            ("5", with(json!({"softPhone": long}))),
            ("5", with(json!({"caller": "88 88"}))),
            ("5", with(json!({"caller": ["8888888"]}))),
            ("5", with(json!({"caller": "6666614"}))),
            ("5", with(json!({"called": null}))),
            ("5", with(json!({"called": ""}))),
            ("5", with(json!({"called": "88;DROP"}))),
            ("5", with(json!({"called": long}))),
            ("5", with(json!({"called": "6666614"}))),
            ("5", with(json!({"callerPresent": "123"}))),
            ("5", with(json!({"callerPresent": "13800138000"}))),
            ("8", with(json!({"softPhone": "66666668"}))),
            ("8", with(json!({"softPhone": "66666667"}))),
            ("8", with(json!({"caller": "66666667"}))),
        ],
    )
    .await;
    world.reset(|tenant| tenant.settings.caller_transparency = true);
    assert_eq!(code(&world, with(json!({"callerPresent": "13800138000"}))).await, "0");
    world.reset(|tenant| tenant.access_codes.clear());
    assert_eq!(code(&world, printed()).await, "6");
    world.reset(|tenant| tenant.settings.bidirectional_call = Bidirectional::Off);
    assert_eq!(world.post(CALL_V3, printed()).await.status, 401);
}

#[tokio::test]
async fn v1_names_the_manager_and_takes_what_v3_has_not() {
    let world = world().await;
    let body = |changes: Value| {
        let mut body = with(changes);
        body.as_object_mut().unwrap().remove("softPhone");
        body
    };
    let got = world
        .post(
            CALL_V1,
            body(json!({
                "caller": "66666666", "agentWorkNo": 10301, "agentPresent": "95599",
                "callBackUrl": "aHR0cDovLzEyNy4wLjAuMTo4ODAwL2I="
            })),
        )
        .await;
    assert_eq!(got.json()["result"]["callSerialNo"], json!(1_308_434_073_450_058_757_u64));
    let (order, call) = asked(&world);
    assert_eq!(order.callback_url.as_deref(), Some("http://127.0.0.1:8800/b"));
    assert_eq!((&*dialled(&call).presented, call.agent_work_no), ("95599", Some(10_301)));
    answered(
        &world,
        CALL_V1,
        &[
            ("0", body(json!({"agentWorkNo": "99999"}))),
            ("5", body(json!({"caller": null}))),
            ("5", body(json!({"agentWorkNo": 100_000}))),
            ("5", body(json!({"agentWorkNo": "x"}))),
            ("5", body(json!({"agentPresent": "123"}))),
            ("8", body(json!({"caller": "66666667"}))),
            ("9", body(json!({"callBackUrl": "http://evil.example.com/"}))),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_trial_tenant_calls_whom_its_lists_have_ten_times_a_day() {
    let world = world().await;
    world.reset(|tenant| {
        tenant.settings.trial_numbers = Some(vec!["88884432".into()]);
        tenant.settings.trial_agents = Some(vec!["66666666".into()]);
    });
    let softphone = || with(json!({"caller": null}));
    answered(
        &world,
        CALL_V3,
        &[("16", printed()), ("16", with(json!({"caller": null, "called": "8899"})))],
    )
    .await;
    for refused in 0..10 {
        // What is not taken does not count.
        let full = Refusal::QueueFull { retry_after_s: 1 };
        world.answers.lock().unwrap().extend([Err(full)]);
        assert_eq!(code(&world, softphone()).await, "1", "{refused}");
        assert_eq!(code(&world, softphone()).await, "0", "{refused}");
    }
    assert_eq!(code(&world, softphone()).await, "21");
    world.reset(|tenant| tenant.settings.trial_agents = Some(Vec::new()));
    assert_eq!(code(&world, softphone()).await, "16");
    world.reset(|tenant| {
        tenant.settings.trial_numbers = None;
        tenant.settings.trial_agents = None;
    });
    assert_eq!(code(&world, printed()).await, "0", "who is not on trial is not counted");
}

#[tokio::test]
async fn the_day_of_a_trial_tenant_outlives_the_process() {
    let world = world().await;
    assert_eq!(code(&world, printed()).await, "0");
    let order = world.last_asked().order;
    for serial in 1..=10 {
        let intent = Intent {
            serial: Serial(serial),
            tenant: TENANT,
            created_ms: unix_ms(),
            queue_deadline_ms: unix_ms(),
            order: order.clone(),
        };
        let intent = Box::new(intent);
        let write = Write::Accepted { intent, idempotency: None, started: false };
        world.app.store.submit(vec![write]).await.unwrap();
    }
    world.reset(|tenant| tenant.settings.trial_agents = Some(vec!["66666666".into()]));
    assert_eq!(code(&world, with(json!({"caller": null}))).await, "21");
}

#[tokio::test]
async fn codes_that_depend_on_other_calls() {
    let world = world().await;
    let minutes = Quota::Minutes;
    for (ita, table) in
        [(false, ["1", "1", "1", "3"]), (true, ["90104029", "90102002", "90104003", "90104008"])]
    {
        if ita {
            world.reset(|tenant| {
                tenant.settings.bidirectional_call = Bidirectional::Ita;
                tenant.settings.ita = pool(&[X]);
            });
        }
        let refusals = [
            (Refusal::QueueFull { retry_after_s: 17 }, "17"),
            (Refusal::DailyLimit { quota: minutes, retry_after_s: 3_600 }, "3600"),
            (Refusal::Duplicate, ""),
            (Refusal::Stopping, "5"),
        ];
        for ((refusal, after), expected) in refusals.into_iter().zip(table) {
            world.answers.lock().unwrap().push_back(Err(refusal));
            let got = world.post(CALL_V3, printed()).await;
            assert_eq!((&*code_of(&got), got.header("retry-after")), (expected, after));
        }
        world.answers.lock().unwrap().push_back(Err(Refusal::KeyReused));
        assert_eq!(world.post(CALL_V3, printed()).await.status, 422);
        let under_way: Vec<_> =
            std::iter::from_fn(|| world.app.admission.enter()).take(100_000).collect();
        let got = world.post(CALL_V3, json!({})).await;
        assert_eq!((&*code_of(&got), got.header("retry-after")), (table[0], "1"));
        drop(under_way);
    }
}

#[tokio::test]
async fn a_key_is_of_this_interface_and_repeats_its_call() {
    let world = world().await;
    let bearer = format!("Bearer {}", world.token);
    let headers = [("authorization", &*bearer), ("idempotency-key", "order-17")];
    let repeated = Accepted { serial: Serial(5), replayed: true };
    world.answers.lock().unwrap().push_back(Ok(repeated));
    let got = world.send(Method::POST, CALL_V3, &headers, printed().to_string()).await;
    assert_eq!(got.json()["result"]["callSerialNo"], "5");
    let key = world.last_asked().idempotency.unwrap().key;
    assert_eq!((key.kind, &*key.key), (CallKind::BidirectionalCall, "order-17"));
}

#[tokio::test]
async fn both_parties_of_an_ita_call_see_the_number_that_binds_them() {
    let world = ita_world(pool(&[X, Y])).await;
    for _ in 0..2 {
        assert_eq!(code(&world, printed()).await, "0");
        let (order, call) = asked(&world);
        assert_eq!((&*order.caller_present, &*dialled(&call).presented), (X, X));
        assert!(call.ita);
    }
    let now = unix_ms();
    assert_eq!(world.app.bindings.of(TENANT, now).len(), 1, "a live binding is used again");
    assert_eq!(world.app.bindings.find(X, "8888888", now), Some((TENANT, "88884432".into())));
    assert_eq!(code(&world, with(json!({"called": "8899"}))).await, "0");
    assert_eq!(asked(&world).0.caller_present, Y, "the manager has X with another customer");
}

#[tokio::test]
async fn every_ita_code_of_the_request_has_its_request() {
    let world = ita_world(Ita {
        callers: serde_json::from_value(json!({"deny": ["881"]})).unwrap(),
        callees: serde_json::from_value(json!({"deny": ["882"]})).unwrap(),
        ..pool(&[X])
    })
    .await;
    let everywhere = PrefixRoute { prefix: "+".into(), route: "sim".into() };
    world.reset(|tenant| tenant.settings.routes.push(everywhere));
    answered(
        &world,
        CALL_V3,
        &[
            ("90100100", with(json!({"called": null}))),
            ("90100100", with(json!({"callData": "1"}))),
            ("90100100", with(json!({"callerPresent": "2222201"}))),
            ("90100300", with(json!({"caller": "88884432"}))),
            ("90100400", with(json!({"softPhone": "66666668"}))),
            ("90106010", with(json!({"called": "+88213300001"}))),
            ("90106006", with(json!({"called": "6666614"}))),
            ("90106006", with(json!({"called": X}))),
            ("90106011", with(json!({"caller": "8811"}))),
            ("90106012", with(json!({"called": "8822"}))),
            ("0", printed()),
            // X is bound now, so that it stands for somebody.
            ("90106001", with(json!({"called": X}))),
        ],
    )
    .await;
    let got = world.post(CALL_V3, with(json!({"called": "8899"}))).await;
    assert_eq!(code_of(&got), "90106003", "{}", got.text);
    let printed = got.json()["retMsg"].as_str().unwrap().to_owned();
    assert!(printed.starts_with("Insufficient Number resources: "), "{printed}");
    world.reset(|tenant| tenant.settings.trial_numbers = Some(Vec::new()));
    assert_eq!(code(&world, with(json!({"caller": null}))).await, "90104001");
}

#[tokio::test]
async fn every_ita_code_of_the_tenant_has_its_tenant() {
    let mut world = ita_world(pool(&[X])).await;
    let set = |world: &World, ita: Ita| world.reset(|tenant| tenant.settings.ita = ita);
    let sources = serde_json::from_value(json!(["203.0.113.0/24"])).unwrap();
    set(&world, Ita { sources, ..pool(&[X]) });
    assert_eq!(code(&world, printed()).await, "90100200");
    set(&world, Ita { restricted: true, ..pool(&[X]) });
    assert_eq!(code(&world, printed()).await, "90102002");
    set(&world, pool(&[]));
    assert_eq!(code(&world, printed()).await, "90106004");
    set(&world, Ita { binding: BindingMode::Existing, ..pool(&[X]) });
    assert_eq!(code(&world, printed()).await, "90106002");
    let pair = Pair { tenant: TENANT, a: "88884432", b: "8888888" };
    let bound = world.app.bindings.bind(pair, &[X.to_owned()], unix_ms() + 60_000, unix_ms()).await;
    assert_eq!(bound.unwrap().x, X);
    assert_eq!(code(&world, printed()).await, "0", "it was made beforehand");
    set(&world, pool(&[Y]));
    assert_eq!(code(&world, printed()).await, "90106005");
    set(&world, pool(&[X]));
    world.reset(|tenant| tenant.settings.trial_agents = Some(Vec::new()));
    assert_eq!(code(&world, printed()).await, "90104001");
    world.reset(|tenant| tenant.settings.trial_agents = None);
    world.ready.store(false, Ordering::Relaxed);
    assert_eq!(code(&world, printed()).await, "90104004");
    world.ready.store(true, Ordering::Relaxed);
    // The database is gone in which a trial's calls of today are counted.
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().to_owned();
    let gone = Store::open(StoreConfig::Sqlite { directory }).await.unwrap();
    gone.close().await;
    world.app.trial_days = Arc::new(TrialDays::new(gone));
    world.router = router(world.app.clone());
    world.reset(|tenant| tenant.settings.trial_agents = Some(vec!["8888888".into()]));
    assert_eq!(code(&world, printed()).await, "90100600");
}

#[tokio::test]
async fn the_engine_knows_the_balance_and_what_it_refuses_binds_nobody() {
    let world = ita_world(Ita { balance_minutes: Some(1), ..pool(&[X]) }).await;
    let bindings = || world.app.bindings.of(TENANT, unix_ms());
    for refusal in [Refusal::BalanceUsedUp, Refusal::Duplicate, Refusal::Stopping] {
        world.answers.lock().unwrap().push_back(Err(refusal));
        let got = world.post(CALL_V3, printed()).await;
        if refusal == Refusal::BalanceUsedUp {
            let expected = r#"{"retMsg":"Insufficient Balance: the tenant's minutes are used up","retCode":"90102001"}"#;
            assert_eq!(got.text, expected);
        }
        assert!(bindings().is_empty(), "{refusal:?}");
    }
    assert_eq!(world.last_asked().limits.ita_minutes, Some(1));
    assert_eq!(world.last_asked().order.max_duration_s, 3_600, "the engine cuts it");
    world.answers.lock().unwrap().push_back(Err(Refusal::BalanceUsedUp));
    let wish = json!({"caller": "8888888", "called": "88884432"});
    let got = world.post("/v1/bidirectional_calls", wish).await;
    assert_eq!((got.status.as_u16(), &got.json()["code"]), (422, &json!("balance")));
    assert_eq!(world.get("/v1/tenant").await.json()["ita_talked_s"], 0);

    assert_eq!(code(&world, printed()).await, "0");
    let [bound] = &bindings()[..] else { panic!("it is bound with its call") };
    let order = world.last_asked().order;
    let (_, call) = asked(&world);
    let binding = call.binding.expect("it goes to disk with the call");
    assert_eq!((&order.caller_present, binding.expires_ms), (&bound.x, bound.expires_ms));
    assert_eq!((binding.party_a, binding.party_b), ("8888888".into(), "88884432".into()));
    assert!(world.app.store.number_bindings().await.unwrap().is_empty(), "not before it");
}

#[tokio::test]
async fn a_repeated_request_gets_its_reply_though_the_last_number_is_taken() {
    let world = ita_world(pool(&[X])).await;
    let bearer = format!("Bearer {}", world.token);
    let headers = [("authorization", &*bearer), ("idempotency-key", "order-18")];
    let body = printed().to_string();
    let got = world.send(Method::POST, CALL_V3, &headers, body.clone()).await;
    assert_eq!(code_of(&got), "0");
    let intent = Intent {
        serial: Serial(18),
        tenant: TENANT,
        created_ms: unix_ms(),
        queue_deadline_ms: unix_ms(),
        order: world.last_asked().order,
    };
    let (intent, idempotency) = (Box::new(intent), world.last_asked().idempotency);
    let accepted = Write::Accepted { intent, idempotency, started: true };
    world.app.store.submit(vec![accepted]).await.unwrap();
    world.reset(|tenant| tenant.settings.ita = pool(&[]));
    assert_eq!(code(&world, printed()).await, "90106004", "another request");
    let again = world.send(Method::POST, CALL_V3, &headers, body).await;
    assert_eq!(again.json()["result"]["callSerialNo"], "18");
}

#[tokio::test]
async fn a_call_to_the_virtual_number_is_for_the_other_party() {
    let world = ita_world(pool(&[X])).await;
    assert_eq!(code(&world, printed()).await, "0");
    let arrived = |x: &str, from: &str| ita::arrived(&world.app, x, from);
    for (from, other) in [("88884432", "8888888"), ("8888888", "88884432")] {
        let request = arrived(X, from).unwrap();
        assert_eq!((&*request.order.called, &*request.order.caller_present), (other, X));
        let OrderKind::BidirectionalCall(call) = request.order.kind else { panic!("no such call") };
        assert_eq!(call.caller, Caller::Inbound { number: from.into() });
        assert_eq!((call.ita, request.tenant), (true, TENANT));
    }
    assert!(arrived(X, "8899").is_none(), "a stranger reaches nobody");
    assert!(arrived(Y, "88884432").is_none());
    world.reset(|tenant| tenant.settings.ita.restricted = true);
    assert!(arrived(X, "88884432").is_none());
    world.reset(|tenant| tenant.settings.ita = pool(&[Y]));
    assert!(arrived(X, "88884432").is_none(), "X is none of the tenant's numbers any more");
    for from in ["88884432", "8888888"] {
        world.reset(|tenant| {
            tenant.settings.ita = pool(&[X]);
            tenant.settings.ita.callers.deny = vec!["8888888".into()];
        });
        assert!(arrived(X, from).is_none(), "callers");
        world.reset(|tenant| {
            tenant.settings.ita = pool(&[X]);
            tenant.settings.ita.callees.deny = vec!["88884432".into()];
        });
        assert!(arrived(X, from).is_none(), "callees");
        world.reset(|tenant| tenant.settings.ita = pool(&[X]));
        assert!(arrived(X, from).is_some());
    }
    world.reset(|tenant| {
        tenant.settings.routes.clear();
    });
    assert!(arrived(X, "88884432").is_none(), "the tenant may not call there any more");
}

#[tokio::test]
async fn a_call_to_the_virtual_number_is_for_the_softphone_of_the_other_party() {
    let world = ita_world(pool(&[X])).await;
    assert_eq!(code(&world, with(json!({"caller": null}))).await, "0");
    let place = async || {
        let request = ita::arrived(&world.app, X, "88884432")?;
        assert_eq!((&*request.order.called, &*request.order.caller_present), ("66666666", X));
        Some(request.order.place)
    };
    assert_eq!(place().await, Some(Place::Softphone));
    world.reset(|tenant| tenant.settings.routes.clear());
    assert_eq!(place().await, Some(Place::Softphone), "no route leads to it");
    world.reset(|tenant| tenant.settings.trial_agents = Some(vec!["8888888".into()]));
    assert_eq!(place().await, None, "a trial that may not ring it");
    world.reset(|tenant| tenant.settings.trial_agents = None);
    let suspended =
        NewSoftphone::new("66666666".into(), "password".into(), String::new(), true).unwrap();
    world.app.softphones.put(TENANT, suspended, true, &world.app.access.sealer).await.unwrap();
    assert_eq!(place().await, None, "it may take no calls");
}

#[test]
fn a_code_has_one_printed_text() {
    let all = [
        Refused::CalledMissing,
        Refused::NotOfIta("callData"),
        Refused::Source,
        Refused::TenantNotEnabled,
        Refused::Inconsistent,
    ];
    for refused in all {
        let (code, printed) = refused.ita_code();
        assert!((90_100_100..=90_106_012).contains(&code) && !printed.is_empty());
        assert!(!refused.to_string().is_empty() && !refused.name().is_empty());
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
        "[0-9+]{0,34}".prop_map(Value::from),
    ];
    let keys = prop_oneof![
        Just("caller"),
        Just("softPhone"),
        Just("called"),
        Just("callData"),
        Just("callerPresent"),
        Just("agentPresent"),
        Just("agentWorkNo"),
        Just("callBackUrl"),
    ];
    prop::collection::btree_map(keys.prop_map(str::to_owned), leaf, 0..8)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

proptest! {
    #[test]
    fn no_json_panics_and_nothing_wrong_becomes_an_order(body in any_json()) {
        let store = Store::memory();
        let softphones = Softphones::new(store.clone(), "offhook".into());
        let without_routes = TenantSettings { routes: Vec::new(), ..settings() };
        let tenant = tenant(TenantId(1), without_routes);
        let (defaults, fraud) = (Defaults::default(), Fraud::default());
        let view = TenantView { tenant: &tenant, defaults: &defaults, fraud: &fraud };
        let directory = Directory { view, softphones: &softphones };
        let object = body.as_object().unwrap();
        // Nothing has a route and no softphone is there: nobody can be called.
        for wish in [wish_v1(object), wish_v3(object)] {
            let refused = judge(wish, directory).unwrap_err();
            prop_assert!([2, 5, 8, 9].contains(&refused.code()), "{refused:?}");
        }
        prop_assert!(NumberBindings::new(store).of(TenantId(1), 0).is_empty());
    }
}
