//! Two legs that hear each other: every pair of codecs, and one stream to each far side whatever happens behind it.

mod apart;
mod digits;
mod holding;
mod passing;
mod recording;
mod wide;

use std::time::{Duration, Instant};

use crate::world::{PATIENCE, Peer, Rtp, World, loud_blocks, rtp, share, tone};
use media::{Codec, Command, Config, Ear, Event, LegId, Srtp};

const A: LegId = LegId(1);
const B: LegId = LegId(2);

/// A leg of the server's and the simulated phone that it calls, which has one codec; with an ear at the phone.
fn dial(
    world: &mut World,
    leg: LegId,
    beside: Option<LegId>,
    codec: Codec,
    srtp: Srtp,
) -> (LegId, Ear) {
    let (phone, codecs) = (LegId(leg.0 + 1000), Codec::ALL.to_vec());
    world.send(Command::Offer { leg, codecs, dtmf: true, srtp, beside });
    let (offer, _) = world.offered(leg);
    let codecs = vec![codec];
    world.send(Command::Answer { leg: phone, offer, codecs, srtp, beside: None });
    let (sdp, _) = world.answered(phone);
    world.send(Command::Remote { leg, sdp });
    world.negotiated(leg);
    world.negotiated(phone);
    let ear = Ear::new(Duration::from_secs(30));
    world.send(Command::Listen { leg: phone, sink: ear.sink() });
    (phone, ear)
}

/// A leg of the server's that calls a bare peer, and its port.
fn dial_peer(
    world: &mut World,
    leg: LegId,
    beside: Option<LegId>,
    peer: &Peer,
    formats: &str,
) -> u16 {
    let (codecs, srtp) = (Codec::ALL.to_vec(), Srtp::Off);
    world.send(Command::Offer { leg, codecs, dtmf: true, srtp, beside });
    let (_, port) = world.offered(leg);
    world.send(Command::Remote { leg, sdp: peer.sdp(formats, "") });
    world.negotiated(leg);
    port
}

fn bridge(world: &mut World, leg: LegId, with: LegId) -> bool {
    world.send(Command::Bridge { leg, with });
    world.wait("Bridged", |event| match event {
        Event::Bridged { leg: told, with: other, relayed } if (*told, *other) == (leg, with) => {
            Some(*relayed)
        }
        _ => None,
    })
}

#[test]
fn each_hears_the_others_tone_whatever_the_two_codecs_are() {
    // Four calls at a time: more would ask too much of a machine that runs other tests beside this.
    for one in Codec::ALL {
        let mut world = World::new(Config { threads: 2, ..Config::default() });
        let mut calls = Vec::new();
        for (n, other) in (0..).zip(Codec::ALL) {
            let (a, b) = (LegId(2 * n), LegId(2 * n + 1));
            let at_a = dial(&mut world, a, None, one, Srtp::Off);
            let at_b = dial(&mut world, b, Some(a), other, Srtp::Off);
            assert_eq!(bridge(&mut world, a, b), one == other, "{one:?} {other:?}");
            world.play(at_a.0, 700, &[tone(700.0, 400)], 1);
            world.play(at_b.0, 1200, &[tone(1200.0, 400)], 1);
            calls.push(((one, other), [a, b], [at_a, at_b]));
        }
        for (codecs, legs, [at_a, at_b]) in calls {
            assert_hears(&at_a.1, 1200.0, &format!("{codecs:?}"));
            assert_hears(&at_b.1, 700.0, &format!("{codecs:?}"));
            for leg in legs {
                let stats = world.close(leg);
                // A phone's first packet may come before its answer has been read, which makes it a stranger's.
                let dropped = (stats.invalid_packets, stats.send_errors, stats.foreign_packets / 5);
                assert_eq!(dropped, (0, 0, 0), "{codecs:?}: {stats:?}");
                assert!(stats.packets_sent >= 10 && stats.packets_received >= 10, "{codecs:?}");
                assert!(stats.mos.unwrap() > 3.5, "{codecs:?}: {stats:?}");
            }
        }
    }
}

/// Waits until half of a tone of 400 ms has been heard: a machine that stalls costs some of it.
fn assert_hears(ear: &Ear, hz: f32, what: &str) {
    let heard = until(|| {
        let heard = ear.samples();
        (loud_blocks(&heard) >= 10).then_some(heard)
    });
    assert!(share(&heard, hz) > 0.8, "{what} at {hz}: {}", share(&heard, hz));
}

