//! What a bridge adds to a packet's way: two phones of bare sockets, one that sends the time and one that
//! reads it, and the same without a server between them.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use sip::{Body, Command, Endpoint, EndpointConfig, Event, LegId, Listener, Policy, Transport};
use tokio::sync::mpsc;

use super::super::far_end::{FarEnd, PROBE, SOFTPHONE};
use super::super::requests::{CREATE_CALL, Requests};
use super::super::witnesses::Quantiles;
use super::{CALLED_TONE, CALLERS_TONE, accepted, body, hang_up};
use crate::serve::ServeError;

const PACKETS: u64 = 500;
const EVERY: Duration = Duration::from_millis(20);
/// A header and 20 ms of PCMA.
const LENGTH: usize = 172;
const PATIENCE: Duration = Duration::from_secs(20);

/// With so many other calls up.
pub async fn added(far_end: &FarEnd, others: u32) -> Result<Quantiles, ServeError> {
    let body = body(CALLERS_TONE, CALLED_TONE);
    let requests = Requests::new(far_end, CREATE_CALL, &body).await?;
    let up = accepted(requests.offer(50.0, others).await);
    let (phones, mut calls) = Phones::start(far_end.probe_address()).await?;
    let wanted = json!({ "caller": format!("{PROBE}1"), "softPhone": SOFTPHONE, "called": format!("{PROBE}2") });
    let serial = far_end.client.create_call(wanted.to_string(), None).await?.call_serial_no()?;
    let (first, second) = (next(&mut calls).await?, next(&mut calls).await?);
    let added = compared(first, second).await;
    hang_up(far_end, up.into_keys().chain([serial]).collect()).await;
    drop(phones);
    added
}

/// What the way from the first to the second adds to the way without anybody between them.
pub async fn compared(first: Audio, second: Audio) -> Result<Quantiles, ServeError> {
    // Each way is found once the other side has been heard.
    let through = tokio::task::spawn_blocking(move || delays(&first, &second)).await??;
    let direct = tokio::task::spawn_blocking(without_server).await??;
    let (through, direct) = (Quantiles::of(through), Quantiles::of(direct));
    Ok(Quantiles { p50: through.p50 - direct.p50, p99: through.p99 - direct.p50 })
}

/// The audio socket of a phone, and where its far side is.
pub struct Audio {
    socket: UdpSocket,
    to: SocketAddr,
}

impl Audio {
    /// `sdp` is the far side's.
    pub fn new(socket: UdpSocket, sdp: &Bytes) -> Result<Audio, ServeError> {
        let to = media::sdp::parse(sdp)?.audio.rtp.ok_or("the description names no address")?;
        Ok(Audio { socket, to })
    }
}

/// A session description that names this socket.
pub fn description(socket: &UdpSocket) -> std::io::Result<String> {
    let port = socket.local_addr()?.port();
    Ok(format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=sendrecv\r\n"
    ))
}

/// Answers every call with a socket of its own.
struct Phones {
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Phones {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Phones {
    async fn start(bind: SocketAddr) -> Result<(Phones, mpsc::Receiver<Audio>), ServeError> {
        let listener = Listener { transport: Transport::Udp, bind, public_address: None };
        let policy = Policy { accept_invites: sip::AcceptInvites::Open, ..Policy::default() };
        let (endpoint, mut events) = Endpoint::start(EndpointConfig {
            listeners: vec![listener],
            limits: sip::Limits::default(),
            tls: sip::TlsSettings::default(),
            policy,
            user_agent: None,
            seed: 11,
        })
        .await?;
        let (sender, calls) = mpsc::channel(2);
        let task = tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                let Event::Incoming { leg, request } = event else { continue };
                let offer = request.body.map(|body| body.bytes).unwrap_or_default();
                match answer(&endpoint, leg, &offer) {
                    Ok(audio) => drop(sender.send(audio).await),
                    Err(error) => tracing::error!(%error, "the probe could not answer"),
                }
            }
        });
        Ok((Phones { task }, calls))
    }
}

fn answer(endpoint: &Endpoint, leg: LegId, offer: &Bytes) -> Result<Audio, ServeError> {
    let audio = Audio::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?, offer)?;
    let sdp = description(&audio.socket)?;
    endpoint.command(Command::Answer { leg, body: Some(Body::sdp(sdp)) })?;
    Ok(audio)
}

async fn next(calls: &mut mpsc::Receiver<Audio>) -> Result<Audio, ServeError> {
    let call = tokio::time::timeout(PATIENCE, calls.recv()).await;
    Ok(call.map_err(|_| "the probe was not called")?.ok_or("the probe is gone")?)
}

/// From one socket to another on this machine.
fn without_server() -> Result<Vec<f64>, ServeError> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let first = Audio { to: other.local_addr()?, socket };
    let second = Audio { to: first.socket.local_addr()?, socket: other };
    delays(&first, &second)
}

/// How long each packet of the first took to the second, ms.
fn delays(first: &Audio, second: &Audio) -> Result<Vec<f64>, ServeError> {
    second.socket.set_read_timeout(Some(EVERY))?;
    let began = Instant::now();
    let mut delays = Vec::new();
    for number in 0..PACKETS {
        let due = began + EVERY * number as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // Both speak, so that both are heard.
        second.socket.send_to(&packet(number, 2, 0), second.to)?;
        let sent = began.elapsed();
        first.socket.send_to(&packet(number, 1, sent.as_nanos() as u64), first.to)?;
        let mut buffer = [0; 2_048];
        while let Ok((length, _)) = second.socket.recv_from(&mut buffer) {
            let stamp = buffer.get(12..20).filter(|_| length == LENGTH);
            let Some(stamp) = stamp.and_then(|bytes| bytes.try_into().ok()) else { continue };
            // Also of an earlier one that took longer than a tick; none of ours is the tone of before.
            let stamped = Duration::from_nanos(u64::from_be_bytes(stamp));
            if stamped.is_zero() || stamped > sent {
                continue;
            }
            delays.push((began.elapsed() - stamped).as_secs_f64() * 1000.0);
            if stamped == sent {
                break;
            }
        }
    }
    // The first ones find the way.
    let missing = PACKETS as usize - delays.len();
    if missing > PACKETS as usize / 10 {
        return Err(format!("{missing} of {PACKETS} packets did not cross the bridge").into());
    }
    Ok(delays.split_off(delays.len() / 10))
}

/// RTP, PCMA; eight bytes of the audio are `stamp`.
fn packet(number: u64, ssrc: u8, stamp: u64) -> [u8; LENGTH] {
    let mut packet = [0xD5; LENGTH];
    packet[..2].copy_from_slice(&[0x80, 8]);
    packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
    packet[4..8].copy_from_slice(&(number as u32 * 160).to_be_bytes());
    packet[8..12].copy_from_slice(&[0, 0, 0, ssrc]);
    packet[12..20].copy_from_slice(&stamp.to_be_bytes());
    packet
}
