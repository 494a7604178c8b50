//! The carrier as a whole: who may call, load, loss, people of a test's own making.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::caller::{Caller, LIMIT};
use sim::{Behaviour, Carrier, CarrierConfig, Digest, EndedBy, KeepAudio};
use sip::{Command, Credentials, Destination, Registration, RegistrationId, Transport, Uri};

fn digest() -> Digest {
    let users = BTreeMap::from([("offhook".to_owned(), "secret".to_owned())]);
    Digest { realm: "carrier.test".to_owned(), users }
}

fn credentials(password: &str) -> Credentials {
    Credentials { username: "offhook".to_owned(), password: password.to_owned(), realm: None }
}

#[tokio::test]
async fn a_carrier_with_digest_lets_in_who_knows_the_password() {
    let config = CarrierConfig { digest: Some(digest()), ..CarrierConfig::default() };
    let carrier = Carrier::start(config).await.unwrap();
    let mut caller = Caller::start().await;
    caller.credentials = Some(credentials("wrong"));
    let refused = caller.dial(carrier.udp_address(), "1001").await.answered().await.unwrap_err();
    assert_eq!(refused.status, Some(401));
    assert_eq!(carrier.totals().calls, 0);

    caller.credentials = Some(credentials("secret"));
    let mut call = caller.dial(carrier.udp_address(), "1001").await;
    call.answered().await.unwrap();
    call.hang_up().await;
    let report = carrier.call_ended(|report| report.call_id == call.call_id).await;
    assert_eq!(report.authenticated.as_deref(), Some("offhook"));
    // The challenged INVITE and the one with credentials: two INVITEs, one phone that rang.
    assert_eq!((report.invites, report.dialogs), (2, 1));
}

#[tokio::test]
async fn a_trunk_registers_and_unregisters() {
    let config = CarrierConfig {
        digest: Some(digest()),
        accept_registrations: true,
        ..CarrierConfig::default()
    };
    let carrier = Carrier::start(config).await.unwrap();
    let bind = "127.0.0.1:0".parse().unwrap();
    let (endpoint, mut events) = sip::Endpoint::start(sip::EndpointConfig {
        listeners: vec![sip::Listener { transport: Transport::Udp, bind, public_address: None }],
        limits: sip::Limits::default(),
        tls: sip::TlsSettings::default(),
        policy: sip::Policy::default(),
        user_agent: None,
        seed: 5,
    })
    .await
    .unwrap();
    let id = RegistrationId(1);
    let registration = Registration {
        id,
        registrar: Destination::new(carrier.udp_address(), Transport::Udp),
        aor: Uri::new("offhook", "127.0.0.1").unwrap(),
        contact_user: "trunk".to_owned(),
        credentials: Some(credentials("secret")),
        expires: 600,
    };
    endpoint.command(Command::Register(Box::new(registration))).unwrap();
    loop {
        match tokio::time::timeout(LIMIT, events.recv()).await.unwrap().unwrap() {
            sip::Event::Registered { expires, .. } => {
                break assert!((500..=600).contains(&expires));
            }
            sip::Event::RegistrationFailed { failure, .. } => panic!("{failure:?}"),
            _ => {}
        }
    }
    let binding = carrier.registrations().remove("offhook").expect("it is registered");
    assert!(binding.contact.contains("sip:trunk@127.0.0.1"), "{binding:?}");
    assert_eq!(binding.authenticated.as_deref(), Some("offhook"));
    assert_eq!(carrier.totals().registrations, 1);
    endpoint.command(Command::Unregister { id }).unwrap();
    while !matches!(
        tokio::time::timeout(LIMIT, events.recv()).await.unwrap().unwrap(),
        sip::Event::Unregistered { .. }
    ) {}
    assert!(carrier.registrations().is_empty());
}

#[tokio::test]
async fn a_hundred_calls_at_a_time() {
    let config = CarrierConfig { keep_audio: KeepAudio::Last(10), ..CarrierConfig::default() };
    let carrier = Carrier::start(config).await.unwrap();
    let caller = Caller::start().await;
    let mut calls = Vec::new();
    for _ in 0..100 {
        calls.push(caller.dial(carrier.udp_address(), "1001").await);
    }
    for call in &mut calls {
        call.answered().await.unwrap();
    }
    assert_eq!(carrier.live_calls(), 100);
    let mut talking = tokio::task::JoinSet::new();
    for mut call in calls {
        talking.spawn(async move {
            call.press("5").await;
            call.hang_up().await
        });
    }
    talking.join_all().await;
    let all = carrier.totals_reached(|totals| totals.ended == 100);
    let totals = tokio::time::timeout(LIMIT, all).await.expect("every call ends");
    assert_eq!((totals.calls, totals.answered, totals.invites), (100, 100, 100));
    assert_eq!((totals.repeated_call_ids, carrier.totals().events_dropped), (0, 0));
    let reports = carrier.calls();
    assert!(reports.iter().all(|report| report.digits_heard == "5"), "each digit once, none lost");
    assert_eq!(reports.iter().filter(|report| report.heard.is_some()).count(), 10);
    carrier.clear();
    assert_eq!((carrier.calls().len(), carrier.totals().calls), (0, 0));
}

