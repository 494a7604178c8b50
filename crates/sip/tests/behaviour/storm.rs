//! Random worlds: two cores over a bad link, commands at any time and in any order. Every leg ends
//! exactly once, nothing is left behind, nothing panics.

use std::{collections::BTreeMap, time::Duration};

use sip::*;

use crate::world::*;

struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[derive(Default)]
struct Seen {
    legs: Vec<LegId>,
    ends: BTreeMap<LegId, u32>,
}

fn look(side: &mut Solo, seen: &mut Seen) {
    for event in side.events.drain(..) {
        match event {
            Event::Prepared { leg, .. } | Event::Incoming { leg, .. } => seen.legs.push(leg),
            Event::Ended { leg, .. } => *seen.ends.entry(leg).or_default() += 1,
            _ => {}
        }
    }
}

fn command(draw: &mut Draw, leg: LegId) -> Command {
    let body = || Some(Body::sdp("sdp"));
    match draw.below(14) {
        0 | 1 => Command::Send { leg },
        2 | 3 => Command::Acknowledge { leg, body: None },
        4 => Command::Ring { leg, body: None },
        5 => Command::Progress { leg, body: body() },
        6 | 7 => Command::Answer { leg, body: body() },
        8 => Command::Refuse { leg, status: 486, reason: None, headers: vec![] },
        9 | 10 => Command::AnswerOffer { leg, body: body() },
        11 => Command::RefuseOffer { leg, status: 488 },
        12 => Command::Offer { leg, body: Body::sdp("offer") },
        _ => Command::HangUp { leg, cause: HangUpCause::Normal },
    }
}

fn storm(seed: u64) {
    let mut draw = Draw(seed);
    let mut pair = Pair::new(draw.below(25), seed);
    let mut seen = [Seen::default(), Seen::default()];
    for number in 0..150 {
        let side = usize::from(draw.below(2) == 1);
        if draw.below(10) == 0 {
            let mut call = invite(seed * 1000 + number);
            if side == 1 {
                call.destination.addr = addr(OURS);
            }
            if draw.below(3) == 0 {
                call.headers.push(("Require".to_owned(), "100rel".to_owned()));
            }
            pair.command(side, Command::Prepare(Box::new(call)));
        } else if !seen[side].legs.is_empty() {
            let legs = &seen[side].legs;
            let leg = legs[usize::try_from(draw.below(legs.len() as u64)).unwrap()];
            pair.command(side, command(&mut draw, leg));
        }
        pair.pass(Duration::from_millis(draw.below(700)));
        for (side, seen) in pair.sides.iter_mut().zip(&mut seen) {
            look(side, seen);
        }
    }
    for side in [0, 1] {
        for leg in seen[side].legs.clone() {
            pair.command(side, Command::HangUp { leg, cause: HangUpCause::Shutdown });
        }
    }
    pair.pass(Duration::from_secs(200));
    for (side, seen) in pair.sides.iter_mut().zip(&mut seen) {
        look(side, seen);
        for leg in &seen.legs {
            assert_eq!(seen.ends.get(leg), Some(&1), "seed {seed}: {leg:?}");
        }
        assert_eq!(side.core.load(), (0, 0, 0), "seed {seed}");
        assert_eq!(side.core.counters().panics, 0, "seed {seed}");
    }
}

#[test]
fn every_leg_ends_once_and_nothing_is_left() {
    for seed in 1..=200 {
        storm(seed);
    }
}
