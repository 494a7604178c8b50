//! Trunks with SRTP: encrypted where asked for, never in the clear where required, and the keys in no log and no timeline.

use sim::{CallReport, CarrierConfig};

use crate::support::{PATIENCE, Setting, World};

fn trunk(srtp: &str) -> Setting {
    Setting { trunk: format!("srtp = \"{srtp}\""), ..Setting::default() }
}

fn phones(srtp: ::media::Srtp) -> CarrierConfig {
    CarrierConfig { srtp, ..CarrierConfig::default() }
}

async fn ended(world: &World, serial: &str) -> CallReport {
    let ended = world.carrier.call_ended(|call| call.call_id.starts_with(serial));
    tokio::time::timeout(PATIENCE, ended).await.expect("the carrier saw the call")
}

fn hears_440_hz(call: CallReport) {
    let heard = call.heard.expect("the phone keeps what it hears");
    let begins = heard.samples().iter().position(|sample| sample.abs() > 3_000);
    let begins = begins.expect("it heard something");
    let share = ::media::detect::share(&heard.samples()[begins..begins + 4_000], 440.0);
    assert!(share > 0.5, "440 Hz holds {share} of what was heard");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_that_requires_srtp_is_encrypted_and_no_key_is_shown() {
    let world = World::with(trunk("required"), CarrierConfig::default()).await;
    // 1013 sends a re-INVITE, 1014 holds and takes the call back.
    for number in ["8899", "1013", "1014"] {
        let mut wanted = world.notification(number);
        wanted.play_times = Some(if number == "8899" { 1 } else { 4 });
        let serial = world.client.notify(&wanted).await.expect("accepted");
        assert_eq!(world.released(&serial).await["releaseReason"], "1", "{number}");
        let call = ended(&world, &serial).await;
        assert_eq!(call.srtp.as_deref(), Some("AES_CM_128_HMAC_SHA1_80"), "{number}");
        assert_eq!((call.rtp.unauthentic_packets, call.media_faults.len()), (0, 0), "{number}");
        hears_440_hz(call);
        let timeline = world.client.timeline(&serial).await.expect("a timeline").to_string();
        assert!(timeline.contains("RTP/SAVP"), "the INVITE is there: {timeline}");
        assert!(timeline.contains("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:***"), "{timeline}");
        assert_eq!(timeline.matches("inline:").count(), timeline.matches("inline:***").count());
        assert!(timeline.contains("\"srtp\":\"AES_CM_128_HMAC_SHA1_80\""), "{timeline}");
    }
    let log = world.server.log();
    assert!(log.contains("its keys travel in SIP that anybody on the way can read"), "{log}");
    assert!(!log.contains("inline:"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_trunk_never_falls_back_and_an_optional_one_does() {
    use ::media::Srtp;
    // The trunk, the phones; how the call ends (4: refused, with 488) and what its audio was.
    let table = [
        ("required", Srtp::Off, "4", None),
        ("optional", Srtp::Off, "1", None),
        ("optional", Srtp::Optional, "1", Some("AES_CM_128_HMAC_SHA1_80")),
        ("optional", Srtp::Required, "1", Some("AES_CM_128_HMAC_SHA1_80")),
        ("off", Srtp::Optional, "1", None),
        ("off", Srtp::Required, "4", None),
    ];
    for (srtp, phone, reason, suite) in table {
        let world = World::with(trunk(srtp), phones(phone)).await;
        let serial = world.call("8899").await;
        let released = world.released(&serial).await;
        assert_eq!(released["releaseReason"], reason, "{srtp} to {phone:?}: {released}");
        let call = ended(&world, &serial).await;
        assert_eq!(call.srtp.as_deref(), suite, "{srtp} to {phone:?}");
        assert_eq!(call.rtp.packets > 0, reason == "1", "{srtp} to {phone:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_call_that_rings_is_encrypted_after_a_crash_too() {
    let mut world = World::with(trunk("required"), CarrierConfig::default()).await;
    let serial = world.call("100205").await;
    world.reaches(&serial, "call.dialling").await;
    world.server = world.server.kill_and_restart();
    world.client = world.server.client();
    assert_eq!(world.released(&serial).await["releaseReason"], "1");
    let call = ended(&world, &serial).await;
    assert_eq!((call.dialogs, call.srtp.as_deref()), (1, Some("AES_CM_128_HMAC_SHA1_80")));
    assert_eq!(call.rtp.unauthentic_packets, 0);
    hears_440_hz(call);
}
