//! Foreign programs as the far side of a trunk: what `sim` and the server both get wrong would show here.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ::media::{Clip, detect};
use sim::client::Recording;
use sim::{CallbackReceiver, Client};
use tempfile::TempDir;

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

/// A baresip, and where it listens. Somebody else may take the port before it does: then another one.
fn baresip(directory: &Path, encryption: &str) -> (Peer, SocketAddr) {
    let tries = std::iter::repeat_with(free_address).take(5);
    let mut started = tries.filter_map(|at| Some((baresip_at(directory, at, encryption)?, at)));
    started.next().expect("baresip starts")
}

/// `encryption`: what baresip's account says of it; empty: none.
fn baresip_at(directory: &Path, address: SocketAddr, encryption: &str) -> Option<Peer> {
    let source = directory.join("source.wav");
    std::fs::write(&source, tone(300.0, 20.0)).expect("a file");
    let config = format!(
        "sip_listen {address}\nnet_interface 127.0.0.1\naudio_player aubridge,heard\n\
         audio_source aufile,{}\naudio_alert aubridge,alert\nausrc_srate 8000\nauplay_srate 8000\n\
         snd_path {}\nmodule_path /usr/lib/baresip/modules\nmodule g711.so\nmodule aufile.so\n\
         module aubridge.so\nmodule sndfile.so\nmodule srtp.so\nmodule_app account.so\nmodule_app menu.so\n",
        source.display(),
        directory.display()
    );
    let account =
        format!("<sip:8899@{address};transport=udp>;regint=0;answermode=auto{encryption}\n");
    for (name, text) in [("config", config), ("accounts", account), ("contacts", String::new())] {
        std::fs::write(directory.join(name), text).expect("a file");
    }
    let mut child = Command::new("baresip")
        .args(["-f", &directory.display().to_string(), "-v"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("baresip is installed (Debian's baresip-core; `cargo xtask test` installs it)");
    let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut lines = stdout.lines();
    let ready = lines.any(|line| line.is_ok_and(|line| line.contains("baresip is ready")));
    let peer = Peer(child);
    // Read on, so that it never waits for its own output.
    std::thread::spawn(move || lines.for_each(drop));
    ready.then_some(peer)
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
    let directory = TempDir::new().expect("a directory");
    let (baresip, address) = baresip(directory.path(), encryption);
    let setting = Setting { trunk: format!("srtp = \"{srtp}\""), ..Setting::default() };
    let (server, receiver, client) = server_towards(address, &setting).await;
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
    drop((baresip, server));

    let files = std::fs::read_dir(directory.path()).expect("a directory");
    let mut names = files.map(|file| file.expect("an entry").path());
    let heard = names.find(|path| path.to_string_lossy().ends_with("-dec.wav"));
    let heard = std::fs::read(heard.expect("baresip wrote what it heard")).expect("a file");
    let samples = Clip::decode(&patched(heard)).expect("a WAV file").samples();
    let begins =
        samples.iter().position(|sample| sample.abs() > 3_000).expect("it heard something");
    let share = detect::share(&samples[begins..begins + 8_000], 440.0);
    assert!(share > 0.9, "440 Hz holds {share} of what baresip heard");
}

/// baresip patches the sizes of its file when a call ends in order; killed, it leaves zeros.
fn patched(mut wav: Vec<u8>) -> Vec<u8> {
    let length = wav.len() as u32;
    wav[4..8].copy_from_slice(&(length - 8).to_le_bytes());
    wav[40..44].copy_from_slice(&(length - 44).to_le_bytes());
    wav
}
