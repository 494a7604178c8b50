//! Each reserved number does over real SIP and RTP what the table says.

use std::time::Duration;

use crate::caller::{Caller, LIMIT};
use sim::{CallReport, Carrier, CarrierConfig, EndedBy, KeepAudio};

async fn world() -> (Carrier, Caller) {
    let config = CarrierConfig {
        sip_tcp: Some("127.0.0.1:0".parse().unwrap()),
        keep_audio: KeepAudio::All,
        ..CarrierConfig::default()
    };
    (Carrier::start(config).await.unwrap(), Caller::start().await)
}

async fn report(carrier: &Carrier, call: &crate::caller::Call) -> CallReport {
    let ended = carrier.call_ended(|report| report.call_id == call.call_id);
    tokio::time::timeout(LIMIT, ended).await.expect("the far end reports the call")
}

#[tokio::test]
async fn a_phone_rings_answers_and_reports_what_it_saw() {
    let (carrier, caller) = world().await;
    let mut call = caller.dial(carrier.udp_address(), "8899").await;
    call.answered().await.unwrap();
    assert_eq!(call.provisionals, [180]);
    call.play(&[media::Clip::from_pcm(&media::tone::sine(1000.0, 500, 8000), 8000).unwrap()]).await;
    call.press("42#").await;
    call.hang_up().await;
    let report = report(&carrier, &call).await;
    assert_eq!((report.from_user.as_str(), report.to_user.as_str()), ("2222201", "8899"));
    assert_eq!((report.invites, report.dialogs), (1, 1));
    assert_eq!((report.ended_by, report.status), (EndedBy::Caller, None));
    assert_eq!(report.digits_heard, "42#");
    assert_eq!(report.codec.as_deref(), Some("PCMA"));
    assert!(report.rtp.packets >= 25, "half a second is 25 packets: {:?}", report.rtp);
    assert_eq!((report.rtp.ssrcs, report.rtp.foreign_packets, report.rtp.sources.len()), (1, 0, 1));
    let rang = report.answered_at.unwrap().since(report.invite_at);
    assert!(rang >= Duration::from_millis(200), "{rang:?}");
    assert!(report.ended_at > report.answered_at.unwrap());
    assert!(media::detect::share(loudest(report.heard.unwrap().samples()), 1000.0) > 0.9);
    assert_eq!(carrier.live_calls(), 0);
    carrier.shut_down().await;
}

/// The 100 ms with the most energy.
fn loudest(samples: &[i16]) -> &[i16] {
    samples
        .chunks_exact(800)
        .max_by(|a, b| media::detect::rms(a).total_cmp(&media::detect::rms(b)))
        .expect("more than 100 ms were heard")
}

#[tokio::test]
async fn refusals_carry_their_status() {
    let (carrier, caller) = world().await;
    let numbers = [
        ("1486", 486),
        ("1603", 603),
        ("1404", 404),
        ("1503", 503),
        ("1500", 500),
        ("6666614", 404),
    ];
    for (number, status) in numbers {
        let mut call = caller.dial(carrier.udp_address(), number).await;
        let end = call.answered().await.unwrap_err();
        assert_eq!(end.status, Some(status), "{number}");
        let report = report(&carrier, &call).await;
        assert_eq!((report.status, report.ended_by), (Some(status), EndedBy::Phone), "{number}");
        assert_eq!((report.answered_at, report.rtp.packets), (None, 0), "{number}");
    }
    let mut call = caller.dial(carrier.udp_address(), "2486").await;
    assert_eq!(call.answered().await.unwrap_err().status, Some(486));
    assert_eq!(call.provisionals, [180]);
}

#[tokio::test]
async fn no_answer_ends_by_cancel() {
    let (carrier, caller) = world().await;
    for (number, rings) in [("1480", true), ("1010", false)] {
        let mut call = caller.dial(carrier.udp_address(), number).await;
        if rings {
            call.provisional(180).await;
        }
        assert_eq!(call.hang_up().await.was_ringing, rings);
        let report = report(&carrier, &call).await;
        assert_eq!((report.ended_by, report.answered_at), (EndedBy::Cancel, None), "{number}");
    }
}

#[tokio::test]
async fn an_answer_overtakes_the_cancel() {
    let (carrier, caller) = world().await;
    let mut call = caller.dial(carrier.udp_address(), "1011").await;
    call.provisional(180).await;
    let end = call.hang_up().await;
    assert_eq!(end.by, sip::EndedBy::Us, "{end:?}");
    let report = report(&carrier, &call).await;
    // The 200 was acknowledged and then hung up: nobody is left holding a phone that nobody talks to.
    assert!(report.answered_at.is_some(), "{report:?}");
    assert_eq!(report.ended_by, EndedBy::Caller);
}

#[tokio::test]
async fn a_forked_call_is_answered_twice() {
    let (carrier, caller) = world().await;
    let mut call = caller.dial(carrier.udp_address(), "1012").await;
    call.answered().await.unwrap();
    call.hang_up().await;
    // The caller takes the first answer; its SIP stack acknowledges the other and hangs up on it.
    let second = report(&carrier, &call).await.second_answer.expect("the second phone answered");
    assert!(second.acknowledged && second.hung_up, "{second:?}");
}

