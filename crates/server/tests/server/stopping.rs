//! SIGTERM drains (O-5): no new calls, running ones finish.

use std::time::Duration;

use sim::EndedBy;
use sim::client::{Entry, Recording};
use tokio::net::UdpSocket;

use crate::support::{PATIENCE, World, tone};

/// Calls of 1 to 6 s, each length several times.
const LENGTHS: [f32; 4] = [1.0, 2.5, 4.0, 6.0];
const EACH: usize = 5;

/// The status that a stranger's OPTIONS gets.
async fn options(world: &World) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let (own, server) = (socket.local_addr().expect("bound"), world.server.sip_udp);
    let request = format!(
        "OPTIONS sip:{server} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{port}\r\n\
         From: <sip:probe@{own}>;tag=1\r\nTo: <sip:{server}>\r\nCall-ID: probe-{port}\r\n\
         CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        port = own.port(),
    );
    socket.send_to(request.as_bytes(), server).await.expect("sent");
    let mut reply = [0; 2048];
    let received = tokio::time::timeout(PATIENCE, socket.recv(&mut reply)).await;
    let length = received.expect("an answer comes").expect("it is received");
    String::from_utf8_lossy(&reply[..length]).split(' ').nth(1).unwrap_or_default().to_owned()
}

async fn ready(world: &World) -> u16 {
    world.client.v1(reqwest::Method::GET, "/readyz").await.expect("a reply").status
}

/// The signal is handled in a moment; then nothing new is taken.
async fn draining(world: &World) {
    let draining = async { while ready(world).await != 503 {} };
    let limit = Duration::from_secs(1);
    tokio::time::timeout(limit, draining).await.expect("it says at once that it drains");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_is_cut_that_ends_in_time_and_nothing_new_is_taken() {
    let mut world = World::start().await;
    let mut calls = Vec::new();
    for seconds in LENGTHS {
        let file = Recording::wav(tone(440.0, seconds));
        let voice = world.client.upload_recording(&file).await.expect("taken");
        let mut wanted = world.notification("1001");
        wanted.play_list = vec![Entry::recording(voice)];
        for _ in 0..EACH {
            let serial = world.client.notify(&wanted).await.expect("accepted");
            calls.push((serial, seconds));
        }
    }
    for (serial, _) in &calls {
        world.reaches(serial, "call.play_started").await;
    }
    assert_eq!((ready(&world).await, options(&world).await.as_str()), (200, "200"));
    world.server.signal("TERM");
    draining(&world).await;
    assert_eq!(options(&world).await, "503");
    let body = world.notification("8899").to_json();
    let refused = world.client.create_voice_notification(body, None).await.expect("a reply");
    assert_eq!((refused.status, refused.retry_after.is_some()), (500, true), "{}", refused.body);

    for (serial, seconds) in &calls {
        let released = world.released(serial).await;
        assert_eq!(released["releaseReason"], "1", "{seconds} s: it was played to its end");
        let call = world.carrier.call_ended(|call| call.call_id.starts_with(serial)).await;
        assert_eq!(call.ended_by, EndedBy::Caller);
        let packets = (seconds * 50.0 * 0.95) as u64;
        assert!(call.rtp.packets >= packets, "{} packets of {seconds} s", call.rtp.packets);
    }
    assert!(world.server.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_hangs_up_what_is_left_within_three_seconds() {
    let mut world = World::start().await;
    let ringing = world.call("1480").await;
    world.reaches(&ringing, "call.ringing").await;
    let mut wanted = world.notification("1001");
    wanted.play_times = Some(5);
    let up = world.client.notify(&wanted).await.expect("accepted");
    world.reaches(&up, "call.play_started").await;
    world.server.signal("TERM");
    draining(&world).await;
    world.server.signal("TERM");
    let signalled = sim::Moment::now();
    for (serial, by) in [(&ringing, EndedBy::Cancel), (&up, EndedBy::Caller)] {
        let ended = world.carrier.call_ended(|call| call.call_id.starts_with(serial));
        let call = tokio::time::timeout(PATIENCE, ended).await.expect("the call was taken back");
        assert_eq!(call.ended_by, by);
        assert!(call.ended_at.since(signalled) <= Duration::from_secs(3));
    }
    assert!(world.server.ended().await.success());
}
