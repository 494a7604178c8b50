//! Two legs that hear each other: every pair of codecs, and one stream to each far side whatever happens behind it.

use std::time::{Duration, Instant};

use crate::world::{PATIENCE, Peer, Rtp, World, rtp, share, tone};
use media::{Codec, Command, Config, Ear, Event, LegId, Srtp};

const A: LegId = LegId(1);
const B: LegId = LegId(2);

/// A leg of the server's and the simulated phone that it calls, with an ear at the phone.
fn dial(
    world: &mut World,
    leg: LegId,
    beside: Option<LegId>,
    codec: Codec,
    srtp: Srtp,
) -> (LegId, Ear) {
    let phone = LegId(leg.0 + 1000);
    world.send(Command::Offer { leg, codecs: vec![codec], dtmf: true, srtp, beside });
    let (offer, _) = world.offered(leg);
    world.send(Command::Answer { leg: phone, offer, codecs: vec![codec], srtp, beside: None });
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
    let mut world = World::new(Config { threads: 2, ..Config::default() });
    let mut calls = Vec::new();
    for (n, (one, other)) in
        Codec::ALL.iter().flat_map(|one| Codec::ALL.map(|other| (*one, other))).enumerate()
    {
        let (a, b) = (LegId(2 * n as u64), LegId(2 * n as u64 + 1));
        let (phone_a, ear_a) = dial(&mut world, a, None, one, Srtp::Off);
        let (phone_b, ear_b) = dial(&mut world, b, Some(a), other, Srtp::Off);
        assert_eq!(bridge(&mut world, a, b), one == other, "{one:?} {other:?}");
        calls.push(((one, other), [a, b, phone_a, phone_b], [ear_a, ear_b]));
    }
    for (_, [.., phone_a, phone_b], _) in &calls {
        world.play(*phone_a, 1, &[tone(700.0, 400)], 1);
        world.play(*phone_b, 2, &[tone(1200.0, 400)], 1);
    }
    for (_, [.., phone_a, phone_b], _) in &calls {
        world.play_finished(*phone_a, 1);
        world.play_finished(*phone_b, 2);
    }
    for (codecs, _, [at_a, at_b]) in &calls {
        for (ear, hz) in [(at_a, 1200.0), (at_b, 700.0)] {
            let heard = until(|| {
                let heard = ear.samples();
                (crate::world::loud_blocks(&heard) >= 17).then_some(heard)
            });
            assert!(share(&heard, hz) > 0.9, "{codecs:?} at {hz}: {}", share(&heard, hz));
        }
    }
    for (codecs, [a, b, ..], _) in &calls {
        for leg in [*a, *b] {
            let stats = world.close(leg);
            assert_eq!((stats.lost, stats.foreign_packets, stats.invalid_packets), (0, 0, 0));
            assert!(stats.packets_sent >= 17 && stats.packets_received >= 17, "{codecs:?}");
            assert!(stats.mos.unwrap() > 4.0, "{codecs:?}");
        }
    }
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
    say(&at_b, port, 6, (9_000, 160), 0x30);
    receive_until(&at_a, 0x39, &mut packets);
    // The same source with times that begin again.
    say(&at_b, port, 6, (9_010, 0), 0x40);
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
