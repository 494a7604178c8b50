//! S-7 on the running server: what strangers ask of its SIP listeners is refused and leaves nothing.
//!
//! The whole table, with wrong and right passwords, and the attack on a weakened (open) policy are in
//! `crates/sip/tests/behaviour/strangers.rs`; here it is shown that the server runs with the strict one.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::{messages, set_up};
use crate::support::{PATIENCE, World};

const TABLE: [(&str, &str); 13] = [
    ("OPTIONS", "200"),
    // As every number that is nobody's code; and a challenge, as everybody gets who has no password.
    ("INVITE", "404"),
    ("REGISTER", "401"),
    ("REFER", "403"),
    ("MESSAGE", "405"),
    ("SUBSCRIBE", "405"),
    ("PUBLISH", "405"),
    ("NOTIFY", "481"),
    ("UPDATE", "481"),
    ("INFO", "481"),
    ("BYE", "481"),
    ("PRACK", "481"),
    ("CANCEL", "481"),
];

#[tokio::test(flavor = "multi_thread")]
async fn strangers_get_refusals_over_udp_and_tcp_and_start_nothing() {
    let world = World::start().await;
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let mut tcp = TcpStream::connect(world.server.sip_tcp).await.expect("it is accepted");
    for (number, (method, status)) in TABLE.into_iter().enumerate() {
        let mut answer = [0; 4096];
        let message = messages::request(method, number);
        udp.send_to(message.as_bytes(), world.server.sip_udp).await.expect("sent");
        let mut said = "100".to_owned();
        while said == "100" {
            let received = timeout(PATIENCE, udp.recv(&mut answer)).await.expect("an answer");
            said = code(&answer[..received.expect("a datagram")]);
        }
        assert_eq!(said, status, "{method} over UDP");
        if method == "INVITE" {
            let ack = acknowledged(&message, &answer);
            udp.send_to(ack.as_bytes(), world.server.sip_udp).await.expect("sent");
        }

        let message = messages::request(method, 100 + number).replace("/UDP", "/TCP");
        tcp.write_all(message.as_bytes()).await.expect("sent");
        let mut all = String::new();
        while last_code(&all).is_none_or(|said| said == "100") {
            let received = timeout(PATIENCE, tcp.read(&mut answer)).await.expect("an answer");
            let length = received.expect("it stays open");
            all.push_str(&String::from_utf8_lossy(&answer[..length]));
        }
        assert_eq!(last_code(&all).as_deref(), Some(status), "{method} over TCP");
        if method == "INVITE" {
            let ack = acknowledged(&message, all.as_bytes());
            tcp.write_all(ack.as_bytes()).await.expect("sent");
        }
    }
    // One answer each: a refusal that is acknowledged is not said again.
    let mut more = [0; 2048];
    assert!(timeout(Duration::from_millis(700), udp.recv(&mut more)).await.is_err());
    let calls = world.client.v1(reqwest::Method::GET, "/v1/calls").await.expect("a reply");
    let calls: serde_json::Value = calls.parse().expect("JSON");
    assert_eq!(calls["calls"], serde_json::json!([]), "{calls}");
    set_up(&world).await;
}

/// The ACK of a refused INVITE: the same but for the method and the tag of the refusal.
fn acknowledged(invite: &str, refusal: &[u8]) -> String {
    let refusal = String::from_utf8_lossy(refusal);
    let to = refusal.lines().rfind(|line| line.starts_with("To:")).expect("a To");
    let ack = invite.replace("INVITE", "ACK");
    let own = ack.lines().find(|line| line.starts_with("To:")).expect("a To").to_owned();
    ack.replace(&own, to)
}

/// Of the last answer of a stream that is whole.
fn last_code(stream: &str) -> Option<String> {
    let answers =
        stream.match_indices("SIP/2.0 ").filter(|(at, _)| !stream[..*at].ends_with("Via: "));
    let (at, _) = answers.filter(|(at, _)| *at == 0 || stream[..*at].ends_with("\r\n")).last()?;
    stream[at..].contains("\r\n\r\n").then(|| code(&stream.as_bytes()[at..]))
}

fn code(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    text.split(' ').nth(1).unwrap_or_default().to_owned()
}
