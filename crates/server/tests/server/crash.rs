//! `kill -9` in each state of a call, and what the next start makes of it.

use sim::CarrierConfig;

use crate::support::{PATIENCE, Setting, World};

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
