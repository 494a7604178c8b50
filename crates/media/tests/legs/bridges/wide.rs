//! The wide band from one codec into another, as ffmpeg hears it.

use super::{A, B, bridge};
use crate::foreign::{encode, ogg, path, run, samples, wide_tone};
use crate::world::{Peer, World, rtp};
use media::codec::Band;
use media::{Codec, Command, Config, LegId, Srtp, detect};

/// Above all that a telephone carries.
const HZ: f32 = 5_000.0;
const TONE_MS: u32 = 600;
/// Packets of the tone, and of the silence before and behind it in which the jitter buffer is.
const PACKETS: u16 = TONE_MS as u16 / 20 + 20;

#[test]
fn a_tone_of_5_khz_crosses_from_g722_into_opus() {
    let packets = crossed(Codec::G722, Codec::Opus);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("crossed.opus");
    std::fs::write(&file, ogg(&packets)).unwrap();
    assert_tone(&ffmpeg(&["-i", path(&file)], b""));
}

#[test]
fn a_tone_of_5_khz_crosses_from_opus_into_g722() {
    let packets = crossed(Codec::Opus, Codec::G722);
    assert_tone(&ffmpeg(&["-f", "g722", "-i", "pipe:0"], &packets.concat()));
}

/// Sends the tone to one leg in its codec, and gives what comes from the other in its own.
fn crossed(from: Codec, into: Codec) -> Vec<Vec<u8>> {
    let tone = encode(from, Band::Wide, &wide_tone(HZ, TONE_MS));
    let mut world = World::new(Config::default());
    let (sender, receiver) = (Peer::new("127.0.0.1"), Peer::new("127.0.0.1"));
    let port = dial(&mut world, A, None, (&sender, from));
    dial(&mut world, B, Some(A), (&receiver, into));
    assert!(!bridge(&mut world, A, B), "nothing passes undecoded");
    // What has come by now says nothing of the time.
    receiver.rtp.set_nonblocking(true).unwrap();
    while receiver.rtp.recv(&mut [0; 2_048]).is_ok() {}
    receiver.rtp.set_nonblocking(false).unwrap();
    let mut tone = tone.iter();
    let mut came = Vec::new();
    for n in 0..PACKETS {
        // What comes every 20 ms is the clock of what goes.
        came.push(receiver.receive().payload);
        if let Some(payload) = tone.next() {
            let time = u32::from(n) * from.frame_ticks();
            let packet = rtp(from.payload_type(), n, time, 9, payload);
            sender.rtp.send_to(&packet, ("127.0.0.1", port)).unwrap();
        }
    }
    came
}

/// A leg of the server's that calls a bare peer which has this codec, and its port.
fn dial(
    world: &mut World,
    leg: LegId,
    beside: Option<LegId>,
    (peer, codec): (&Peer, Codec),
) -> u16 {
    world.send(Command::Offer { leg, codecs: vec![codec], dtmf: false, srtp: Srtp::Off, beside });
    let (_, port) = world.offered(leg);
    let number = codec.payload_type();
    let channels = if codec == Codec::Opus { "/2" } else { "" };
    let line = format!("a=rtpmap:{number} {}/{}{channels}\r\n", codec.name(), codec.clock());
    world.send(Command::Remote { leg, sdp: peer.sdp(&number.to_string(), &line) });
    world.negotiated(leg);
    port
}

/// What ffmpeg makes of it, mono at 16 kHz.
fn ffmpeg(source: &[&str], input: &[u8]) -> Vec<i16> {
    let pcm = ["-f", "s16le", "-ar", "16000", "-ac", "1", "pipe:1"];
    samples(&run("ffmpeg", &[&["-v", "error"], source, &pcm].concat(), input))
}

/// Half of the tone is there, however much of the rest a stall of the machine has cost.
fn assert_tone(heard: &[i16]) {
    let frames = heard.chunks_exact(Band::Wide.frame());
    let loud: Vec<&[i16]> = frames.filter(|frame| detect::rms(frame) > 3_000.0).collect();
    assert!(loud.len() >= 15, "{} frames are loud", loud.len());
    // The detector works at 8 kHz: at 16 kHz half the number is the same tone.
    let sum: f32 = loud.iter().map(|frame| detect::share(frame, HZ / 2.0)).sum();
    let share = sum / loud.len() as f32;
    assert!(share > 0.8, "{share} of what is loud");
}