/// Both phones say something, and each hears the other.
fn assert_talk(world: &mut World, a: &(LegId, Ear), b: &(LegId, Ear), what: &str) {
    for (_, ear) in [a, b] {
        until(|| {
            let heard = ear.samples();
            let last = &heard[heard.len().checked_sub(800)?..];
            (loud_blocks(last) == 0).then_some(())
        });
        ear.take();
    }
    world.play(a.0, 700, &[tone(700.0, 400)], 1);
    world.play(b.0, 1200, &[tone(1200.0, 400)], 1);
    world.play_finished(a.0, 700);
    world.play_finished(b.0, 1200);
    assert_hears(&a.1, 1200.0, what);
    assert_hears(&b.1, 700.0, what);
}

/// Sends audio of ten packets whose payloads are `mark`, `mark + 1`, …, with the first of this number and time.
fn say(peer: &Peer, port: u16, ssrc: u32, (sequence, timestamp): (u16, u32), mark: u8) {
    for n in 0..10u8 {
        let (sequence, timestamp) =
            (sequence.wrapping_add(u16::from(n)), timestamp.wrapping_add(160 * u32::from(n)));
        let packet = rtp(8, sequence, timestamp, ssrc, &[mark + n; 160]);
        peer.rtp.send_to(&packet, ("127.0.0.1", port)).unwrap();
    }
}

/// Whether a packet of PCMA is neither silence nor one of [`say`].
fn is_tone(packet: &Rtp) -> bool {
    let first = packet.payload[0];
    packet.payload.iter().any(|code| *code != first && (code ^ 0xD5) & 0x70 >= 0x40)
}

/// Receives until a packet whose every byte is `mark`.
fn receive_until(peer: &Peer, mark: u8, packets: &mut Vec<Rtp>) {
    while packets.last().is_none_or(|packet| packet.payload != [mark; 160]) {
        packets.push(peer.receive());
        assert!(packets.len() < 1_000, "{mark} never came");
    }
}

#[test]
fn a_far_side_gets_one_stream_without_a_break_from_the_ringing_tone_to_the_last_announcement() {
    let mut world = World::new(Config::default());
    let (at_a, at_b) = (Peer::new("127.0.0.1"), Peer::new("127.0.0.1"));
    dial_peer(&mut world, A, None, &at_a, "8");
    let port = dial_peer(&mut world, B, Some(A), &at_b, "8");
    let mut packets = Vec::new();
    world.send(Command::Ringback { leg: A });
    while !packets.last().is_some_and(is_tone) {
        packets.push(at_a.receive());
        assert!(packets.len() < 500);
    }
    world.send(Command::Forward { from: B, to: A });
    say(&at_b, port, 5, (65_530, u32::MAX - 1000), 0x10);
    receive_until(&at_a, 0x19, &mut packets);
    assert!(bridge(&mut world, A, B));
    say(&at_b, port, 5, (4, (u32::MAX - 1000).wrapping_add(1600)), 0x20);
    receive_until(&at_a, 0x29, &mut packets);
    // Another source with numbers and times of its own, as after a transfer behind the trunk.
    say(&at_b, port, 6, (40_000, 160), 0x30);
    receive_until(&at_a, 0x39, &mut packets);
    // The same source with times that begin again.
    say(&at_b, port, 6, (40_010, 0), 0x40);
    receive_until(&at_a, 0x49, &mut packets);
    world.send(Command::Unbridge { leg: A });
    world.play(A, 1, &[tone(1000.0, 100)], 1);
    while !packets[packets.len() - 5..].iter().all(is_tone) {
        packets.push(at_a.receive());
        assert!(packets.len() < 1_000);
    }
    for (before, packet) in packets.iter().zip(&packets[1..]) {
        assert_eq!(packet.ssrc, before.ssrc);
        assert_eq!(packet.sequence, before.sequence.wrapping_add(1), "{before:?} {packet:?}");
        let step = packet.timestamp.wrapping_sub(before.timestamp);
        assert!((160..8_000).contains(&step), "{step} between {before:?} and {packet:?}");
    }
    let begins = |mark| packets.iter().find(|packet| packet.payload == [mark; 160]).unwrap().marker;
    assert!([0x10, 0x30, 0x40].iter().all(|&mark| begins(mark)), "each begins a talk spurt");
    assert!(!begins(0x20), "the bridge is the forward's continuation");
    let passed: Vec<u8> = packets
        .iter()
        .filter(|packet| packet.payload.iter().all(|code| *code == packet.payload[0]))
        .map(|packet| packet.payload[0])
        .filter(|mark| (0x10..0x50).contains(mark))
        .collect();
    let said: Vec<u8> =
        [0x10..0x1A, 0x20..0x2A, 0x30..0x3A, 0x40..0x4A].into_iter().flatten().collect();
    assert_eq!(passed, said, "every packet once and in order");
}

/// Asks until there is an answer.
fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let limit = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < limit, "nothing came of it");
        std::thread::yield_now();
    }
}
