//! What must not be read where it does not belong: secrets on the disk (S-14), secrets and call data in the log (S-15).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};
use sim::client::{Entry, Template};
use sim::{CarrierConfig, Client, Digest};

use crate::support::{APP_SECRET, Launch, PATIENCE, Setting, World};

const OPERATOR_KEY: &str = "canary-operator-key-of-32-characters";
const SHARED_KEY: &str = "canary-shared-key";
const TRUNK_PASSWORD: &str = "canary-trunk-password";
const OLD: &str = "0101010101010101010101010101010101010101010101010101010101010101";
const NEW: &str = "abababababababababababababababababababababababababababababababab";

/// Call data of the canary calls.
const CALLED: &str = "13811112222";
const SHOWN: &str = "13933334444";
const DIGITS: &str = "975318";
const PARAMETER: &str = "canary parameter";
const TEXT: &str = "canary template";
const URL: &str = "canary-of-the-callback-address";
const IDEMPOTENCY_KEY: &str = "canary-idempotency-key";

fn setting(log: &str) -> Setting {
    Setting {
        top: format!("[access]\noperator_key = \"{OPERATOR_KEY}\"\n"),
        trunk: format!("username = \"user\"\npassword = \"{TRUNK_PASSWORD}\"\n"),
        tenant: format!(
            "callback_shared_key = \"{SHARED_KEY}\"\ncaller_transparency = true\nrecord = true"
        ),
        launch: Launch { log: log.to_owned(), ..Launch::default() },
        ..Setting::default()
    }
}

fn carrier() -> CarrierConfig {
    let users = BTreeMap::from([("user".to_owned(), TRUNK_PASSWORD.to_owned())]);
    let digest = Some(Digest { realm: "carrier.test".into(), users });
    CarrierConfig { digest, ..CarrierConfig::default() }
}

/// Every kind of order and refusal that a log line might be about. Tokens and keys that were given meanwhile.
async fn canary_run(world: &mut World) -> Vec<String> {
    let client = &world.client;
    let http = crate::support::http();
    let at = |path: &str| format!("http://{}{path}", world.server.http);
    let login = json!({"app_key": crate::support::APP_KEY, "app_secret": APP_SECRET});
    let token = http.post(at("/apigovernance/api/oauth/tokenByAkSk")).body(login.to_string());
    let token = token.send().await.expect("a reply").text().await.expect("a body");
    let token: Value = serde_json::from_str(&token).expect("JSON");
    let token = token["AccessToken"].as_str().expect("a token").to_owned();
    let key = http.post(at("/v1/api_keys")).bearer_auth(&token).send().await.expect("a reply");
    let key: Value = serde_json::from_str(&key.text().await.expect("a body")).expect("JSON");
    let key = key["key"].as_str().expect("a key").to_owned();
    let operator = http.get(at("/v1/tenants")).bearer_auth(OPERATOR_KEY).send().await;
    assert!(operator.expect("a reply").status().is_success());

    let template = Template { name: "greeting".into(), text: format!("{TEXT} ${{TXT_32}}") };
    let template = client.create_voice_template(&template).await.expect("a template");
    let wanted = |number: &str| {
        let mut wanted = world.notification(number);
        wanted.caller_present = Some(SHOWN.into());
        wanted.play_list = vec![Entry::template(&template, [PARAMETER])];
        let address = format!("http://{}/{URL}", world.callbacks.address());
        wanted.call_back_url = Some(address);
        wanted
    };
    let mut serials = Vec::new();
    for number in [CALLED.to_owned(), format!("1005{DIGITS}"), "1503".into(), "10153".into()] {
        let body = wanted(&number).to_json();
        let key = (number == CALLED).then_some(IDEMPOTENCY_KEY);
        let reply = client.create_voice_notification(body, key).await.expect("a reply");
        serials.push(reply.call_serial_no().expect("accepted"));
    }
    for refused in ["canary is no number", "66666"] {
        let mut wrong = wanted(refused);
        wrong.call_back_url = Some(format!("http://canary.example.com/{URL}"));
        let reply = client.create_voice_notification(wrong.to_json(), None).await;
        assert!(reply.expect("a reply").call_serial_no().is_err());
    }
    for wrong in ["canary-token", "canary-operator-key-of-32-characterz"] {
        let refused = http.get(at("/v1/calls")).bearer_auth(wrong).send().await;
        assert_eq!(refused.expect("a reply").status(), 401);
    }
    for serial in &serials {
        world.released(serial).await;
    }
    // The log of a restart in the middle of a call counts too.
    let ringing = client.notify(&wanted("1480")).await.expect("accepted");
    world.reaches(&ringing, "call.ringing").await;
    vec![token, key]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_line_shows_a_secret_and_none_above_debug_shows_call_data() {
    for level in ["", "debug"] {
        let mut world = World::with(setting(level), carrier()).await;
        let given = canary_run(&mut world).await;
        world.server = world.server.kill_and_restart();
        let log = world.server.log();
        assert!(log.contains("offhook takes calls"), "the log is there");
        let secrets = [APP_SECRET, OPERATOR_KEY, SHARED_KEY, TRUNK_PASSWORD, "canary-token"];
        for secret in secrets.into_iter().chain(given.iter().map(String::as_str)) {
            assert!(!log.contains(secret), "{secret} at {level:?}: {}", line(&log, secret));
        }
        if level.is_empty() {
            let data = [CALLED, SHOWN, DIGITS, PARAMETER, TEXT, URL, IDEMPOTENCY_KEY, "canary"];
            for canary in data {
                assert!(!log.contains(canary), "{canary}: {}", line(&log, canary));
            }
        }
    }
}

fn line<'a>(log: &'a str, part: &str) -> &'a str {
    log.lines().find(|line| line.contains(part)).unwrap_or_default()
}

