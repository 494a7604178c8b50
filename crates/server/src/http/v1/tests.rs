use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use engine::cdr::{Outcome, Progress};
use serde_json::{Value, json};
use store::{CallbackAttempt, CallbackNext, CallbackResult, VoiceStatus};

use crate::app::unix_ms;
use crate::calls::{Accepted, Quota, Refusal};
use crate::config::Config;
use crate::http::router;
use crate::http::testing::{OPERATOR_KEY, TENANT, World};
use crate::storage::Room;
use engine::Used;
use engine::intent::OrderKind;
use engine::vocabulary::Serial;

const T0: i64 = 1_700_000_000_000;

async fn world() -> World {
    let world = World::new().await;
    world.recording("100001", "welcome.wav", "3", VoiceStatus::Approved).await;
    world
}

fn notification() -> Value {
    json!({"called": "8899", "playlist": [{"recording": "100001"}], "callback_url": "http://127.0.0.1:8800/cb"})
}

#[tokio::test]
async fn a_notification_is_created_and_refused_in_words_of_our_own() {
    let world = world().await;
    world.answers.lock().unwrap().push_back(Ok(Accepted { serial: Serial(77), replayed: true }));
    let got = world.post("/v1/voice_notifications", notification()).await;
    assert_eq!((got.status.as_u16(), got.json()), (201, json!({"serial": "77", "replayed": true})));
    for (status, code, changes) in [
        (400, "bad_request", json!({"caled": "1"})),
        (400, "bad_request", json!({"called": 7})),
        (422, "called", json!({"called": "x"})),
        (422, "no_route", json!({"called": "6666614"})),
        (422, "playlist", json!({"playlist": []})),
        (422, "playlist_entry", json!({"playlist": [{}]})),
        (422, "no_such_material", json!({"playlist": [{"template": "9"}]})),
        (422, "callback_url", json!({"callback_url": "http://evil.example.com/"})),
        (422, "priority", json!({"priority": 0})),
    ] {
        let mut body = notification();
        for (key, value) in changes.as_object().unwrap() {
            body[key] = value.clone();
        }
        let got = world.post("/v1/voice_notifications", body).await;
        assert_eq!(
            (got.status.as_u16(), got.header("content-type")),
            (status, "application/problem+json")
        );
        assert_eq!(
            (&got.json()["code"], &got.json()["status"]),
            (&json!(code), &json!(status)),
            "{changes}"
        );
    }
    for (status, code, refusal) in [
        (503, "queue_full", Refusal::QueueFull { retry_after_s: 9 }),
        (429, "calls_per_day", Refusal::DailyLimit { quota: Quota::Calls, retry_after_s: 60 }),
        (429, "minutes_per_day", Refusal::DailyLimit { quota: Quota::Minutes, retry_after_s: 60 }),
        (409, "duplicate", Refusal::Duplicate),
        (422, "key_reused", Refusal::KeyReused),
        (503, "stopping", Refusal::Stopping),
    ] {
        world.answers.lock().unwrap().push_back(Err(refusal));
        let got = world.post("/v1/voice_notifications", notification()).await;
        assert_eq!((got.status.as_u16(), got.json()["code"].as_str()), (status, Some(code)));
        assert_eq!(got.header("retry-after").is_empty(), ![503, 429].contains(&status));
    }
}

