//! Malformed and hostile traffic on every port of a running server, while legitimate calls go on.
//!
//! `OFFHOOK_RUBBISH_SCALE` multiplies what is thrown (`cargo xtask rubbish --scale 10` is the nightly form).

mod flood;
mod idle_connections;
mod live_call;
mod messages;
mod raw_http;
mod strangers;

use std::time::{Duration, Instant};

use tokio::sync::{Mutex, MutexGuard};

use crate::support::World;

fn scale() -> usize {
    std::env::var("OFFHOOK_RUBBISH_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Held by whoever loads the machine: two of these at once would try each other and not the server.
pub async fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::const_new(());
    ONE.lock().await
}

/// From the request until the call is answered; the phone of 1001 answers at once.
async fn set_up(world: &World) -> Duration {
    let begun = Instant::now();
    let serial = world.call("1001").await;
    world.reaches(&serial, "call.answered").await;
    let took = begun.elapsed();
    assert_eq!(world.released(&serial).await["releaseReason"], "1");
    took
}

/// What a call's set-up may take under attack where it took `quiet` without: a ratio, because the machine's speed is not
/// what is tried.
fn bearable(quiet: Duration) -> Duration {
    5 * quiet + Duration::from_secs(1)
}
