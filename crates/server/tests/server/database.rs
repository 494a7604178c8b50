//! T-5: the whole server on PostgreSQL, and what breaks between the two.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use sim::{CarrierConfig, Client};
use tokio::sync::watch;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::timeout;

use crate::cluster::{Cluster, url_through};
use crate::proxy::Proxy;
use crate::support::{PATIENCE, Setting, World};

/// Rounds of the slow test; `OFFHOOK_T5_ROUNDS` asks for more.
fn rounds() -> u32 {
    let wanted = std::env::var("OFFHOOK_T5_ROUNDS").ok();
    wanted.map_or(10, |rounds| rounds.parse().expect("a number of rounds"))
}

/// Calls of one round, all asked for at the same time.
const CALLS: u32 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_call_on_postgresql() {
    let cluster = block_in_place(Cluster::start);
    let database = cluster.database();
    let world = World::with(stored_at(&cluster.url(&database)), CarrierConfig::default()).await;
    let serial = world.call("8899").await;
    let released = world.released(&serial).await;
    assert_eq!(released["releaseReason"], "1");
    assert_eq!(world.record(&serial).await["end"]["outcome"], "played");
    let counts = "SELECT (SELECT count(*) FROM cdrs), (SELECT count(*) FROM intents)";
    assert_eq!(cluster.sql(&database, counts), "1|0", "it is there and nowhere else");
    assert!(!world.server.recording("Y:/offhook.db").exists());
    assert!(!world.server.log().contains("row-level security"), "its role is bound by it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_row_level_security_does_not_bind_is_warned_about() {
    let cluster = block_in_place(Cluster::start);
    let url = cluster.url_of_superuser(&cluster.database());
    let world = World::with(stored_at(&url), CarrierConfig::default()).await;
    world.server.logs("so that row-level security does not keep tenants apart").await;
}

/// The reply to a commit is cut off, the server is killed, the database loses its power, a cable is
/// pulled; calls are asked for all the time, each under a key until it is accepted.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_breaks_around_the_database_each_call_has_one_record_and_rings_once() {
    let cluster = block_in_place(Cluster::start);
    let database = cluster.database();
    let proxy = Proxy::start(cluster.socket()).await;
    let setting = stored_at(&url_through(proxy.address(), &database));
    let mut world = World::with(setting, CarrierConfig::default()).await;
    let clients = watch::Sender::new(world.client.clone());
    let mut asking = JoinSet::new();
    let mut cuts = 0;
    for round in 0..rounds() {
        for call in 0..CALLS {
            let wanted = world.notification(["8899", "1001", "1486"][call as usize % 3]).to_json();
            let key = format!("round {round} call {call}");
            asking.spawn(until_accepted(clients.subscribe(), wanted, key));
        }
        match round % 4 {
            0 => {
                cuts += 1;
                proxy.cut_reply_to_commit(1 + round % 5);
                timeout(PATIENCE, proxy.cut(cuts)).await.expect("a commit comes");
            }
            1 => {
                let accepted = asking.join_next().await.expect("some were asked for");
                asking.spawn(async { accepted.expect("it does not panic") });
                world.server = world.server.kill_and_restart();
                world.client = world.server.client();
                clients.send_replace(world.client.clone());
            }
            2 => block_in_place(|| {
                cluster.stop_at_once();
                cluster.run();
            }),
            _ => {
                // Its token is stored while that is possible.
                world.client.v1(reqwest::Method::GET, "/readyz").await.expect("a reply");
                proxy.refuse();
                timeout(PATIENCE, says_it_is_away(&world)).await.expect("calls are being stored");
                proxy.pass();
            }
        }
    }
    let mut serials = BTreeMap::new();
    while let Some(accepted) = asking.join_next().await {
        let (key, serial) = accepted.expect("it does not panic");
        assert_eq!(serials.insert(serial, key), None, "a serial is given once");
    }
    assert_eq!(serials.len() as u32, rounds() * CALLS);
    all_ended_once(&world, &serials).await;
}

