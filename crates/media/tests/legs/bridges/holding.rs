//! Hold, changes of codec, silence and one-way audio on legs that hear each other.

use std::time::Duration;

use super::{A, B, assert_talk, bridge, dial, dial_peer, receive_until, say};
use crate::world::{Peer, Rtp, World};
use media::sdp::Direction;
use media::{Codec, Command, Config, Event, LegId, Srtp};

fn reoffer(world: &mut World, leg: LegId, peer: &Peer, formats: &str, lines: &str) -> Direction {
    world.send(Command::Reoffered { leg, sdp: peer.sdp(formats, lines) });
    world.answered(leg);
    match world.negotiated(leg) {
        Event::Negotiated { direction, .. } => direction,
        other => panic!("{other:?}"),
    }
}

fn assert_one_stream(packets: &[Rtp]) {
    for (before, packet) in packets.iter().zip(&packets[1..]) {
        assert_eq!(packet.ssrc, before.ssrc);
        assert_eq!(packet.sequence, before.sequence.wrapping_add(1));
        assert!(packet.timestamp.wrapping_sub(before.timestamp).cast_signed() > 0);
    }
}

#[test]
fn who_is_put_on_hold_hears_silence_and_who_holds_gets_nothing_until_it_resumes() {
    for hold in ["a=sendonly\r\n", "a=inactive\r\n"] {
        let mut world = World::new(Config::default());
        let (at_a, at_b) = (Peer::new("127.0.0.1"), Peer::new("127.0.0.1"));
        let port_a = dial_peer(&mut world, A, None, &at_a, "8");
        let port_b = dial_peer(&mut world, B, Some(A), &at_b, "8");
        bridge(&mut world, A, B);
        let (mut to_a, mut to_b) = (Vec::new(), Vec::new());
        say(&at_a, port_a, 5, (0, 0), 0x10);
        say(&at_b, port_b, 6, (0, 0), 0x20);
        receive_until(&at_b, 0x19, &mut to_b);
        receive_until(&at_a, 0x29, &mut to_a);
        assert!(!reoffer(&mut world, A, &at_a, "8", hold).sends());
        say(&at_b, port_b, 6, (10, 1_600), 0x30);
        // Silence begins at B's far side, which shows that what was said meanwhile has been dropped.
        receive_until(&at_b, 0xD5, &mut to_b);
        assert_eq!(reoffer(&mut world, A, &at_a, "8", ""), Direction::SendRecv);
        say(&at_a, port_a, 5, (10, 1_600), 0x40);
        say(&at_b, port_b, 6, (20, 3_200), 0x50);
        receive_until(&at_b, 0x49, &mut to_b);
        receive_until(&at_a, 0x59, &mut to_a);
        assert!(to_a.iter().all(|packet| !(0x30..0x40).contains(&packet.payload[0])), "{hold}");
        assert_one_stream(&to_a);
        assert_one_stream(&to_b);
    }
}

#[test]
fn music_of_who_holds_is_heard_and_of_who_is_inactive_nothing() {
    let mut world = World::new(Config::default());
    let (at_a, at_b) = (Peer::new("127.0.0.1"), Peer::new("127.0.0.1"));
    let port = dial_peer(&mut world, A, None, &at_a, "8");
    dial_peer(&mut world, B, Some(A), &at_b, "8");
    bridge(&mut world, A, B);
    let mut packets = Vec::new();
    assert_eq!(reoffer(&mut world, A, &at_a, "8", "a=sendonly\r\n"), Direction::RecvOnly);
    say(&at_a, port, 5, (0, 0), 0x10);
    receive_until(&at_b, 0x19, &mut packets);
    assert_eq!(reoffer(&mut world, A, &at_a, "8", "a=inactive\r\n"), Direction::Inactive);
    say(&at_a, port, 5, (10, 1_600), 0x20);
    receive_until(&at_b, 0xD5, &mut packets);
    assert_eq!(world.close(A).packets_received, 20, "taken and counted");
    assert!(packets.iter().all(|packet| !(0x20..0x30).contains(&packet.payload[0])));
}

