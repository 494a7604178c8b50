//! A voice notification, step by step: this input, exactly these actions.

use std::time::Duration;

use crate::world::{World, ended, intent, order, request};
use engine::action::{FetchFault, Input, LegInput, PlayId};
use engine::cdr::{Cause, Outcome};
use engine::intent::OrderKind;
use engine::vocabulary::{LegId, Side};
use engine::writes::{Attempt, FoundLeg, Unfinished, Write};
use engine::{Refusal, Reply};

const NOTHING: [&str; 0] = [];

#[test]
fn dials_plays_and_hangs_up() {
    let mut world = World::new();
    let ticket = world.accept(request(order()));
    let serial = world.fetching().expect("the clips are asked for first");
    assert_eq!(world.wants(), NOTHING);
    assert!(world.replies.is_empty(), "no reply before the intent is on disk");

    world.input(Input::Fetched { serial, result: Ok(()) });
    assert_eq!(world.wants(), ["open 1 to 8899 as 2222201"]);
    world.leg(1, LegInput::Prepared { wire: vec![1], media: vec![2] });
    assert_eq!(world.wants(), NOTHING, "the INVITE waits for its attempt");
    assert_eq!(world.commit(), ["dial 1"]);
    assert_eq!(world.serial(ticket), serial, "intent and attempt went in one commit");

    world.leg(1, LegInput::Ringing);
    world.leg(1, LegInput::Answered { dialog: vec![3] });
    assert_eq!(world.wants(), NOTHING, "the ACK waits for the dialog");
    assert_eq!(world.commit(), ["acknowledge 1", "play 1 on 1"]);

    world.pass(Duration::from_secs(7));
    world.leg(1, LegInput::PlayStarted);
    world.leg(1, LegInput::PlayFinished { play: PlayId(1) });
    assert_eq!(world.wants(), ["hang up 1"]);
    world.leg(1, ended(Cause::HungUp));
    let record = world.record();
    assert_eq!((record.outcome, record.rounds, record.release_reason()), (Outcome::Played, 1, "1"));
    assert_eq!(record.talk_duration_ms, 7_000);
    assert!(world.engine.is_idle());
    assert_eq!(
        world.events(),
        [
            "call.accepted",
            "call.dialling",
            "call.ringing",
            "call.answered",
            "call.play_started",
            "call.round_played",
            "call.leg_ended",
            "call.ended",
        ]
    );
}

#[test]
fn a_slow_fetch_does_not_keep_the_reply_waiting() {
    let mut world = World::new();
    let ticket = world.accept(request(order()));
    let serial = world.fetching().expect("a fetch");
    world.pass(Duration::from_millis(3));
    world.commit();
    assert_eq!(world.serial(ticket), serial);
}

#[test]
fn plays_the_whole_list_as_often_as_asked() {
    let mut world = World::new();
    let mut order = order();
    let OrderKind::VoiceNotification { play_times, .. } = &mut order.kind else { panic!() };
    *play_times = 3;
    world.playing(order);
    for round in 1..=2 {
        world.leg(1, LegInput::PlayFinished { play: PlayId(round) });
        assert_eq!(world.wants(), [format!("play {} on 1", round + 1)]);
        world.leg(1, LegInput::PlayFinished { play: PlayId(round) });
        assert_eq!(world.wants(), NOTHING, "the end of a round counts once");
    }
    world.leg(1, LegInput::PlayFinished { play: PlayId(3) });
    assert_eq!(world.wants(), ["hang up 1"]);
    world.leg(1, ended(Cause::HungUp));
    assert_eq!(world.record().rounds, 3);
}

#[test]
fn nobody_answers_within_the_ring_limit() {
    let mut world = World::new();
    world.ringing(order());
    world.pass(Duration::from_secs(60));
    assert_eq!(world.wants(), ["hang up 1"]);
    world.leg(1, LegInput::Answered { dialog: vec![3] });
    assert_eq!(world.wants(), NOTHING, "the answer crossed our cancel");
    world.leg(1, ended(Cause::HungUp));
    let record = world.record();
    assert_eq!((record.outcome, record.release_reason()), (Outcome::NoAnswer, "4"));
}

#[test]
fn the_end_of_a_leg_before_an_answer_says_why() {
    let table = [
        (true, Cause::Busy, Outcome::Refused, "4"),
        (false, Cause::Busy, Outcome::Refused, "4"),
        (true, Cause::Declined, Outcome::Refused, "4"),
        (true, Cause::NoAnswer, Outcome::NoAnswer, "4"),
        (true, Cause::Unavailable, Outcome::NoAnswer, "4"),
        (false, Cause::Unavailable, Outcome::Failed, "6"),
        (false, Cause::NotFound, Outcome::Failed, "6"),
        (false, Cause::TrunkFailed, Outcome::Failed, "6"),
        (true, Cause::TrunkFailed, Outcome::Failed, "4"),
        (false, Cause::NoResource, Outcome::NoResource, "8"),
    ];
    for (rings, cause, outcome, reason) in table {
        let mut world = World::new();
        if rings {
            world.ringing(order());
        } else {
            world.dialled(order());
        }
        world.leg(1, ended(cause));
        let record = world.record();
        assert_eq!((record.outcome, record.release_reason()), (outcome, reason), "{cause:?}");
        assert_eq!(record.cause, Some(cause));
    }
}

