//! The bidirectional call of ITA: both parties see a virtual number, and reach each other by calling it.

use std::path::Path;
use std::time::Duration;

use engine::cdr::{Cdr, Outcome};
use engine::intent::{BidirectionalCall, Caller, Intent, Order, OrderKind};
use engine::vocabulary::{Priority, Serial, TenantId};
use engine::writes::Write;
use reqwest::Method;
use sim::{AppPhone, AppPhoneConfig};
use store::{Store, StoreConfig};

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

/// The code that one more call of the tenant gets.
async fn code_of_another(world: &World, called: &str) -> String {
    let body = json!({ "softPhone": SOFTPHONE, "caller": "13800000009", "called": called });
    let reply = world.client.create_call(body.to_string(), None).await.expect("a reply");
    ret_code(&reply)
}

async fn bindings(world: &World) -> usize {
    let reply = world.client.v1(Method::GET, "/v1/number_bindings").await.expect("a reply");
    reply.parse::<Vec<Value>>().expect("a list").len()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_calls_cannot_both_start_on_the_last_minute_and_a_crash_gives_it_back() {
    let tenant = format!(
        "bidirectional_call = \"ita\"\n\
         ita = {{ numbers = [\"{VIRTUAL}\", \"95001235\"], balance_minutes = 1 }}"
    );
    let mut world = world(&tenant).await;
    let (ring, talk) = (Duration::ZERO, None);
    world.carrier.behave(MANAGER, Behaviour::Tone { ring, hz: CALLERS_TONE, talk });
    let serial = create_call(&world, Some(MANAGER), CALLED).await;
    tokio::time::timeout(PATIENCE, world.reaches(&serial, "call.bridged"))
        .await
        .expect("they talk");
    assert_eq!(code_of_another(&world, "10210881").await, "90102001");
    assert_eq!(bindings(&world).await, 1, "the refused call bound nobody");
    world.server = world.server.kill_and_restart();
    world.client = world.server.client();
    assert_eq!(bindings(&world).await, 1, "the accepted one is bound over the crash");
    assert_eq!(ended(&world, &serial).await["end"]["outcome"], "interrupted");
    assert_eq!(code_of_another(&world, "1486").await, "0", "what it had left is there again");
    nothing_is_left(&world).await;
}

/// The record of an ITA call that talked for 58 s, as an earlier day left it.
async fn has_talked(directory: &Path) {
    let config = StoreConfig::Sqlite { directory: directory.join("offhook-data") };
    let store = Store::open(config).await.expect("the database opens");
    let caller = Caller::Inbound { number: MANAGER.into() };
    let call = BidirectionalCall {
        caller,
        call_data: None,
        ita: true,
        connected_url: None,
        agent_work_no: None,
        binding: None,
    };
    let order = Order {
        place: "carrier".into(),
        called: CALLED.into(),
        caller_present: VIRTUAL.into(),
        priority: Priority::LAST,
        ring_limit_s: 60,
        max_duration_s: 60,
        record: false,
        callback_url: None,
        kind: OrderKind::BidirectionalCall(call),
    };
    let intent = Intent {
        serial: Serial(1),
        tenant: TenantId(1),
        created_ms: 1,
        queue_deadline_ms: 2,
        order,
    };
    let talked = Cdr {
        intent,
        trunk: None,
        dialled_ms: Some(1),
        alerting_ms: Some(1),
        talking_ms: Some(1),
        released_ms: 58_001,
        talk_duration_ms: 58_000,
        outcome: Outcome::CalledHungUp,
        cause: None,
        sip_status: None,
        rounds: 0,
        digits: String::new(),
        recorded: false,
        media: None,
        caller: None,
    };
    store.submit(vec![Write::Ended(Box::new(talked))]).await.expect("stored");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_cut_when_the_balance_is_used_up() {
    let ita = format!("ita = {{ numbers = [\"{VIRTUAL}\"], balance_minutes = 1 }}");
    let mut world = world(&format!("bidirectional_call = \"ita\"\n{ita}")).await;
    world.server = world.server.kill_change_and_restart(has_talked).await;
    world.client = world.server.client();
    let (ring, talk) = (Duration::ZERO, None);
    world.carrier.behave(MANAGER, Behaviour::Tone { ring, hz: CALLERS_TONE, talk });
    let serial = create_call(&world, Some(MANAGER), CALLED).await;
    let record = ended(&world, &serial).await;
    assert_eq!(
        (&record["end"]["outcome"], &record["end"]["release_reason"]),
        (&json!("restricted"), &json!("10"))
    );
    let talked = record["end"]["talk_duration_ms"].as_u64().expect("ms");
    assert!((2_000..10_000).contains(&talked), "2 s were left: {record}");
    world.reaches(&serial, "call.balance_used_up").await;
    assert_eq!(code_of_another(&world, "1486").await, "90102001");
    nothing_is_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_that_writes_numbers_its_own_way_reaches_the_other_party_all_the_same() {
    let trunk = "inbound = true\n\
                 called_numbers = [{ prefix = \"0\", replace = \"+86\" }]\n\
                 caller_numbers = [{ prefix = \"\", replace = \"+86\" }]";
    let tenant = format!("bidirectional_call = \"ita\"\nita = {{ numbers = [\"{VIRTUAL}\"] }}");
    let setting = Setting { trunk: trunk.into(), ..setting("", &tenant) };
    let world = World::with(setting, CarrierConfig::default()).await;
    let (manager, customer) = ("+8613800000001", "+8613800000002");
    let tone = |hz, seconds| Behaviour::Tone {
        ring: Duration::ZERO,
        hz,
        talk: Some(Duration::from_secs(seconds)),
    };
    world.carrier.behave(manager, tone(CALLERS_TONE, 1));
    world.carrier.behave(customer, tone(CALLED_TONE, 60));
    let serial = create_call(&world, Some("013800000001"), "013800000002").await;
    ended(&world, &serial).await;
    let shown = format!("+86{VIRTUAL}");
    for number in [manager, customer] {
        assert_eq!(leg_of(&world, &serial, number).await.from_user, shown, "{number}");
    }
    world.carrier.behave(manager, tone(CALLERS_TONE, 3));
    let phone = AppPhoneConfig { from: customer.into(), ..AppPhoneConfig::default() };
    let phone = AppPhone::start(phone).await.expect("a phone starts");
    let mut phone = phone.dial(world.server.sip_udp, &shown).await.expect("it dials");
    phone.until_answered().await.expect("it is answered");
    // The manager hangs up.
    let _ = phone.tone_for(CALLED_TONE, Duration::from_secs(30)).await;
    assert!(hears(&phone.end().await, CALLERS_TONE), "the customer hears the manager");
    nothing_is_left(&world).await;
}
