//! A link that loses a fifth of what it carries: calls go up and end all the same.

use std::time::Duration;

use sip::*;

use crate::world::*;

const LIMIT: Duration = Duration::from_secs(90);

fn wait(pair: &mut Pair, side: usize, wanted: &str) -> Event {
    loop {
        let event = pair.event(side, LIMIT).unwrap_or_else(|| panic!("no {wanted}"));
        if say(&event).unwrap().starts_with(wanted) {
            return event;
        }
    }
}

#[test]
fn calls_survive_losses() {
    for seed in 1..=100 {
        let mut pair = Pair::new(20, seed);
        pair.command(0, Command::Prepare(Box::new(invite(1))));
        pair.command(0, Command::Send { leg: LegId(1) });
        let Event::Incoming { leg, .. } = wait(&mut pair, 1, "incoming") else {
            panic!("no call came in")
        };
        pair.command(1, Command::Answer { leg, body: Some(Body::sdp("answer")) });
        wait(&mut pair, 0, "answered");
        pair.command(0, Command::Acknowledge { leg: LegId(1), body: None });
        wait(&mut pair, 1, "confirmed");
        pair.command(1, Command::Offer { leg, body: Body::sdp("hold") });
        wait(&mut pair, 0, "offered hold");
        pair.command(0, Command::AnswerOffer { leg: LegId(1), body: Some(Body::sdp("held")) });
        wait(&mut pair, 1, "offer answered held");
        pair.command(0, Command::HangUp { leg: LegId(1), cause: HangUpCause::Normal });
        wait(&mut pair, 0, "ended by Us");
        wait(&mut pair, 1, "ended by Peer");
        pair.pass(Duration::from_secs(150));
        for side in &mut pair.sides {
            let late = side.said();
            assert!(late.iter().all(|event| event == "confirmed"), "seed {seed}: {late:?}");
            assert_eq!(side.core.load(), (0, 0, 0), "seed {seed}");
        }
    }
}

#[test]
fn a_call_that_is_cancelled_over_a_bad_link_ends_on_both_sides() {
    for seed in 1..=100 {
        let mut pair = Pair::new(20, seed);
        pair.command(0, Command::Prepare(Box::new(invite(1))));
        pair.command(0, Command::Send { leg: LegId(1) });
        let Event::Incoming { leg, .. } = wait(&mut pair, 1, "incoming") else {
            panic!("no call came in")
        };
        pair.command(1, Command::Ring { leg, body: None });
        pair.pass(Duration::from_secs(seed % 3));
        pair.command(0, Command::HangUp { leg: LegId(1), cause: HangUpCause::NoAnswer });
        if seed % 2 == 0 {
            pair.command(1, Command::Answer { leg, body: None });
        }
        wait(&mut pair, 0, "ended");
        wait(&mut pair, 1, "ended");
        pair.pass(Duration::from_secs(150));
        for side in &mut pair.sides {
            assert_eq!(side.core.load(), (0, 0, 0), "seed {seed}");
        }
    }
}
