//! S-12: every route, asked by one tenant for what belongs to another. What a route answers must be what it answers
//! for things that do not exist, and nothing of the other tenant may stand in it.
//!
//! [`PROBES`] is held against the routers' own lists: a route without a probe fails here.

use std::collections::BTreeSet;

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::cdr::Outcome;
use engine::intent::Intent;
use engine::vocabulary::Serial;
use engine::writes::Write;
use serde_json::{Value, json};
use store::{CallbackAttempt, CallbackNext, CallbackResult, VoiceStatus};

use super::testing::{Got, OPERATOR_KEY, TENANT, World, settings, wav};
use super::tests::{ANONYMOUS, CALL_V1, CALL_V3, STATE};
use crate::app::unix_ms;
use crate::tenants::{Pair, TenantSettings};
use crate::voices::Found;

const T0: i64 = 1_700_000_000_000;

/// What of tenant 1 must never be seen by tenant 2: each stands in something that tenant 1 has.
const NUMBER: &str = "1999000111";
const SHOWN: &str = "77700011";
const HOST: &str = "canary.example.com";
const FILE: &str = "canary.wav";
const NOTE: &str = "canary-note";
const CANARIES: [&str; 6] = [NUMBER, SHOWN, HOST, FILE, NOTE, "key-1"];

/// What the stranger must get.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// This status; under `/v1` this `code`, elsewhere this `retCode` or `returnCode`.
    Refused(u16, &'static str),
    /// A list of its own things, of which it has none.
    Nothing,
    /// Something of its own, whatever the other tenant has.
    Own(u16),
    /// Asks nobody who they are.
    Open,
}
use Answer::{Nothing, Open, Own, Refused};

struct Probe {
    method: &'static str,
    /// As the router has it.
    route: &'static str,
    /// With a thing of tenant 1 in its place.
    path: &'static str,
    body: fn(&Theirs) -> Value,
    answer: Answer,
}

const fn probe(
    method: &'static str,
    route: &'static str,
    path: &'static str,
    body: fn(&Theirs) -> Value,
    answer: Answer,
) -> Probe {
    Probe { method, route, path, body, answer }
}

const CREATE_V2: &str = super::tests::CREATE_V2;
const NEW: &str = "/v1/voice_notifications";
const NEW_CALL: &str = "/v1/bidirectional_calls";
const PHONES_V1: &str = "/apiaccess/CC-Management/v1/mobileAgent/queryPhone";
const PHONES_V2: &str = "/apiaccess/CC-Management/v2/mobileAgent/queryPhone";
const CALLED_INFO: &str = "/apiaccess/CC-Management/v1/mobileAgent/getCalledInfo";
const NO_BODY: fn(&Theirs) -> Value = |_| json!({});

