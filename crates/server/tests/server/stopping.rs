//! SIGTERM drains: no new calls, running ones finish.

use std::process::Command;

use crate::support::World;

fn terminate(pid: u32) {
    let killed = Command::new("kill").arg(pid.to_string()).status().expect("kill runs");
    assert!(killed.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_call_finishes_and_the_process_ends_well() {
    let mut world = World::start().await;
    let mut wanted = world.notification("1001");
    wanted.play_times = Some(2);
    let serial = world.client.notify(&wanted).await.expect("accepted");
    world.reaches(&serial, "call.play_started").await;
    terminate(world.server.pid());
    let released = world.released(&serial).await;
    assert_eq!(released["releaseReason"], "1", "it was played to its end");
    assert!(world.server.wait().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_hangs_up() {
    let mut world = World::start().await;
    let serial = world.call("1480").await;
    world.reaches(&serial, "call.ringing").await;
    terminate(world.server.pid());
    let draining = async {
        while world.client.v1(reqwest::Method::GET, "/readyz").await.expect("a reply").status != 503
        {
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, draining).await.expect("it drains");
    terminate(world.server.pid());
    assert!(world.server.wait().success());
    let ended = world.carrier.call_ended(|call| call.call_id.starts_with(&serial));
    tokio::time::timeout(crate::support::PATIENCE, ended).await.expect("the call was taken back");
}
