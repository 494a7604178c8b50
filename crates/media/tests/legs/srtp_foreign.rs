//! SRTP judged by ffmpeg, whose implementation shares nothing with ours.

use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use bytes::Bytes;
use media::sdp;
use media::srtp::{MasterKey, Suite};
use media::{Codec, Command, Config, Ear, LatchMode, LegId, Srtp};

use crate::world::{PATIENCE, Peer, World, loud_blocks, share, tone};

const A: LegId = LegId(1);

/// Killed when dropped.
struct Ffmpeg(Child);

impl Drop for Ffmpeg {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ffmpeg(arguments: &[&str]) -> Ffmpeg {
    let child = Process::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("ffmpeg is installed (Debian's ffmpeg; `cargo xtask test` installs it)");
    Ffmpeg(child)
}

/// An SRTP description of `peer` that answers the offer's first key.
fn answer(peer: &Peer, key: &MasterKey) -> Bytes {
    let crypto = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{}", key.to_base64());
    let sdp = peer.sdp("8", &format!("a=crypto:{crypto}\r\n"));
    std::str::from_utf8(&sdp).unwrap().replace("RTP/AVP", "RTP/SAVP").into()
}

#[test]
fn ffmpeg_hears_an_encrypted_leg() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new(Config::default());
    let (offer, _) = world.offer_srtp(A, &[Codec::Pcma], Srtp::Required);
    let own = sdp::parse_for(Srtp::Required, &offer).unwrap().audio.crypto.lines.remove(0);
    // It cannot take port 0, so it gets one that the system had free a moment ago.
    let peer = Peer::new("127.0.0.1");
    let (theirs, port) =
        (answer(&peer, &MasterKey::random(own.key.suite())), peer.address().port());
    drop(peer);
    let (description, heard) =
        (directory.path().join("leg.sdp"), directory.path().join("heard.wav"));
    let text = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio {port} RTP/SAVP 8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{}\r\n",
        own.key.to_base64()
    );
    std::fs::write(&description, text).unwrap();
    let mut listening = ffmpeg(&[
        "-protocol_whitelist",
        "file,rtp,srtp,udp",
        "-i",
        description.to_str().unwrap(),
        "-t",
        "1",
        heard.to_str().unwrap(),
    ]);
    world.send(Command::Remote { leg: A, sdp: theirs });
    world.negotiated(A);
    // Repeated until it has heard a second of it, and longer than it takes to start.
    world.play(A, 1, &[tone(1000.0, 400)], u8::MAX);
    let done = std::thread::spawn(move || listening.0.wait().unwrap());
    let until = std::time::Instant::now() + PATIENCE;
    while !done.is_finished() && std::time::Instant::now() < until {
        std::thread::yield_now();
    }
    assert!(done.is_finished(), "ffmpeg heard nothing that it understood");
    assert!(done.join().unwrap().success());
    let samples = media::Clip::decode(&std::fs::read(heard).unwrap()).unwrap().samples();
    assert!(samples.len() > 7_000 && share(&samples, 1000.0) > 0.9, "{}", share(&samples, 1000.0));
    assert!(loud_blocks(&samples) > 40, "{}", loud_blocks(&samples));
}

#[test]
fn an_encrypted_leg_hears_ffmpeg() {
    // Its source port is its own choice.
    let mut world = World::new(Config { latching: LatchMode::Nat, ..Config::default() });
    let (_, port) = world.offer_srtp(A, &[Codec::Pcma], Srtp::Required);
    let key = MasterKey::random(Suite::AesCm128HmacSha1);
    let named = Peer::new("127.0.0.1");
    world.send(Command::Remote { leg: A, sdp: answer(&named, &key) });
    world.negotiated(A);
    let ear = Ear::new(Duration::from_secs(10));
    world.send(Command::Listen { leg: A, sink: ear.sink() });
    let mut sending = ffmpeg(&[
        "-re",
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=1000:sample_rate=8000:duration=1",
        "-af",
        "volume=12dB",
        "-c:a",
        "pcm_alaw",
        "-f",
        "rtp",
        "-srtp_out_suite",
        "AES_CM_128_HMAC_SHA1_80",
        "-srtp_out_params",
        &key.to_base64(),
        &format!("srtp://127.0.0.1:{port}?pkt_size=172"),
    ]);
    assert!(sending.0.wait().unwrap().success());
    let stats = world.close(A);
    assert_eq!((stats.forged_packets, stats.replayed_packets, stats.lost), (0, 0, 0), "{stats:?}");
    assert!(stats.packets_received > 30, "{stats:?}");
    // It sends by a clock of its own, so the jitter buffer has to bend some of it.
    assert!(share(&ear.samples(), 1000.0) > 0.8, "{}", share(&ear.samples(), 1000.0));
}
