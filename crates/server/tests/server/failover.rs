//! Two trunks: what fails the one goes to the other, what a person says does not.

use std::net::UdpSocket;
use std::time::Duration;

use sim::{Behaviour, Carrier, CarrierConfig};

use crate::support::{PATIENCE, Setting, World};

const WEIGHTED: &str = r#"{ prefix = "", trunks = [
    { trunk = "carrier" }, { trunk = "backup", weight = 0 }] }"#;

/// A second trunk at this address.
fn backup(address: &str, more: &str) -> String {
    format!("[[trunk]]\nname = \"backup\"\naddress = \"{address}\"\n{more}")
}

/// A server with a second carrier that it uses where the first fails.
async fn two_carriers(in_first: &str) -> (World, Carrier) {
    let second = Carrier::start(CarrierConfig::default()).await.expect("a carrier starts");
    let setting = Setting {
        trunk: in_first.to_owned(),
        tenant: "redirects = true".into(),
        routes: Some(WEIGHTED.into()),
        more: backup(&second.udp_address().to_string(), ""),
        ..Setting::default()
    };
    (World::with(setting, CarrierConfig::default()).await, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_the_first_trunk_fails_is_answered_over_the_second() {
    let (world, second) = two_carriers("").await;
    world
        .carrier
        .behave("5550001", Behaviour::Refuse { ring: Duration::from_millis(50), status: 500 });
    world.carrier.behave("5550002", Behaviour::Refuse { ring: Duration::ZERO, status: 500 });
    for (called, reason, over_second, trunk) in
        [("5550001", "4", 0, "carrier"), ("5550002", "1", 1, "backup"), ("1486", "4", 1, "carrier")]
    {
        let serial = world.call(called).await;
        assert_eq!(world.released(&serial).await["releaseReason"], reason, "{called}");
        assert_eq!(second.totals().invites, over_second, "{called}");
        assert_eq!(world.record(&serial).await["end"]["trunk"], trunk);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_that_asks_for_rest_gets_no_invite_meanwhile() {
    let (world, second) = two_carriers("").await;
    world.carrier.behave("5550003", Behaviour::Overloaded { retry_after: PATIENCE });
    for called in ["5550003", "8899", "8899"] {
        let serial = world.call(called).await;
        assert_eq!(world.released(&serial).await["releaseReason"], "1");
    }
    assert_eq!((world.carrier.totals().invites, second.totals().invites), (1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_without_a_sign_of_life_is_left_for_the_next() {
    let (world, second) = two_carriers("").await;
    let serial = world.call("1020").await;
    second.behave("1020", Behaviour::Answer { ring: Duration::ZERO });
    assert_eq!(world.released(&serial).await["releaseReason"], "1");
    let timeline = world.client.timeline(&serial).await.expect("a timeline").to_string();
    assert!(timeline.contains("trunk_failed"), "{timeline}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_that_does_not_answer_options_is_not_used() {
    let nobody = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = nobody.local_addr().expect("an address").to_string();
    let setting = Setting {
        routes: Some(
            r#"{ prefix = "", trunks = [{ trunk = "backup" }, { trunk = "carrier", weight = 0 }] }"#
                .into(),
        ),
        more: backup(&address, "keepalive = 5"),
        ..Setting::default()
    };
    let world = World::with(setting, CarrierConfig::default()).await;
    world.server.logs("the trunk's state has changed").await;
    let serial = world.call("8899").await;
    assert_eq!(world.released(&serial).await["releaseReason"], "1");
    assert_eq!(world.record(&serial).await["end"]["trunk"], "carrier");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_sent_on_only_where_the_tenant_may_call() {
    let (world, second) = two_carriers("").await;
    let serial = world.call("10188899").await;
    assert_eq!(world.released(&serial).await["releaseReason"], "1");
    assert_eq!(second.totals().invites, 0);

    let setting = Setting {
        routes: Some(r#"{ prefix = "1018", trunk = "carrier" }"#.into()),
        tenant: "redirects = true".into(),
        ..Setting::default()
    };
    let narrow = World::with(setting, CarrierConfig::default()).await;
    let serial = narrow.call("10188899").await;
    assert_eq!(narrow.released(&serial).await["releaseReason"], "6");
    let timeline = narrow.client.timeline(&serial).await.expect("a timeline").to_string();
    assert!(timeline.contains("redirect_refused"), "{timeline}");
    assert_eq!(narrow.carrier.totals().invites, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_go_out_as_the_trunk_wants_them() {
    let trunk = r#"called_numbers = [{ prefix = "00", replace = "+" }]
caller_numbers = [{ prefix = "2222", replace = "+86102222" }]
identity = "private"
"#;
    let setting = Setting { trunk: trunk.into(), ..Setting::default() };
    let world = World::with(setting, CarrierConfig::default()).await;
    let serial = world.call("0044123").await;
    assert_eq!(world.released(&serial).await["called"], "0044123", "the client's own number");
    let ended = world.carrier.call_ended(|call| call.call_id.starts_with(&serial));
    let call = tokio::time::timeout(PATIENCE, ended).await.expect("the carrier saw the call");
    assert_eq!((&*call.to_user, &*call.from_user), ("+44123", "anonymous"));
    let asserted = call.asserted_identity.expect("P-Asserted-Identity");
    assert!(asserted.contains("+86102222201"), "{asserted}");
}