#[test]
fn a_leg_may_change_its_codec_in_a_bridge_again_and_again() {
    let mut world = World::new(Config::default());
    let a = dial(&mut world, A, None, Codec::Pcma, Srtp::Off);
    let b = dial(&mut world, B, Some(A), Codec::Pcma, Srtp::Off);
    assert!(bridge(&mut world, A, B));
    assert_talk(&mut world, &a, &b, "relayed");
    for codec in [Codec::Opus, Codec::Pcmu, Codec::G722, Codec::Pcma] {
        let (codecs, srtp) = (vec![codec], Srtp::Off);
        world.send(Command::Offer { leg: a.0, codecs, dtmf: true, srtp, beside: None });
        let (sdp, _) = world.offered(a.0);
        world.send(Command::Reoffered { leg: A, sdp });
        let (sdp, _) = world.answered(A);
        world.send(Command::Remote { leg: a.0, sdp });
        for leg in [A, a.0] {
            assert!(
                matches!(world.negotiated(leg), Event::Negotiated { codec: now, .. } if now == codec)
            );
        }
        assert_talk(&mut world, &a, &b, &format!("{codec:?}"));
    }
}

fn quiet(world: &mut World, of: LegId) -> Vec<Duration> {
    world
        .seen(|event| matches!(event, Event::Quiet { leg, .. } if *leg == of))
        .into_iter()
        .map(|event| match event {
            Event::Quiet { silent_for, .. } => silent_for,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_far_side_that_falls_silent_is_told_once_and_not_while_it_holds_the_call() {
    let mut world = World::new(Config::default());
    let (at_a, at_b) = (Peer::new("127.0.0.1"), Peer::new("127.0.0.1"));
    let port = dial_peer(&mut world, A, None, &at_a, "8");
    dial_peer(&mut world, B, Some(A), &at_b, "8");
    bridge(&mut world, A, B);
    let after = Duration::from_millis(300);
    world.send(Command::Watch { leg: A, after: Some(after) });
    reoffer(&mut world, B, &at_b, "8", "a=sendonly\r\n");
    world.send(Command::Watch { leg: B, after: Some(after) });
    let silent_for = world.wait("Quiet", |event| match event {
        Event::Quiet { leg: A, silent_for } => Some(*silent_for),
        _ => None,
    });
    assert!(silent_for >= after && silent_for < 10 * after, "{silent_for:?}");
    // A report alone is a sign of life, after which silence is told anew.
    at_a.rtcp.send_to(&[0x80, 201, 0, 1, 0, 0, 0, 99], ("127.0.0.1", port + 1)).unwrap();
    world.wait("Quiet", |event| matches!(event, Event::Quiet { leg: A, .. }).then_some(()));
    assert!(quiet(&mut world, B).is_empty(), "held");
    reoffer(&mut world, B, &at_b, "8", "");
    world.wait("Quiet", |event| matches!(event, Event::Quiet { leg: B, .. }).then_some(()));
    for leg in [A, B] {
        world.close(leg);
    }
    assert!(quiet(&mut world, A).is_empty() && quiet(&mut world, B).is_empty(), "each once");
}

#[test]
fn one_way_audio_is_told_for_the_leg_that_it_is_missing_on() {
    let config = Config { flow_check: Duration::from_millis(300), ..Config::default() };
    let mut world = World::new(config);
    let a = dial(&mut world, A, None, Codec::Pcma, Srtp::Off);
    let mute = Peer::new("127.0.0.1");
    dial_peer(&mut world, B, Some(A), &mute, "8");
    bridge(&mut world, A, B);
    for (wanted, received) in [(A, true), (B, false)] {
        let flow = world.wait("Flow", |event| match event {
            Event::Flow { leg, received, sent, .. } if *leg == wanted => Some((*received, *sent)),
            _ => None,
        });
        assert_eq!(flow, (received, true));
    }
    world.close(a.0);
}