#[tokio::test]
async fn calls_survive_a_network_that_loses_a_tenth() {
    let config = CarrierConfig { loss: 0.1, seed: 3, ..CarrierConfig::default() };
    let carrier = Carrier::start(config).await.unwrap();
    let caller = Caller::start().await;
    let mut calls = Vec::new();
    for _ in 0..10 {
        calls.push(caller.dial(carrier.udp_address(), "1001").await);
    }
    for call in &mut calls {
        call.answered().await.unwrap();
        call.start_hang_up();
    }
    let all = carrier.totals_reached(|totals| totals.ended == 10);
    tokio::time::timeout(LIMIT, all).await.expect("every call ends");
    let totals = carrier.totals();
    assert!(totals.datagrams_lost > 0, "nothing was lost: the test shows nothing");
    // Retransmissions are no further INVITEs, and nobody is called twice.
    assert_eq!((totals.invites, totals.repeated_call_ids), (10, 0));
}

#[tokio::test]
async fn a_person_of_the_tests_own_making_answers() {
    let carrier = Carrier::start(CarrierConfig::default()).await.unwrap();
    carrier.answer_with("5551", |phone| {
        Box::pin(async move {
            phone.ring_for(Duration::from_millis(20)).await?;
            phone.answer().await?;
            phone.press("9").await?;
            assert_eq!(phone.caller(), "2222201");
            assert_eq!(phone.digit().await?, '4');
            assert!(!phone.heard().samples().is_empty());
            phone.hang_up().await
        })
    });
    carrier.behave("5552", Behaviour::Refuse { ring: Duration::ZERO, status: 480 });
    let caller = Caller::start().await;
    let mut call = caller.dial(carrier.udp_address(), "5551").await;
    call.answered().await.unwrap();
    assert_eq!(call.digit().await, '9');
    call.press("4").await;
    assert_eq!(call.ended().await.by, sip::EndedBy::Peer);
    let refused = caller.dial(carrier.udp_address(), "5552").await.answered().await.unwrap_err();
    assert_eq!(refused.status, Some(480));
}

#[tokio::test]
async fn a_person_who_panics_leaves_no_call_behind() {
    let carrier = Carrier::start(CarrierConfig::default()).await.unwrap();
    carrier.answer_with("5553", |phone| {
        Box::pin(async move {
            phone.answer().await?;
            panic!("as the test wants it")
        })
    });
    let caller = Caller::start().await;
    let mut call = caller.dial(carrier.udp_address(), "5553").await;
    call.answered().await.unwrap();
    assert_eq!(call.ended().await.by, sip::EndedBy::Peer);
    assert_eq!(carrier.live_calls(), 0);
}

#[tokio::test]
async fn shutting_down_hangs_up() {
    let carrier = Carrier::start(CarrierConfig::default()).await.unwrap();
    let mut reports = carrier.subscribe();
    let caller = Caller::start().await;
    let mut up = caller.dial(carrier.udp_address(), "1001").await;
    up.answered().await.unwrap();
    let mut ringing = caller.dial(carrier.udp_address(), "1480").await;
    ringing.provisional(180).await;
    carrier.shut_down().await;
    assert_eq!(up.ended().await.by, sip::EndedBy::Peer);
    assert_eq!(ringing.ended().await.status, Some(503));
    for _ in 0..2 {
        assert_eq!(reports.recv().await.unwrap().ended_by, EndedBy::Carrier);
    }
}

#[tokio::test]
async fn calls_come_over_tls_with_encrypted_audio() {
    let name = "carrier.test";
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let pem = made.cert.pem();
    let identity =
        sip::Identity::from_pem(pem.as_bytes(), made.signing_key.serialize_pem().as_bytes());
    let server = sip::TlsServer::new(identity.unwrap()).unwrap();
    let bind = "127.0.0.1:0".parse().unwrap();
    let config = CarrierConfig {
        sip_tls: Some(sim::TlsLine { bind, server }),
        srtp: media::Srtp::Required,
        ..CarrierConfig::default()
    };
    let carrier = Carrier::start(config).await.unwrap();
    assert_eq!(carrier.tcp_address(), None);

    let trusted = sip::Authorities::from_pem(pem.as_bytes()).unwrap();
    let peer = sip::TlsPeer(1);
    let client = sip::TlsClient::new(name, &trusted, None).unwrap();
    let tls = sip::TlsSettings { server: None, peers: [(peer, client)].into() };
    let caller = Caller::trusting(tls).await;
    let mut call = caller.dial_encrypted(carrier.tls_address().unwrap(), peer, "8899").await;
    call.answered().await.unwrap();
    let tone = media::tone::sine(440.0, 500, 8_000);
    call.play(&[media::Clip::from_pcm(&tone, 8_000).unwrap()]).await;
    call.hang_up().await;
    let report = carrier.call_ended(|report| report.call_id == call.call_id).await;
    assert_eq!(report.ended_by, EndedBy::Caller);
    assert_eq!(report.srtp.as_deref(), Some("AES_CM_128_HMAC_SHA1_80"));
    assert!(report.rtp.packets >= 20 && report.rtp.unauthentic_packets == 0, "{:?}", report.rtp);

    // The same carrier takes no plain call.
    let mut plain = caller.dial(carrier.udp_address(), "8899").await;
    assert_eq!(plain.answered().await.unwrap_err().status, Some(488));
}
