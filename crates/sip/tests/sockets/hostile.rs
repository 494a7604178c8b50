//! What froze other stacks: one bad peer, while another peer's calls go through.

use std::time::Duration;

use sip::*;
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::harness::*;

fn options(number: usize) -> String {
    format!(
        "OPTIONS sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bK{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@127.0.0.1>;tag=1\r\nTo: <sip:x@127.0.0.1>\r\n\
         Call-ID: {number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

async fn parties(limits: Limits) -> (Party, Party) {
    (Party::start(Limits::default()).await, Party::start(limits).await)
}

async fn calls_go_through(a: &mut Party, b: &mut Party) {
    for transport in [Transport::Udp, Transport::Tcp] {
        timeout(LIMIT, call(a, b, transport)).await.expect("a call was held up");
    }
}

/// Reads until the other side closes.
async fn closed(stream: &mut TcpStream) {
    let mut buffer = vec![0; 65_536];
    let read = async { while !matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)) {} };
    timeout(LIMIT, read).await.expect("the connection was not closed");
}

#[tokio::test]
async fn a_peer_that_pipelines_thousands_of_requests() {
    let (mut a, mut b) = parties(Limits::default()).await;
    let flood: String = (0..5_000).map(options).collect();
    let stream = TcpStream::connect(b.address(Transport::Tcp)).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let writing = tokio::spawn(async move {
        write.write_all(flood.as_bytes()).await.unwrap();
        write
    });
    calls_go_through(&mut a, &mut b).await;
    let mut answers = 0;
    let mut buffer = vec![0; 65_536];
    let mut tail = Vec::new();
    while answers < 5_000 {
        let length = timeout(LIMIT, read.read(&mut buffer)).await.unwrap().unwrap();
        assert!(length > 0, "closed after {answers} answers");
        tail.extend_from_slice(&buffer[..length]);
        let seen = tail.windows(11).filter(|w| *w == b"SIP/2.0 200").count();
        answers += seen;
        let keep = tail.len().min(10);
        tail.drain(..tail.len() - keep);
    }
    assert_eq!(answers, 5_000);
    drop(writing.await.unwrap());
}

#[tokio::test]
async fn a_peer_that_never_reads() {
    let limits =
        Limits { writer_queue: 32, write_timeout: Duration::from_millis(300), ..Limits::default() };
    let (mut a, mut b) = parties(limits).await;
    let mut stream = TcpStream::connect(b.address(Transport::Tcp)).await.unwrap();
    let flood = tokio::spawn(async move {
        let mut number = 0;
        while stream.write_all(options(number).as_bytes()).await.is_ok() {
            number += 1;
        }
        number
    });
    calls_go_through(&mut a, &mut b).await;
    let sent = timeout(LIMIT, flood).await.expect("the connection stayed open").unwrap();
    assert!(sent > 32, "{sent}");
    until(&b, |counters| counters.connections_not_reading == 1).await;
    calls_go_through(&mut a, &mut b).await;
}

#[tokio::test]
async fn a_peer_that_never_answers_a_syn() {
    // A listener whose backlog is full drops SYNs silently.
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let black_hole = listener.local_addr().unwrap().as_socket().unwrap();
    let mut fillers = Vec::new();
    while let Ok(Ok(stream)) = timeout(Duration::from_secs(1), TcpStream::connect(black_hole)).await
    {
        fillers.push(stream);
        assert!(fillers.len() < 100, "the backlog never fills");
    }
    let limits = Limits { connect_timeout: Duration::from_millis(700), ..Limits::default() };
    let mut a = Party::start(limits).await;
    let mut b = Party::start(Limits::default()).await;
    let mut stuck = Vec::new();
    for _ in 0..70 {
        stuck.push(a.dial(black_hole, Transport::Tcp).await);
    }
    calls_go_through(&mut a, &mut b).await;
    for _ in 0..70 {
        let Event::Ended { leg, end } = a.event().await else {
            panic!("something else than an end")
        };
        assert!(stuck.contains(&leg));
        assert_eq!(end.by, EndedBy::Transport);
    }
    until(&a, |counters| counters.connect_failed == 1).await;
}

