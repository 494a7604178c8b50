//! `kill -9` in each state of a call, and what the next start makes of it.

use std::time::Duration;

use engine::writes::Write;
use sim::{Behaviour, CarrierConfig, EndedBy};
use store::{Store, StoreConfig};

use crate::support::{Launch, PATIENCE, Setting, World, tone};

fn restart(mut world: World) -> World {
    world.server = world.server.kill_and_restart();
    world.client = world.server.client();
    world
}

/// One record, one callback, and at the far end one dialog at the most.
async fn resolved(world: &World, serial: &str, outcome: &str, reason: &str) {
    let released = world.released(serial).await;
    assert_eq!(released["releaseReason"], reason);
    assert_eq!(world.record(serial).await["end"]["outcome"], outcome);
    let dialogs: u32 = world
        .carrier
        .calls()
        .iter()
        .filter(|call| call.call_id.starts_with(serial))
        .map(|call| call.dialogs)
        .sum();
    assert!(dialogs <= 1, "{dialogs} dialogs at the far end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_is_dialled_after_the_restart() {
    let setting = Setting { trunk: "concurrent_calls = 1".into(), ..Setting::default() };
    let world = World::with(setting, CarrierConfig::default()).await;
    let first = world.call("1480").await;
    world.reaches(&first, "call.ringing").await;
    let second = world.call("8899").await;
    let world = restart(world);
    world.client.cancel(&first).await.expect("a reply");
    resolved(&world, &second, "played", "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_rings_goes_on_by_the_same_invite() {
    let world = World::start().await;
    let serial = world.call("100205").await;
    world.reaches(&serial, "call.dialling").await;
    let world = restart(world);
    resolved(&world, &serial, "played", "1").await;
}

/// The phone says nothing at all, so that the call is still there when the process dies.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_that_was_answered_holds_after_a_crash() {
    let world = World::start().await;
    let serial = world.call("1020").await;
    world.reaches(&serial, "call.dialling").await;
    assert_eq!(world.client.cancel(&serial).await.expect("a reply").status, 202);
    let world = restart(world);
    world.carrier.behave("1020", Behaviour::Answer { ring: Duration::ZERO });
    resolved(&world, &serial, "unknown", "998").await;
    let timeline = world.client.timeline(&serial).await.expect("a timeline").to_string();
    assert!(timeline.contains("the INVITE that was out is cancelled"), "{timeline}");
    assert!(!timeline.contains("the INVITE that was out is sent again"), "{timeline}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_up_is_hung_up_and_reported() {
    let world = World::start().await;
    let mut wanted = world.notification("1001");
    wanted.play_times = Some(5);
    let serial = world.client.notify(&wanted).await.expect("accepted");
    world.reaches(&serial, "call.play_started").await;
    let world = restart(world);
    resolved(&world, &serial, "interrupted", "998").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_was_not_delivered_is_delivered_after_the_restart() {
    let world = World::start().await;
    world.callbacks.callbacks().script([sim::Answer::Hang]);
    let serial = world.call("1486").await;
    world.released(&serial).await;
    let world = restart(world);
    let again = world.callbacks.callbacks().distinct_reached(1);
    tokio::time::timeout(PATIENCE, again).await.expect("it comes again");
    let ids: Vec<Option<String>> = world
        .callbacks
        .callbacks()
        .all()
        .iter()
        .map(|callback| callback.event_id().map(str::to_owned))
        .collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "the id stays the same: {ids:?}");
}

/// A phone that rings while no server is there.
async fn ringing_and_killed() -> (World, String) {
    let mut world = World::start().await;
    let serial = world.call("1480").await;
    world.reaches(&serial, "call.ringing").await;
    world.server.kill();
    (world, serial)
}

async fn is_taken_back(mut world: World, serial: &str) {
    world.server = world.server.restart(&Launch::default());
    world.client = world.server.client();
    resolved(&world, serial, "unknown", "998").await;
    let call = world.carrier.call_ended(|call| call.call_id.starts_with(serial));
    let call = tokio::time::timeout(PATIENCE, call).await.expect("it rings no more");
    assert_eq!((call.ended_by, call.invites), (EndedBy::Cancel, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_older_than_its_transaction_is_taken_back() {
    let (world, serial) = ringing_and_killed().await;
    let directory = world.server.data();
    let store = Store::open(StoreConfig::Sqlite { directory }).await.expect("nobody has it");
    let found = store.recover().await.expect("it is read").unfinished_started;
    let mut attempt = found[0].legs[0].attempt.clone().expect("it was dialled");
    attempt.at_ms -= 33_000;
    store.submit(vec![Write::Attempt(Box::new(attempt))]).await.expect("it is written");
    store.close().await;
    drop(store);
    is_taken_back(world, &serial).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_rings_through_two_crashes_goes_on() {
    let world = World::start().await;
    let serial = world.call("100206").await;
    world.reaches(&serial, "call.ringing").await;
    let world = restart(restart(world));
    resolved(&world, &serial, "played", "1").await;
}

/// T-8: the kill comes after a time of its own in each run.
#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_is_cut_opens_and_lacks_a_second_at_most() {
    for seconds in [0.3, 0.9, 1.6, 2.4] {
        // In clear, so that a foreign program reads it; `media.rs` has the encrypted one.
        let top = "[recordings]\nencrypt = false\n".into();
        let setting = Setting { tenant: "record = true".into(), top, ..Setting::default() };
        let mut world = World::with(setting, CarrierConfig::default()).await;
        let file = sim::client::Recording::wav(tone(440.0, seconds));
        let voice = world.client.upload_recording(&file).await.expect("taken");
        let mut wanted = world.notification("1001");
        wanted.play_list = vec![sim::client::Entry::recording(voice)];
        wanted.play_times = Some(5);
        let serial = world.client.notify(&wanted).await.expect("accepted");
        world.reaches(&serial, "call.round_played").await;
        let killed_at = sim::Moment::now();
        world = restart(world);
        resolved(&world, &serial, "interrupted", "998").await;
        let call = world.carrier.call_ended(|call| call.call_id.starts_with(&serial)).await;
        let talked = killed_at.since(call.answered_at.expect("it was answered"));

        let released = world.released(&serial).await;
        let name = released["recordfile"].as_str().expect("what there is can be fetched");
        let file = world.server.recording(name);
        let sox = std::process::Command::new("sox").args(["--i", "-D"]).arg(&file).output();
        let sox = sox.expect("sox is installed (`cargo xtask test` installs it)");
        let recorded: f64 = String::from_utf8_lossy(&sox.stdout).trim().parse().expect("it opens");
        let lacking = talked.as_secs_f64() - recorded;
        assert!(lacking <= 1.0, "{recorded} s of {talked:?} are there");
    }
}
