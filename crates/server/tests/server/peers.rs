//! Foreign programs as the far side of a trunk: what `sim` and the server both get wrong would show here.

use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};

use ::media::detect;
use sim::client::Recording;
use sim::{CallbackReceiver, Client};

use crate::support::baresip::Baresip;
use crate::support::{self, PATIENCE, Server, Setting, tone};

/// Killed when dropped.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server whose trunk leads to `peer`.
async fn server_towards(peer: SocketAddr, setting: &Setting) -> (Server, CallbackReceiver, Client) {
    let receiver = CallbackReceiver::start("127.0.0.1:0".parse().expect("an address"))
        .await
        .expect("a receiver starts");
    let server = Server::start(&support::config(setting, peer, receiver.address()));
    let client = server.client();
    (server, receiver, client)
}

/// Neither program can take port 0, so it gets one that the system had free a moment ago.
fn free_address() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.local_addr().expect("an address")
}

#[tokio::test(flavor = "multi_thread")]
async fn sipp_takes_a_thousand_calls_and_none_fails() {
    const CALLS: usize = 1_000;
    let address = free_address();
    let sipp = Command::new("sipp")
        .args(["-sn", "uas", "-i", "127.0.0.1", "-mi", "127.0.0.1", "-nostdin"])
        .args(["-p", &address.port().to_string(), "-m", &CALLS.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sipp is installed (Debian's sip-tester; `cargo xtask test` installs it)");
    let mut sipp = Peer(sipp);
    let (_server, receiver, client) = server_towards(address, &Setting::default()).await;
    let voice = client.upload_recording(&Recording::wav(tone(440.0, 0.2))).await.expect("taken");
    let mut wanted =
        sim::client::VoiceNotification::new("8899", vec![sim::client::Entry::recording(voice)]);
    wanted.call_back_url = Some(receiver.url());
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (client, wanted) = (client.clone(), wanted.clone());
        requests.spawn(async move {
            for _ in 0..CALLS / 20 {
                client.notify(&wanted).await.expect("accepted");
            }
        });
    }
    requests.join_all().await;
    let all = receiver.callbacks().distinct_reached(CALLS as u64);
    tokio::time::timeout(PATIENCE, all).await.expect("each call has its callback");
    let played = receiver
        .callbacks()
        .all()
        .iter()
        .filter(|callback| callback.field("releaseReason").as_deref() == Some("1"))
        .count();
    assert_eq!(played, CALLS, "each was played to its end");
    let ended = tokio::task::spawn_blocking(move || sipp.0.wait()).await.expect("it is joined");
    assert!(ended.expect("it ends").success(), "sipp counts no failed call");
}

#[tokio::test(flavor = "multi_thread")]
async fn baresip_hears_the_recording() {
    baresip_hears("", "off").await;
}

/// libsrtp's keys and packets against ours.
#[tokio::test(flavor = "multi_thread")]
async fn baresip_hears_the_recording_encrypted() {
    baresip_hears(";mediaenc=srtp-mand", "required").await;
    baresip_hears(";mediaenc=srtp", "optional").await;
}

async fn baresip_hears(encryption: &str, srtp: &str) {
    let baresip = Baresip::start(|at| {
        let account = format!("<sip:8899@{at};transport=udp>;regint=0;answermode=auto{encryption}");
        (account, "baresip is ready")
    });
    let setting = Setting { trunk: format!("srtp = \"{srtp}\""), ..Setting::default() };
    let (server, receiver, client) = server_towards(baresip.address, &setting).await;
    let voice = client.upload_recording(&Recording::wav(tone(440.0, 2.0))).await.expect("taken");
    let mut wanted =
        sim::client::VoiceNotification::new("8899", vec![sim::client::Entry::recording(voice)]);
    wanted.call_back_url = Some(receiver.url());
    let serial = client.notify(&wanted).await.expect("accepted");
    let released = receiver
        .callbacks()
        .received(|callback| callback.field("callSerialNo").as_deref() == Some(serial.as_str()));
    let released = tokio::time::timeout(PATIENCE, released).await.expect("it is called back");
    assert_eq!(released.field("releaseReason").as_deref(), Some("1"));
    let timeline = client.timeline(&serial).await.expect("a timeline").to_string();
    let encrypted = timeline.contains("\"srtp\":\"AES_CM_128_HMAC_SHA1_80\"");
    assert_eq!(encrypted, srtp != "off", "{timeline}");
    drop(server);

    let samples = baresip.heard();
    let begins =
        samples.iter().position(|sample| sample.abs() > 3_000).expect("it heard something");
    let share = detect::share(&samples[begins..begins + 8_000], 440.0);
    assert!(share > 0.9, "440 Hz holds {share} of what baresip heard");
}