#[tokio::test]
async fn a_call_is_shown_in_every_state() {
    let world = world().await;
    let intent = world.accepted(21, T0).await;
    let waiting = world.get("/v1/calls/21").await.json();
    assert_eq!((&waiting["state"], &waiting["serial"]), (&json!("waiting"), &json!("21")));
    assert!(waiting.get("end").is_none());
    world.app.store.claim(store::Claim::One { tenant: TENANT, serial: Serial(21) }).await.unwrap();
    assert_eq!(world.get("/v1/calls/21").await.json()["state"], "calling");
    let talks = Progress { talking_ms: Some(T0 + 9), ..Progress::default() };
    world.progress.lock().unwrap().insert(Serial(21), talks);
    assert_eq!(world.get("/v1/calls/21").await.json()["state"], "talking");
    let list = world.get("/v1/calls?limit=10").await.json();
    assert_eq!((&list["total"], &list["calls"][0]["state"]), (&json!(1), &json!("talking")));
    world.ended(intent, Outcome::CutShort, false).await;
    let over = world.get("/v1/calls/21").await.json();
    assert_eq!((&over["state"], &over["end"]["outcome"]), (&json!("ended"), &json!("cut_short")));
    assert_eq!(over["end"]["release_reason"], "0");
    let list = world.get("/v1/calls?limit=10").await.json();
    assert_eq!((&list["total"], &list["calls"][0]["serial"]), (&json!(1), &json!("21")));
    for path in ["/v1/calls/22", "/v1/calls/x", "/v1/calls/-1", "/v1/calls/99999999999999999999"] {
        assert_eq!(world.get(path).await.status, 404, "{path}");
    }
    for path in ["/v1/calls?limit=0", "/v1/calls?limit=x", "/v1/calls?offset=-1"] {
        assert_eq!(world.get(path).await.status, 400, "{path}");
    }
}

#[tokio::test]
async fn cancelling_says_what_became_of_it() {
    let world = world().await;
    for (serial, status) in [(7, 202), (8, 409), (9, 503), (10, 404)] {
        let got = world.post(&format!("/v1/calls/{serial}/cancel"), json!(null)).await;
        assert_eq!(got.status, status, "{}", got.text);
    }
}

#[tokio::test]
async fn pausing_and_resuming_a_recording_says_what_became_of_it() {
    let world = world().await;
    for what in ["pause", "resume"] {
        for (serial, status, code) in [
            (7, 204, ""),
            (8, 409, "already_over"),
            (9, 503, "stopping"),
            (10, 409, "not_recording"),
            (11, 404, "not_found"),
        ] {
            let path = format!("/v1/calls/{serial}/recording/{what}");
            let got = world.post(&path, json!(null)).await;
            assert_eq!(got.status, status, "{}", got.text);
            assert!(got.text.contains(code), "{}", got.text);
        }
    }
}

#[tokio::test]
async fn the_timeline_joins_events_notes_and_tries() {
    let world = world().await;
    let intent = world.accepted(31, T0).await;
    let live = world.get("/v1/calls/31/timeline").await.json();
    assert_eq!(
        (&live["state"], &live["lines"][0]["what"]),
        (&json!("waiting"), &json!("recovered"))
    );
    world.ended(intent, Outcome::Played, false).await;
    let sip = |at_ms: i64, direction: &str, message: &str| {
        json!({"at_ms": at_ms, "note": "sip", "direction": direction, "transport": "UDP",
               "local": "192.0.2.1:5060", "remote": "192.0.2.2:5060", "message": message})
    };
    let notes = json!([sip(T0 + 10, "out", "INVITE"), sip(T0 + 1_200, "in", "SIP/2.0 200 OK")]);
    world.app.store.put_timeline(Serial(31), notes.to_string().into_bytes()).await.unwrap();
    let due = world.app.store.callbacks_due(unix_ms() + 1000, 1).await.unwrap().remove(0);
    let attempt = CallbackAttempt {
        id: due.id,
        number: 1,
        at_ms: T0 + 7_000,
        duration_ms: 12,
        request: "POST /cb".into(),
        result: CallbackResult::Reply { status: 500, body: "no".into() },
        next: CallbackNext::RetryAt(T0 + 12_000),
    };
    world.app.store.callback_attempt(attempt).await.unwrap();
    let over = world.get("/v1/calls/31/timeline").await.json();
    let whats: Vec<_> =
        over["lines"].as_array().unwrap().iter().map(|line| line["what"].clone()).collect();
    assert_eq!(whats, ["sip", "sip", "call.ended", "callback.attempt"]);
    assert_eq!(over["lines"][0]["data"]["message"], "INVITE");
    assert_eq!(over["lines"][3]["data"]["status"], 500);
    assert_eq!(over["lines"][2]["data"]["serial"], "31");

    let callbacks = world.get("/v1/calls/31/callbacks").await.json();
    assert_eq!(
        (&callbacks[0]["status"], &callbacks[0]["next_try_ms"]),
        (&json!("pending"), &json!(T0 + 12_000))
    );
    assert_eq!(callbacks[0]["tries"][0]["reply"], "no");
}

