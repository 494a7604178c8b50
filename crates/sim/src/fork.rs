//! The second phone behind a forking proxy: it answers the same INVITE with a tag, a contact and a socket of its own.
//! The core of `sip` answers an INVITE once, as it should, so this one speaks by hand: a 200 until it is acknowledged,
//! and a 200 to the BYE.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::Phone;
use crate::audio_leg::AudioLeg;
use crate::sniff::glance;

/// T1 and T2 of RFC 3261 §17.1.1.1.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
/// 64·T1: how long the ACK, and then the BYE, may take.
const LIMIT: Duration = Duration::from_secs(32);

/// What became of a second 200.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkReport {
    /// The caller sent ACK to the second phone.
    pub acknowledged: bool,
    /// The caller hung up on the second phone.
    pub hung_up: bool,
}

/// Rings the second phone of this call: it answers at once. `None` where it cannot: the call did not come over UDP, had
/// no offer, or no socket is to be had.
pub(crate) async fn second_phone(phone: &Phone) -> Option<watch::Receiver<ForkReport>> {
    let call = phone.call();
    if call.transport != sip::Transport::Udp {
        return None;
    }
    let socket = UdpSocket::bind(SocketAddr::new(call.local.ip(), 0)).await.ok()?;
    socket.connect(call.source).await.ok()?;
    let own = socket.local_addr().ok()?;
    let mut audio = phone.exchange().deaf_audio_leg();
    let sdp = audio.answer(phone.offer()?, &mut drop).await.ok()?;
    let answer = answer(&call.headers, own, &sdp);
    let (tell, told) = watch::channel(ForkReport::default());
    tokio::spawn(talk(socket, answer, audio, tell));
    Some(told)
}

async fn talk(
    socket: UdpSocket,
    answer: Vec<u8>,
    mut audio: AudioLeg,
    report: watch::Sender<ForkReport>,
) {
    let end = Instant::now() + LIMIT;
    let mut pause = T1;
    let mut again = Instant::now();
    let mut buffer = vec![0; 65_536];
    loop {
        let acknowledged = report.borrow().acknowledged;
        if !acknowledged && Instant::now() >= again {
            send(&socket, &answer).await;
            again = Instant::now() + pause;
            pause = (2 * pause).min(T2);
        }
        let until = if acknowledged { end } else { again.min(end) };
        match timeout_at(until, socket.recv(&mut buffer)).await {
            Ok(Ok(length)) => match glance(&buffer[..length]).map(|seen| seen.method) {
                Some("ACK") => report.send_modify(|report| report.acknowledged = true),
                Some("BYE") => {
                    send(&socket, &confirm(&buffer[..length])).await;
                    report.send_modify(|report| report.hung_up = true);
                    break;
                }
                Some(_) | None => {}
            },
            // An ICMP error of an earlier datagram.
            Ok(Err(_)) => {}
            Err(_) if Instant::now() >= end => break,
            Err(_) => {}
        }
    }
    audio.close(&mut drop).await;
}

async fn send(socket: &UdpSocket, message: &[u8]) {
    if let Err(error) = socket.send(message).await {
        // A datagram: it is sent again, or its sender asks again.
        tracing::debug!(%error, "the second phone lost a datagram");
    }
}

fn answer(invite: &[(String, String)], own: SocketAddr, sdp: &[u8]) -> Vec<u8> {
    let mut out = String::from("SIP/2.0 200 OK\r\n");
    for (name, value) in invite {
        match name.to_ascii_lowercase().as_str() {
            "to" | "t" => out += &format!("To: {value};tag=second-{}\r\n", own.port()),
            "via" | "v" | "from" | "f" | "call-id" | "i" | "cseq" | "record-route" => {
                out += &format!("{name}: {value}\r\n");
            }
            _ => {}
        }
    }
    out += &format!("Contact: <sip:second@{own}>\r\nContent-Type: application/sdp\r\n");
    out += &format!("Content-Length: {}\r\n\r\n", sdp.len());
    [out.as_bytes(), sdp].concat()
}

/// 200 to a BYE: what identifies it goes back as it came.
fn confirm(bye: &[u8]) -> Vec<u8> {
    let mut out = String::from("SIP/2.0 200 OK\r\n");
    for line in
        String::from_utf8_lossy(bye).split("\r\n").skip(1).take_while(|line| !line.is_empty())
    {
        let name = line.split(':').next().unwrap_or("").trim().to_ascii_lowercase();
        if ["via", "v", "from", "f", "to", "t", "call-id", "i", "cseq"].contains(&name.as_str()) {
            out += line;
            out += "\r\n";
        }
    }
    out += "Content-Length: 0\r\n\r\n";
    out.into_bytes()
}