#[test]
fn the_callee_hangs_up_in_the_middle() {
    let mut world = World::new();
    world.playing(order());
    world.leg(1, LegInput::Digit('1'));
    world.leg(1, ended(Cause::Released));
    let record = world.record();
    assert_eq!((record.outcome, record.release_reason()), (Outcome::CutShort, "0"));
    assert_eq!(record.digits, "1");
}

#[test]
fn credentials_are_on_disk_before_they_leave() {
    let mut world = World::new();
    world.dialled(order());
    world.leg(1, LegInput::Challenged { wire: vec![9], media: vec![2] });
    assert_eq!(world.wants(), NOTHING);
    assert_eq!(world.commit(), ["dial 1"]);
}

#[test]
fn clips_that_are_gone_fail_the_call_before_it_is_dialled() {
    let mut world = World::new();
    world.accept(request(order()));
    let serial = world.fetching().expect("a fetch");
    world.input(Input::Fetched { serial, result: Err(FetchFault::Missing) });
    let record = world.record();
    assert_eq!((record.outcome, record.dialled_ms), (Outcome::Failed, None));
}

#[test]
fn a_demanded_recording_that_fails_ends_the_call() {
    let mut world = World::new();
    let mut order = order();
    order.record = true;
    world.ringing(order);
    world.leg(1, LegInput::Answered { dialog: vec![3] });
    assert_eq!(world.commit(), ["acknowledge 1", "record 1", "play 1 on 1"]);
    world.leg(1, LegInput::RecordingFailed);
    assert_eq!(world.wants(), ["hang up 1"]);
    world.leg(1, ended(Cause::HungUp));
    assert_eq!(world.record().release_reason(), "999");
}

#[test]
fn a_leg_that_never_says_it_ended_does_not_keep_the_call() {
    let mut world = World::new();
    world.ringing(order());
    world.pass(Duration::from_secs(60));
    world.pass(Duration::from_secs(40));
    assert_eq!(world.record().outcome, Outcome::NoAnswer);
    assert_eq!(world.engine.live_calls(), 0);
}

#[test]
fn cancel_ends_it_in_every_state() {
    type Reached = fn(&mut World) -> engine::vocabulary::Serial;
    let states: [Reached; 3] = [
        |world| world.dialled(order()),
        |world| world.ringing(order()),
        |world| world.playing(order()),
    ];
    for reach in states {
        let mut world = World::new();
        let serial = reach(&mut world);
        let ticket = world.cancel(serial);
        assert_eq!(world.commit(), ["hang up 1"]);
        assert!(world.replies.contains(&(ticket, Reply::Cancelled)));
        world.leg(1, ended(Cause::HungUp));
        let record = world.record();
        assert_eq!((record.outcome, record.release_reason()), (Outcome::Cancelled, "998"));
    }
}

fn found(world: &World, age_ms: i64, answered: bool) -> Unfinished {
    let at_ms = world.now.unix_ms - age_ms;
    let intent = intent(77, at_ms, order());
    let attempt = Attempt {
        serial: intent.serial,
        leg: LegId(5),
        side: Side::Called,
        trunk: Some("carrier".into()),
        number: 1,
        at_ms,
        wire: vec![1],
        media: vec![2],
    };
    Unfinished {
        intent,
        ringing_ms: None,
        recorded: answered,
        cancelled: false,
        legs: vec![FoundLeg {
            leg: attempt.leg,
            attempt: Some(attempt),
            answered: answered.then(|| (vec![3], at_ms)),
        }],
    }
}

#[test]
fn after_a_restart_a_young_invite_is_sent_again_and_the_call_goes_on() {
    let mut world = World::new();
    let unfinished = found(&world, 5_000, false);
    let serial = unfinished.intent.serial;
    world.input(Input::Recovered(Box::new(unfinished)));
    assert_eq!(world.wants(), ["fetch"]);
    world.input(Input::Fetched { serial, result: Ok(()) });
    assert_eq!(world.wants(), ["resume 5"]);
    world.leg(5, LegInput::Answered { dialog: vec![3] });
    assert_eq!(world.commit(), ["acknowledge 5", "play 1 on 5"]);
    world.leg(5, LegInput::PlayFinished { play: PlayId(1) });
    world.leg(5, ended(Cause::HungUp));
    assert_eq!(world.record().outcome, Outcome::Played);
}

