//! How a bridge ends, and what cannot be one.

use super::{
    A, B, assert_hears, assert_talk, bridge, dial, dial_peer, is_tone, receive_until, say, until,
};
use crate::world::{Peer, World, loud_blocks, tone};
use media::{Arrival, Codec, Command, Config, Event, LegId, Listen, MediaFault, Srtp};

const C: LegId = LegId(3);

#[test]
fn the_partner_of_a_leg_that_ends_sends_silence_plays_and_finds_another() {
    let mut world = World::new(Config::default());
    let (at_a, at_b) = (Peer::new("127.0.0.1"), Peer::new("127.0.0.1"));
    dial_peer(&mut world, A, None, &at_a, "8");
    let port = dial_peer(&mut world, B, Some(A), &at_b, "8");
    bridge(&mut world, A, B);
    let mut packets = Vec::new();
    say(&at_b, port, 5, (0, 0), 0x10);
    receive_until(&at_a, 0x19, &mut packets);
    world.close(B);
    receive_until(&at_a, 0xD5, &mut packets);
    world.play(A, 1, &[tone(1000.0, 100)], 1);
    while !packets.last().is_some_and(is_tone) {
        packets.push(at_a.receive());
        assert!(packets.len() < 500);
    }
    let at_c = Peer::new("127.0.0.1");
    let port = dial_peer(&mut world, C, Some(A), &at_c, "8");
    bridge(&mut world, C, A);
    assert_eq!(
        world
            .seen(|event| matches!(event, Event::PlayStopped { .. } | Event::PlayFinished { .. }))
            .len(),
        1
    );
    say(&at_c, port, 5, (0, 0), 0x20);
    receive_until(&at_a, 0x29, &mut packets);
    for (before, packet) in packets.iter().zip(&packets[1..]) {
        assert_eq!(packet.sequence, before.sequence.wrapping_add(1));
        assert!((160..8_000).contains(&packet.timestamp.wrapping_sub(before.timestamp)));
    }
}

struct Panicking;

impl Listen for Panicking {
    fn audio(&mut self, _: &[i16]) {
        panic!("a bug in a listener");
    }
    fn packet(&mut self, _: Arrival) {}
}

#[test]
fn a_panic_costs_the_leg_that_it_met_and_its_partner_stays() {
    let mut world = World::new(Config::default());
    let (at_a, at_b) = (Peer::new("127.0.0.1"), Peer::new("127.0.0.1"));
    dial_peer(&mut world, A, None, &at_a, "8");
    dial_peer(&mut world, B, Some(A), &at_b, "8");
    bridge(&mut world, A, B);
    world.send(Command::Listen { leg: B, sink: Box::new(Panicking) });
    world.wait("LegPanicked", |event| {
        matches!(event, Event::LegPanicked { leg: B, .. }).then_some(())
    });
    world.play(A, 1, &[tone(1000.0, 100)], 1);
    world.play_finished(A, 1);
    while !is_tone(&at_a.receive()) {}
    world.send(Command::Bridge { leg: A, with: B });
    assert_eq!(world.failed(A), MediaFault::PartnerGone);
    world.close(A);
}

#[test]
fn an_announcement_interrupts_the_other_party_who_is_heard_again_behind_it() {
    let mut world = World::new(Config::default());
    let a = dial(&mut world, A, None, Codec::Pcma, Srtp::Off);
    let b = dial(&mut world, B, Some(A), Codec::Pcma, Srtp::Off);
    bridge(&mut world, A, B);
    assert_talk(&mut world, &a, &b, "before");
    a.1.take();
    world.play(b.0, 1, &[tone(1200.0, 900)], 1);
    world.play(A, 2, &[tone(500.0, 300)], 1);
    world.play_finished(A, 2);
    world.play_finished(b.0, 1);
    world.close(a.0);
    let heard = a.1.samples();
    let has = |block: &[i16], hz| {
        media::detect::rms(block) > 1000.0 && media::detect::share(block, hz) > 0.8
    };
    let announced = heard.chunks_exact(160).filter(|block| has(block, 500.0)).count();
    assert!((13..=16).contains(&announced), "{announced} of 15 blocks");
    let last = heard.chunks_exact(160).rposition(|block| has(block, 500.0)).unwrap();
    assert!(heard[last * 160..].chunks_exact(160).filter(|block| has(block, 1200.0)).count() > 15);
}

#[test]
fn the_ringing_tone_ends_with_what_comes_after_it_and_is_told_by_no_event() {
    for codec in Codec::ALL {
        let mut world = World::new(Config::default());
        let a = dial(&mut world, A, None, codec, Srtp::Off);
        world.send(Command::Ringback { leg: A });
        assert_hears(&a.1, 425.0, &format!("{codec:?}"));
        match codec {
            Codec::Pcma | Codec::Opus => world.send(Command::StopPlay { leg: A }),
            Codec::Pcmu | Codec::G722 => {
                world.play(A, 1, &[tone(1000.0, 100)], 1);
                world.play_finished(A, 1);
            }
        }
        until(|| {
            let heard = a.1.take();
            (heard.len() >= 160 && loud_blocks(&heard) == 0).then_some(())
        });
        let told =
            |event: &Event| matches!(event, Event::PlayStopped { .. } | Event::Failed { .. });
        assert_eq!(world.seen(told), [], "{codec:?}");
    }
}

#[test]
fn a_leg_hears_one_other_at_a_time() {
    let mut world = World::new(Config::default());
    let a = dial(&mut world, A, None, Codec::Pcma, Srtp::Off);
    let b = dial(&mut world, B, Some(A), Codec::Pcma, Srtp::Off);
    let c = dial(&mut world, C, Some(A), Codec::Opus, Srtp::Off);
    bridge(&mut world, A, B);
    assert_talk(&mut world, &a, &b, "first");
    bridge(&mut world, C, A);
    b.1.take();
    assert_talk(&mut world, &a, &c, "second");
    // The end of the first talk may still have come in.
    assert!(loud_blocks(&b.1.samples()) <= 3, "the first hears neither");
    world.send(Command::Unbridge { leg: A });
    bridge(&mut world, B, C);
    assert_talk(&mut world, &b, &c, "third");
}

#[test]
fn what_cannot_be_bridged_is_told_and_changes_nothing() {
    let mut world = World::new(Config { threads: 2, ..Config::default() });
    let peer = Peer::new("127.0.0.1");
    world.send(Command::Bridge { leg: A, with: B });
    assert_eq!(world.failed(A), MediaFault::UnknownLeg);
    world.send(Command::Unbridge { leg: A });
    assert_eq!(world.failed(A), MediaFault::UnknownLeg);
    dial_peer(&mut world, A, None, &peer, "8");
    world.send(Command::Bridge { leg: A, with: A });
    assert_eq!(world.failed(A), MediaFault::WithItself);
    world.send(Command::Forward { from: B, to: A });
    assert_eq!(world.failed(A), MediaFault::PartnerGone);
    // By twos the legs change threads.
    let elsewhere = LegId(3);
    dial_peer(&mut world, elsewhere, None, &Peer::new("127.0.0.1"), "8");
    world.send(Command::Bridge { leg: A, with: elsewhere });
    assert_eq!(world.failed(A), MediaFault::NotBeside);
    let beside = LegId(7);
    dial_peer(&mut world, beside, Some(A), &Peer::new("127.0.0.1"), "8");
    assert!(bridge(&mut world, A, beside));
    assert_eq!(peer.receive().payload_type, 8);
}
