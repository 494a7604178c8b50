//! A recording of a bridged leg: a party per channel, beside each other in time.

use std::net::SocketAddr;
use std::path::Path;

use super::{A, B, assert_talk, bridge, dial, until};
use crate::world::{Peer, World, rtp};
use media::codec::{Band, Encoder};
use media::fuzzing::{FedLeg, Port};
use media::{Codec, Command, Config, Event, RecordMode, Srtp, detect};

fn record(world: &World, path: &Path) {
    let path = path.to_owned();
    world.send(Command::Record { leg: A, path, mode: RecordMode::Both, seal: None });
}

/// Left and right, once the recording of A is closed.
fn recorded(world: &mut World, path: &Path) -> [Vec<i16>; 2] {
    world.close(A);
    world.wait("RecordingDone", |event| {
        matches!(event, Event::RecordingDone { leg: A, .. }).then_some(())
    });
    channels(&std::fs::read(path).unwrap())
}

fn channels(file: &[u8]) -> [Vec<i16>; 2] {
    [0, 1].map(|channel| {
        file[58..]
            .chunks_exact(2)
            .map(|frame| audio_codec_algorithms::decode_alaw(frame[channel]))
            .collect()
    })
}

fn blocks_of(samples: &[i16], hz: f32) -> usize {
    let is_tone = |block: &&[i16]| detect::rms(block) > 1000.0 && detect::share(block, hz) > 0.8;
    samples.chunks_exact(160).filter(is_tone).count()
}

#[test]
fn each_party_has_its_channel_however_the_audio_passes() {
    let directory = tempfile::tempdir().unwrap();
    for other in Codec::ALL {
        let mut world = World::new(Config::default());
        let a = dial(&mut world, A, None, Codec::Pcma, Srtp::Off);
        let b = dial(&mut world, B, Some(A), other, Srtp::Off);
        bridge(&mut world, A, B);
        let path = directory.path().join(other.name());
        record(&world, &path);
        assert_talk(&mut world, &a, &b, &format!("{other:?}"));
        let [left, right] = recorded(&mut world, &path);
        // 20 blocks were said; the ends of a tone and a stall of this machine cost some.
        for (channel, own, others) in [(left, 700.0, 1200.0), (right, 1200.0, 700.0)] {
            assert!((10..=22).contains(&blocks_of(&channel, own)), "{other:?}: {own}");
            assert_eq!(blocks_of(&channel, others), 0, "{other:?}: {own}");
        }
    }
}

/// Where loud stretches begin, in blocks of 20 ms.
fn onsets(samples: &[i16]) -> Vec<usize> {
    let loud: Vec<bool> =
        samples.chunks_exact(160).map(|block| detect::rms(block) > 1000.0).collect();
    (5..loud.len()).filter(|&n| loud[n] && !loud[n - 5..n].contains(&true)).collect()
}

/// A party of a call whose time we make: its address and leg, and the next of its packets.
struct Fed {
    from: SocketAddr,
    leg: FedLeg,
    codec: Codec,
    encoder: Encoder,
    next: u16,
}

impl Fed {
    fn new(peer: &Peer, codec: Codec) -> Self {
        let kind = codec.payload_type().to_string();
        let (leg, _) = FedLeg::answering(&peer.sdp(&kind, ""), false).unwrap();
        let encoder = Encoder::new(codec, Band::best(codec, Band::Narrow));
        Fed { from: peer.address(), leg, codec, encoder, next: 0 }
    }

    /// The next 20 ms, loud or not.
    fn packet(&mut self, is_loud: bool) -> Vec<u8> {
        let frame = Band::best(self.codec, Band::Narrow).frame();
        let samples = match is_loud {
            true => media::tone::sine(1000.0, frame as u32 / 8, 16_000),
            false => vec![0; frame],
        };
        let mut payload = Vec::new();
        self.encoder.encode(&samples, &mut payload);
        let n = self.next;
        self.next += 1;
        rtp(self.codec.payload_type(), n, u32::from(n) * 160, 9, &payload)
    }

    fn bring(&mut self, packet: &[u8]) {
        self.leg.packet(Port::Rtp, self.from, packet);
    }
}

#[test]
fn what_was_said_at_a_time_stays_beside_each_other_over_losses_and_a_stall() {
    let directory = tempfile::tempdir().unwrap();
    for codec in [Codec::Pcma, Codec::Pcmu, Codec::G722] {
        let (at_a, at_b) = (Peer::new("127.0.0.1"), Peer::new("127.0.0.1"));
        let (mut a, mut b) = (Fed::new(&at_a, Codec::Pcma), Fed::new(&at_b, codec));
        a.leg.bridge(&mut b.leg);
        let path = directory.path().join(codec.name());
        a.leg.record(path.clone()).unwrap();
        // Both parties shout in the same packets, five of every 25.
        let is_loud = |n: u16| n % 25 >= 20;
        let mut held_back = Vec::new();
        for n in 0..1_000u16 {
            let (from_a, from_b) = (a.packet(is_loud(n)), b.packet(is_loud(n)));
            if n % 7 != 0 {
                a.bring(&from_a);
            }
            if n % 11 != 0 {
                held_back.push(from_b);
            }
            // B's network holds back 300 ms once, and brings them all at once.
            if !(260..275).contains(&n) {
                held_back.drain(..).for_each(|packet| b.bring(&packet));
            }
            a.leg.hand_over(&mut b.leg);
            b.leg.hand_over(&mut a.leg);
            a.leg.tick();
            b.leg.tick();
        }
        drop(a);
        let whole = 58 + 1_000 * 320;
        let [left, right] = until(|| {
            let file = std::fs::read(&path).ok()?;
            (file.len() == whole).then(|| channels(&file).map(|channel| onsets(&channel)))
        });
        assert!(left.len() == 40 && right.len() >= 39, "{codec:?}: {left:?} {right:?}");
        // Of the stretch that was held back only the end came in time.
        let beside = |n: &&usize| left.iter().any(|other| other.abs_diff(**n) <= 2);
        let astray = right.iter().filter(|n| !beside(n) && !(274..278).contains(*n));
        assert_eq!(astray.count(), 0, "{codec:?}: {left:?} {right:?}");
    }
}
