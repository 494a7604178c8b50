//! T-7: receivers that misbehave, each in its way; the event comes again on schedule, under the same id.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use sim::Answer;
use tokio::task::JoinSet;

use crate::support::{PATIENCE, World};

/// What follows the first try, in ms after its end: 5 s and a tenth, or what the receiver asks for.
const PLANNED: std::ops::RangeInclusive<i64> = 4_500..=5_500;
const ASKED_FOR: std::ops::RangeInclusive<i64> = 8_000..=8_000;

/// How a receiver behaves at first, and when it is asked again.
fn receivers() -> Vec<(&'static str, Answer, std::ops::RangeInclusive<i64>)> {
    vec![
        ("500", Answer::status(500), PLANNED),
        ("429", Answer::status(429).with_header("Retry-After", "8"), ASKED_FOR),
        (
            "a Retry-After that is shorter",
            Answer::status(503).with_header("Retry-After", "1"),
            PLANNED,
        ),
        ("302", Answer::status(302).with_header("Location", "http://127.0.0.1:1/"), PLANNED),
        ("a reset connection", Answer::Reset, PLANNED),
        ("half of a reply", Answer::CutBody, PLANNED),
    ]
}

async fn callback(world: &World, serial: &str) -> Value {
    let path = format!("/v1/calls/{serial}/callbacks");
    let reply = world.client.v1(reqwest::Method::GET, &path).await.expect("a reply");
    reply.parse::<Value>().expect("JSON")[0].clone()
}

async fn comes_again(what: &str, answer: Answer, wait_ms: std::ops::RangeInclusive<i64>) {
    let world = World::start().await;
    world.callbacks.callbacks().script([answer]);
    let serial = world.call("1486").await;
    let tries = AtomicU32::new(0);
    let second = |_: &sim::Callback| tries.fetch_add(1, Ordering::Relaxed) == 1;
    let delivered = async {
        world.callbacks.callbacks().received(second).await;
        loop {
            let callback = callback(&world, &serial).await;
            if callback["status"] == "delivered" {
                return callback;
            }
        }
    };
    let callback = tokio::time::timeout(PATIENCE, delivered).await.expect("it is delivered");
    assert_eq!(callback["attempts"], 2, "{what}: {callback}");
    let first = &callback["tries"][0];
    let ms = |name: &str| first[name].as_i64().unwrap_or_else(|| panic!("{what}: no {name}"));
    let waited = ms("retry_at_ms") - ms("at_ms") - ms("duration_ms");
    // Between the end of the try and its judgement there is a busy machine.
    assert!(
        (wait_ms.start() - 5..=wait_ms.end() + 500).contains(&waited),
        "{what}: planned after {waited} ms"
    );
    let arrived = world.callbacks.callbacks().all();
    let ids: Vec<_> = arrived.iter().map(|callback| callback.event_id()).collect();
    assert_eq!((ids.len(), ids[0]), (2, ids[1]), "{what}");
    assert!(arrived[1].arrived_at.since(arrived[0].arrived_at).as_millis() >= 4_500, "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn an_event_that_was_not_taken_comes_again_on_schedule_under_the_same_id() {
    let mut runs = JoinSet::new();
    for (what, answer, wait_ms) in receivers() {
        runs.spawn(comes_again(what, answer, wait_ms));
    }
    runs.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_gone_is_not_asked_again() {
    let world = World::start().await;
    world.callbacks.callbacks().script([Answer::status(410)]);
    let serial = world.call("1486").await;
    world.released(&serial).await;
    let given_up = async { while callback(&world, &serial).await["status"] != "dead" {} };
    tokio::time::timeout(PATIENCE, given_up).await.expect("it is a dead letter");
    assert_eq!(world.callbacks.callbacks().count(), 1);
}
