//! Each way in which a called party can take a call, and what the callback says of it.

use sim::CarrierConfig;

use crate::support::{Setting, World};

#[tokio::test(flavor = "multi_thread")]
async fn the_callback_says_how_it_ended() {
    let setting = Setting { tenant: "ring_limit_s = 2".into(), ..Setting::default() };
    let world = World::with(setting, CarrierConfig::default()).await;
    let table = [
        ("8899", "1", "played"),
        ("1001", "1", "played"),
        ("100300", "0", "cut_short"),
        ("1486", "4", "refused"),
        ("1603", "4", "refused"),
        ("2486", "4", "refused"),
        ("1404", "6", "failed"),
        ("1503", "6", "failed"),
        ("1480", "4", "no_answer"),
        ("1011", "4", "no_answer"),
        ("10153", "998", "failed"),
        ("10152", "1", "played"),
        ("100701", "1", "played"),
        ("1013", "1", "played"),
        ("1012", "1", "played"),
    ];
    let mut calls = Vec::new();
    for (number, reason, outcome) in table {
        calls.push((world.call(number).await, number, reason, outcome));
    }
    for (serial, number, reason, outcome) in calls {
        let released = world.released(&serial).await;
        let record = world.record(&serial).await;
        assert_eq!(
            (released["releaseReason"].as_str(), record["end"]["outcome"].as_str()),
            (Some(reason), Some(outcome)),
            "{number}: {record}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_pressed_are_collected() {
    let world = World::start().await;
    let mut wanted = world.notification("100552");
    wanted.play_times = Some(3);
    let serial = world.client.notify(&wanted).await.expect("accepted");
    world.released(&serial).await;
    assert_eq!(world.record(&serial).await["end"]["digits"], "52");
}
