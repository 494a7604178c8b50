//! What a tenant may use, and that no tenant is held up by another: S-10 and O-4 from outside.

use std::collections::BTreeMap;
use std::path::Path;

use engine::intent::{Intent, Order, OrderKind, PlayItem};
use engine::vocabulary::{Priority, Serial, TenantId};
use engine::writes::Write;
use serde_json::{Value, json};
use sim::client::{Entry, Recording, VoiceNotification};
use sim::{CallReport, CarrierConfig, Client, Moment};
use store::{Store, StoreConfig};
use tokio::task::JoinSet;

use crate::support::{PATIENCE, Setting, World, http, tone};

const OPERATOR_KEY: &str = "the operator's key of the tests, 32 characters";

/// The most calls that were dialled or up at the same time.
fn peak(calls: &[CallReport]) -> i32 {
    let mut changes: BTreeMap<(Moment, i32), i32> = BTreeMap::new();
    for call in calls {
        // Of two changes in one moment the end comes first.
        *changes.entry((call.invite_at, 1)).or_default() += 1;
        *changes.entry((call.ended_at, 0)).or_default() -= 1;
    }
    let running = changes.values().scan(0, |running, change| {
        *running += change;
        Some(*running)
    });
    running.max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_and_fifty_parallel_requests_never_make_more_than_a_hundred_calls_at_once() {
    let setting = Setting { tenant: "concurrent_calls = 100".into(), ..Setting::default() };
    let world = World::with(setting, CarrierConfig::default()).await;
    let mut wanted = world.notification("13800000000");
    wanted.play_times = Some(3);
    let mut requests = JoinSet::new();
    for _ in 0..250 {
        let (client, wanted) = (world.client.clone(), wanted.clone());
        requests.spawn(async move { client.notify(&wanted).await.expect("it waits, not refused") });
    }
    let serials = requests.join_all().await;
    for serial in &serials {
        assert_eq!(world.released(serial).await["releaseReason"], "1");
    }
    // The report of a call comes a moment after its release.
    let all = world.carrier.totals_reached(|totals| totals.ended == 250);
    tokio::time::timeout(PATIENCE, all).await.expect("250 calls at the far end");
    let peak = peak(&world.carrier.calls());
    assert!((51..=100).contains(&peak), "{peak} calls at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_gives_no_tenant_its_day_a_second_time_and_a_new_range_raises_the_alarm() {
    let setting = Setting { tenant: "calls_per_day = 2".into(), ..Setting::default() };
    let mut world = World::with(setting, CarrierConfig::default()).await;
    let first = world.call("8899").await;
    world.released(&first).await;
    world.server = world.server.kill_change_and_restart(learned_long_ago).await;
    world.client = world.server.client();
    let second = world.call("+8613800005678").await;
    assert_eq!(world.released(&second).await["releaseReason"], "1");
    let body = world.notification("8899").to_json();
    for _ in 0..2 {
        let reply = world.client.create_voice_notification(body.clone(), None).await;
        let reply = reply.expect("a reply");
        assert!(reply.body.contains(r#""retCode":"3""#), "{}", reply.body);
        assert!(reply.retry_after.is_some_and(|seconds| (1..=86_400).contains(&seconds)));
        world.server = world.server.kill_and_restart();
        world.client = world.server.client();
    }
    let timeline = world.client.timeline(&second).await.expect("a timeline").to_string();
    assert!(timeline.contains(r#""what":"tenant.new_prefix""#), "{timeline}");
    let log = world.server.log();
    let alarm = log.lines().find(|line| line.contains("for the first time")).expect("a warning");
    assert!(alarm.contains("WARN") && alarm.contains("+861") && !alarm.contains("5678"), "{alarm}");
}

/// The tenant's first call was in 1970, to 88….
async fn learned_long_ago(directory: &Path) {
    let store = open(directory).await;
    let known = json!({"since_ms": 0, "prefixes": ["889"]}).to_string();
    store.put_meta("called_prefixes/1", known.into_bytes()).await.expect("stored");
    store.close().await;
}

async fn open(directory: &Path) -> Store {
    let directory = directory.join("offhook-data");
    Store::open(StoreConfig::Sqlite { directory }).await.expect("the server has let go of it")
}

/// Makes or changes tenant 2; what the operator is answered.
async fn put_tenant(world: &World, settings: Value) -> Value {
    let url = format!("http://{}/v1/tenants/2", world.server.http);
    let wanted = json!({"name": "second", "access_codes": ["2222202"], "settings": settings});
    let put = http().put(url).bearer_auth(OPERATOR_KEY).body(wanted.to_string());
    let reply = put.send().await.expect("a reply");
    assert!(reply.status().is_success(), "{}", reply.text().await.unwrap_or_default());
    serde_json::from_str(&reply.text().await.expect("a body")).expect("JSON")
}

fn second(world: &World, made: &Value) -> Client {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let (key, secret) = (text(&made["tenant"]["app_key"]), text(&made["app_secret"]));
    Client::new(format!("http://{}", world.server.http), key, secret).expect("a client")
}

fn with_operator() -> String {
    format!("[access]\noperator_key = \"{OPERATOR_KEY}\"\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_cannot_send_a_call_on_to_a_premium_range() {
    for (premium, reason, invites) in [(false, "6", 1), (true, "1", 3)] {
        let setting = Setting {
            top: "[fraud]\npremium_prefixes = [\"88\"]\n".into(),
            tenant: format!("redirects = true\npremium = {premium}"),
            ..Setting::default()
        };
        let world = World::with(setting, CarrierConfig::default()).await;
        let asked = world.notification("8899").to_json();
        let reply = world.client.create_voice_notification(asked, None).await.expect("a reply");
        assert_eq!(reply.call_serial_no().is_ok(), premium, "asked for by name: {}", reply.body);
        let serial = world.call("10188899").await;
        assert_eq!(world.released(&serial).await["releaseReason"], reason);
        if let Ok(asked_for) = reply.call_serial_no() {
            world.released(&asked_for).await;
        }
        assert_eq!(world.carrier.totals().invites, invites);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_the_operator_raises_lets_what_waits_go_at_once() {
    let setting = Setting { top: with_operator(), ..Setting::default() };
    let world = World::with(setting, CarrierConfig::default()).await;
    let routes = json!([{"prefix": "", "trunk": "carrier"}]);
    let made = put_tenant(&world, json!({"routes": routes, "concurrent_calls": 1})).await;
    let client = second(&world, &made);
    let voice = client.upload_recording(&Recording::wav(tone(300.0, 0.5))).await.expect("taken");
    let call = |number: &str| VoiceNotification::new(number, vec![Entry::recording(&voice)]);
    client.notify(&call("1480")).await.expect("accepted");
    let waits = client.notify(&call("8899")).await.expect("accepted");
    let timeline = client.timeline(&waits).await.expect("a timeline").to_string();
    assert!(timeline.contains("tenant_concurrency"), "{timeline}");
    put_tenant(&world, json!({"routes": routes, "concurrent_calls": 2})).await;
    let dialled = world.carrier.call_ended(|call| call.call_id.starts_with(&waits));
    tokio::time::timeout(PATIENCE, dialled).await.expect("nothing else was asked for");
}

const WAITING: u64 = 20_000;

/// 20,000 calls of tenant 1 that wait, each before any of another tenant by priority and by age.
async fn fill_the_queue(directory: &Path, voice_id: &str) {
    let store = open(directory).await;
    let now_ms = Moment::now().unix_ms();
    let waiting = |serial: u64| Intent {
        serial: Serial(serial),
        tenant: TenantId(1),
        created_ms: now_ms,
        queue_deadline_ms: now_ms + 3_600_000,
        order: Order {
            place: "carrier".into(),
            called: "13800000001".into(),
            caller_present: "2222201".into(),
            priority: Priority::new(1).expect("a priority"),
            ring_limit_s: 60,
            max_duration_s: 60,
            record: false,
            callback_url: None,
            kind: OrderKind::VoiceNotification {
                playlist: vec![PlayItem::Recording { voice_id: voice_id.to_owned() }],
                play_times: 1,
            },
        },
    };
    for from in (1..=WAITING).step_by(1_000) {
        let accepted = |serial| Write::Accepted {
            intent: Box::new(waiting(serial)),
            idempotency: None,
            started: false,
        };
        let batch: Vec<Write> = (from..from + 1_000).map(accepted).collect();
        store.submit(batch).await.expect("stored");
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_twenty_thousand_calls_before_it_holds_no_other_tenant_up() {
    let setting = Setting {
        top: with_operator(),
        // Slow enough that a claim is answered long before the next call may start.
        trunk: "calls_per_second = 4".into(),
        ..Setting::default()
    };
    let mut world = World::with(setting, CarrierConfig::default()).await;
    let made = put_tenant(&world, json!({"routes": [{"prefix": "", "trunk": "carrier"}]})).await;
    let voice_id = world.voice_id.clone();
    let fill = async |directory: &Path| fill_the_queue(directory, &voice_id).await;
    world.server = world.server.kill_change_and_restart(fill).await;
    let client = second(&world, &made);
    let voice = client.upload_recording(&Recording::wav(tone(300.0, 1.0))).await.expect("taken");
    // The flood runs.
    let flows = world.carrier.call_ended(|call| call.to_user == "13800000001");
    tokio::time::timeout(PATIENCE, flows).await.expect("tenant 1 calls");

    let mut call = VoiceNotification::new("13800000002", vec![Entry::recording(&voice)]);
    call.priority = Some("9".into());
    let reply = client.create_voice_notification(call.to_json(), None).await.expect("a reply");
    assert!(reply.call_serial_no().is_ok(), "{}", reply.body);
    let own = world.carrier.call_ended(|call| call.to_user == "13800000002");
    let own = tokio::time::timeout(PATIENCE, own).await.expect("its turn comes");
    let after = world
        .carrier
        .call_ended(|call| call.to_user == "13800000001" && call.invite_at > own.invite_at);
    tokio::time::timeout(PATIENCE, after).await.expect("the flood goes on");
    let overtaken = world
        .carrier
        .calls()
        .iter()
        .filter(|call| {
            call.to_user == "13800000001"
                && (reply.replied_at..own.invite_at).contains(&call.invite_at)
        })
        .count();
    assert!(overtaken <= 2, "{overtaken} calls of the other tenant went first");
    assert!(world.carrier.totals().invites < WAITING / 10, "most of them wait still");
}
