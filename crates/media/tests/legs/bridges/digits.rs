//! Keys that one party presses reach the other, and are told once for the leg that they came in on.

use std::time::Duration;

use super::{A, B, assert_talk, bridge, dial, until};
use crate::world::{Peer, World, rtp};
use media::{Codec, Command, Config, Ear, Event, LegId, Srtp};

fn digits(world: &mut World, of: LegId) -> Vec<(char, u32)> {
    world
        .seen(|event| matches!(event, Event::Digit { leg, .. } if *leg == of))
        .into_iter()
        .map(|event| match event {
            Event::Digit { digit, duration_ms, .. } => (digit, duration_ms),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn press(world: &mut World, leg: LegId, digits: &str) {
    world.send(Command::SendDigits { leg, digits: digits.into() });
    world.wait("DigitsSent", |event| {
        matches!(event, Event::DigitsSent { leg: told } if *told == leg).then_some(())
    });
}

#[test]
fn keys_cross_as_events_between_all_kinds_of_codecs() {
    for (one, other) in [
        (Codec::Pcma, Codec::Pcma),
        (Codec::Pcmu, Codec::Pcma),
        (Codec::G722, Codec::Pcma),
        (Codec::Pcma, Codec::Opus),
        (Codec::Opus, Codec::Pcmu),
        (Codec::Opus, Codec::Opus),
    ] {
        let mut world = World::new(Config::default());
        let a = dial(&mut world, A, None, one, Srtp::Off);
        let b = dial(&mut world, B, Some(A), other, Srtp::Off);
        bridge(&mut world, A, B);
        press(&mut world, a.0, "15#");
        assert_talk(&mut world, &a, &b, "audio goes on behind the keys");
        world.close(b.0);
        let pressed = [('1', 100), ('5', 100), ('#', 100)];
        assert_eq!(digits(&mut world, A), pressed, "{one:?} {other:?}: as they came in");
        assert_eq!(digits(&mut world, b.0), pressed, "{one:?} {other:?}: at the other phone");
        assert_eq!((digits(&mut world, B), digits(&mut world, a.0)), (vec![], vec![]));
    }
}

#[test]
fn a_far_side_that_takes_no_events_hears_tones() {
    for other in [Codec::Pcma, Codec::G722] {
        let mut world = World::new(Config::default());
        let a = dial(&mut world, A, None, Codec::Pcma, Srtp::Off);
        let phone = LegId(77);
        let (codecs, srtp) = (vec![other], Srtp::Off);
        let offer =
            Command::Offer { leg: B, codecs: codecs.clone(), dtmf: false, srtp, beside: Some(A) };
        world.send(offer);
        let (offer, _) = world.offered(B);
        world.send(Command::Answer { leg: phone, offer, codecs, srtp, beside: None });
        let (sdp, _) = world.answered(phone);
        world.send(Command::Remote { leg: B, sdp });
        world.negotiated(B);
        let ear = Ear::new(Duration::from_secs(10));
        world.send(Command::Listen { leg: phone, sink: ear.sink() });
        bridge(&mut world, A, B);
        press(&mut world, a.0, "0*7");
        until(|| {
            let heard = media::detect::DtmfDetector::new().feed(&ear.samples());
            (heard == ['0', '*', '7']).then_some(())
        });
        assert_talk(&mut world, &a, &(phone, ear), "audio goes on behind the tones");
        assert_eq!(digits(&mut world, A).len(), 3);
        let told = world.seen(|event| matches!(event, Event::DigitsSent { leg: B }));
        assert_eq!(told, [], "nobody asked for them");
    }
}

#[test]
fn keys_of_an_info_are_sent_into_a_bridge_that_goes_on_behind_them() {
    for other in [Codec::Pcma, Codec::Opus] {
        let mut world = World::new(Config::default());
        let a = dial(&mut world, A, None, Codec::Pcma, Srtp::Off);
        let b = dial(&mut world, B, Some(A), other, Srtp::Off);
        bridge(&mut world, A, B);
        assert_talk(&mut world, &a, &b, "before");
        press(&mut world, B, "42");
        assert_talk(&mut world, &a, &b, "after");
        world.close(b.0);
        assert_eq!(digits(&mut world, b.0), [('4', 100), ('2', 100)], "{other:?}");
    }
}

#[test]
fn the_packets_of_a_key_keep_its_time_get_the_far_sides_type_and_leave_no_gap_where_they_end() {
    let mut world = World::new(Config::default());
    let (at_a, at_b) = (Peer::new("127.0.0.1"), Peer::new("127.0.0.1"));
    let mut ports = Vec::new();
    for (leg, peer, events) in [(A, &at_a, 96), (B, &at_b, 100)] {
        let (codecs, srtp) = (vec![Codec::Pcma], Srtp::Off);
        world.send(Command::Offer { leg, codecs, dtmf: true, srtp, beside: Some(A) });
        let (_, port) = world.offered(leg);
        let map = format!("a=rtpmap:{events} telephone-event/8000\r\n");
        world.send(Command::Remote { leg, sdp: peer.sdp(&format!("8 {events}"), &map) });
        world.negotiated(leg);
        ports.push(port);
    }
    bridge(&mut world, A, B);
    // We gave out 101 for events. Audio, a key of three packets and three ends, comfort noise, audio.
    let mut packets = vec![rtp(8, 0, 0, 9, &[0x11; 160])];
    for (n, (end, duration)) in
        [(0u8, 160u16), (0, 320), (0, 480), (0x80, 640), (0x80, 640), (0x80, 640)]
            .into_iter()
            .enumerate()
    {
        let [high, low] = duration.to_be_bytes();
        packets.push(rtp(101, 1 + n as u16, 160, 9, &[7, end | 10, high, low]));
    }
    packets.push(rtp(13, 7, 1_120, 9, &[0x40]));
    packets.push(rtp(8, 8, 1_280, 9, &[0x12; 160]));
    for packet in packets {
        at_a.rtp.send_to(&packet, ("127.0.0.1", ports[0])).unwrap();
    }
    while at_b.receive().payload != [0x11; 160] {}
    let mut received: Vec<((u16, u32), u8, Vec<u8>)> = vec![];
    while received.last().is_none_or(|(_, kind, ..)| *kind != 8) {
        let packet = at_b.receive();
        let times = (packet.sequence, packet.timestamp);
        received.push((times, packet.payload_type, packet.payload));
    }
    let ((sequence, start), ..) = received[0];
    let mut expected: Vec<_> =
        [(0u8, 160u16), (0, 320), (0, 480), (0x80, 640), (0x80, 640), (0x80, 640)]
            .into_iter()
            .zip(0..)
            .map(|((end, duration), n)| {
                let [high, low] = duration.to_be_bytes();
                ((sequence.wrapping_add(n), start), 100, vec![7, end | 10, high, low])
            })
            .collect();
    let behind = (sequence.wrapping_add(6), start.wrapping_add(1_120));
    expected.push((behind, 8, vec![0x12; 160]));
    assert_eq!(received, expected);
}