static PROBES: [Probe; 65] = [
    probe("POST", super::tests::TOKEN, super::tests::TOKEN, |_| login(), Refused(403, "")),
    probe(
        "POST",
        CREATE_V2,
        CREATE_V2,
        |_| call_v2(json!({"voiceId": "100001"}), json!({})),
        Refused(200, "17"),
    ),
    probe(
        "POST",
        CREATE_V2,
        CREATE_V2,
        |_| call_v2(json!({"voiceFileName": FILE}), json!({})),
        Refused(200, "17"),
    ),
    probe(
        "POST",
        CREATE_V2,
        CREATE_V2,
        |theirs| call_v2(json!({"templateId": theirs.template}), json!({})),
        Refused(200, "17"),
    ),
    probe(
        "POST",
        CREATE_V2,
        CREATE_V2,
        |_| call_v2(json!({"voiceId": "1"}), json!({"callerPresent": SHOWN})),
        Refused(200, "7"),
    ),
    probe(
        "POST",
        CREATE_V2,
        CREATE_V2,
        |_| call_v2(json!({"voiceId": "1"}), json!({"callBackUrl": format!("http://{HOST}/")})),
        Refused(200, "9"),
    ),
    probe(
        "POST",
        super::tests::CREATE_V1,
        super::tests::CREATE_V1,
        |_| json!({"called": "8899", "voiceContent": "100001"}),
        Refused(200, "8"),
    ),
    probe("POST", super::tests::QUERY, super::tests::QUERY, NO_BODY, Own(200)),
    probe("POST", super::tests::TEMPLATE, super::tests::TEMPLATE, |_| template(), Own(200)),
    probe("POST", super::tests::RECORDS, super::tests::RECORDS, |_| records(), Refused(200, "1")),
    probe(
        "POST",
        super::tests::ADDRESS,
        super::tests::ADDRESS,
        |_| json!({"callSerialNo": "71"}),
        Refused(200, "5"),
    ),
    // Signed for tenant 2, and the call is tenant 1's: the test puts the signature behind it.
    probe("GET", "/recordings/{tenant}/{name}", "/recordings/2/71.wav", NO_BODY, Refused(404, "")),
    probe(
        "POST",
        NEW,
        NEW,
        |_| json!({"called": "8899", "playlist": [{"recording": "100001"}]}),
        Refused(422, "no_such_material"),
    ),
    probe(
        "POST",
        NEW,
        NEW,
        |_| json!({"called": "8899", "playlist": [{"recording_name": FILE}]}),
        Refused(422, "no_such_material"),
    ),
    probe(
        "POST",
        NEW,
        NEW,
        |theirs| json!({"called": "8899", "playlist": [{"template": theirs.template}]}),
        Refused(422, "no_such_material"),
    ),
    probe(
        "POST",
        NEW,
        NEW,
        |_| json!({"called": "8899", "caller": SHOWN, "playlist": [{"recording": "1"}]}),
        Refused(422, "caller"),
    ),
    probe("GET", "/v1/calls", "/v1/calls", NO_BODY, Nothing),
    probe("GET", "/v1/calls", "/v1/calls?caller=77700011&limit=1000", NO_BODY, Nothing),
    probe("GET", "/v1/calls/{serial}", "/v1/calls/71", NO_BODY, Refused(404, "not_found")),
    probe("GET", "/v1/calls/{serial}", "/v1/calls/72", NO_BODY, Refused(404, "not_found")),
    probe(
        "GET",
        "/v1/calls/{serial}/timeline",
        "/v1/calls/71/timeline",
        NO_BODY,
        Refused(404, "not_found"),
    ),
    probe(
        "GET",
        "/v1/calls/{serial}/timeline",
        "/v1/calls/72/timeline",
        NO_BODY,
        Refused(404, "not_found"),
    ),
    probe(
        "GET",
        "/v1/calls/{serial}/callbacks",
        "/v1/calls/71/callbacks",
        NO_BODY,
        Refused(404, "not_found"),
    ),
    // The desk knows 7 as a live call of tenant 1; 71 is over.
    probe(
        "POST",
        "/v1/calls/{serial}/cancel",
        "/v1/calls/7/cancel",
        NO_BODY,
        Refused(404, "not_found"),
    ),
    probe(
        "POST",
        "/v1/calls/{serial}/cancel",
        "/v1/calls/71/cancel",
        NO_BODY,
        Refused(404, "not_found"),
    ),
    probe(
        "POST",
        "/v1/calls/{serial}/recording/pause",
        "/v1/calls/7/recording/pause",
        NO_BODY,
        Refused(404, "not_found"),
    ),
    probe(
        "POST",
        "/v1/calls/{serial}/recording/resume",
        "/v1/calls/71/recording/resume",
        NO_BODY,
        Refused(404, "not_found"),
    ),
    probe("GET", "/v1/callbacks/dead", "/v1/callbacks/dead", NO_BODY, Nothing),
    probe(
        "POST",
        "/v1/callbacks/{position}/replay",
        "/v1/callbacks/1/replay",
        NO_BODY,
        Refused(404, "not_found"),
    ),
    probe("GET", "/v1/events", "/v1/events?after=0&limit=1000", NO_BODY, Nothing),
    probe("GET", "/v1/recordings", "/v1/recordings", NO_BODY, Own(200)),
    probe(
        "POST",
        "/v1/recordings/{id}/submit",
        "/v1/recordings/100001/submit",
        NO_BODY,
        Refused(404, "not_found"),
    ),
    probe(
        "POST",
        "/v1/recordings/{id}/approve",
        "/v1/recordings/100001/approve",
        NO_BODY,
        Refused(404, "not_found"),
    ),
    probe(
        "POST",
        "/v1/recordings/{id}/reject",
        "/v1/recordings/100001/reject",
        NO_BODY,
        Refused(404, "not_found"),
    ),
    probe("POST", "/v1/api_keys", "/v1/api_keys", NO_BODY, Own(201)),
    probe(
        "POST",
        "/v1/api_keys/revoke",
        "/v1/api_keys/revoke",
        |theirs| json!({"key": theirs.key}),
        Refused(404, "not_found"),
    ),
    probe("GET", "/v1/tenant", "/v1/tenant", NO_BODY, Own(200)),
    probe("GET", "/v1/tenants", "/v1/tenants", NO_BODY, Refused(403, "operator_only")),
    probe(
        "PUT",
        "/v1/tenants/{id}",
        "/v1/tenants/1",
        |_| json!({"name": "mine now", "access_codes": []}),
        Refused(403, "operator_only"),
    ),
    probe(
        "PUT",
        "/v1/tenants/{id}",
        "/v1/tenants/99",
        |_| json!({"name": "new", "access_codes": []}),
        Refused(403, "operator_only"),
    ),
    probe("GET", "/metrics", "/metrics", NO_BODY, Refused(403, "operator_only")),
    probe("GET", "/v1/openapi.json", "/v1/openapi.json", NO_BODY, Open),
    probe("GET", "/v1/docs", "/v1/docs", NO_BODY, Open),
    probe("GET", "/v1/docs/", "/v1/docs/", NO_BODY, Open),
    probe("GET", "/v1/docs/{file}", "/v1/docs/swagger-initializer.js", NO_BODY, Open),
    probe("GET", "/healthz", "/healthz", NO_BODY, Open),
    probe("GET", "/readyz", "/readyz", NO_BODY, Open),
    probe(
        "POST",
        CALL_V3,
        CALL_V3,
        |_| json!({"softPhone": "66666666", "called": "8899"}),
        Refused(200, "8"),
    ),
    probe(
        "POST",
        CALL_V1,
        CALL_V1,
        |_| json!({"caller": "88", "called": "8899", "callerPresent": SHOWN}),
        Refused(200, "5"),
    ),
    probe(
        "POST",
        CALL_V1,
        CALL_V1,
        |_| json!({"caller": "88", "called": "8899", "callBackUrl": format!("http://{HOST}/")}),
        Refused(200, "9"),
    ),
    probe(
        "POST",
        NEW_CALL,
        NEW_CALL,
        |_| json!({"caller": "88", "called": "8899", "caller_shown": SHOWN}),
        Refused(422, "caller_shown"),
    ),
    // The second tenant has no anonymous calls; without the header that the page wants it is nobody.
    probe("POST", ANONYMOUS, ANONYMOUS, |_| json!({"called": NUMBER}), Refused(403, "")),
    probe(
        "POST",
        "/v1/anonymous_calls",
        "/v1/anonymous_calls",
        |_| json!({"called": NUMBER, "caller_shown": SHOWN}),
        Refused(422, "service_off"),
    ),
    probe("POST", STATE, STATE, |_| json!({"callSerialNo": "71"}), Refused(200, "1")),
    probe("POST", STATE, STATE, |_| json!({"callSerialNo": "72"}), Refused(200, "1")),
    probe("POST", PHONES_V1, PHONES_V1, NO_BODY, Refused(200, "2")),
    probe("POST", PHONES_V2, PHONES_V2, NO_BODY, Refused(200, "2")),
    probe(
        "POST",
        CALLED_INFO,
        CALLED_INFO,
        |_| json!({"called": "100", "caller": "1"}),
        Refused(200, "5"),
    ),
    probe("GET", "/v1/softphones", "/v1/softphones", NO_BODY, Nothing),
    probe(
        "PUT",
        "/v1/softphones/{number}",
        "/v1/softphones/66666666",
        |_| json!({"password": "mine from now on"}),
        Refused(409, "taken"),
    ),
    probe(
        "DELETE",
        "/v1/softphones/{number}",
        "/v1/softphones/66666666",
        NO_BODY,
        Refused(404, "not_found"),
    ),
    probe("GET", "/v1/number_bindings", "/v1/number_bindings", NO_BODY, Nothing),
    probe(
        "POST",
        "/v1/number_bindings",
        "/v1/number_bindings",
        |_| json!({"a": NUMBER, "b": SHOWN}),
        Refused(409, "exhausted"),
    ),
    probe(
        "POST",
        "/v1/number_bindings/end",
        "/v1/number_bindings/end",
        |_| json!({"a": NUMBER, "b": SHOWN}),
        Refused(404, "not_found"),
    ),
    // Last: from then on the stranger has a recording of that name itself.
    probe("POST", super::tests::UPLOAD, super::tests::UPLOAD, |_| upload(), Own(200)),
];