/// The primary dies while calls are asked for; its synchronous standby takes its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_knows_every_call_that_was_accepted_and_none_twice() {
    let (primary, standby) = block_in_place(|| {
        let primary = Cluster::start();
        let standby = primary.standby();
        (primary, standby)
    });
    let database = block_in_place(|| primary.database());
    let setting = stored_at(&primary.url_or(&standby, &database));
    let world = World::with(setting, CarrierConfig::default()).await;
    let clients = watch::Sender::new(world.client.clone());
    let mut asking = JoinSet::new();
    for call in 0..2 * CALLS {
        let wanted = world.notification(["8899", "1001", "1486"][call as usize % 3]).to_json();
        asking.spawn(until_accepted(clients.subscribe(), wanted, format!("call {call}")));
        if call == CALLS {
            let accepted = asking.join_next().await.expect("some were asked for");
            asking.spawn(async { accepted.expect("it does not panic") });
            block_in_place(|| primary.kill());
        }
    }
    timeout(PATIENCE, says_it_is_away(&world)).await.expect("it notices");
    block_in_place(|| standby.promote());
    let mut serials = BTreeMap::new();
    while let Some(accepted) = asking.join_next().await {
        let (key, serial) = accepted.expect("it does not panic");
        assert_eq!(serials.insert(serial, key), None, "a serial is given once");
    }
    assert_eq!(serials.len() as u32, 2 * CALLS);
    all_ended_once(&world, &serials).await;
}

async fn says_it_is_away(world: &World) {
    loop {
        let reply = world.client.v1(reqwest::Method::GET, "/readyz").await.expect("a reply");
        if reply.status == 503 && reply.body.contains("storage_away") {
            return;
        }
    }
}

fn stored_at(url: &str) -> Setting {
    Setting { top: format!("[storage]\nurl = \"{url}\""), ..Setting::default() }
}

/// Asks again under the same key, of whichever server there is, until it says that it accepted.
async fn until_accepted(
    mut clients: watch::Receiver<Client>,
    wanted: String,
    key: String,
) -> (String, String) {
    let accepted = async {
        loop {
            let client = clients.borrow_and_update().clone();
            let reply = client.create_voice_notification(wanted.clone(), Some(&key)).await;
            if let Ok(serial) = reply.and_then(|reply| reply.call_serial_no()) {
                return serial;
            }
            // Another server comes, or the same one has its database back.
            let _ = timeout(Duration::from_millis(200), clients.changed()).await;
        }
    };
    let serial = timeout(2 * PATIENCE, accepted).await.expect("it is accepted in the end");
    (key, serial)
}

async fn all_ended_once(world: &World, serials: &BTreeMap<String, String>) {
    let mut events = BTreeSet::new();
    for (serial, key) in serials {
        world.released(serial).await;
        let record = world.record(serial).await;
        assert!(record["end"]["outcome"].is_string(), "{key}: {record}");
    }
    for callback in world.callbacks.callbacks().all() {
        let serial = callback.field("callSerialNo").expect("a release callback");
        assert!(serials.contains_key(&serial), "a call that nobody was told of");
        events.insert((serial, callback.event_id().expect("an event id").to_owned()));
    }
    assert_eq!(events.len(), serials.len(), "one terminal event each: {events:?}");
    let reply = world.client.v1(reqwest::Method::GET, "/v1/calls?limit=1").await.expect("a reply");
    let page: Value = reply.parse().expect("JSON");
    assert_eq!(page["total"], serials.len(), "and no record beside them");
    let mut dialogs = BTreeMap::<String, u32>::new();
    for call in world.carrier.calls() {
        let serial = serials.keys().find(|serial| call.call_id.starts_with(serial.as_str()));
        let serial = serial.expect("nothing is dialled that was not accepted");
        *dialogs.entry(serial.clone()).or_default() += call.dialogs;
    }
    assert!(dialogs.values().all(|dialogs| *dialogs <= 1), "{dialogs:?}");
}
