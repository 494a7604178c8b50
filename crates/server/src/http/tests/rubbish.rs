//! T-24 for `/apiaccess`, which has no schema: bodies of every wrong kind to every interface. Each answer is one that the
//! pages or decisions.md know, and none is the server's fault.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Map;

use super::*;

const ALL: [&str; 14] = [
    TOKEN,
    CREATE_V1,
    CREATE_V2,
    QUERY,
    UPLOAD,
    TEMPLATE,
    RECORDS,
    ADDRESS,
    CALL_V3,
    CALL_V1,
    STATE,
    ANONYMOUS,
    PHONES,
    CALLED_INFO,
];

/// The fields of all interfaces: each meets its own and those of others.
const FIELDS: [&str; 37] = [
    "softPhone",
    "agentPresent",
    "agentWorkNo",
    "app_key",
    "app_secret",
    "called",
    "callerPresent",
    "callData",
    "voiceContent",
    "playList",
    "playTimes",
    "callBackUrl",
    "priority",
    "taskType",
    "voiceId",
    "voiceFileName",
    "templateId",
    "templateParams",
    "fileName",
    "voiceName",
    "voiceType",
    "voicecontent",
    "submit",
    "type",
    "account",
    "name",
    "speed",
    "volume",
    "textcontent",
    "scene",
    "callSerialNo",
    "callId",
    "caller",
    "beginTime",
    "endTime",
    "limit",
    "offset",
];

/// A value that no table has, or one that nearly fits.
fn odd() -> impl Strategy<Value = Value> {
    let numbers = prop_oneof![
        Just(json!(i64::MIN)),
        Just(json!(u64::MAX)),
        Just(json!(1e308)),
        Just(json!(-0.0)),
        any::<i64>().prop_map(|number| json!(number)),
    ];
    let texts = prop_oneof![
        any::<String>().prop_map(Value::from),
        "[0-9+*#]{0,40}".prop_map(Value::from),
        Just(json!("${TXT_33}")),
        Just(json!("\u{0}\u{202e}\u{feff}")),
        Just(json!("' OR 1=1 --")),
        Just(json!("../../../../etc/passwd")),
        Just(json!("http://127.0.0.1:8800@169.254.169.254/")),
        Just(json!("9".repeat(4_000))),
        Just(json!("AAAA")),
        Just(json!("8899")),
        Just(json!("100001")),
    ];
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), numbers, texts];
    leaf.prop_recursive(3, 16, 6, |inner| {
        let key = proptest::sample::select(FIELDS.to_vec());
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((key, inner), 0..4).prop_map(|fields| {
                let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), value));
                Value::Object(fields.collect::<Map<_, _>>())
            }),
        ]
    })
}

/// Bytes that are a body, nearly one, or none.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let key = proptest::sample::select(FIELDS.to_vec());
    let object = vec((key, odd()), 0..12).prop_map(|changes| {
        let mut body = printed();
        for (key, value) in changes {
            body[key] = value;
        }
        body.to_string().into_bytes()
    });
    let object = object.boxed();
    let cut = (object.clone(), any::<proptest::sample::Index>()).prop_map(
        |(mut body, at): (Vec<u8>, _)| {
            body.truncate(at.index(body.len() + 1));
            body
        },
    );
    let other = odd().prop_map(|value| value.to_string().into_bytes());
    let doubled = object.clone().prop_map(|body: Vec<u8>| {
        let text = String::from_utf8_lossy(&body).into_owned();
        text.replacen('{', "{\"called\":\"1\",\"playList\":[],", 1).into_bytes()
    });
    prop_oneof![4 => object, 1 => cut, 1 => other, 1 => doubled, 1 => any::<Vec<u8>>()]
}

/// Whether the answer is one of those that are documented for `/apiaccess`.
fn is_documented(got: &crate::http::testing::Got) -> bool {
    let reply: Value = serde_json::from_str(&got.text).unwrap_or_default();
    let has = |keys: &[&str]| keys.iter().any(|key| !reply[key].is_null());
    let json = got.header("content-type").starts_with("application/json");
    json && match got.status.as_u16() {
        200 => has(&["retCode", "returnCode", "resultCode", "AccessToken"]),
        400 | 403 | 413 => has(&["errorCode"]) && has(&["exceptionInfo"]),
        _ => false,
    }
}

#[test]
fn whatever_stands_in_a_body_each_interface_answers_as_documented() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    runtime.block_on(world.softphone("100001"));
    world.reset(|tenant| tenant.settings.anonymous_call.enabled = true);
    let bearer = format!("Bearer {}", world.token);
    let config = Config { cases: 1_500, failure_persistence: None, ..Config::default() };
    let cases = (proptest::sample::select(ALL.to_vec()), body());
    let outcome = TestRunner::new(config).run(&cases, |(path, body)| {
        let headers = [("Authorization", &*bearer), ("X-APP-Key", "key-1")];
        let got = runtime.block_on(world.send(Method::POST, path, &headers, body));
        prop_assert!(is_documented(&got), "{path}: {} {}", got.status, got.text);
        Ok(())
    });
    outcome.unwrap();
}
