//! The bidirectional call of ITA: both parties see a virtual number, and reach each other by calling it.

use std::time::Duration;

use sim::{AppPhone, AppPhoneConfig};

use super::*;

const MANAGER: &str = "13800000001";
const VIRTUAL: &str = "95001234";

#[tokio::test(flavor = "multi_thread")]
async fn each_party_sees_the_virtual_number_and_reaches_the_other_by_calling_it() {
    let tenant = format!("bidirectional_call = \"ita\"\nita = {{ numbers = [\"{VIRTUAL}\"] }}");
    let setting = Setting { trunk: "inbound = true".into(), ..setting("", &tenant) };
    let world = World::with(setting, CarrierConfig::default()).await;
    let talk = Some(Duration::from_millis(500));
    world.carrier.behave(MANAGER, Behaviour::Tone { ring: Duration::ZERO, hz: CALLERS_TONE, talk });
    let serial = create_call(&world, Some(MANAGER), CALLED).await;
    ended(&world, &serial).await;
    for number in [MANAGER, CALLED] {
        assert_eq!(leg_of(&world, &serial, number).await.from_user, VIRTUAL, "{number}");
    }

    // The customer calls back, and the manager's phone rings; then somebody calls whom nobody bound.
    world.carrier.behave(
        MANAGER,
        Behaviour::Tone {
            ring: Duration::ZERO,
            hz: CALLERS_TONE,
            talk: Some(Duration::from_secs(3)),
        },
    );
    let customer = AppPhoneConfig { from: CALLED.into(), ..AppPhoneConfig::default() };
    let customer = AppPhone::start(customer).await.expect("a phone starts");
    let mut phone = customer.dial(world.server.sip_udp, VIRTUAL).await.expect("it dials");
    phone.until_answered().await.expect("it is answered");
    // The manager hangs up.
    let _ = phone.tone_for(CALLED_TONE, Duration::from_secs(30)).await;
    let heard = phone.end().await;
    assert!(hears(&heard, CALLERS_TONE), "the customer hears the manager");
    let ended = world
        .carrier
        .call_ended(|call| call.to_user == MANAGER && !call.call_id.starts_with(&serial));
    let manager = tokio::time::timeout(PATIENCE, ended).await.expect("the manager's leg ends");
    assert!(hears(&manager, CALLED_TONE), "the manager hears the customer");
    assert_eq!(manager.from_user, VIRTUAL);

    let stranger = AppPhoneConfig { from: "13911111111".into(), ..AppPhoneConfig::default() };
    let stranger = AppPhone::start(stranger).await.expect("a phone starts");
    let mut phone = stranger.dial(world.server.sip_udp, VIRTUAL).await.expect("it dials");
    assert!(phone.until_answered().await.is_err());
    assert_eq!(phone.end().await.status, Some(404));
    nothing_is_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_softphone_is_reached_through_the_virtual_number_where_it_is_registered() {
    let tenant = format!("bidirectional_call = \"ita\"\nita = {{ numbers = [\"{VIRTUAL}\"] }}");
    let setting = Setting { trunk: "inbound = true".into(), ..setting("", &tenant) };
    let world = World::with(setting, CarrierConfig::default()).await;
    let manager = softphone(&world, Some(Duration::from_millis(500))).await;
    let serial = create_call(&world, None, CALLED).await;
    ended(&world, &serial).await;

    let (ring, talk) = (Duration::ZERO, Some(Duration::from_secs(3)));
    manager.behave(Behaviour::Tone { ring, hz: CALLERS_TONE, talk });
    let customer = AppPhoneConfig { from: CALLED.into(), ..AppPhoneConfig::default() };
    let customer = AppPhone::start(customer).await.expect("a phone starts");
    let mut phone = customer.dial(world.server.sip_udp, VIRTUAL).await.expect("it dials");
    phone.until_answered().await.expect("it is answered");
    // The manager hangs up.
    let _ = phone.tone_for(CALLED_TONE, Duration::from_secs(30)).await;
    let heard = phone.end().await;
    assert!(hears(&heard, CALLERS_TONE), "the customer hears the manager");
    let called_back = manager.call_ended(|call| !call.call_id.starts_with(&serial));
    let called_back = tokio::time::timeout(PATIENCE, called_back).await.expect("its leg ends");
    assert!(hears(&called_back, CALLED_TONE), "the manager hears the customer");
    assert_eq!((&*called_back.from_user, called_back.dialogs), (VIRTUAL, 1));
    for call in manager.calls() {
        assert_eq!(call.from_user, VIRTUAL, "{call:?}");
    }
    assert!(world.carrier.calls().iter().all(|call| call.to_user != SOFTPHONE));

    manager.unregister().await;
    let mut phone = customer.dial(world.server.sip_udp, VIRTUAL).await.expect("it dials");
    assert!(phone.until_answered().await.is_err());
    assert_eq!(phone.end().await.status, Some(480), "the softphone is nowhere");
    nothing_is_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_softphone_reaches_the_other_party_by_dialling_the_virtual_number() {
    let tenant = format!("bidirectional_call = \"ita\"\nita = {{ numbers = [\"{VIRTUAL}\"] }}");
    let world = world(&tenant).await;
    let phone = softphone(&world, Some(Duration::from_millis(500))).await;
    let serial = create_call(&world, None, CALLED).await;
    ended(&world, &serial).await;

    let mut calling = phone.dial(VIRTUAL).await.expect("it dials");
    calling.until_answered().await.expect("it is answered");
    let _ = calling.tone_for(CALLERS_TONE, Duration::from_secs(3)).await;
    assert!(hears(&calling.end().await, CALLED_TONE), "the softphone hears the customer");
    let called = world
        .carrier
        .call_ended(|call| call.to_user == CALLED && !call.call_id.starts_with(&serial));
    let called = tokio::time::timeout(PATIENCE, called).await.expect("the customer's leg ends");
    assert!(hears(&called, CALLERS_TONE), "the customer hears the softphone");
    assert_eq!(called.from_user, VIRTUAL);

    let mut calling = phone.dial("95009999").await.expect("it dials");
    assert!(calling.until_answered().await.is_err());
    assert_eq!(calling.end().await.status, Some(404), "nobody's number");
    nothing_is_left(&world).await;
}