#[tokio::test]
async fn a_phone_presses_digits_and_hangs_up() {
    let (carrier, caller) = world().await;
    let mut call = caller.dial(carrier.udp_address(), "100419").await;
    call.answered().await.unwrap();
    call.hang_up().await;
    assert_eq!(report(&carrier, &call).await.digits_sent, "", "it hung up before 19 seconds");

    let mut call = caller.dial(carrier.udp_address(), "100517#").await;
    call.answered().await.unwrap();
    let pressed = [call.digit().await, call.digit().await, call.digit().await];
    assert_eq!(pressed, ['1', '7', '#']);
    call.hang_up().await;

    let mut call = caller.dial(carrier.udp_address(), "100301").await;
    call.answered().await.unwrap();
    assert_eq!(call.ended().await.by, sip::EndedBy::Peer);
    let report = report(&carrier, &call).await;
    assert_eq!(report.ended_by, EndedBy::Phone);
    assert!(report.ended_at.since(report.answered_at.unwrap()) >= Duration::from_secs(1));
}

#[tokio::test]
async fn early_media_is_heard_before_the_answer() {
    let (carrier, caller) = world().await;
    let mut call = caller.dial(carrier.udp_address(), "100701").await;
    let ear = call.listen();
    call.provisional(183).await;
    call.answered().await.unwrap();
    assert!(media::detect::share(loudest(&ear.samples()), 425.0) > 0.9, "no ring-back tone");
    call.hang_up().await;
}

#[tokio::test]
async fn voicemail_greets_and_beeps() {
    let (carrier, caller) = world().await;
    let mut call = caller.dial(carrier.udp_address(), "1006").await;
    let ear = call.listen();
    call.answered().await.unwrap();
    let beeped = || loudest_share(&ear.samples(), 440.0) > 0.9;
    until(beeped).await;
    let heard = ear.samples();
    assert!(heard.len() > 3 * 8000, "a greeting of three seconds comes before the beep");
    call.hang_up().await;
}

fn loudest_share(samples: &[i16], hz: f32) -> f32 {
    samples.chunks_exact(800).map(|part| media::detect::share(part, hz)).fold(0.0, f32::max)
}

async fn until(condition: impl Fn() -> bool) {
    let checked = async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while !condition() {
            tick.tick().await;
        }
    };
    tokio::time::timeout(LIMIT, checked).await.expect("the condition comes true");
}

#[tokio::test]
async fn one_way_audio_goes_one_way() {
    let (carrier, caller) = world().await;
    let mut call = caller.dial(carrier.udp_address(), "1008").await;
    call.answered().await.unwrap();
    assert_eq!(call.flow().await, (false, true), "(received, sent)");
    call.hang_up().await;
    let one_way = report(&carrier, &call).await;
    assert!(one_way.rtp.packets > 0 && one_way.rtp.packets_sent == 0, "{:?}", one_way.rtp);

    let mut call = caller.dial(carrier.udp_address(), "1009").await;
    call.answered().await.unwrap();
    call.flow().await;
    call.hang_up().await;
    assert_eq!(report(&carrier, &call).await.rtp.packets, 0, "nobody listens there");
}

#[tokio::test]
async fn the_far_side_reinvites_and_holds() {
    let (carrier, caller) = world().await;
    let mut call = caller.dial(carrier.udp_address(), "1013").await;
    call.answered().await.unwrap();
    call.reinvited().await;
    call.hang_up().await;
    let mut call = caller.dial(carrier.udp_address(), "1014").await;
    call.answered().await.unwrap();
    call.reinvited().await;
    call.reinvited().await;
    call.hang_up().await;
    assert_eq!(report(&carrier, &call).await.media_faults, Vec::<String>::new());
}

#[tokio::test]
async fn odd_session_descriptions() {
    let (carrier, caller) = world().await;
    let to = carrier.udp_address();
    for number in ["10151", "10152"] {
        let mut call = caller.dial(to, number).await;
        call.answered().await.unwrap();
        assert_eq!(call.flow().await, (true, true), "{number}");
        call.hang_up().await;
    }
    let mut call = caller.dial(to, "10153").await;
    call.answered().await.unwrap();
    assert_eq!(call.media_fault().await, media::MediaFault::NoCommonCodec);
    call.hang_up().await;
    let mut call = caller.dial(to, "10154").await;
    call.answered().await.unwrap();
    call.hang_up().await;
    assert_eq!(report(&carrier, &call).await.rtp.packets, 0);
}

#[tokio::test]
async fn a_dead_number_lets_no_message_through() {
    let (carrier, caller) = world().await;
    let call = caller.dial(carrier.udp_address(), "1020").await;
    // The INVITE arrived again and again (Timer A), and was one INVITE all the same.
    until(|| carrier.totals().invites == 1).await;
    assert_eq!((carrier.totals().calls, call.provisionals.len()), (0, 0));
}

#[tokio::test]
async fn a_vanished_phone_answers_no_bye() {
    let (carrier, caller) = world().await;
    let mut call = caller.dial(carrier.udp_address(), "101600").await;
    call.answered().await.unwrap();
    let report = report(&carrier, &call).await;
    assert_eq!(report.ended_by, EndedBy::Lost);
}

#[tokio::test]
async fn calls_come_over_tcp_too() {
    let (carrier, caller) = world().await;
    let tcp = carrier.tcp_address().unwrap();
    let mut call = caller.dial_over_tcp(tcp, "8899").await;
    call.answered().await.unwrap();
    call.hang_up().await;
    assert_eq!(report(&carrier, &call).await.ended_by, EndedBy::Caller);
    carrier.shut_down().await;
}

#[tokio::test]
async fn an_invite_without_an_offer_gets_one() {
    let (carrier, caller) = world().await;
    let mut call = caller.dial_without_offer(carrier.udp_address(), "100503").await;
    call.answered_with_offer().await;
    let pressed = [call.digit().await, call.digit().await];
    assert_eq!(pressed, ['0', '3']);
    call.press("8").await;
    call.hang_up().await;
    assert_eq!(report(&carrier, &call).await.digits_heard, "8");
}
