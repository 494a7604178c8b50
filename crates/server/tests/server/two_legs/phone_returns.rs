//! A softphone over TCP is not reached after a crash until it has connected again: its calls wait for it.

use sim::{CarrierConfig, Softphone, SoftphoneConfig};
use sip::Transport;

use super::*;
use crate::crash_points::died;
use crate::support::Launch;

const KEY: &str = "the-request-of-the-phone-that-returns";

async fn over_tcp(world: &World, seed: u64) -> Softphone {
    let config = SoftphoneConfig {
        transport: Transport::Tcp,
        ..SoftphoneConfig::new(world.server.sip_tcp, SOFTPHONE, PASSWORD, seed)
    };
    let phone = Softphone::start(config).await.expect("a softphone starts");
    registered(&phone).await;
    let (ring, talk) = (Duration::from_millis(100), Some(LEAST * 2));
    phone.behave(Behaviour::Tone { ring, hz: CALLERS_TONE, talk });
    phone
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_accepted_before_the_crash_waits_for_its_softphone_to_connect_again() {
    let mut setting = setting("", "");
    setting.launch = Launch { crash_point: Some("phone_found".into()), ..Launch::default() };
    let mut world = World::with(setting, CarrierConfig::default()).await;
    let before = over_tcp(&world, 1).await;
    let body = json!({ "softPhone": SOFTPHONE, "called": CALLED }).to_string();
    // It may have been accepted, or the server died too early to say so.
    let _ = world.client.create_call(body.clone(), Some(KEY)).await;
    died(&mut world, "a phone was looked for").await;
    before.shut_down().await;

    world.server = world.server.restart(&Launch::default());
    world.client = world.server.client();
    let reply = world.client.create_call(body, Some(KEY)).await.expect("a reply");
    let serial = reply.call_serial_no().expect("accepted");
    metric_is(&world, "offhook_calls", "1").await;
    let after = over_tcp(&world, 2).await;

    let record = ended(&world, &serial).await;
    assert_eq!(record["end"]["outcome"], "caller_hung_up", "{record:#}");
    let calls = after.calls();
    let [call] = &calls[..] else { panic!("{calls:?}") };
    assert!(hears(call, CALLED_TONE), "{call:?}");
    nothing_is_left(&world).await;
}
