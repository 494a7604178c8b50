//! What holds for every interface of `/apiaccess`: who may ask, and how wrong requests are answered.

mod rubbish;

use axum::http::Method;
use serde_json::{Value, json};
use store::VoiceStatus;

use super::testing::{OTHER, SECRET, TENANT, World};
use crate::app::unix_ms;

pub const TOKEN: &str = "/apigovernance/api/oauth/tokenByAkSk";
pub const CREATE_V2: &str = "/apiaccess/rest/voiceNotification/v2/createVoiceNotification";
pub const CREATE_V1: &str = "/apiaccess/rest/voiceNotification/v1/createVoiceNotification";
pub const QUERY: &str = "/apiaccess/rest/voiceNotification/v1/queryVoiceNotificationRecording";
pub const UPLOAD: &str = "/apiaccess/rest/cc-management/v1/importVoiceFile/upload";
pub const TEMPLATE: &str = "/apiaccess/rest/cc-management/v1/createVoiceTemplate";
pub const CALL_V3: &str = "/apiaccess/CC-Management/v3/mobileAgent/createCall";
pub const CALL_V1: &str = "/apiaccess/CC-Management/v1/mobileAgent/createCall";
pub const ANONYMOUS: &str = "/apiaccess/ccmessaging/v1/mobileagent/createcall";
pub const STATE: &str = "/apiaccess/CC-Management/v1/mobileAgent/queryCallState";
pub const PHONES: &str = "/apiaccess/CC-Management/v1/mobileAgent/queryPhone";
pub const CALLED_INFO: &str = "/apiaccess/CC-Management/v1/mobileAgent/getCalledInfo";
pub const RECORDS: &str = "/apiaccess/CC-Management/v1/mobileAgent/queryCallDetailRecord";
pub const ADDRESS: &str = "/apiaccess/CC-Management/v1/mobileAgent/getRecordingAddress";

/// Those that take a body of the usual size, and no header but the token.
const INTERFACES: [&str; 11] = [
    CREATE_V2,
    CREATE_V1,
    QUERY,
    TEMPLATE,
    RECORDS,
    ADDRESS,
    CALL_V3,
    CALL_V1,
    STATE,
    PHONES,
    CALLED_INFO,
];

/// The request of page 003, its callback address one that is trusted.
pub fn printed() -> Value {
    json!({
        "called": "8899",
        "playList": [{"voiceId": "100001", "templateParams": ["100", "200"]}],
        "playTimes": 1,
        "callerPresent": "2222201",
        "callBackUrl": "http://127.0.0.1:8800/callbackTest"
    })
}

#[tokio::test]
async fn a_token_is_given_for_key_and_secret_and_opens_the_interfaces() {
    let world = World::new().await;
    let body = json!({"app_key": "key-1", "app_secret": SECRET}).to_string();
    let got = world.send(Method::POST, TOKEN, &[("x-token-expire", "900")], body.clone()).await;
    assert_eq!(got.status, 200);
    let reply = got.json();
    let token = reply["AccessToken"].as_str().unwrap().to_owned();
    assert!(token.len() == 32 && token.bytes().all(|b| b.is_ascii_hexdigit()), "{token}");
    assert_eq!(reply["Expires"], "900");
    assert_eq!((&reply["ApplyType"], &reply["AppKey"]), (&json!("Bearer"), &json!("key-1")));
    assert!(reply["CreateTime"].as_str().unwrap().parse::<i64>().unwrap() > 1_700_000_000);
    let keys = ["AccessToken", "ApplyType", "CreateTime", "Expires", "Scope", "AppKey", "UserID"];
    let places: Vec<_> =
        keys.iter().map(|key| got.text.find(&format!("\"{key}\"")).unwrap()).collect();
    assert!(places.is_sorted(), "{}", got.text);

    world.recording("100001", "welcome.wav", "3", VoiceStatus::Approved).await;
    for (name, scheme) in [("Authorization", "Bearer"), ("AUTHORIZATION", "bearer")] {
        let bearer = format!("{scheme} {token}");
        let headers = [(name, &*bearer), ("X-App-Key", "key-1")];
        let got = world.send(Method::POST, CREATE_V2, &headers, printed().to_string()).await;
        assert_eq!(got.json()["retCode"], "0", "{}", got.text);
    }
}

#[tokio::test]
async fn the_lifetime_of_a_token_is_bounded() {
    let world = World::new().await;
    let body = json!({"app_key": "key-1", "app_secret": SECRET}).to_string();
    let ask = async |expire: &str| {
        world.send(Method::POST, TOKEN, &[("X-Token-Expire", expire)], body.clone()).await
    };
    assert_eq!(ask("3600").await.json()["Expires"], "3600");
    assert_eq!(ask("86400").await.json()["Expires"], "3600");
    for wrong in ["0", "-1", "ten", ""] {
        assert_eq!(ask(wrong).await.status, 400, "{wrong}");
    }
    let default = world.send(Method::POST, TOKEN, &[], body.clone()).await;
    assert_eq!(default.json()["Expires"], "600");
}