/// What tenant 1 has.
struct Theirs {
    template: String,
    key: String,
}

fn login() -> Value {
    json!({"app_key": "key-1", "app_secret": "the secret of tenant 2"})
}

fn call_v2(entry: Value, changes: Value) -> Value {
    let mut body = json!({"called": "8899", "playList": [entry]});
    for (key, value) in changes.as_object().expect("fields") {
        body[key] = value.clone();
    }
    body
}

fn upload() -> Value {
    json!({"locale": "zh_CN", "voiceType": "0", "fileType": "wav", "voiceFileName": FILE,
           "fileInfo": STANDARD.encode(wav())})
}

fn template() -> Value {
    json!({"name": "greeting", "voicecontent": {"textcontent": "Of tenant 2."}})
}

fn records() -> Value {
    json!({"startTime": T0.to_string(), "endTime": (T0 + 1000).to_string(), "taskType": "3"})
}

async fn world() -> (World, Theirs) {
    let trust = serde_json::from_value(json!([HOST, "127.0.0.1:8800 private"])).expect("a list");
    let world = World::with(TenantSettings { trust, ..settings() }).await;
    world.recording("100001", FILE, "3", VoiceStatus::Approved).await;
    let template = world.template(&format!("Call {NUMBER}.")).await;
    let like = world.accepted(70, T0).await;
    for serial in [71, 72] {
        let mut intent = Intent { serial: Serial(serial), ..like.clone() };
        intent.order.called = NUMBER.into();
        intent.order.caller_present = SHOWN.into();
        intent.order.callback_url = Some(format!("http://{HOST}/released"));
        let write =
            Write::Accepted { intent: Box::new(intent.clone()), idempotency: None, started: false };
        world.app.store.submit(vec![write]).await.expect("stored");
        if serial == 71 {
            let file = world.app.config.data_directory.join(crate::recordings::path(&intent));
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            std::fs::write(file, wav()).expect("a file");
            world.ended(intent, Outcome::Played, true).await;
        }
    }
    let note = json!([{"at_ms": T0, "note": "recovered", "what": NOTE}]);
    world.app.store.put_timeline(Serial(71), note.to_string().into_bytes()).await.expect("stored");
    let due = world.app.store.callbacks_due(unix_ms() + 1000, 1).await.expect("due").remove(0);
    let attempt = CallbackAttempt {
        id: due.id,
        number: 1,
        at_ms: T0,
        duration_ms: 3,
        request: NOTE.into(),
        result: CallbackResult::Error { why: "connection refused".into() },
        next: CallbackNext::Dead,
    };
    world.app.store.callback_attempt(attempt).await.expect("stored");
    let key = world.app.access.create_api_key(TENANT).await.expect("a key").token;
    world.softphone("66666666").await;
    let pair = Pair { tenant: TENANT, a: NUMBER, b: SHOWN };
    let pool = ["13800000000".to_owned()];
    world.app.bindings.bind(pair, &pool, unix_ms() + 60_000, unix_ms()).await.expect("bound");
    world.reset(|tenant| {
        tenant.access_codes = vec![SHOWN.into()];
        tenant.settings.called_marks = [("100".to_owned(), NUMBER.to_owned())].into();
    });
    (world, Theirs { template, key })
}

