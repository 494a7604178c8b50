//! O-4: one tenant queues very many calls; neither its own claims nor another tenant's slow down for that.
//!
//! `cargo xtask queue` runs it at full size.

use std::time::{Duration, Instant};

use engine::vocabulary::{Serial, TenantId};
use store::{Claim, Store};

use crate::fixture::{Fixture, on_every_store};
use crate::nouns::{TENANT, accepted, intent};

on_every_store!(a_long_queue_slows_no_claim_down);

/// Calls of each test run; `QUEUED_CALLS=n` asks for another number.
const CALLS: u64 = 20_000;
const A_BATCH: u64 = 1_000;
const A_CLAIM: u32 = 32;
const OTHER: TenantId = TenantId(171);

async fn a_long_queue_slows_no_claim_down(fixture: Fixture) {
    let store = &fixture.store;
    let asked = std::env::var("QUEUED_CALLS").ok();
    let calls: u64 = asked.map_or(CALLS, |text| text.parse().expect("QUEUED_CALLS is a number"));
    queue(store, 1..=A_BATCH).await;
    let (short, _) = claims(store).await;
    queue(store, A_BATCH + 1..=calls).await;
    let (long, first) = claims(store).await;
    assert!(first <= A_BATCH, "the oldest are first: {first}");

    let mut other = intent(calls + 1);
    other.tenant = OTHER;
    store.submit(vec![accepted(other)]).await.unwrap();
    let begun = Instant::now();
    let claim = Claim::Ready { tenant: OTHER, route: "carrier".into(), limit: 1 };
    let claimed = store.claim(claim).await.unwrap();
    let others = begun.elapsed();
    assert_eq!(claimed[0].serial, Serial(calls + 1));
    println!(
        "{calls} queued: a claim of {A_CLAIM} {short:?} before, {long:?} then; another tenant's {others:?}"
    );
    // Were the queue read, a claim would take a hundred times as long.
    let slow = short * 10 + Duration::from_millis(20);
    assert!(long < slow, "{A_CLAIM} calls of {calls}: {long:?}, of {A_BATCH}: {short:?}");
    assert!(others < slow, "another tenant's first call: {others:?}");
}

async fn queue(store: &Store, serials: std::ops::RangeInclusive<u64>) {
    for first in serials.clone().step_by(A_BATCH as usize) {
        let batch = first..(first + A_BATCH).min(serials.end() + 1);
        let calls: Vec<_> = batch.map(|serial| accepted(intent(serial))).collect();
        store.submit(calls).await.unwrap();
    }
}

/// The median time of a claim, and the first serial of the last one.
async fn claims(store: &Store) -> (Duration, u64) {
    let mut times = Vec::new();
    let mut first = 0;
    for _ in 0..9 {
        let begun = Instant::now();
        let route = "carrier".into();
        let claim = Claim::Ready { tenant: TENANT, route, limit: A_CLAIM };
        let calls = store.claim(claim).await.unwrap();
        times.push(begun.elapsed());
        assert_eq!(calls.len(), A_CLAIM as usize);
        first = calls[0].serial.0;
    }
    times.sort_unstable();
    (times[times.len() / 2], first)
}
