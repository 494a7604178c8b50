//! What is passed on, when, and from whom.

use std::time::{Duration, Instant};

use super::{A, B, assert_talk, bridge, dial, dial_peer, receive_until, say};
use crate::strangers::intrude;
use crate::world::{Peer, World, rtp};
use media::{Codec, Config, LatchMode, Srtp};

#[test]
fn gaps_order_and_lengths_are_passed_on_as_they_came_and_doubles_are_not() {
    let mut world = World::new(Config::default());
    let (at_a, at_b) = (Peer::new("127.0.0.1"), Peer::new("127.0.0.1"));
    dial_peer(&mut world, A, None, &at_a, "0");
    let port = dial_peer(&mut world, B, Some(A), &at_b, "0");
    bridge(&mut world, A, B);
    // Packets of 40 ms: two late ones, a lost one, doubles of a new and of an old one, and one from before the beginning.
    for n in [10u16, 11, 12, 15, 14, 15, 13, 17, 18, 11, 5, 19] {
        let payload = [n as u8; 320];
        let packet = rtp(0, n, 70_000 + 320 * u32::from(n), 9, &payload);
        at_b.rtp.send_to(&packet, ("127.0.0.1", port)).unwrap();
    }
    let mut packets: Vec<(u8, u16, u32)> = Vec::new();
    while packets.last().is_none_or(|(n, ..)| *n != 19) {
        let packet = at_a.receive();
        if packet.payload.len() == 320 {
            assert!(packet.payload.iter().all(|code| *code == packet.payload[0]));
            packets.push((packet.payload[0], packet.sequence, packet.timestamp));
        }
    }
    let (_, sequence, timestamp) = packets[0];
    let expected: Vec<_> = [10u8, 11, 12, 15, 14, 13, 17, 18, 19]
        .map(|n| {
            let step = n - 10;
            let sequence = sequence.wrapping_add(u16::from(step));
            (n, sequence, timestamp.wrapping_add(320 * u32::from(step)))
        })
        .to_vec();
    assert_eq!(packets, expected);
}

#[test]
fn a_packet_goes_on_as_it_comes_and_not_at_a_tick() {
    let mut world = World::new(Config::default());
    let (at_a, at_b) = (Peer::new("127.0.0.1"), Peer::new("127.0.0.1"));
    dial_peer(&mut world, A, None, &at_a, "8");
    let port = dial_peer(&mut world, B, Some(A), &at_b, "0");
    bridge(&mut world, A, B);
    let send = |n: u16, mark: u8| {
        let packet = rtp(0, n, u32::from(n) * 160, 9, &[mark; 160]);
        at_b.rtp.send_to(&packet, ("127.0.0.1", port)).unwrap();
    };
    // Law by law these two codes say much the same.
    let (sent, received) = (0x10, 0x3A);
    send(0, sent);
    while at_a.receive().payload != [received; 160] {}
    let start = Instant::now();
    for n in 1..=100 {
        send(n, sent);
        assert_eq!(at_a.receive().payload, [received; 160]);
    }
    let took = start.elapsed();
    assert!(took < Duration::from_millis(1_000), "a hundred ticks would be two seconds: {took:?}");
}

#[test]
fn more_than_a_tick_may_bring_waits_for_the_next_and_is_passed_on() {
    let mut world = World::new(Config::default());
    let (at_a, at_b) = (Peer::new("127.0.0.1"), Peer::new("127.0.0.1"));
    dial_peer(&mut world, A, None, &at_a, "8");
    let port = dial_peer(&mut world, B, Some(A), &at_b, "8");
    bridge(&mut world, A, B);
    let mut packets = Vec::new();
    for round in 0..4u16 {
        for burst in 0..8u16 {
            let first = (round * 8 + burst) * 10;
            say(&at_b, port, 7, (first, u32::from(first) * 160), 0x10 + 10 * burst as u8);
        }
        receive_until(&at_a, 0x10 + 79, &mut packets);
        packets.push(at_a.receive());
    }
    let marks = packets.iter().filter(|packet| (0x10..0x60).contains(&packet.payload[0]));
    assert_eq!(marks.count(), 4 * 80);
}

#[test]
fn a_stranger_is_never_passed_on_and_gets_nothing() {
    for latching in [LatchMode::SdpOnly, LatchMode::Nat] {
        let mut world = World::new(Config { latching, ..Config::default() });
        let (at_a, at_b) = (Peer::new("127.0.0.1"), Peer::new("127.0.0.1"));
        dial_peer(&mut world, A, None, &at_a, "8");
        let port = dial_peer(&mut world, B, Some(A), &at_b, "8");
        bridge(&mut world, A, B);
        let mut packets = Vec::new();
        say(&at_b, port, 5, (100, 16_000), 0x10);
        receive_until(&at_a, 0x19, &mut packets);
        let stranger = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
        intrude(&stranger, port);
        say(&at_b, port, 5, (110, 17_600), 0x20);
        receive_until(&at_a, 0x29, &mut packets);
        let even = |payload: &[u8]| payload.iter().all(|code| *code == payload[0]);
        assert!(
            packets.iter().all(|packet| even(&packet.payload)),
            "{latching:?}: no tone of 440 Hz"
        );
        assert_eq!(world.close(B).foreign_packets, 60, "{latching:?}");
        stranger.set_nonblocking(true).unwrap();
        assert!(stranger.recv_from(&mut [0; 64]).is_err(), "{latching:?}");
    }
}

#[test]
fn one_side_may_be_encrypted_and_the_other_not() {
    for other in [Codec::Pcma, Codec::G722] {
        let mut world = World::new(Config::default());
        let a = dial(&mut world, A, None, Codec::Pcma, Srtp::Required);
        let b = dial(&mut world, B, Some(A), other, Srtp::Off);
        bridge(&mut world, B, A);
        assert_talk(&mut world, &a, &b, &format!("{other:?}"));
        for leg in [A, a.0] {
            let stats = world.close(leg);
            assert_eq!((stats.forged_packets, stats.replayed_packets), (0, 0), "{other:?}");
            assert_eq!(stats.send_errors, 0, "{other:?}");
        }
    }
}
