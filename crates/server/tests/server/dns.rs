//! Trunks that are found by DNS: several targets, one of which is dead.

use std::net::UdpSocket;

use sim::{Carrier, CarrierConfig};

use crate::support::names::{Answer, Names, Record};
use crate::support::{Setting, World};

const SRV: &str = "_sip._udp.carrier.example";

/// A server whose trunk is a domain, and a carrier behind the second of its targets.
async fn world(first: u16) -> (World, Names) {
    let carrier = Carrier::start(CarrierConfig::default()).await.expect("a carrier starts");
    let names = Names::start().await;
    let target = |priority, port| Record::srv(priority, 0, port, "edge.carrier.example");
    names.records(SRV, [target(10, first), target(20, carrier.udp_address().port())]);
    names.records("edge.carrier.example", [Record::a([127, 0, 0, 1].into())]);
    let setting = Setting {
        address: Some("carrier.example".into()),
        more: format!("[dns]\nservers = [\"{}\"]\n", names.address),
        ..Setting::default()
    };
    let address = carrier.udp_address();
    (World::around(setting, carrier, address).await, names)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_target_costs_its_time_once_and_no_call() {
    let dead = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let (world, names) = world(dead.local_addr().expect("it is bound").port()).await;
    let first = world.call("8899").await;
    assert_eq!(world.released(&first).await["releaseReason"], "1");
    let timeline = world.client.timeline(&first).await.expect("a timeline").to_string();
    assert!(timeline.contains("it says nothing; the next target is tried"), "{timeline}");
    let second = world.call("8899").await;
    assert_eq!(world.released(&second).await["releaseReason"], "1");
    let timeline = world.client.timeline(&second).await.expect("a timeline").to_string();
    assert!(!timeline.contains("the next target"), "the dead one rests: {timeline}");
    assert_eq!(world.carrier.totals().invites, 2);
    assert_eq!(names.asked(SRV, 33), 1, "answers are kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn name_servers_that_misbehave_cost_calls_and_not_the_server() {
    let carrier = Carrier::start(CarrierConfig::default()).await.expect("a carrier starts");
    let address = carrier.udp_address();
    let names = Names::start().await;
    names.say("carrier.example", Answer::Silence);
    names.say(SRV, Answer::Garbage);
    names.say("edge.carrier.example", Answer::Failure);
    let setting = Setting {
        address: Some("carrier.example".into()),
        more: format!("[dns]\nservers = [\"{}\"]\n", names.address),
        ..Setting::default()
    };
    let world = World::around(setting, carrier, address).await;
    let lost = world.call("8899").await;
    assert_eq!(world.released(&lost).await["releaseReason"], "6");
    let timeline = world.client.timeline(&lost).await.expect("a timeline").to_string();
    assert!(timeline.contains("cannot be resolved"), "{timeline}");

    let naptr = Record::naptr(1, 1, "s", "SIP+D2U", "_sip.service.example").ttl(5);
    names.records("carrier.example", [naptr]);
    names.records(
        "_sip.service.example",
        [Record::srv(0, 0, address.port(), "edge.carrier.example")],
    );
    names.records("edge.carrier.example", [Record::cname("pop.carrier.example")]);
    names.records("pop.carrier.example", [Record::a([127, 0, 0, 1].into())]);
    world.server.logs("the trunk's host is found").await;
    let serial = world.call("8899").await;
    assert_eq!(world.released(&serial).await["releaseReason"], "1");
}