#[test]
fn a_resumed_invite_that_nobody_answers_is_reported_as_unknown() {
    let mut world = World::new();
    let unfinished = found(&world, 5_000, false);
    let serial = unfinished.intent.serial;
    world.input(Input::Recovered(Box::new(unfinished)));
    world.wants();
    world.input(Input::Fetched { serial, result: Ok(()) });
    world.leg(5, ended(Cause::TrunkFailed));
    let record = world.record();
    assert_eq!((record.outcome, record.release_reason()), (Outcome::Unknown, "998"));
}

#[test]
fn an_invite_that_grew_old_while_its_clips_were_fetched_is_taken_back() {
    let mut world = World::new();
    let unfinished = found(&world, 24_000, false);
    let serial = unfinished.intent.serial;
    world.input(Input::Recovered(Box::new(unfinished)));
    assert_eq!(world.wants(), ["fetch"]);
    world.pass(Duration::from_secs(2));
    world.input(Input::Fetched { serial, result: Ok(()) });
    assert_eq!(world.wants(), ["abandon 5"]);
}

#[test]
fn after_a_restart_an_old_invite_is_taken_back_and_never_dialled_again() {
    let mut world = World::new();
    let unfinished = found(&world, 32_000, false);
    world.input(Input::Recovered(Box::new(unfinished)));
    assert_eq!(world.wants(), ["abandon 5"]);
    world.leg(5, ended(Cause::HungUp));
    let record = world.record();
    assert_eq!((record.outcome, record.release_reason()), (Outcome::Unknown, "998"));
}

#[test]
fn after_a_restart_a_call_that_was_up_is_hung_up_and_reported() {
    let mut world = World::new();
    let unfinished = found(&world, 5_000, true);
    world.input(Input::Recovered(Box::new(unfinished)));
    assert_eq!(world.wants(), ["hang up stored 5"]);
    world.leg(5, ended(Cause::HungUp));
    let record = world.record();
    assert_eq!((record.outcome, record.release_reason()), (Outcome::Interrupted, "998"));
    assert!(record.recorded, "what was recorded until then can be fetched");
}

#[test]
fn a_cancellation_is_answered_once_it_is_on_disk() {
    let mut world = World::new();
    let serial = world.ringing(order());
    let ticket = world.cancel(serial);
    assert_eq!(world.wants(), ["hang up 1"], "at once");
    let answered = |world: &World| world.replies.contains(&(ticket, Reply::Cancelled));
    assert!(!answered(&world));
    world.commit();
    assert!(answered(&world));
    assert!(world.disk.contains(&Write::Cancelled { serial }));
}

#[test]
fn a_cancellation_that_finds_the_call_unwritten_follows_its_intent() {
    let mut world = World::new();
    world.accept(request(order()));
    let serial = world.fetching().expect("a fetch");
    world.input(Input::Fetched { serial, result: Ok(()) });
    world.cancel(serial);
    assert_eq!(world.commit(), ["open 1 to 8899 as 2222201", "hang up 1"]);
    let place = |wanted: fn(&Write) -> bool| world.disk.iter().position(wanted);
    let accepted = place(|write| matches!(write, Write::Accepted { .. }));
    let cancelled = place(|write| matches!(write, Write::Cancelled { .. }));
    assert!(accepted.is_some() && accepted < cancelled, "{:?}", world.disk);
}

#[test]
fn a_cancellation_that_cannot_be_written_is_not_promised() {
    let mut world = World::new();
    let serial = world.ringing(order());
    let before = world.cancel(serial);
    world.wants();
    world.input(Input::CommitFailed);
    let after = world.cancel(serial);
    world.wants();
    for ticket in [before, after] {
        assert!(world.replies.contains(&(ticket, Reply::Refused(Refusal::Stopping))));
    }
}

#[test]
fn after_a_restart_a_cancelled_call_is_never_dialled() {
    // Whether it was never dialled, its INVITE is young or old, or it was up.
    for (age_ms, answered, dialled, wants, outcome) in [
        (5_000, false, false, &[][..], Outcome::Cancelled),
        (5_000, false, true, &["fetch", "abandon 5"], Outcome::Unknown),
        (60_000, false, true, &["abandon 5"], Outcome::Unknown),
        (5_000, true, true, &["hang up stored 5"], Outcome::Interrupted),
    ] {
        let mut world = World::new();
        let mut unfinished = found(&world, age_ms, answered);
        let serial = unfinished.intent.serial;
        unfinished.cancelled = true;
        if !dialled {
            unfinished.legs.clear();
        }
        world.input(Input::Recovered(Box::new(unfinished)));
        assert_eq!(world.wants(), wants);
        world.input(Input::Fetched { serial, result: Ok(()) });
        assert_eq!(world.wants(), [""; 0], "the clips make no difference");
        world.leg(5, ended(Cause::HungUp));
        let record = world.record();
        assert_eq!((record.outcome, record.release_reason()), (outcome, "998"));
    }
}