/// Every file below `folder`.
pub fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_of_the_data_directory_holds_a_secret_in_clear() {
    let mut world = World::with(setting(""), carrier()).await;
    let given = canary_run(&mut world).await;
    // As a killed server leaves it: the log of the database is still beside it.
    world.server = world
        .server
        .kill_change_and_restart(async |directory| {
            let data = directory.join("offhook-data");
            let mut all = Vec::new();
            files(&data, &mut all);
            let names: Vec<String> = all.iter().map(|path| path.display().to_string()).collect();
            let has = |end: &str| names.iter().any(|name| name.ends_with(end));
            assert!(has("offhook.db") && has("offhook.db-wal"), "{names:?}");
            let known = [APP_SECRET, SHARED_KEY, TRUNK_PASSWORD, OPERATOR_KEY];
            let known: Vec<&str> =
                known.into_iter().chain(given.iter().map(String::as_str)).collect();
            let mut call_data = 0;
            for path in &all {
                let bytes = std::fs::read(path).expect("a file");
                let holds =
                    |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
                for secret in &known {
                    assert!(!holds(secret), "{secret} in {}", path.display());
                }
                call_data += usize::from(holds(CALLED));
            }
            assert!(call_data > 0, "the search finds what is there");
        })
        .await;
}

/// Whether a callback is signed with the key of tenant 2.
fn is_signed(callback: &Value) -> bool {
    let fields = callback.as_object().expect("fields");
    let text = |name: &str| fields[name].as_str().expect("a text").to_owned();
    let mut parameters: Vec<String> = fields
        .iter()
        .filter(|(name, _)| !["timestamp", "nonce", "signature"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or("null")))
        .collect();
    parameters.sort();
    let signed = format!(
        "{SHARED_KEY}_{}_{}_{}",
        text("timestamp"),
        text("nonce"),
        parameters.join(",").replace(' ', "")
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, SHARED_KEY.as_bytes());
    STANDARD.encode(hmac::sign(&key, signed.as_bytes())) == text("signature")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_key_is_replaced_while_the_old_one_still_opens() {
    let access = |keys: &str| {
        format!("[access]\noperator_key = \"{OPERATOR_KEY}\"\nseal_key = \"\"\"\n{keys}\"\"\"\n")
    };
    let first = access(&format!("{OLD}\n"));
    let setting = Setting { top: first.clone(), ..Setting::default() };
    let mut world = World::with(setting, CarrierConfig::default()).await;
    let put = async |world: &World, shared_key: Option<&str>| {
        let trust = format!("{} private", world.callbacks.address());
        let settings = json!({"routes": [{"prefix": "", "trunk": "carrier"}], "trust": [trust]});
        let mut wanted =
            json!({"name": "second", "access_codes": ["2222202"], "settings": settings});
        if let Some(key) = shared_key {
            wanted["callback_shared_key"] = json!(key);
        }
        let url = format!("http://{}/v1/tenants/2", world.server.http);
        let put = crate::support::http().put(url).bearer_auth(OPERATOR_KEY);
        let reply = put.body(wanted.to_string()).send().await.expect("a reply");
        let made = reply.text().await.expect("a body");
        serde_json::from_str::<Value>(&made).expect("JSON")
    };
    let made = put(&world, Some(SHARED_KEY)).await;
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let (key, secret) = (text(&made["tenant"]["app_key"]), text(&made["app_secret"]));
    let call = async |world: &World| {
        let client = Client::new(format!("http://{}", world.server.http), &key, &secret);
        let client = client.expect("a client");
        // A call that fails at once is called back all the same, and needs nothing to play.
        let template = Template { name: "greeting".into(), text: "Hello ${TXT_8}.".into() };
        let template = client.create_voice_template(&template).await.expect("a template");
        let mut wanted = world.notification("1503");
        wanted.caller_present = None;
        wanted.play_list = vec![Entry::template(&template, ["you"])];
        let serial = client.notify(&wanted).await.expect("accepted");
        tokio::time::timeout(PATIENCE, world.released(&serial)).await.expect("a callback")
    };
    assert!(is_signed(&call(&world).await), "sealed and opened with the old key");
    for (keys, sealed_anew) in [
        (format!("{NEW}\n{OLD}\n"), false),
        (format!("{NEW}\n{OLD}\n"), true),
        (format!("{NEW}\n"), false),
    ] {
        let next = access(&keys);
        let change = async |directory: &Path| {
            let path = directory.join("offhook.toml");
            let text = std::fs::read_to_string(&path).expect("a file");
            let (_, tables) = text.split_once("[http]").expect("the first table behind it");
            std::fs::write(path, format!("{next}[http]{tables}")).expect("a file");
        };
        world.server = world.server.kill_change_and_restart(change).await;
        assert!(is_signed(&call(&world).await), "with {keys}");
        if sealed_anew {
            put(&world, Some(SHARED_KEY)).await;
        }
    }
    assert!(!world.server.log().contains("cannot be opened"));
}
