//! What waits, in which order, and what a repeated request does.

use std::collections::BTreeSet;

use serde_json::Value;
use sim::CarrierConfig;

use crate::support::{PATIENCE, Setting, World};

/// One call at a time over the trunk.
async fn narrow() -> World {
    let setting = Setting { trunk: "concurrent_calls = 1".into(), ..Setting::default() };
    World::with(setting, CarrierConfig::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn priority_goes_first_and_age_decides_within_it() {
    let world = narrow().await;
    let blocker = world.call("1480").await;
    let mut expected = Vec::new();
    for (number, priority) in
        [("13800000009", "9"), ("13800000005", "5"), ("13800000001", "1"), ("13800000015", "5")]
    {
        let mut wanted = world.notification(number);
        wanted.priority = Some(priority.into());
        let serial = world.client.notify(&wanted).await.expect("accepted");
        expected.push((priority, serial, number));
    }
    world.client.cancel(&blocker).await.expect("a reply");
    for (_, serial, _) in &expected {
        world.released(serial).await;
    }
    expected.sort();
    let expected: Vec<&str> = expected.iter().map(|(_, _, number)| *number).collect();
    let mut calls = world.carrier.calls();
    calls.sort_by_key(|call| call.invite_at);
    let dialled: Vec<&str> =
        calls.iter().map(|call| call.to_user.as_str()).filter(|number| *number != "1480").collect();
    assert_eq!(dialled, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_says_why() {
    let world = narrow().await;
    let blocker = world.call("1480").await;
    let serial = world.call("8899").await;
    let timeline = world.client.timeline(&serial).await.expect("a timeline").to_string();
    assert!(timeline.contains("trunk_concurrency"), "{timeline}");
    world.client.cancel(&serial).await.expect("a reply");
    let released = world.released(&serial).await;
    assert_eq!(released["releaseReason"], "998", "it was cancelled where it waited");
    world.client.cancel(&blocker).await.expect("a reply");
    world.released(&blocker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_has_calls_that_wait_ring_and_talk() {
    let world = narrow().await;
    let mut talker = world.notification("8899");
    talker.play_times = Some(5);
    let talks = world.client.notify(&talker).await.expect("accepted");
    world.reaches(&talks, "call.answered").await;
    let waits = world.call("1480").await;
    assert_eq!(history(&world).await, [(talks.clone(), 2), (waits.clone(), 0)]);
    world.client.cancel(&talks).await.expect("a reply");
    world.reaches(&waits, "call.ringing").await;
    assert_eq!(history(&world).await, [(talks.clone(), 3), (waits.clone(), 1)]);
    world.client.cancel(&waits).await.expect("a reply");
    world.released(&waits).await;
    assert_eq!(history(&world).await, [(talks, 3), (waits, 3)]);
}

/// Serial and state of each call, as queryCallDetailRecord lists them.
async fn history(world: &World) -> Vec<(String, u64)> {
    let now = sim::Moment::now().unix_ms();
    let (from, to) = (now - 3_600_000, now + 3_600_000);
    let reply = world.client.query_call_detail_record(from, to, "3", 0, 100).await;
    let reply: Value = reply.expect("a reply").parse().expect("JSON");
    let calls = reply["result"]["callInfo"].as_array().expect("calls");
    let call = |call: &Value| {
        let serial = call["callSerialNo"].as_str().expect("a serial").to_owned();
        (serial, call["state"].as_u64().expect("a state"))
    };
    calls.iter().map(call).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_cancels_its_own_calls_only() {
    let other = r#"
[[tenant]]
id = 2
name = "other"
app_key = "other"
app_secret = "another-secret-of-a-tenant"
access_codes = ["2222202"]
routes = [{ prefix = "", trunk = "carrier" }]
"#;
    let setting = Setting {
        trunk: "concurrent_calls = 1".into(),
        tenant: other.into(),
        ..Setting::default()
    };
    let world = World::with(setting, CarrierConfig::default()).await;
    let live = world.call("1480").await;
    let waiting = world.call("1480").await;
    let url = format!("http://{}", world.server.http);
    let other = sim::Client::new(url, "other", "another-secret-of-a-tenant").expect("a client");
    for serial in [&live, &waiting, &"1".to_owned()] {
        assert_eq!(other.cancel(serial).await.expect("a reply").status, 404);
    }
    for serial in [&live, &waiting] {
        assert_eq!(world.client.cancel(serial).await.expect("a reply").status, 202);
        assert_eq!(world.released(serial).await["releaseReason"], "998");
    }
    let over = world.client.cancel(&live).await.expect("a reply");
    assert_eq!(over.status, 409, "{}", over.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_with_the_documented_code_and_when_to_come_back() {
    let setting = Setting {
        trunk: "concurrent_calls = 1".into(),
        tenant: "queue_length = 1".into(),
        ..Setting::default()
    };
    let world = World::with(setting, CarrierConfig::default()).await;
    world.call("1480").await;
    world.call("1480").await;
    let body = world.notification("1480").to_json();
    let reply = world.client.create_voice_notification(body, None).await.expect("a reply");
    assert_eq!(reply.status, 200);
    assert!(reply.body.contains(r#""retCode":"3""#), "{}", reply.body);
    assert!(reply.retry_after.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_with_one_key_make_one_call() {
    let world = World::start().await;
    let body = world.notification("8899").to_json();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (client, body) = (world.client.clone(), body.clone());
        requests.spawn(async move {
            let reply = client.create_voice_notification(body, Some("key-1")).await;
            reply.expect("a reply").call_serial_no().expect("it is accepted")
        });
    }
    let serials: BTreeSet<String> = requests.join_all().await.into_iter().collect();
    assert_eq!(serials.len(), 1, "one call: {serials:?}");

    let other = world.notification("1001").to_json();
    let reply = world.client.create_voice_notification(other, Some("key-1")).await;
    assert_eq!(reply.expect("a reply").status, 422, "the same key with another body");
    for serial in &serials {
        world.released(serial).await;
    }
    assert_eq!(world.carrier.totals().invites, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_remembered_over_a_restart() {
    let mut world = World::start().await;
    let body = world.notification("8899").to_json();
    let first = world.client.create_voice_notification(body.clone(), Some("key-2")).await;
    let first = first.expect("a reply").call_serial_no().expect("accepted");
    world.released(&first).await;
    world.server = world.server.kill_and_restart();
    world.client = world.server.client();
    let again = world.client.create_voice_notification(body, Some("key-2")).await;
    assert_eq!(again.expect("a reply").call_serial_no().expect("accepted"), first);
    let ended = tokio::time::timeout(PATIENCE, world.carrier.call_ended(|_| true)).await;
    ended.expect("the first call ended");
    assert_eq!(world.carrier.totals().invites, 1);
}