#[tokio::test]
async fn dead_letters_are_listed_and_replayed() {
    let world = world().await;
    let intent = world.accepted(41, T0).await;
    world.ended(intent, Outcome::Played, false).await;
    let due = world.app.store.callbacks_due(unix_ms() + 1000, 1).await.unwrap().remove(0);
    let attempt = CallbackAttempt {
        id: due.id,
        number: 1,
        at_ms: T0,
        duration_ms: 3,
        request: String::new(),
        result: CallbackResult::Error { why: "connection refused".into() },
        next: CallbackNext::Dead,
    };
    world.app.store.callback_attempt(attempt).await.unwrap();
    let dead = world.get("/v1/callbacks/dead").await.json();
    let position = dead[0]["position"].as_u64().unwrap();
    assert_eq!(dead[0]["serial"], "41");
    let replay = format!("/v1/callbacks/{position}/replay");
    let bearer = format!("Bearer {}", world.other_token);
    let stranger = world.send(Method::POST, &replay, &[("authorization", &bearer)], "").await;
    assert_eq!(stranger.status, 404);
    assert_eq!(world.post(&replay, json!(null)).await.status, 202);
    assert_eq!(world.get("/v1/callbacks/dead").await.json(), json!([]));
    let again = world.app.store.callbacks_due(unix_ms() + 1, 1).await.unwrap();
    assert_eq!((again[0].id, again[0].attempt_number), (due.id, 2));
    assert_eq!(world.post("/v1/callbacks/999/replay", json!(null)).await.status, 404);
    assert_eq!(world.post("/v1/callbacks/x/replay", json!(null)).await.status, 404);
}

#[tokio::test]
async fn the_log_is_read_from_any_position() {
    let world = world().await;
    for serial in [51, 52] {
        let intent = world.accepted(serial, T0).await;
        world.ended(intent, Outcome::Played, false).await;
    }
    let all = world.get("/v1/events").await.json();
    assert_eq!((all["events"].as_array().unwrap().len(), &all["last"]), (2, &json!(2)));
    assert_eq!(
        (&all["events"][0]["type"], &all["events"][0]["serial"]),
        (&json!("call.ended"), &json!("51"))
    );
    let rest = world.get("/v1/events?after=1&limit=5").await.json();
    assert_eq!(rest["events"][0]["position"], 2);
    let none = world.get("/v1/events?after=2").await.json();
    assert_eq!(none, json!({"events": [], "first": 1, "last": 2}));
    for path in ["/v1/events?limit=0", "/v1/events?wait=31", "/v1/events?after=x"] {
        assert_eq!(world.get(path).await.status, 400, "{path}");
    }
}

/// What was before is gone; the reader is told so and goes on where the log begins.
#[tokio::test]
async fn a_log_whose_old_events_expired_begins_later() {
    let world = world().await;
    for (serial, at) in [(51, T0), (52, T0 + 1), (53, T0 + 500_000)] {
        let intent = world.accepted(serial, at).await;
        world.ended(intent, Outcome::Played, false).await;
    }
    let expiry = store::Expiry { tenant: TENANT, before_ms: T0 + 500_000, limit: 100 };
    world.app.store.expire_events(expiry).await.unwrap();
    let page = world.get("/v1/events?after=1").await.json();
    assert_eq!((&page["first"], &page["last"]), (&json!(3), &json!(3)));
    assert_eq!(page["events"][0]["position"], 3);
    let later = store::Expiry { before_ms: T0 + 900_000, ..expiry };
    world.app.store.expire_events(later).await.unwrap();
    let none = world.get("/v1/events?after=1").await.json();
    assert_eq!(none, json!({"events": [], "first": 4, "last": 3}), "the next is 4");
}

#[tokio::test]
async fn a_reader_who_waits_is_woken_by_the_doorbell() {
    let world = Arc::new(world().await);
    let intent = world.accepted(61, T0).await;
    let reader = Arc::clone(&world);
    let waiting = tokio::spawn(async move { reader.get("/v1/events?wait=30").await.json() });
    world.ended(intent, Outcome::Played, false).await;
    world.app.doorbell.send_modify(|rung| *rung += 1);
    let woken =
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("not woken").unwrap();
    assert_eq!(woken["events"][0]["serial"], "61");
}

