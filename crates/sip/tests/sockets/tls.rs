//! SIP over TLS on real sockets: who is trusted, who is not and why, and what a reload changes.

use std::{collections::BTreeMap, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType, date_time_ymd};
use sip::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::harness::*;

const PEER: TlsPeer = TlsPeer(1);

/// A certificate authority of this test's own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    fn trusted(&self) -> Authorities {
        Authorities::from_pem(self.pem.as_bytes()).unwrap()
    }

    fn identity(&self, edit: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        edit(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }

    fn named(&self, name: &str) -> Identity {
        self.identity(|params| params.subject_alt_names = vec![dns(name)])
    }
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn server(identity: Identity) -> TlsSettings {
    TlsSettings { server: Some(TlsServer::new(identity).unwrap()), peers: BTreeMap::new() }
}

fn client(name: &str, trusted: &Authorities) -> TlsSettings {
    let peer = TlsClient::new(name, trusted, None).unwrap();
    TlsSettings { server: None, peers: [(PEER, peer)].into() }
}

fn to(party: &Party) -> Destination {
    Destination::tls(party.address(Transport::Tls), PEER)
}

/// How a call ends that never gets anywhere.
async fn refused(a: &mut Party, to: Destination) -> String {
    a.dial_to(to).await;
    let Event::Ended { end, .. } = a.event().await else { panic!("it got somewhere") };
    assert_eq!(end.by, EndedBy::Transport);
    end.reason
}

#[tokio::test]
async fn a_call_over_tls_goes_both_ways_over_one_connection() {
    let authority = Authority::new();
    let mut b =
        Party::with_tls(Limits::default(), server(authority.named("sip.example.com"))).await;
    let tls = client("sip.example.com", &authority.trusted());
    let mut a = Party::with_tls(Limits::default(), tls).await;
    for _ in 0..3 {
        let leg = a.dial_to(to(&b)).await;
        answered(&mut a, &mut b, leg).await;
    }
    // The far side hangs up: its BYE finds us over the connection that we opened.
    let leg = a.dial_to(to(&b)).await;
    let Event::Incoming { leg: inbound, request } = b.event().await else { panic!("no call") };
    assert_eq!(request.transport, Transport::Tls);
    let contact = request.headers.iter().find(|(name, _)| name == "Contact").unwrap();
    assert!(contact.1.ends_with(";transport=tls>"), "{contact:?}");
    b.endpoint.command(Command::Answer { leg: inbound, body: Some(Body::sdp(SDP)) }).unwrap();
    assert!(matches!(a.event().await, Event::Answered { .. }));
    a.endpoint.command(Command::Acknowledge { leg, body: None }).unwrap();
    assert!(matches!(b.event().await, Event::Confirmed { .. }));
    b.hang_up(inbound);
    assert!(matches!(a.event().await, Event::Ended { end, .. } if end.by == EndedBy::Peer));
    assert_eq!(a.endpoint.counters().connections_opened, 1);
    assert_eq!(b.endpoint.counters().connections_accepted, 1);
}

#[tokio::test]
async fn a_certificate_has_to_be_for_the_configured_name() {
    let authority = Authority::new();
    let trusted = authority.trusted();
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    // (what the certificate says, the configured name, whether that fits)
    let table = [
        (dns("sip.example.com"), "sip.example.com", true),
        (dns("sip.example.com"), "SIP.example.com.", true),
        (dns("sip.example.com"), "example.com", false),
        (dns("*.example.com"), "sip.example.com", true),
        (uri("sip:example.com"), "example.com", true),
        (uri("sip:example.com"), "sip.example.com", false),
        (uri("sip:trunk@example.com"), "example.com", false),
        (uri("https://example.com"), "example.com", false),
        (SanType::IpAddress("127.0.0.1".parse().unwrap()), "127.0.0.1", true),
        (SanType::IpAddress("127.0.0.2".parse().unwrap()), "127.0.0.1", false),
    ];
    for (said, wanted, fits) in table {
        let case = format!("{said:?} for {wanted}");
        let identity = authority.identity(|params| params.subject_alt_names = vec![said]);
        let mut b = Party::with_tls(Limits::default(), server(identity)).await;
        let mut a = Party::with_tls(Limits::default(), client(wanted, &trusted)).await;
        if fits {
            let leg = a.dial_to(to(&b)).await;
            answered(&mut a, &mut b, leg).await;
        } else {
            let reason = refused(&mut a, to(&b)).await;
            assert!(reason.contains("for another name"), "{case}: {reason}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_trusted_is_refused_and_the_reason_said() {
    let authority = Authority::new();
    let trusted = authority.trusted();
    let valid = |from: i32, to: i32| {
        authority.identity(|params| {
            params.subject_alt_names = vec![dns("sip.example.com")];
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(to, 1, 1);
        })
    };
    let table = [
        (valid(2001, 2002), "has expired"),
        (valid(2401, 2402), "not valid yet"),
        (Authority::new().named("sip.example.com"), "an authority that is not trusted here"),
    ];
    for (identity, expected) in table {
        let b = Party::with_tls(Limits::default(), server(identity)).await;
        let mut a = Party::with_tls(Limits::default(), client("sip.example.com", &trusted)).await;
        let reason = refused(&mut a, to(&b)).await;
        assert!(reason.contains(expected), "{expected}: {reason}");
        until(&b, |counters| counters.handshakes_failed == 1).await;
    }
}

#[tokio::test]
async fn who_speaks_no_tls_or_is_not_named_is_refused() {
    let authority = Authority::new();
    let tls = client("sip.example.com", &authority.trusted());
    let mut a = Party::with_tls(Limits::default(), tls).await;
    let plain = Party::start(Limits::default()).await;
    let reason = refused(&mut a, Destination::tls(plain.address(Transport::Tcp), PEER)).await;
    assert!(reason.contains("TLS"), "{reason}");
    let reason =
        refused(&mut a, Destination::new(plain.address(Transport::Tcp), Transport::Tls)).await;
    assert!(reason.contains("no name is configured"), "{reason}");
}

#[tokio::test]
async fn a_peer_that_stalls_in_the_handshake_costs_its_own_connection_only() {
    let authority = Authority::new();
    let limits = Limits {
        handshake_timeout: Duration::from_millis(300),
        connect_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let mut b = Party::with_tls(limits, server(authority.named("sip.example.com"))).await;
    let mut stalled = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(b.address(Transport::Tls)).await.unwrap();
        stream.write_all(&[22, 3, 1]).await.unwrap();
        stalled.push(stream);
    }
    let tls = client("sip.example.com", &authority.trusted());
    let mut a = Party::with_tls(limits, tls).await;
    let leg = a.dial_to(to(&b)).await;
    answered(&mut a, &mut b, leg).await;
    until(&b, |counters| counters.handshakes_failed == 50).await;
    for mut stream in stalled {
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(LIMIT, stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "still open");
    }
    // The other way round: a peer that takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let reason = refused(&mut a, Destination::tls(silent.local_addr().unwrap(), PEER)).await;
    assert!(reason.contains("did not finish the handshake in time"), "{reason}");
}

#[tokio::test]
async fn a_peer_that_asks_who_we_are_is_told_and_refuses_whom_it_does_not_know() {
    let authority = Authority::new();
    let b = server_that_asks(&authority).await;
    let trusted = authority.trusted();
    let with = |identity| TlsSettings {
        server: None,
        peers: [(PEER, TlsClient::new("sip.example.com", &trusted, identity).unwrap())].into(),
    };
    let identity = Some(authority.named("offhook.example.com"));
    let mut a = Party::with_tls(Limits::default(), with(identity)).await;
    a.dial_to(Destination::tls(b, PEER)).await;
    until(&a, |counters| counters.connections_opened == 1 && counters.messages_sent == 1).await;
    let nobody = with(None);
    let mut c = Party::with_tls(Limits::default(), nobody).await;
    let reason = refused(&mut c, Destination::tls(b, PEER)).await;
    assert!(reason.contains("refused our certificate"), "{reason}");
}

/// A TLS server that wants a certificate of its own authority, then only reads.
async fn server_that_asks(authority: &Authority) -> std::net::SocketAddr {
    use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["sip.example.com".to_owned()]).unwrap();
    let own = params.signed_by(&key, &authority.issuer).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let asks =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(asks.build().unwrap())
        .with_single_cert(
            vec![own.der().clone()],
            PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut all = Vec::new();
                let _ = stream.read_to_end(&mut all).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn new_certificates_are_for_new_connections_and_open_ones_stay() {
    let (old, new) = (Authority::new(), Authority::new());
    let mut b = Party::with_tls(Limits::default(), server(old.named("sip.example.com"))).await;
    let tls = client("sip.example.com", &old.trusted());
    let mut a = Party::with_tls(Limits::default(), tls.clone()).await;
    let leg = a.dial_to(to(&b)).await;
    let Event::Incoming { leg: inbound, .. } = b.event().await else { panic!("no call") };
    b.endpoint.set_tls(server(new.named("sip.example.com")));
    b.endpoint.command(Command::Answer { leg: inbound, body: Some(Body::sdp(SDP)) }).unwrap();
    assert!(matches!(a.event().await, Event::Answered { .. }));
    a.endpoint.command(Command::Acknowledge { leg, body: None }).unwrap();
    assert!(matches!(b.event().await, Event::Confirmed { .. }));
    assert_eq!(b.endpoint.counters().connections_accepted, 1);

    let mut late = Party::with_tls(Limits::default(), tls).await;
    let reason = refused(&mut late, to(&b)).await;
    assert!(reason.contains("authority that is not trusted"), "{reason}");
    late.endpoint.set_tls(client("sip.example.com", &new.trusted()));
    let second = late.dial_to(to(&b)).await;
    answered(&mut late, &mut b, second).await;

    a.hang_up(leg);
    assert!(matches!(a.event().await, Event::Ended { end, .. } if end.by == EndedBy::Us));
    assert!(matches!(b.event().await, Event::Ended { end, .. } if end.by == EndedBy::Peer));
    assert_eq!(a.endpoint.counters().connections_opened, 1, "the call stayed on its connection");
}

#[tokio::test]
async fn a_call_of_an_earlier_process_is_hung_up_over_tls_at_the_same_peer() {
    let authority = Authority::new();
    let mut b =
        Party::with_tls(Limits::default(), server(authority.named("sip.example.com"))).await;
    let tls = client("sip.example.com", &authority.trusted());
    let mut a = Party::with_tls(Limits::default(), tls.clone()).await;
    let leg = a.dial_to(to(&b)).await;
    let Event::Incoming { leg: inbound, .. } = b.event().await else { panic!("no call") };
    b.endpoint.command(Command::Answer { leg: inbound, body: Some(Body::sdp(SDP)) }).unwrap();
    let Event::Answered { dialog, .. } = a.event().await else { panic!("no answer") };
    let stored = dialog.to_bytes();
    a.endpoint.command(Command::Acknowledge { leg, body: None }).unwrap();
    assert!(matches!(b.event().await, Event::Confirmed { .. }));
    drop(a);

    let mut next = Party::with_tls(Limits::default(), tls).await;
    let dialog = Box::new(DialogSnapshot::from_bytes(&stored).unwrap());
    let cause = HangUpCause::Failure;
    next.endpoint.command(Command::HangUpDialog { dialog, credentials: None, cause }).unwrap();
    assert!(matches!(next.event().await, Event::Ended { end, .. } if end.by == EndedBy::Us));
    assert!(matches!(b.event().await, Event::Ended { end, .. } if end.by == EndedBy::Peer));
}
