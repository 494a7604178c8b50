//! Softphones and the calling application, over real sockets.

use std::time::Duration;

use media::{Codec, Srtp};
use sim::{
    AppPhone, AppPhoneConfig, Behaviour, Carrier, CarrierConfig, EndedBy, Lost, Softphone,
    SoftphoneConfig,
};
use sip::{Authorities, Identity, TlsClient, TlsServer, TlsSettings, Transport};

use crate::caller::{Caller, LIMIT};

const USER: &str = "66666666";
const SECOND: Duration = Duration::from_secs(1);

/// What a server shows over TLS, and what trusts it.
fn certificate() -> (TlsSettings, TlsClient) {
    let made = rcgen::generate_simple_self_signed(["sip.example.com".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let trusted = Authorities::from_pem(certificate.as_bytes()).unwrap();
    let server = Some(TlsServer::new(identity).unwrap());
    let settings = TlsSettings { server, ..TlsSettings::default() };
    (settings, TlsClient::new("sip.example.com", &trusted, None).unwrap())
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, what).await.expect("it comes in time")
}

#[tokio::test]
async fn a_softphone_registers_over_each_transport_and_is_called_the_way_it_came() {
    let (tls, client) = certificate();
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        let mut server = Caller::with_phone(tls.clone(), USER, "right").await;
        let at = server.address(transport);
        let config = SoftphoneConfig {
            transport,
            tls: Some(client.clone()),
            ..SoftphoneConfig::new(at, USER, "right", 7)
        };
        let phone = Softphone::start(config).await.unwrap();
        assert!(within(phone.registered()).await.unwrap() <= 600);
        phone.behave(Behaviour::Tone { ring: SECOND / 10, hz: 440, talk: None });
        let bindings =
            within(server.bound.wait_for(|bound| !bound.is_empty())).await.unwrap().clone();
        let mut call = server.dial_phone(&bindings[0]).await;
        let ear = call.listen();
        call.answered().await.unwrap();
        let tone = async {
            let mut tick = tokio::time::interval(SECOND / 20);
            while sim::tone_time(&ear.samples(), 440.0) < SECOND / 2 {
                tick.tick().await;
            }
        };
        within(tone).await;
        assert_eq!(sim::tone_time(&ear.samples(), 660.0), Duration::ZERO);
        call.hang_up().await;
        let report = within(phone.call_ended(|_| true)).await;
        assert_eq!((report.ended_by, report.to_user.as_str()), (EndedBy::Caller, USER));
        within(phone.unregister()).await;
        within(server.bound.wait_for(Vec::is_empty)).await.unwrap();
        phone.shut_down().await;
    }
}

