//! What a rush of calls takes, it gives back.

use std::time::{Duration, Instant};

use sim::CarrierConfig;
use tokio::task::JoinSet;

use crate::support::{PATIENCE, Setting, World};

/// Calls of the rush, and how many are asked for at a time.
const CALLS: usize = 600;
const AT_A_TIME: usize = 60;

/// SIP remembers transactions for 32 s; memory is looked at every ten, and given back for a minute.
const SETTLES_WITHIN: Duration = Duration::from_secs(90);

/// Resident memory of a process, bytes.
fn resident(pid: u32) -> usize {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("it runs");
    let pages: usize = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number");
    pages * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_returns_after_a_rush_of_calls() {
    let tenant = "calls_per_second = 10000\nconcurrent_calls = 10000\n".into();
    let setting = Setting { tenant, ..Setting::default() };
    let carrier = CarrierConfig { keep_audio: sim::KeepAudio::None, ..CarrierConfig::default() };
    let world = World::with(setting, carrier).await;
    let serial = world.call("1001").await;
    world.released(&serial).await;
    let pid = world.server.pid();
    let idle = resident(pid);

    let mut requests = JoinSet::new();
    let wanted = world.notification("1001");
    for _ in 0..AT_A_TIME {
        let (client, wanted) = (world.client.clone(), wanted.clone());
        requests.spawn(async move {
            for _ in 0..CALLS / AT_A_TIME {
                client.notify(&wanted).await.expect("accepted");
            }
        });
    }
    requests.join_all().await;
    let all = world.callbacks.callbacks().distinct_reached(CALLS as u64 + 1);
    tokio::time::timeout(PATIENCE, all).await.expect("each call has its callback");

    let peak = resident(pid);
    let taken = peak.saturating_sub(idle);
    assert!(taken > 8_000_000, "a rush takes memory, or there is nothing to see: {taken} bytes");
    let until = Instant::now() + SETTLES_WITHIN;
    let mut every = tokio::time::interval(Duration::from_secs(1));
    let mut left = taken;
    while left > taken / 2 {
        assert!(Instant::now() < until, "{left} of {taken} bytes stay, above {idle}");
        every.tick().await;
        left = resident(pid).saturating_sub(idle);
    }
}
