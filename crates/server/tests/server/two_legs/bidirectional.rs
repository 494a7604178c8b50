//! The bidirectional call (page 001), from createCall to the record.

use std::time::Duration;

use media::Clip;

use super::*;

/// A customer manager's number in the telephone network.
const MANAGER: &str = "13800000001";

#[tokio::test(flavor = "multi_thread")]
async fn a_softphone_and_a_customer_hear_each_other() {
    let world = world("").await;
    let phone = softphone(&world, Some(Duration::from_secs(3))).await;
    let serial = create_call(&world, None, CALLED).await;
    let record = ended(&world, &serial).await;
    let caller = tokio::time::timeout(PATIENCE, phone.call_ended(|_| true)).await.expect("ended");
    let called = leg_of(&world, &serial, CALLED).await;
    assert!(hears(&caller, CALLED_TONE), "the caller hears the called party: {record}");
    assert!(hears(&called, CALLERS_TONE), "the called party hears the caller: {record}");
    assert_eq!(record["end"]["outcome"], "caller_hung_up");
    assert_eq!(record["end"]["release_reason"], "1");
    let state = world.client.query_call_state(&serial).await.expect("a reply");
    let state: Value = state.parse().expect("JSON");
    let result = &state["result"];
    assert_eq!(
        (&state["retCode"], &result["state"], &result["reasonCode"]),
        (&json!("0"), &json!(3), &json!(1))
    );
    nothing_is_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outside_manager_and_a_customer_hear_each_other_and_are_recorded_apart() {
    let world = world("").await;
    let talk = Some(Duration::from_secs(3));
    world.carrier.behave(MANAGER, Behaviour::Tone { ring: Duration::ZERO, hz: CALLERS_TONE, talk });
    let serial = create_call(&world, Some(MANAGER), CALLED).await;
    let record = ended(&world, &serial).await;
    let (caller, called) =
        (leg_of(&world, &serial, MANAGER).await, leg_of(&world, &serial, CALLED).await);
    assert!(hears(&caller, CALLED_TONE) && hears(&called, CALLERS_TONE), "{record}");
    let (left, right) = recorded(&world, &serial).await;
    let share = |samples: &[i16], hz: f32| media::detect::share(&samples[4_000..12_000], hz);
    assert!(share(&left, 440.0) > 0.9, "the caller is on the left: {}", share(&left, 440.0));
    assert!(share(&right, 880.0) > 0.9, "the called party on the right: {}", share(&right, 880.0));
    nothing_is_left(&world).await;
}

/// The two channels of a call's recording, from where both are heard.
async fn recorded(world: &World, serial: &str) -> (Vec<i16>, Vec<i16>) {
    let reply = world.client.recording_address(serial).await.expect("a reply");
    let reply: Value = reply.parse().expect("JSON");
    let url = reply["result"]["url"].as_str().expect("an address");
    let file = crate::support::http().get(url).send().await.expect("a reply");
    let file = file.bytes().await.expect("a file");
    assert!(Clip::decode(&file).is_ok(), "it opens");
    let data = file.windows(4).position(|at| at == b"data").expect("a data chunk") + 8;
    let mut channels = (Vec::new(), Vec::new());
    let mut encoded = Vec::new();
    for frame in file[data..].chunks_exact(2) {
        encoded.push(frame[0]);
        encoded.push(frame[1]);
    }
    let mut samples = Vec::new();
    let mut decoder = media::codec::Decoder::new(media::Codec::Pcma, media::codec::Band::Narrow);
    decoder.decode(&encoded, &mut samples).expect("A-law");
    let begins = samples
        .chunks_exact(2)
        .position(|both| both.iter().all(|sample| sample.abs() > 1_000))
        .expect("both are heard");
    for both in samples.chunks_exact(2).skip(begins) {
        channels.0.push(both[0]);
        channels.1.push(both[1]);
    }
    channels
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_called_while_the_softphone_is_nowhere() {
    let world = world("").await;
    let serial = create_call(&world, None, CALLED).await;
    let record = ended(&world, &serial).await;
    assert_eq!(record["end"]["release_reason"], "2", "{record}");
    assert_eq!(world.carrier.calls().len(), 0, "the customer was not called");
    nothing_is_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_places_of_a_softphone_the_first_that_answers_has_the_call() {
    let world = world("").await;
    let first = softphone(&world, Some(Duration::from_secs(2))).await;
    let mut config = SoftphoneConfig::new(world.server.sip_tcp, SOFTPHONE, PASSWORD, 2);
    config.transport = sip::Transport::Tcp;
    let second = Softphone::start(config).await.expect("a softphone starts");
    registered(&second).await;
    second.behave(Behaviour::NoAnswer);
    let serial = create_call(&world, None, CALLED).await;
    let record = ended(&world, &serial).await;
    assert_eq!(record["end"]["release_reason"], "1", "{record}");
    let answered = tokio::time::timeout(PATIENCE, first.call_ended(|_| true)).await.expect("ended");
    assert!(hears(&answered, CALLED_TONE));
    let other = tokio::time::timeout(PATIENCE, second.call_ended(|_| true)).await.expect("ended");
    assert_eq!(other.ended_by, sim::EndedBy::Cancel, "it stops ringing");
    nothing_is_left(&world).await;
}
