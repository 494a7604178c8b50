//! What two parties do while they talk: hold, keys, other codecs; and who is told that they are connected.

use std::time::Duration;

use sim::{Acting, EndedBy, Phone};

use super::*;

const MANAGER: &str = "13800000001";
const CUSTOMER: &str = "13800000002";
const SECOND: Duration = Duration::from_secs(1);

/// The record, once the two have done what they do; and what each of them heard.
async fn talk(world: &World) -> (Value, CallReport, CallReport) {
    let serial = create_call(world, Some(MANAGER), CUSTOMER).await;
    let record = ended(world, &serial).await;
    let caller = leg_of(world, &serial, MANAGER).await;
    let called = leg_of(world, &serial, CUSTOMER).await;
    nothing_is_left(world).await;
    (record, caller, called)
}

fn plays(world: &World, number: &str, hz: u16) {
    world.carrier.behave(number, Behaviour::Tone { ring: Duration::ZERO, hz, talk: None });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_party_holds_the_other_for_longer_than_the_media_time_out_and_comes_back() {
    // The setting's media time-out is 5 s.
    let world = world("").await;
    plays(&world, CUSTOMER, CALLED_TONE);
    world.carrier.answer_with(MANAGER, |phone: &mut Phone| -> Acting<'_> {
        Box::pin(async move {
            phone.answer().await?;
            phone.tone_for(CALLERS_TONE, SECOND).await?;
            assert!(phone.hold().await?, "the hold is taken");
            phone.wait(7 * SECOND).await?;
            assert!(phone.resume().await?, "so is the end of it");
            phone.tone_for(CALLERS_TONE, 2 * SECOND).await?;
            phone.hang_up().await
        })
    });
    let (record, caller, called) = talk(&world).await;
    assert_eq!(record["end"]["release_reason"], "1", "{record}");
    let serial = record["serial"].as_str().expect("a serial");
    let timeline = world.client.timeline(serial).await.expect("a timeline").to_string();
    assert!(timeline.contains("call.held") && timeline.contains("call.resumed"), "{timeline}");
    assert!(hears(&caller, CALLED_TONE) && hears(&called, CALLERS_TONE));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_reach_the_other_party_from_audio_and_from_info() {
    let world = world("").await;
    plays(&world, CUSTOMER, CALLED_TONE);
    world.carrier.answer_with(MANAGER, |phone: &mut Phone| -> Acting<'_> {
        Box::pin(async move {
            phone.answer().await?;
            phone.tone_for(CALLERS_TONE, SECOND).await?;
            phone.press("12").await?;
            phone.press_by_info('3')?;
            phone.wait(SECOND).await?;
            phone.hang_up().await
        })
    });
    let (record, _, called) = talk(&world).await;
    assert_eq!(called.digits_heard, "123", "{record}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_softphone_of_another_codec_and_the_telephone_network_hear_each_other() {
    for codec in [media::Codec::Opus, media::Codec::G722, media::Codec::Pcmu] {
        let setting = Setting { trunk: "codecs = [\"PCMA\"]".into(), ..setting("", "") };
        let world = World::with(setting, CarrierConfig::default()).await;
        plays(&world, CUSTOMER, CALLED_TONE);
        let mut config = SoftphoneConfig::new(world.server.sip_udp, SOFTPHONE, PASSWORD, 3);
        config.codecs = vec![codec];
        let phone = Softphone::start(config).await.expect("a softphone starts");
        registered(&phone).await;
        let (ring, talk) = (Duration::ZERO, Some(3 * SECOND));
        phone.behave(Behaviour::Tone { ring, hz: CALLERS_TONE, talk });
        let serial = create_call(&world, None, CUSTOMER).await;
        let record = ended(&world, &serial).await;
        let caller = tokio::time::timeout(PATIENCE, phone.call_ended(|_| true)).await;
        let (caller, called) = (caller.expect("ended"), leg_of(&world, &serial, CUSTOMER).await);
        assert!(hears(&caller, CALLED_TONE) && hears(&called, CALLERS_TONE), "{codec:?}: {record}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_are_told_that_the_two_are_connected_and_how_it_ended() {
    let callbacks = sim::CallbackReceiver::start("127.0.0.1:0".parse().expect("an address"));
    let callbacks = callbacks.await.expect("a receiver starts");
    let at = callbacks.address();
    let tenant = format!(
        "connection_callback_url = \"http://{at}/connected\"\n\
         default_callback_url = \"http://{at}/released\""
    );
    // The tenant trusts this receiver besides the world's own.
    let carrier = sim::Carrier::start(CarrierConfig::default()).await.expect("a carrier starts");
    let config = crate::support::config(&setting("", &tenant), carrier.udp_address(), at);
    let server = crate::support::Server::start(&config);
    let client = server.client();
    let body = json!({
        "softPhone": SOFTPHONE, "caller": "1001", "called": "100301", "callData": "order 7",
    });
    let reply = client.create_call(body.to_string(), None).await.expect("a reply");
    let serial = reply.call_serial_no().expect("accepted");
    let told =
        |path: &'static str| callbacks.callbacks().received(move |callback| callback.path == path);
    let connected = tokio::time::timeout(PATIENCE, told("/connected")).await.expect("it is told");
    let connected = connected.json().expect("JSON");
    assert_eq!(
        connected,
        json!({ "callSerialNo": serial, "serviceNo": "2222201", "called": "100301", "callData": "order 7" })
    );
    let released = tokio::time::timeout(PATIENCE, told("/released")).await.expect("it is told");
    let released = released.json().expect("JSON");
    for (field, value) in [
        ("callSerialNo", serial.as_str()),
        ("caller", "1001"),
        ("called", "100301"),
        ("callData", "order 7"),
        ("releaseReason", "0"),
    ] {
        assert_eq!(released[field], value, "{released}");
    }
    for field in ["agentAlertingTime", "agentTalkingTime", "agentReleaseTime", "agentTalkDuration"]
    {
        assert!(released.get(field).is_some(), "{field} is missing: {released}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn minutes_of_the_day_that_run_out_end_both_legs_of_every_call() {
    // Twelve talk the one minute up in five seconds.
    const CALLS: u32 = 12;
    let world = world("minutes_per_day = 1").await;
    let mut serials = Vec::new();
    for n in 0..CALLS {
        let (manager, customer) = (format!("138000001{n:02}"), format!("138000002{n:02}"));
        plays(&world, &manager, CALLERS_TONE);
        plays(&world, &customer, CALLED_TONE);
        serials.push((create_call(&world, Some(&manager), &customer).await, manager, customer));
    }
    let mut talked_ms = 0;
    for (serial, manager, customer) in &serials {
        let record = ended(&world, serial).await;
        let end = &record["end"];
        let reason = (&end["outcome"], &end["release_reason"]);
        assert_eq!(reason, (&json!("restricted"), &json!("10")), "{record}");
        talked_ms += end["talk_duration_ms"].as_u64().expect("ms");
        for number in [manager, customer] {
            let leg = leg_of(&world, serial, number).await;
            assert_eq!(leg.ended_by, EndedBy::Caller, "{number} is hung up by the server");
        }
        world.reaches(serial, "call.minutes_used_up").await;
    }
    // Each ends a moment after the cut: when both of its legs have.
    assert!((60_000..90_000).contains(&talked_ms), "{talked_ms}");
    let body = json!({ "softPhone": SOFTPHONE, "caller": MANAGER, "called": CUSTOMER });
    let reply = world.client.create_call(body.to_string(), None).await.expect("a reply");
    assert_eq!(ret_code(&reply), "1", "{}", reply.body);
    assert!(reply.retry_after.is_some());
    nothing_is_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_refresh_puts_the_media_time_out_off_and_does_not_change_it() {
    // The setting's media time-out is 5 s.
    let world = world("").await;
    plays(&world, CUSTOMER, CALLED_TONE);
    world.carrier.answer_with(MANAGER, |phone: &mut Phone| -> Acting<'_> {
        Box::pin(async move {
            phone.answer().await?;
            phone.tone_for(CALLERS_TONE, SECOND).await?;
            phone.lose_audio().await;
            phone.wait(3 * SECOND).await?;
            assert!(phone.refresh().await?, "the refresh is taken");
            phone.until_over().await
        })
    });
    let (record, _, _) = talk(&world).await;
    let caller = &record["end"]["caller"];
    assert_eq!(caller["cause"], "media_timeout", "{record}");
    let talked = caller["talk_duration_ms"].as_u64().expect("ms");
    // 1 s of tone, 3 s of silence; then the time-out once from the refresh on, and all of it once more where the refresh was
    // within it.
    assert!((8_500..18_000).contains(&talked), "{talked} ms: {record}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_without_audio_that_holds_is_waited_for_and_given_up_after_the_hold() {
    // The setting's media time-out is 5 s.
    let world = world("").await;
    plays(&world, CUSTOMER, CALLED_TONE);
    world.carrier.answer_with(MANAGER, |phone: &mut Phone| -> Acting<'_> {
        Box::pin(async move {
            phone.answer().await?;
            phone.tone_for(CALLERS_TONE, SECOND).await?;
            phone.lose_audio().await;
            phone.wait(SECOND).await?;
            assert!(phone.hold().await?, "the hold is taken");
            phone.wait(8 * SECOND).await?;
            assert!(phone.resume().await?, "so is the end of it: it was waited for");
            phone.until_over().await
        })
    });
    let (record, caller, called) = talk(&world).await;
    assert_eq!(record["end"]["caller"]["cause"], "media_timeout", "{record}");
    assert_eq!((caller.ended_by, called.ended_by), (EndedBy::Caller, EndedBy::Caller));
    assert_eq!(caller.media_faults, [""; 0], "{caller:?}");
    let talked = record["end"]["caller"]["talk_duration_ms"].as_u64().expect("ms");
    // 2 s before the hold, 8 s of it, 5 s after it.
    assert!((14_500..25_000).contains(&talked), "{talked} ms: {record}");
}
