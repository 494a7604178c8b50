//! P5: a process with very many queued calls on disk is ready as soon as one without. `cargo xtask queue` runs it at full
//! size.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use engine::intent::{Intent, Order, OrderKind, PlayItem};
use engine::vocabulary::{Priority, Serial, TenantId};
use engine::writes::Write;
use serde_json::Value;
use sim::CarrierConfig;
use store::{Store, StoreConfig};

use crate::support::{Launch, Setting, World};

/// Calls of each test run; `QUEUED_CALLS=n` asks for another number.
const CALLS: u64 = 20_000;
const A_BATCH: u64 = 1_000;
/// The promise, for 100,000 calls.
const READY: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_delays_no_start() {
    let asked = std::env::var("QUEUED_CALLS").ok();
    let calls: u64 = asked.map_or(CALLS, |text| text.parse().expect("QUEUED_CALLS is a number"));
    // What waits stays there: the one place is taken by a phone that rings on.
    let setting = Setting { trunk: "concurrent_calls = 1".into(), ..Setting::default() };
    let mut world = World::with(setting, CarrierConfig::default()).await;
    let ringing = world.call("1480").await;
    world.reaches(&ringing, "call.ringing").await;
    let (restarted, empty) = restart(world, None).await;
    world = restarted;
    let (world, full) = restart(world, Some(calls)).await;
    println!("ready after {full:?} with {calls} queued calls, {empty:?} without");
    assert!(
        full < empty + READY,
        "ready after {full:?} with {calls} queued calls, {empty:?} without"
    );

    let reply = world.client.v1(reqwest::Method::GET, "/v1/calls?limit=1").await;
    let page: Value = reply.expect("a reply").parse().expect("JSON");
    assert_eq!(page["total"], calls + 1, "they are there");
}

/// Kills it, queues so many calls, and says how long the next start takes until calls are taken.
async fn restart(mut world: World, queued: Option<u64>) -> (World, Duration) {
    world.server.kill();
    if let Some(calls) = queued {
        queue(world.server.data(), calls).await;
    }
    let begun = Instant::now();
    world.server = world.server.restart(&Launch::default());
    world.client = world.server.client();
    let ready = world.client.v1(reqwest::Method::GET, "/readyz").await.expect("a reply");
    assert_eq!(ready.status, 200);
    (world, begun.elapsed())
}

async fn queue(directory: PathBuf, calls: u64) {
    let store = Store::open(StoreConfig::Sqlite { directory }).await.expect("nobody has it");
    let now = sim::Moment::now().unix_ms();
    for first in (1..=calls).step_by(A_BATCH as usize) {
        let batch = first..(first + A_BATCH).min(calls + 1);
        let writes: Vec<Write> = batch.map(|serial| waiting(serial, now)).collect();
        store.submit(writes).await.expect("it is written");
    }
    store.close().await;
}

fn waiting(serial: u64, now_ms: i64) -> Write {
    let kind = OrderKind::VoiceNotification {
        playlist: vec![PlayItem::Recording { voice_id: "100001".into() }],
        play_times: 1,
    };
    let order = Order {
        place: "carrier".into(),
        called: format!("88{serial:08}"),
        caller_present: "2222201".into(),
        priority: Priority::LAST,
        ring_limit_s: 60,
        max_duration_s: 600,
        record: false,
        callback_url: None,
        kind,
    };
    let intent = Intent {
        serial: Serial(serial),
        tenant: TenantId(1),
        created_ms: now_ms,
        queue_deadline_ms: now_ms + 3_600_000,
        order,
    };
    Write::Accepted { intent: Box::new(intent), idempotency: None, started: false }
}