/// Sends a probe with the token of `tenant`; a download also with a signature that is good for its path.
async fn ask(world: &World, probe: &Probe, theirs: &Theirs, token: &str) -> Got {
    let method = Method::from_bytes(probe.method.as_bytes()).expect("a method");
    let bearer = format!("Bearer {token}");
    let mut path = probe.path.to_owned();
    if path.starts_with("/recordings/") {
        path = format!("{path}?expires={}", unix_ms() / 1000 + 60);
        path = format!("{path}&signature={}", world.app.access.sealer.sign_link(&path));
    }
    let body = (probe.body)(theirs).to_string();
    world.send(method, &path, &[("authorization", &bearer)], body).await
}

#[tokio::test]
async fn no_route_shows_or_touches_another_tenants_things() {
    let (world, theirs) = world().await;
    for probe in &PROBES {
        let (route, path) = (probe.route, probe.path);
        let got = ask(&world, probe, &theirs, &world.other_token).await;
        let (status, text) = (got.status.as_u16(), &got.text);
        for canary in CANARIES {
            assert!(!text.contains(canary), "{canary} of tenant 1 in the answer of {path}: {text}");
        }
        match probe.answer {
            Refused(expected, "") => assert_eq!(status, expected, "{route} {text}"),
            Refused(expected, code) => {
                let json = got.json();
                let told = ["code", "retCode", "returnCode"].map(|name| match &json[name] {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                });
                assert!(status == expected && told.contains(&code.to_owned()), "{route} {text}");
            }
            Nothing => {
                let json = got.json();
                let list = ["calls", "events"].iter().find_map(|name| json[*name].as_array());
                let list = list.or(json.as_array()).unwrap_or_else(|| panic!("{route}: {text}"));
                assert!(status == 200 && list.is_empty(), "{route} {text}");
            }
            Own(expected) => assert_eq!(status, expected, "{route} {text}"),
            Open => assert!([200, 308].contains(&status), "{route}: {status}"),
        }
    }
    everything_is_still_there(&world, &theirs).await;
}

