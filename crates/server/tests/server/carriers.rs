//! Trunks in their kinds: over UDP and TCP, by address and by registration, with digest.

use std::collections::BTreeMap;

use sim::{Carrier, CarrierConfig};

use crate::support::{PATIENCE, Setting, World};

pub fn digest() -> Option<sim::Digest> {
    let users = BTreeMap::from([("trunk-user".to_owned(), "trunk-password".to_owned())]);
    Some(sim::Digest { realm: "carrier.test".into(), users })
}

pub const CREDENTIALS: &str = "username = \"trunk-user\"\npassword = \"trunk-password\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_that_asks_for_credentials_gets_them() {
    let setting = Setting { trunk: CREDENTIALS.into(), ..Setting::default() };
    let carrier = CarrierConfig { digest: digest(), ..CarrierConfig::default() };
    let world = World::with(setting, carrier).await;
    let serial = world.call("8899").await;
    assert_eq!(world.released(&serial).await["releaseReason"], "1");
    let call = ended(&world.carrier, &serial).await;
    assert_eq!(call.authenticated.as_deref(), Some("trunk-user"));
    assert_eq!(call.dialogs, 1);
    assert!(!world.server.log().contains("trunk-password"));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_end_the_call_before_it_rings() {
    let trunk = CREDENTIALS.replace("trunk-password", "another");
    let setting = Setting { trunk, ..Setting::default() };
    let carrier = CarrierConfig { digest: digest(), ..CarrierConfig::default() };
    let world = World::with(setting, carrier).await;
    let serial = world.call("8899").await;
    assert_eq!(world.released(&serial).await["releaseReason"], "6");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_is_registered_before_calls_leave_over_it() {
    let trunk = format!("{CREDENTIALS}register = true\n");
    let setting = Setting { trunk, ..Setting::default() };
    let carrier =
        CarrierConfig { digest: digest(), accept_registrations: true, ..CarrierConfig::default() };
    let world = World::with(setting, carrier).await;
    let serial = world.call("8899").await;
    assert_eq!(world.released(&serial).await["releaseReason"], "1");
    assert_eq!(world.carrier.registrations().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registrar_that_refuses_keeps_calls_waiting() {
    let trunk = format!("{}register = true\n", CREDENTIALS.replace("trunk-password", "another"));
    let tenant = "queue_timeout_s = 1".into();
    let setting = Setting { trunk, tenant, ..Setting::default() };
    let carrier =
        CarrierConfig { digest: digest(), accept_registrations: true, ..CarrierConfig::default() };
    let world = World::with(setting, carrier).await;
    let serial = world.call("8899").await;
    assert_eq!(
        world.released(&serial).await["releaseReason"],
        "9",
        "its time in the queue is over"
    );
    let timeline = world.client.timeline(&serial).await.expect("a timeline").to_string();
    assert!(timeline.contains("trunk_down"), "the timeline says why: {timeline}");
    assert_eq!(world.carrier.totals().invites, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_over_tcp_carries_calls() {
    let tcp = Some("127.0.0.1:0".parse().expect("an address"));
    let carrier = CarrierConfig { sip_tcp: tcp, ..CarrierConfig::default() };
    let setting = Setting { trunk: "transport = \"tcp\"".into(), ..Setting::default() };
    let world = World::over_tcp(setting, carrier).await;
    for number in ["8899", "1486"] {
        let serial = world.call(number).await;
        let released = world.released(&serial).await;
        let reason = if number == "8899" { "1" } else { "4" };
        assert_eq!(released["releaseReason"], reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_loses_one_datagram_in_five_still_carries_calls() {
    let carrier = CarrierConfig { loss: 0.2, ..CarrierConfig::default() };
    let world = World::with(Setting::default(), carrier).await;
    let mut serials = Vec::new();
    for _ in 0..10 {
        serials.push(world.call("1001").await);
    }
    for serial in serials {
        assert_eq!(world.released(&serial).await["releaseReason"], "1");
        let call = ended(&world.carrier, &serial).await;
        assert_eq!(call.dialogs, 1);
    }
}

async fn ended(carrier: &Carrier, serial: &str) -> sim::CallReport {
    let ended = carrier.call_ended(|call| call.call_id.starts_with(serial));
    tokio::time::timeout(PATIENCE, ended).await.expect("the carrier saw the call")
}