#[tokio::test]
async fn a_wrong_password_does_not_register_and_a_lost_connection_takes_the_phone_along() {
    let mut server = Caller::with_phone(TlsSettings::default(), USER, "right").await;
    let at = server.address(Transport::Tcp);
    let config =
        SoftphoneConfig { transport: Transport::Tcp, ..SoftphoneConfig::new(at, USER, "wrong", 8) };
    let stranger = Softphone::start(config.clone()).await.unwrap();
    assert_eq!(within(stranger.registered()).await.unwrap_err().status, Some(401));
    let right = SoftphoneConfig { password: "right".to_owned(), seed: 9, ..config };
    let phone = Softphone::start(right).await.unwrap();
    within(phone.registered()).await.unwrap();
    let gone = within(server.bound.wait_for(|bound| !bound.is_empty())).await.unwrap()[0].clone();
    phone.shut_down().await;
    within(server.bound.wait_for(Vec::is_empty)).await.unwrap();
    // Whoever dials it nevertheless hears at once that nobody is there.
    let begun = std::time::Instant::now();
    let end = server.dial_phone(&gone).await.answered().await.unwrap_err();
    assert_eq!(end.by, sip::EndedBy::Transport);
    assert!(begun.elapsed() < 2 * SECOND, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn several_phones_of_one_user_each_do_what_they_are_told() {
    let mut server = Caller::with_phone(TlsSettings::default(), USER, "right").await;
    let at = server.address(Transport::Udp);
    let start = |seed| Softphone::start(SoftphoneConfig::new(at, USER, "right", seed));
    let phones = [start(1).await.unwrap(), start(2).await.unwrap()];
    phones[0].behave(Behaviour::Refuse { ring: SECOND / 10, status: 486 });
    phones[1].behave(Behaviour::Refuse { ring: Duration::ZERO, status: 603 });
    let bindings = within(server.bound.wait_for(|bound| bound.len() == 2)).await.unwrap().clone();
    let mut statuses = Vec::new();
    for binding in &bindings {
        let end = server.dial_phone(binding).await.answered().await.unwrap_err();
        statuses.extend(end.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [486, 603]);
}

#[tokio::test]
async fn the_application_dials_as_the_mobile_clients_do_and_both_sides_hear_each_other() {
    let carrier = Carrier::start(CarrierConfig::default()).await.unwrap();
    let code = "179080024609291";
    carrier.answer_with(code, |phone| {
        Box::pin(async move {
            let call = phone.call();
            assert_eq!(call.from.user(), "AnonymousCard");
            assert_eq!(call.from.host(), "127.0.0.1");
            let timer = ("Session-Expires".to_owned(), "90".to_owned());
            assert!(call.headers.contains(&timer), "{:?}", call.headers);
            let offer = call.body.as_ref().map(|body| body.bytes.clone()).unwrap_or_default();
            let offer = String::from_utf8_lossy(&offer).into_owned();
            assert!(offer.contains("RTP/AVP 0 8 18 "), "{offer}");
            phone.ring()?;
            phone.answer().await?;
            assert_eq!(phone.digit().await?, '5');
            assert_eq!(phone.digit().await?, '6');
            phone.tone_for(440, 3 * SECOND / 2).await?;
            phone.hang_up().await
        })
    });
    let app = AppPhone::start(AppPhoneConfig::default()).await.unwrap();
    let mut phone = app.dial(carrier.udp_address(), code).await.unwrap();
    assert_eq!(within(phone.until_ringing()).await, Ok(180));
    within(phone.until_answered()).await.unwrap();
    phone.info("text/xml", "<dialog/>").unwrap();
    phone.press_by_info('5').unwrap();
    within(phone.press("6")).await.unwrap();
    assert!(within(phone.tone_for(660, 60 * SECOND)).await.is_err(), "the other side hangs up");
    let report = within(phone.end()).await;
    assert_eq!((report.ended_by, report.codec.as_deref()), (EndedBy::Caller, Some("PCMU")));
    let heard = report.heard.unwrap();
    assert!(heard.tone_time(440.0) > SECOND, "{:?}", heard.tone_time(440.0));
    let there = within(carrier.call_ended(|_| true)).await;
    assert_eq!(there.digits_heard, "56");
    assert!(there.heard.unwrap().tone_time(660.0) > SECOND);
}

#[tokio::test]
async fn a_call_of_the_application_is_held_refused_and_taken_back() {
    let carrier = Carrier::start(CarrierConfig::default()).await.unwrap();
    let config =
        AppPhoneConfig { codecs: vec![Codec::Pcma], srtp: Srtp::Off, ..Default::default() };
    let app = AppPhone::start(config).await.unwrap();
    let mut phone = app.dial(carrier.udp_address(), "10210440").await.unwrap();
    within(phone.until_answered()).await.unwrap();
    assert_eq!(within(phone.hold()).await, Ok(true));
    assert_eq!(within(phone.resume()).await, Ok(true));
    within(phone.wait(SECOND)).await.unwrap();
    assert!(phone.heard().tone_time(440.0) > SECOND / 2);
    assert_eq!(within(phone.end()).await.ended_by, EndedBy::Phone);

    let mut busy = app.dial(carrier.udp_address(), "1486").await.unwrap();
    assert!(within(busy.until_answered()).await.is_err());
    let report = within(busy.end()).await;
    assert_eq!((report.ended_by, report.status), (EndedBy::Refused, Some(486)));

    let mut ringing = app.dial(carrier.udp_address(), "1480").await.unwrap();
    assert_eq!(within(ringing.until_ringing()).await, Ok(180));
    assert_eq!(within(ringing.end()).await.ended_by, EndedBy::Phone);
    let there = within(carrier.call_ended(|report| report.to_user == "1480")).await;
    assert_eq!(there.ended_by, EndedBy::Cancel);
}

#[tokio::test]
async fn what_is_lost_on_the_way_is_sent_again_and_the_call_goes_on() {
    let carrier = Carrier::start(CarrierConfig::default()).await.unwrap();
    let app = AppPhone::start(AppPhoneConfig::default()).await.unwrap();
    let begun = std::time::Instant::now();
    let mut phone = app.dial(carrier.udp_address(), "1023").await.unwrap();
    within(phone.until_answered()).await.unwrap();
    // RFC 3261 §13.3.1.4: T1 later.
    assert!(begun.elapsed() >= SECOND / 2, "{:?}", begun.elapsed());
    assert!(phone.lose(Lost::Bye, 1));
    let hung_up = std::time::Instant::now();
    assert_eq!(within(phone.end()).await.ended_by, EndedBy::Phone);
    let there = within(carrier.call_ended(|report| report.to_user == "1023")).await;
    assert_eq!(there.ended_by, EndedBy::Caller);
    assert!(hung_up.elapsed() >= SECOND / 2, "{:?}", hung_up.elapsed());

    let mut phone = app.dial(carrier.udp_address(), "102500").await.unwrap();
    within(phone.until_answered()).await.unwrap();
    let begun = std::time::Instant::now();
    within(phone.until_over()).await.unwrap_err();
    assert!(begun.elapsed() >= SECOND / 4, "{:?}", begun.elapsed());
    assert_eq!(within(phone.end()).await.ended_by, EndedBy::Caller);
}

#[tokio::test]
async fn a_phone_refuses_offers_or_loses_its_audio_and_stays_in_the_call() {
    let carrier = Carrier::start(CarrierConfig::default()).await.unwrap();
    let app = AppPhone::start(AppPhoneConfig::default()).await.unwrap();
    let mut phone = app.dial(carrier.udp_address(), "1024").await.unwrap();
    within(phone.until_answered()).await.unwrap();
    assert_eq!(within(phone.hold()).await, Ok(false));
    assert_eq!(within(phone.end()).await.ended_by, EndedBy::Phone);

    let mut phone = app.dial(carrier.udp_address(), "102201").await.unwrap();
    within(phone.until_answered()).await.unwrap();
    within(phone.wait(2 * SECOND)).await.unwrap();
    assert_eq!(carrier.live_calls(), 1, "the call is up for two seconds, and was heard for one");
    within(phone.lose_audio()).await;
    assert_eq!(within(phone.hold()).await, Ok(true), "it says what it said before");
    within(phone.wait(SECOND)).await.unwrap();
    assert_eq!(within(phone.resume()).await, Ok(true));
    within(phone.wait(SECOND)).await.unwrap();
    let report = within(phone.end()).await;
    assert_eq!(report.ended_by, EndedBy::Phone);
    assert!((40..75).contains(&report.rtp.packets), "{:?}", report.rtp);
    assert_eq!(report.media_faults, [""; 0]);
    let there = within(carrier.call_ended(|report| report.to_user == "102201")).await;
    assert!(there.rtp.packets < 75, "nothing comes of it any more: {:?}", there.rtp);
}
