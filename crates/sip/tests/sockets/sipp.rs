//! sipp, a stack of other people's making, on both ends. Installed by `cargo xtask test`
//! (Debian: sip-tester).

use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
    process::Stdio,
    sync::atomic::{AtomicU16, Ordering},
};

use sip::*;
use tokio::{process::Command as Process, time::timeout};

use crate::harness::*;

const CALLS: usize = 200;

/// sipp takes no port 0: one that is free for UDP and TCP, and below those that the system gives to
/// whoever asks for any (from 32768 on), so that nobody takes it in between.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let is_free = |port: &u16| {
        UdpSocket::bind(("127.0.0.1", *port)).is_ok()
            && TcpListener::bind(("127.0.0.1", *port)).is_ok()
    };
    let first = (std::process::id() % 10_000) as u16;
    let ports =
        std::iter::repeat_with(|| 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000);
    ports.take(10_000).find(is_free).expect("a free port")
}

fn sipp(scenario: [&str; 2], port: u16, arguments: &[&str]) -> Process {
    let mut sipp = Process::new("sipp");
    sipp.args(scenario)
        .args(["-i", "127.0.0.1", "-p", &port.to_string()])
        .args(["-m", &CALLS.to_string(), "-nostdin", "-timeout", "20s"])
        .args(arguments)
        .env("TERM", "dumb")
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    sipp
}

async fn succeeds(child: tokio::process::Child) {
    let output = timeout(LIMIT * 2, child.wait_with_output()).await.unwrap().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {errors}", output.status);
}

#[tokio::test]
async fn sipp_answers_our_calls() {
    let mut party = Party::start(Limits::default()).await;
    let port = free_port();
    let uas = sipp(["-sn", "uas"], port, &[])
        .spawn()
        .expect("sipp is not installed: apt-get install sip-tester");
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    for _ in 0..CALLS {
        party.prepare(to, Transport::Udp);
    }
    let mut ended = 0;
    while ended < CALLS {
        match party.event().await {
            Event::Prepared { leg, .. } => party.endpoint.command(Command::Send { leg }).unwrap(),
            Event::Provisional { status, .. } => assert_eq!(status, 180),
            Event::Answered { leg, body, .. } => {
                assert_eq!(body.unwrap().content_type, "application/sdp");
                party.endpoint.command(Command::Acknowledge { leg, body: None }).unwrap();
                party.hang_up(leg);
            }
            Event::Ended { end, .. } => {
                assert_eq!(end.by, EndedBy::Us);
                assert!(end.was_ringing);
                ended += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    succeeds(uas).await;
}

#[tokio::test]
async fn sipp_calls_us() {
    for (mode, transport) in [("u1", Transport::Udp), ("t1", Transport::Tcp)] {
        let mut party = Party::start(Limits::default()).await;
        let target = party.address(transport).to_string();
        let uac =
            sipp(["-sn", "uac"], free_port(), &["-t", mode, "-r", "100", "-d", "50", &target])
                .spawn()
                .expect("sipp is not installed: apt-get install sip-tester");
        let (mut confirmed, mut ended) = (0, 0);
        while ended < CALLS {
            match party.event().await {
                Event::Incoming { leg, request } => {
                    assert!(request.body.is_some());
                    party.endpoint.command(Command::Ring { leg, body: None }).unwrap();
                    let body = Some(Body::sdp(SDP));
                    party.endpoint.command(Command::Answer { leg, body }).unwrap();
                }
                Event::Confirmed { .. } => confirmed += 1,
                Event::Ended { end, .. } => {
                    assert_eq!(end.by, EndedBy::Peer);
                    ended += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(confirmed, CALLS);
        succeeds(uac).await;
    }
}

/// The scenario computes the digest by itself: a mistake in ours shows as 403.
#[tokio::test]
async fn sipp_checks_our_digest() {
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sockets/uas_digest.xml");
    for (password, accepted) in [("se\"cret", true), ("wrong", false)] {
        let mut party = Party::start(Limits::default()).await;
        let port = free_port();
        let uas = sipp(["-sf", scenario], port, &["-m", "1"])
            .spawn()
            .expect("sipp is not installed: apt-get install sip-tester");
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        let credentials = Credentials {
            username: "joe".to_owned(),
            password: password.to_owned(),
            realm: Some("far, away".to_owned()),
        };
        let invite = Invite { credentials: Some(credentials), ..party.invite(to, Transport::Udp) };
        let leg = invite.leg;
        party.endpoint.command(Command::Prepare(Box::new(invite))).unwrap();
        loop {
            match party.event().await {
                Event::Prepared { .. } | Event::Challenged { .. } => {
                    party.endpoint.command(Command::Send { leg }).unwrap();
                }
                Event::Answered { .. } => {
                    assert!(accepted);
                    party.endpoint.command(Command::Acknowledge { leg, body: None }).unwrap();
                    party.hang_up(leg);
                }
                Event::Ended { end, .. } => {
                    let expected = if accepted { None } else { Some(403) };
                    assert_eq!(end.status, expected, "{end:?}");
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        succeeds(uas).await;
    }
}