#[tokio::test]
async fn wrong_key_and_wrong_secret_look_the_same() {
    let world = World::new().await;
    let ask = async |body: Value| world.send(Method::POST, TOKEN, &[], body.to_string()).await;
    let wrong_secret = ask(json!({"app_key": "key-1", "app_secret": "x"})).await;
    let wrong_key = ask(json!({"app_key": "key-9", "app_secret": SECRET})).await;
    assert_eq!((wrong_secret.status.as_u16(), &wrong_secret.text), (403, &wrong_key.text));
    assert_eq!(wrong_secret.json()["errorCode"], "1");
    assert_eq!(ask(json!({"app_key": "key-1"})).await.status, 400);
    assert_eq!(ask(json!([])).await.status, 400);
}

#[tokio::test]
async fn a_token_that_is_missing_wrong_or_expired_is_403() {
    let world = World::new().await;
    let expired =
        world.app.access.issue_bearer(TENANT, 60, unix_ms() - 61_000).await.unwrap().token;
    let expired = format!("Bearer {expired}");
    let good = format!("Bearer {}", world.token);
    let basic = format!("Basic {}", world.token);
    let long = format!("Bearer {}", "f".repeat(5000));
    let cases: [(&str, Vec<(&str, &str)>); 8] = [
        ("no header", vec![]),
        ("no scheme", vec![("authorization", &world.token)]),
        ("another scheme", vec![("authorization", &basic)]),
        ("unknown", vec![("authorization", "Bearer 00000000000000000000000000000000")]),
        ("empty", vec![("authorization", "Bearer ")]),
        ("expired", vec![("authorization", &expired)]),
        ("too long", vec![("authorization", &long)]),
        ("another tenant's key", vec![("authorization", &good), ("x-app-key", "key-2")]),
    ];
    for path in [&[UPLOAD, ANONYMOUS], &INTERFACES[..]].concat() {
        for (name, headers) in &cases {
            let got = world.send(Method::POST, path, headers, printed().to_string()).await;
            assert_eq!(got.status, 403, "{name} on {path}");
            assert_eq!(
                got.text,
                r#"{"errorCode":"1","exceptionInfo":"auth fail! illegal or expired token info. please apply or refresh the access token from the server!"}"#
            );
        }
    }
}

#[tokio::test]
async fn a_suspended_tenant_is_401_everywhere() {
    let world = World::new().await;
    world.reset(|tenant| tenant.suspended = true);
    let body = json!({"app_key": "key-1", "app_secret": SECRET}).to_string();
    assert_eq!(world.send(Method::POST, TOKEN, &[], body).await.status, 401);
    for path in [&[UPLOAD, ANONYMOUS], &INTERFACES[..]].concat() {
        let got = world.post(path, printed()).await;
        assert_eq!(got.status, 401, "{path}");
        assert_eq!(got.json()["errorCode"], "0");
    }
    assert_eq!(world.get("/v1/calls").await.status, 401);
}

#[tokio::test]
async fn wrong_paths_methods_and_bodies_have_their_statuses() {
    let world = World::new().await;
    let bearer = format!("Bearer {}", world.token);
    let headers = [("authorization", &*bearer)];
    let post =
        async |path: &str, body: String| world.send(Method::POST, path, &headers, body).await;
    for path in INTERFACES {
        let got = post(path, "{\"called\": \"1\"\n\"playList\": []}".into()).await;
        assert_eq!((got.status.as_u16(), &got.json()["errorCode"]), (400, &json!("0")), "{path}");
        assert!(got.json()["exceptionInfo"].as_str().unwrap().contains("line 2"), "{}", got.text);
        for body in ["", "[]", "7", "\u{0}", "{\"a\":"] {
            assert_eq!(post(path, body.into()).await.status, 400, "{body:?} on {path}");
        }
        let large = json!({"called": "8".repeat(70_000)}).to_string();
        assert_eq!(post(path, large).await.status, 413, "{path}");
        let got = world.send(Method::GET, path, &headers, "").await;
        assert_eq!((got.status.as_u16(), &got.json()["errorCode"]), (405, &json!("0")), "{path}");
    }
    for path in ["/", "/apiaccess/rest/voiceNotification/v3/createVoiceNotification"] {
        let got = post(path, "{}".into()).await;
        assert_eq!(got.status, 404, "{path}");
        assert_eq!(got.header("content-type"), "application/json;charset=UTF-8");
        assert!(got.json()["exceptionInfo"].is_string());
    }
    assert_eq!(
        post("/v1/nothing", String::new()).await.header("content-type"),
        "application/problem+json"
    );
}

#[tokio::test]
async fn tokens_outlive_the_process_that_gave_them() {
    let world = World::new().await;
    let sealer = crate::access::Sealer::from_text(&"22".repeat(32)).unwrap();
    let restarted = crate::access::Access::new(world.app.store.clone(), sealer, None);
    let now = unix_ms();
    let rights = restarted.authenticate(&world.other_token, now).await.unwrap();
    assert_eq!(rights, Some(crate::access::Rights::Tenant(OTHER)));
    assert_eq!(restarted.authenticate(&world.other_token, now + 601_000).await.unwrap(), None);
    restarted.expire(now + 601_000).await.unwrap();
    assert_eq!(restarted.authenticate(&world.other_token, now).await.unwrap(), None);
}