#[tokio::test(start_paused = true)]
async fn no_reader_waits_longer_than_the_server_lets_it() {
    let mut world = world().await;
    let mut config = Config::clone(&world.app.config);
    config.http.longest_wait_s = 2;
    world.app.config = Arc::new(config);
    let router = router(world.app.clone());
    world.router = router;
    let begun = tokio::time::Instant::now();
    assert_eq!(world.get("/v1/events?wait=30").await.json()["events"], json!([]));
    assert_eq!(begun.elapsed().as_secs(), 2);
    assert_eq!(world.get("/v1/events?wait=31").await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn a_reader_whom_nobody_wakes_returns_in_time() {
    let world = world().await;
    let begun = tokio::time::Instant::now();
    assert_eq!(world.get("/v1/events?wait=7").await.json()["events"], json!([]));
    assert_eq!(begun.elapsed().as_secs(), 7);
}

#[tokio::test]
async fn keys_open_what_they_should() {
    let world = world().await;
    let made = world.post("/v1/api_keys", json!(null)).await;
    assert_eq!(made.status, 201);
    let key = format!("Bearer {}", made.json()["key"].as_str().unwrap());
    let with = async |key: &str, path: &str| {
        world.send(Method::GET, path, &[("authorization", key)], "").await
    };
    assert_eq!(with(&key, "/v1/calls").await.status, 200);
    assert_eq!(with(&key, "/v1/tenants").await.status, 403);
    let operator = format!("Bearer {OPERATOR_KEY}");
    assert_eq!(with(&operator, "/v1/calls").await.status, 403);
    let tenants = with(&operator, "/v1/tenants").await;
    assert_eq!(tenants.json().as_array().unwrap().len(), 2);
    assert!(!tenants.text.contains("secret"), "{}", tenants.text);
    let revoke = json!({"key": key.strip_prefix("Bearer ").unwrap()});
    let bearer = format!("Bearer {}", world.other_token);
    let headers = [("authorization", &*bearer)];
    let stranger =
        world.send(Method::POST, "/v1/api_keys/revoke", &headers, revoke.to_string()).await;
    assert_eq!(stranger.status, 404);
    assert_eq!(with(&key, "/v1/calls").await.status, 200);
    assert_eq!(world.post("/v1/api_keys/revoke", revoke).await.status, 204);
    assert_eq!(with(&key, "/v1/calls").await.status, 401);
    let nobody = with("Bearer x", "/v1/calls").await;
    assert_eq!((nobody.status.as_u16(), nobody.header("www-authenticate")), (401, "Bearer"));
}

#[tokio::test]
async fn the_operator_makes_and_changes_tenants() {
    let world = world().await;
    let operator = format!("Bearer {OPERATOR_KEY}");
    let put = async |id: &str, body: Value| {
        let path = format!("/v1/tenants/{id}");
        world.send(Method::PUT, &path, &[("authorization", &operator)], body.to_string()).await
    };
    let wanted = |codes: Value, settings: Value| {
        json!({"name": "third", "access_codes": codes, "settings": settings,
               "callback_shared_key": "shared"})
    };
    let routes = json!({"routes": [{"prefix": "", "trunk": "sim"}], "record": true});
    let made = put("3", wanted(json!(["333"]), routes.clone())).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let made = made.json();
    let login = json!({"app_key": made["tenant"]["app_key"], "app_secret": made["app_secret"]});
    let token = world.send(Method::POST, crate::http::tests::TOKEN, &[], login.to_string()).await;
    let bearer = format!("Bearer {}", token.json()["AccessToken"].as_str().unwrap());
    let own =
        async || world.send(Method::GET, "/v1/tenant", &[("authorization", &bearer)], "").await;
    assert_eq!(own().await.json()["settings"]["record"], true);
    let id = engine::vocabulary::TenantId(3);
    let sealed = world.app.store.secret(id, crate::tenants::CALLBACK_SHARED_KEY).await.unwrap();
    let opened = world.app.access.sealer.open(id, "callback_shared_key", &sealed.unwrap()).unwrap();
    assert_eq!(opened, b"shared");

    let changed = put("3", wanted(json!(["333", "334"]), json!({}))).await;
    assert_eq!((changed.status.as_u16(), &changed.json()["app_secret"]), (200, &Value::Null));
    assert_eq!(own().await.json()["access_codes"], json!(["333", "334"]));
    let limited = wanted(json!(["333", "334"]), json!({"calls_per_day": 5, "concurrent_calls": 3}));
    assert_eq!(put("3", limited).await.status, 200);
    // One order later the desk has heard what came before it.
    world.post("/v1/voice_notifications", notification()).await;
    let told = world.limited.lock().unwrap().clone();
    let now: Vec<_> =
        told.iter().map(|(of, limits, used)| (of.0, limits.pace.concurrent_calls, *used)).collect();
    let nothing = Used { calls: 0, talked: Duration::ZERO };
    assert_eq!(now, [(3, 10_000, None), (3, 10_000, None), (3, 3, Some(nothing))]);
    assert_eq!(world.app.store.tenant(id).await.unwrap().unwrap().access_codes.len(), 2);

    for (status, id, body) in [
        (422, "4", wanted(json!(["333"]), json!({}))),
        (422, "4", wanted(json!(["x"]), json!({}))),
        (422, "4", wanted(json!([]), json!({"routes": [{"prefix": "1", "trunk": "none"}]}))),
        (422, "4", wanted(json!([]), json!({"speech": {"zh": "none"}}))),
        (400, "4", wanted(json!([]), json!({"recrod": true}))),
        (400, "0", wanted(json!([]), json!({}))),
        (400, "x", wanted(json!([]), json!({}))),
        (400, "4", json!([])),
    ] {
        assert_eq!(put(id, body.clone()).await.status, status, "{id} {body}");
    }
    world.reset(|tenant| tenant.from_file = true);
    assert_eq!(put("1", wanted(json!([]), json!({}))).await.status, 409);
    let bearer = format!("Bearer {}", world.token);
    let headers = [("authorization", &*bearer)];
    let body = wanted(json!([]), json!({})).to_string();
    assert_eq!(world.send(Method::PUT, "/v1/tenants/1", &headers, body).await.status, 403);
}

#[tokio::test]
async fn the_document_describes_every_route_of_v1() {
    let world = world().await;
    let got = world.send(Method::GET, "/v1/openapi.json", &[], "").await;
    let document = got.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    // Every reference leads somewhere.
    for part in got.text.split("\"$ref\":\"#/").skip(1) {
        let pointer = format!("/{}", part.split('"').next().unwrap());
        assert!(document.pointer(&pointer).is_some(), "{pointer} is missing");
    }
}

#[tokio::test]
async fn health_and_readiness() {
    let world = world().await;
    assert_eq!(world.send(Method::GET, "/healthz", &[], "").await.status, 200);
    let ready = world.send(Method::GET, "/readyz", &[], "").await;
    assert_eq!((ready.status.as_u16(), ready.json()), (200, json!({"disk": "enough"})));
}

#[tokio::test]
async fn a_disk_that_fills_is_announced_and_then_takes_no_calls() {
    let world = world().await;
    world.room.send_replace(Room::Low { free_mb: 900 });
    let ready = world.send(Method::GET, "/readyz", &[], "").await;
    assert_eq!(ready.json(), json!({"disk": "low", "free_mb": 900}));
    assert_eq!(world.post("/v1/voice_notifications", notification()).await.status, 201);

    world.room.send_replace(Room::Full { free_mb: 99 });
    let ready = world.send(Method::GET, "/readyz", &[], "").await;
    assert_eq!((ready.status.as_u16(), &ready.json()["code"]), (503, &json!("storage_full")));
    let refused = world.post("/v1/voice_notifications", notification()).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (503, &json!("queue_full")));
    assert_eq!(refused.header("retry-after"), "30");
    assert_eq!(world.get("/v1/calls").await.status, 200, "what is there can be read");

    world.room.send_replace(Room::Enough);
    assert_eq!(world.post("/v1/voice_notifications", notification()).await.status, 201);
}

#[tokio::test]
async fn metrics_are_for_the_operator_and_in_the_text_format() {
    let world = world().await;
    let metrics = async |token: &str| {
        let token = format!("Bearer {token}");
        world.send(Method::GET, "/metrics", &[("authorization", &token)], "").await
    };
    assert_eq!(metrics(&world.token).await.status.as_u16(), 403);
    let got = metrics(OPERATOR_KEY).await;
    assert_eq!(
        (got.status.as_u16(), got.header("content-type")),
        (200, "text/plain; version=0.0.4")
    );
    for line in [
        "# TYPE offhook_calls gauge",
        "offhook_calls 3",
        "offhook_legs 2",
        "# TYPE offhook_sip_messages_sent_total counter",
        "offhook_sip_messages_sent_total 11",
    ] {
        assert!(got.text.lines().any(|found| found == line), "{line}: {}", got.text);
    }
    let tasks = got.text.lines().find_map(|line| line.strip_prefix("offhook_tasks "));
    assert!(tasks.is_some_and(|tasks| tasks.parse::<u64>().unwrap() > 0), "{}", got.text);
}

#[tokio::test]
async fn softphones_are_made_changed_and_removed() {
    let world = World::new().await;
    let bearer = format!("Bearer {}", world.token);
    let headers = [("authorization", &*bearer)];
    let put = async |number: &str, body: Value| {
        world
            .send(Method::PUT, &format!("/v1/softphones/{number}"), &headers, body.to_string())
            .await
    };
    let made = put("66666666", json!({"remark": "Ann's"})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let password = made.json()["password"].as_str().unwrap().to_owned();
    assert_eq!((password.len(), &made.json()["registrar"]), (16, &json!("10.137.203.215:5063")));
    let changed = put("66666666", json!({"suspended": true})).await;
    assert_eq!((changed.status.as_u16(), &changed.json()["password"]), (200, &json!(password)));
    assert_eq!(changed.json()["softphone"]["remark"], "Ann's", "what is absent stays");
    let listed = world.get("/v1/softphones").await;
    assert_eq!(
        listed.json(),
        json!([{"number": "66666666", "remark": "Ann's", "suspended": true, "from_file": false}])
    );
    for (code, number, body) in [
        ("number", "+66", json!({})),
        ("password", "1", json!({"password": "short"})),
        ("remark", "1", json!({"remark": "x".repeat(129)})),
    ] {
        let refused = put(number, body).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (422, &json!(code)));
    }
    let path = "/v1/softphones/66666666";
    assert_eq!(world.send(Method::DELETE, path, &headers, "").await.status, 204);
    assert_eq!(world.send(Method::DELETE, path, &headers, "").await.status, 404);
    assert_eq!(world.get("/v1/softphones").await.json(), json!([]));
}

#[tokio::test]
async fn two_parties_are_bound_and_parted() {
    let world = World::new().await;
    world.reset(|tenant| tenant.settings.ita.numbers = vec!["13800000000".into()]);
    let path = "/v1/number_bindings";
    let bound = world.post(path, json!({"a": "66666666", "b": "88884432"})).await;
    assert_eq!((bound.status.as_u16(), &bound.json()["number"]), (201, &json!("13800000000")));
    assert_eq!(world.get(path).await.json(), json!([bound.json()]));
    let third = world.post(path, json!({"a": "66666666", "b": "8899"})).await;
    assert_eq!((third.status.as_u16(), &third.json()["code"]), (409, &json!("exhausted")));
    world.reset(|tenant| tenant.settings.ita.numbers = vec!["13800000001".into()]);
    let lost = world.post(path, json!({"a": "88884432", "b": "66666666"})).await;
    assert_eq!((lost.status.as_u16(), &lost.json()["code"]), (409, &json!("inconsistent")));
    for wrong in [json!({"a": "1", "b": "1"}), json!({"a": "x", "b": "1"})] {
        assert_eq!(world.post(path, wrong).await.json()["code"], "parties");
    }
    let end = async || {
        let body = json!({"a": "88884432", "b": "66666666"});
        world.post("/v1/number_bindings/end", body).await.status.as_u16()
    };
    assert_eq!((end().await, end().await), (204, 404));
    assert_eq!(world.get(path).await.json(), json!([]));
}

#[tokio::test]
async fn a_bidirectional_call_is_placed_in_words_of_our_own() {
    let world = World::new().await;
    world.softphone("66666666").await;
    let path = "/v1/bidirectional_calls";
    let body = json!({"caller": "66666666", "called": "88884432", "call_data": "7"});
    let got = world.post(path, body.clone()).await;
    assert_eq!(got.status, 201, "{}", got.text);
    assert_eq!(world.last_asked().order.caller_number(), "66666666");
    for (code, change) in [
        ("no_route", json!({"called": "6666614"})),
        ("caller", json!({"caller": "x"})),
        ("agent_shown", json!({"agent_shown": "1"})),
        ("call_data", json!({"call_data": "x".repeat(1025)})),
    ] {
        let mut body = body.clone();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let got = world.post(path, body).await;
        assert_eq!((got.status.as_u16(), &got.json()["code"]), (422, &json!(code)));
    }
    world.answers.lock().unwrap().push_back(Err(Refusal::QueueFull { retry_after_s: 9 }));
    let full = world.post(path, body.clone()).await;
    assert_eq!((full.status.as_u16(), full.header("retry-after")), (503, "9"));
    world.reset(|tenant| tenant.settings.trial_agents = Some(vec!["66666666".into()]));
    for _ in 0..10 {
        assert_eq!(world.post(path, body.clone()).await.status, 201);
    }
    assert_eq!(world.post(path, body.clone()).await.json()["code"], "trial_day");
    let off = crate::tenants::Bidirectional::Off;
    world.reset(|tenant| tenant.settings.bidirectional_call = off);
    assert_eq!(world.post(path, body).await.json()["code"], "service_off");
}

#[tokio::test]
async fn a_code_is_given_in_words_of_our_own() {
    let world = World::new().await;
    let path = "/v1/anonymous_calls";
    let body = json!({"called": "88884432", "caller_shown": "95599"});
    assert_eq!(world.post(path, body.clone()).await.json()["code"], "service_off");
    world.reset(|tenant| tenant.settings.anonymous_call.enabled = true);
    let got = world.post(path, body.clone()).await;
    assert_eq!(got.status, 201, "{}", got.text);
    let got = got.json();
    assert_eq!(got["sip_service_address"], "10.137.203.215:5063");
    let code = got["access_code"].as_str().unwrap();
    assert!(code.len() == 18 && code.starts_with("2222201"), "{code}");
    let left_ms = got["valid_until_ms"].as_i64().unwrap() - unix_ms();
    assert!((50_000..=60_000).contains(&left_ms), "{left_ms}");
    let no_route = world.post(path, json!({"called": "6666614"})).await;
    assert_eq!((no_route.status.as_u16(), &no_route.json()["code"]), (422, &json!("no_route")));
    world.ready.store(false, std::sync::atomic::Ordering::Relaxed);
    let starting = world.post(path, body).await;
    assert_eq!((starting.status.as_u16(), starting.header("retry-after")), (503, "5"));
}

#[tokio::test]
async fn a_call_says_whose_agents_it_is() {
    let world = world().await;
    let intent = world.two_legs(401, T0).await;
    assert_eq!(world.get("/v1/calls/401").await.json()["agent_work_no"], 401);
    world.ended(intent, Outcome::CalledHungUp, false).await;
    assert_eq!(world.get("/v1/calls/401").await.json()["agent_work_no"], 401);
    let page = world.get("/v1/events").await.json();
    let last = page["events"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["type"], &last["data"]["agent_work_no"]),
        (&json!("call.ended"), &json!(401))
    );
    let asked = json!({"caller": "8899", "called": "88884432", "agent_work_no": 10_301});
    assert_eq!(world.post("/v1/bidirectional_calls", asked).await.status, 201);
    let OrderKind::BidirectionalCall(call) = world.last_asked().order.kind else { panic!() };
    assert_eq!(call.agent_work_no, Some(10_301));
}
