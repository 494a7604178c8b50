//! Calls between two endpoints, and what starting one can say.

use sip::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::harness::*;

#[tokio::test]
async fn calls_over_udp_and_tcp() {
    let mut a = Party::start(Limits::default()).await;
    let mut b = Party::start(Limits::default()).await;
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tcp] {
        call(&mut a, &mut b, transport).await;
    }
    until(&a, |counters| counters.connections_opened > 0).await;
    assert_eq!(a.endpoint.counters().connections_opened, 1, "the connection is used again");
    let address = b.address(Transport::Tcp);
    b.endpoint.shut_down().await;
    let leg = a.dial(address, Transport::Tcp).await;
    let Event::Ended { leg: ended, end } = a.event().await else { panic!("not ended") };
    assert_eq!((ended, end.by), (leg, EndedBy::Transport));
}

#[tokio::test]
async fn a_ping_is_answered_by_a_pong() {
    let party = Party::start(Limits::default()).await;
    let mut stream = TcpStream::connect(party.address(Transport::Tcp)).await.unwrap();
    stream.write_all(b"\r\n\r\n").await.unwrap();
    let mut pong = [0; 2];
    timeout(LIMIT, stream.read_exact(&mut pong)).await.unwrap().unwrap();
    assert_eq!(&pong, b"\r\n");
}

#[tokio::test]
async fn starting_says_what_is_wrong() {
    let party = Party::start(Limits::default()).await;
    let config = |transport, bind: String, limits| EndpointConfig {
        listeners: vec![Listener { transport, bind: bind.parse().unwrap(), public_address: None }],
        limits,
        tls: TlsSettings::default(),
        policy: Policy::default(),
        user_agent: None,
        seed: 1,
    };
    let taken = party.address(Transport::Udp).to_string();
    let taken = Endpoint::start(config(Transport::Udp, taken, Limits::default())).await;
    assert!(matches!(taken, Err(StartError::Bind { .. })));
    let everywhere = "0.0.0.0:0".to_owned();
    let nowhere = Endpoint::start(config(Transport::Udp, everywhere, Limits::default())).await;
    assert!(matches!(nowhere, Err(StartError::NoPublicAddress(_))));
    let limits =
        Limits { connect_timeout: std::time::Duration::from_secs(33), ..Limits::default() };
    let late = Endpoint::start(config(Transport::Udp, "127.0.0.1:0".to_owned(), limits)).await;
    assert!(matches!(late, Err(StartError::Limit("connect_timeout"))));
}

#[tokio::test]
async fn a_public_address_is_what_peers_are_told() {
    let mut b = Party::start(Limits::default()).await;
    let config = EndpointConfig {
        listeners: vec![Listener {
            transport: Transport::Udp,
            bind: "127.0.0.1:0".parse().unwrap(),
            public_address: Some(("203.0.113.9".parse().unwrap(), Some(15060))),
        }],
        limits: Limits::default(),
        tls: TlsSettings::default(),
        policy: Policy::default(),
        user_agent: None,
        seed: 77,
    };
    let (endpoint, mut events) = Endpoint::start(config).await.unwrap();
    let to = b.address(Transport::Udp);
    let invite = Invite {
        leg: LegId(900),
        destination: Destination::new(to, Transport::Udp),
        request_uri: Uri::parse("sip:1@127.0.0.1").unwrap(),
        from: Address::parse("sip:100@127.0.0.1").unwrap(),
        to: Address::parse("sip:1@127.0.0.1").unwrap(),
        p_asserted_identity: None,
        call_id: "public".to_owned(),
        from_tag: "public".to_owned(),
        credentials: None,
        failover: Failover::default(),
        session_expires: None,
        headers: vec![],
        body: None,
    };
    endpoint.command(Command::Prepare(Box::new(invite))).unwrap();
    let prepared = timeout(LIMIT, events.recv()).await.unwrap().unwrap();
    let Event::Prepared { wire, .. } = prepared else { panic!("not prepared") };
    let text = String::from_utf8_lossy(&wire.bytes).into_owned();
    assert!(text.contains("\r\nVia: SIP/2.0/UDP 203.0.113.9:15060;"), "{text}");
    assert!(text.contains("\r\nContact: <sip:100@203.0.113.9:15060>\r\n"), "{text}");
    endpoint.command(Command::Send { leg: LegId(900) }).unwrap();
    assert!(matches!(b.event().await, Event::Incoming { .. }));
}

#[tokio::test]
async fn a_registered_phone_is_reached_over_its_own_connection() {
    let config = EndpointConfig {
        listeners: vec![Listener {
            transport: Transport::Tcp,
            bind: "127.0.0.1:0".parse().unwrap(),
            public_address: None,
        }],
        limits: Limits::default(),
        tls: TlsSettings::default(),
        policy: Policy { accept_register: AcceptRegister::Open, ..Policy::default() },
        user_agent: None,
        seed: 78,
    };
    let (endpoint, mut events) = Endpoint::start(config).await.unwrap();
    let mut phone = TcpStream::connect(endpoint.local_addresses()[0].1).await.unwrap();
    let register = "REGISTER sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.9:5060;branch=z9hG4bK1\r\n\
        Max-Forwards: 70\r\nFrom: <sip:7@127.0.0.1>;tag=1\r\nTo: <sip:7@127.0.0.1>\r\nCall-ID: r\r\n\
        CSeq: 1 REGISTER\r\nContact: <sip:7@10.0.0.9>\r\nContent-Length: 0\r\n\r\n";
    phone.write_all(register.as_bytes()).await.unwrap();
    let request = loop {
        match timeout(LIMIT, events.recv()).await.unwrap().unwrap() {
            Event::Request(request) => break request,
            _ => continue,
        }
    };
    let respond =
        Command::Respond { request: request.id, status: 200, headers: vec![], body: None };
    endpoint.command(respond).unwrap();
    let invite = Invite {
        leg: LegId(901),
        destination: Destination {
            flow: request.flow,
            ..Destination::new("10.0.0.9:5060".parse().unwrap(), Transport::Tcp)
        },
        request_uri: Uri::parse("sip:7@10.0.0.9").unwrap(),
        from: Address::parse("sip:100@127.0.0.1").unwrap(),
        to: Address::parse("sip:7@127.0.0.1").unwrap(),
        p_asserted_identity: None,
        call_id: "flow".to_owned(),
        from_tag: "flow".to_owned(),
        credentials: None,
        failover: Failover::default(),
        session_expires: None,
        headers: vec![],
        body: None,
    };
    endpoint.command(Command::Prepare(Box::new(invite))).unwrap();
    endpoint.command(Command::Send { leg: LegId(901) }).unwrap();
    let mut seen = String::new();
    let mut buffer = [0; 4096];
    while !seen.contains("INVITE sip:7@10.0.0.9 SIP/2.0\r\n") {
        let length = timeout(LIMIT, phone.read(&mut buffer)).await.unwrap().unwrap();
        assert!(length > 0, "the connection was closed");
        seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    assert!(seen.starts_with("SIP/2.0 200 OK\r\n"), "{seen}");
}
