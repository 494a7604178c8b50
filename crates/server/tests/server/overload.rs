//! More requests than the server has time for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use sim::CarrierConfig;
use tokio::task::JoinSet;

use crate::support::{PATIENCE, Setting, World};

/// Clients that each ask again as soon as they are answered.
const CLIENTS: usize = 48;
/// The flood ends with so many refusals.
const REFUSALS: usize = 150;

const OPERATOR_KEY: &str = "the operator's key of these tests, long enough";

/// A server whose patience is short, so that any machine overloads it.
async fn impatient() -> World {
    let setting = Setting {
        patience_ms: Some(1),
        more: format!("[access]\noperator_key = \"{OPERATOR_KEY}\""),
        ..Setting::default()
    };
    World::with(setting, CarrierConfig::default()).await
}

/// Asks until there were enough refusals; the calls that were accepted, and the refusals.
async fn flood(world: &World) -> (Vec<String>, usize) {
    let body = world.notification("8899").to_json();
    let refused = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (client, body, refused) = (world.client.clone(), body.clone(), refused.clone());
        clients.spawn(async move {
            let mut accepted = Vec::new();
            while refused.load(Ordering::Relaxed) < REFUSALS {
                let reply = client.create_voice_notification(body.clone(), None).await;
                let reply = reply.expect("a reply");
                if let Ok(serial) = reply.call_serial_no() {
                    accepted.push(serial);
                    continue;
                }
                assert!(reply.body.contains(r#""retCode":"3""#), "{} {}", reply.status, reply.body);
                assert_eq!((reply.status, reply.retry_after), (200, Some(1)));
                refused.fetch_add(1, Ordering::Relaxed);
            }
            accepted
        });
    }
    let accepted = tokio::time::timeout(PATIENCE, clients.join_all()).await;
    let accepted = accepted.expect("a flood is refused").into_iter().flatten().collect();
    (accepted, refused.load(Ordering::Relaxed))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_no_time_for_is_refused_and_what_was_accepted_is_done() {
    let world = impatient().await;
    let mut long = world.notification("1001");
    long.play_times = Some(5);
    let long = world.client.notify(&long).await.expect("accepted");
    world.reaches(&long, "call.play_started").await;

    let (accepted, refused) = flood(&world).await;
    assert!(!accepted.is_empty(), "some are served");
    let released = world.callbacks.callbacks().distinct_reached(accepted.len() as u64 + 1);
    tokio::time::timeout(PATIENCE, released).await.expect("each accepted call is called back");
    assert_eq!(world.released(&long).await["releaseReason"], json!("1"), "the call that was up");
    let invites = world.carrier.totals().invites;
    assert_eq!(invites, accepted.len() as u64 + 1, "who is refused is not dialled");

    let metrics = metrics(&world).await;
    let line = format!("offhook_requests_refused_total {refused}\n");
    assert!(metrics.contains(&line), "{line}{metrics}");
    let again = world.call("8899").await;
    assert_eq!(world.released(&again).await["releaseReason"], json!("1"), "after the flood");
}

async fn metrics(world: &World) -> String {
    let url = format!("http://{}/metrics", world.server.http);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let reply = client.get(url).bearer_auth(OPERATOR_KEY).send().await.expect("a reply");
    reply.text().await.expect("a text")
}