#[tokio::test]
async fn a_peer_that_stalls_in_a_message() {
    let limits = Limits { message_timeout: Duration::from_millis(200), ..Limits::default() };
    let (mut a, mut b) = parties(limits).await;
    let mut stream = TcpStream::connect(b.address(Transport::Tcp)).await.unwrap();
    stream.write_all(&options(1).as_bytes()[..50]).await.unwrap();
    calls_go_through(&mut a, &mut b).await;
    closed(&mut stream).await;
    until(&b, |counters| counters.connections_timed_out == 1).await;
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_closed_and_one_that_pings_is_not() {
    let limits = Limits { idle_timeout: Duration::from_millis(400), ..Limits::default() };
    let party = Party::start(limits).await;
    let mut silent = TcpStream::connect(party.address(Transport::Tcp)).await.unwrap();
    let mut pinging = TcpStream::connect(party.address(Transport::Tcp)).await.unwrap();
    let pings = async {
        let mut pong = [0; 2];
        loop {
            pinging.write_all(b"\r\n\r\n").await.expect("the pinging connection was closed");
            pinging.read_exact(&mut pong).await.expect("no pong");
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = closed(&mut silent) => {}
        () = pings => {}
    }
    until(&party, |counters| counters.connections_timed_out == 1).await;
}

#[tokio::test]
async fn peers_that_talk_garbage() {
    let (mut a, mut b) = parties(Limits::default()).await;
    let noise: Vec<u8> =
        (0..60_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let long = format!("OPTIONS sip:a SIP/2.0\r\nl: 0\r\nX: {}", "y".repeat(70_000));
    let bare = options(1).replace("\r\n", "\n");
    for garbage in [&noise[..], b"GET / HTTP/1.1\r\n\r\n", long.as_bytes(), bare.as_bytes()] {
        let mut stream = TcpStream::connect(b.address(Transport::Tcp)).await.unwrap();
        // It may be closed while it is still talking.
        let _ = stream.write_all(garbage).await;
        closed(&mut stream).await;
    }
    until(&b, |counters| counters.connections_broken_framing == 4).await;
    let counters = b.endpoint.counters();
    assert_eq!((counters.oversize, counters.bare_line_feed), (1, 2));
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for chunk in noise.chunks(1_000) {
        socket.send_to(chunk, b.address(Transport::Udp)).await.unwrap();
    }
    until(&b, |counters| counters.malformed + counters.bare_line_feed > 60).await;
    calls_go_through(&mut a, &mut b).await;
}

#[tokio::test]
async fn more_connections_than_allowed() {
    let limits = Limits { max_connections: 10, ..Limits::default() };
    let (mut a, mut b) = parties(limits).await;
    call(&mut a, &mut b, Transport::Tcp).await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        streams.push(TcpStream::connect(b.address(Transport::Tcp)).await.unwrap());
    }
    until(&b, |counters| counters.connections_refused >= 41).await;
    calls_go_through(&mut a, &mut b).await;
}

#[tokio::test]
async fn a_caller_that_fetches_no_events_loses_only_optional_ones() {
    let limits = Limits { events: 64, ..Limits::default() };
    let mut a = Party::start(Limits::default()).await;
    let b = Party::start(limits).await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for number in 0..2_000 {
        let message = options(number).replace("/TCP", "/UDP");
        socket.send_to(message.as_bytes(), b.address(Transport::Udp)).await.unwrap();
        if number % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    until(&b, |counters| counters.events_dropped > 0).await;
    let leg = a.dial(b.address(Transport::Udp), Transport::Udp).await;
    let Event::Ended { leg: refused, end } = a.event().await else { panic!("not refused") };
    assert_eq!((refused, end.status), (leg, Some(503)));
}