/// What the stranger asked for changed nothing, and is answered to whom it belongs: the probes could have hit.
async fn everything_is_still_there(world: &World, theirs: &Theirs) {
    for (path, canary) in [
        ("/v1/calls/71", NUMBER),
        ("/v1/calls/72", HOST),
        ("/v1/calls/71/timeline", NOTE),
        ("/v1/calls/71/callbacks", NOTE),
        ("/v1/callbacks/dead", HOST),
        ("/v1/events", SHOWN),
        ("/v1/recordings", FILE),
        ("/v1/tenant", "key-1"),
        ("/v1/softphones", "66666666"),
        ("/v1/number_bindings", NUMBER),
    ] {
        let got = world.get(path).await;
        assert!(got.status == 200 && got.text.contains(canary), "{path}: {}", got.text);
    }
    let Some(Found::Recording(recording)) =
        world.app.voices.read(TENANT, |shelf| shelf.find("100001"))
    else {
        panic!("the recording has gone")
    };
    assert_eq!((recording.status, &*recording.name), (VoiceStatus::Approved, FILE));
    let bearer = format!("Bearer {}", theirs.key);
    let headers = [("authorization", &*bearer)];
    assert_eq!(world.send(Method::GET, "/v1/calls", &headers, "").await.status, 200);
    let tenant = world.app.store.tenant(TENANT).await.expect("read").expect("it is there");
    assert_eq!(tenant.name, "tenant 1");
    assert!(world.limited.lock().expect("whole").is_empty(), "no limit was changed");
}

#[tokio::test]
async fn the_operators_key_opens_no_tenants_calls() {
    let (world, theirs) = world().await;
    let operators = ["/v1/tenants", "/v1/tenants/{id}", "/metrics"];
    for probe in PROBES.iter().filter(|probe| !matches!(probe.answer, Open)) {
        if operators.contains(&probe.route) {
            continue;
        }
        let got = ask(&world, probe, &theirs, OPERATOR_KEY).await;
        let expected = if probe.route.starts_with("/recordings/") { 404 } else { 403 };
        assert_eq!(got.status, expected, "{} {}", probe.route, got.text);
        assert!(CANARIES.iter().all(|canary| !got.text.contains(canary)), "{}", probe.route);
    }
}

#[tokio::test]
async fn every_route_has_its_probe() {
    let (world, _) = world().await;
    let document = world.send(Method::GET, "/v1/openapi.json", &[], "").await.json();
    let mut routes: BTreeSet<(String, String)> = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        let methods = operations.as_object().expect("operations").keys();
        let known = ["get", "put", "post", "delete", "patch", "head", "options"];
        let methods = methods.filter(|name| known.contains(&name.as_str()));
        routes.extend(methods.map(|method| (method.to_uppercase(), path.clone())));
    }
    for path in ["/v1/openapi.json", "/v1/docs", "/v1/docs/", "/v1/docs/{file}"] {
        routes.insert(("GET".into(), path.into()));
    }
    let method = |path: &str| if path.starts_with("/recordings/") { "GET" } else { "POST" };
    routes.extend(super::routes().iter().map(|(path, _)| (method(path).into(), (*path).into())));
    let probed: BTreeSet<(String, String)> =
        PROBES.iter().map(|probe| (probe.method.into(), probe.route.into())).collect();
    let without: Vec<_> = routes.difference(&probed).collect();
    assert!(without.is_empty(), "say in PROBES what a stranger gets from {without:?}");
    let gone: Vec<_> = probed.difference(&routes).collect();
    assert!(gone.is_empty(), "no such route any more: {gone:?}");
}
