//! Trunks that fail a call, and what the call does then.

use std::time::Duration;

use crate::world::{World, ended, intent, order, pace, request};
use engine::action::{Claim, Input, LegInput, Redirect, Then};
use engine::cdr::{Cause, Outcome};
use engine::intent::{Order, Place};
use engine::vocabulary::{LegId, Serial, Side};
use engine::writes::{Attempt, FoundLeg, Unfinished, Write};

const NOTHING: [&str; 0] = [];

fn over(route: &str) -> Order {
    Order { place: Place::Trunks(route.parse().expect("a route")), ..order() }
}

/// Trunks `carrier` and `backup`.
fn world() -> World {
    let mut world = World::new();
    world.named_trunk("backup", pace(1_000, 1_000), true);
    world
}

fn refused(cause: Cause, status: u16, then: Then) -> LegInput {
    LegInput::Ended { cause, sip_status: Some(status), media: None, then }
}

fn prepared() -> LegInput {
    LegInput::Prepared { wire: vec![1], media: vec![2] }
}

/// How many calls each claim of those that wait asked for.
fn claimed(world: &World) -> Vec<u32> {
    let limits = world.claims.iter().map(|(_, claim)| match claim {
        Claim::Ready { limit, .. } => Some(*limit),
        Claim::Expired { .. } | Claim::One { .. } => None,
    });
    limits.flatten().collect()
}

#[test]
fn a_trunk_that_fails_the_call_is_followed_by_the_next() {
    let mut world = world();
    world.dialled(over("carrier*1,backup*0"));
    world.leg(1, refused(Cause::TrunkFailed, 503, Then::Nothing));
    assert_eq!(world.wants(), ["open 2 to 8899 as 2222201"]);
    world.leg(2, prepared());
    assert_eq!(world.commit(), ["dial 2"], "the second INVITE too waits for its attempt");
    world.leg(2, LegInput::Ringing);
    world.leg(2, refused(Cause::Busy, 486, Then::Nothing));
    let record = world.record();
    assert_eq!((record.outcome, record.sip_status), (Outcome::Refused, Some(486)));
    assert_eq!(record.trunk, Some("backup".into()));
    assert_eq!(world.events().iter().filter(|name| **name == "call.dialling").count(), 2);
}

#[test]
fn what_a_person_or_the_network_says_of_the_number_is_never_dialled_again() {
    let answers = [
        (false, Cause::Busy, 486),
        (false, Cause::Declined, 603),
        (true, Cause::NoAnswer, 480),
        (false, Cause::Unavailable, 480),
        (false, Cause::NotFound, 404),
        (false, Cause::TrunkRefused, 403),
        (false, Cause::MediaFailed, 488),
        (true, Cause::TrunkFailed, 500),
    ];
    for (rings, cause, status) in answers {
        let mut world = world();
        world.dialled(over("carrier*1,backup*0"));
        if rings {
            world.leg(1, LegInput::Ringing);
        }
        world.leg(1, refused(cause, status, Then::Nothing));
        assert_eq!(world.wants(), NOTHING, "{status} after ringing: {rings}");
        assert_eq!(world.record().cause, Some(cause));
    }
}

#[test]
fn a_trunk_without_a_sign_of_life_is_left_and_its_late_answer_is_hung_up() {
    let mut world = world();
    world.dialled(over("carrier*1,backup*0"));
    world.pass(Duration::from_secs(5));
    assert_eq!(world.wants(), ["open 2 to 8899 as 2222201"]);
    world.leg(2, prepared());
    assert_eq!(world.wants(), NOTHING);
    assert_eq!(world.commit(), ["dial 2", "hang up 1"]);
    world.leg(1, LegInput::Answered { dialog: vec![3] });
    assert_eq!(world.commit(), NOTHING, "nobody acknowledges the leg that was left");
    world.leg(2, LegInput::Answered { dialog: vec![4] });
    assert_eq!(world.commit(), ["acknowledge 2", "play 1 on 2"]);
}

#[test]
fn the_next_target_of_a_trunk_has_its_time_anew_and_goes_to_disk_first() {
    let mut world = world();
    world.dialled(over("carrier*1,backup*0"));
    world.pass(Duration::from_secs(4));
    world.leg(1, LegInput::Retried { wire: vec![9], media: vec![2] });
    assert_eq!(world.wants(), NOTHING, "not yet on disk");
    assert_eq!(world.commit(), ["dial 1"]);
    world.pass(Duration::from_secs(4));
    assert_eq!(world.wants(), NOTHING);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.wants(), ["open 2 to 8899 as 2222201"]);
}

#[test]
fn a_trunk_that_shows_life_has_the_whole_ring_limit() {
    let mut world = world();
    world.dialled(over("carrier*1,backup*0"));
    world.leg(1, LegInput::Trying);
    world.pass(Duration::from_secs(59));
    assert_eq!(world.wants(), NOTHING);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.wants(), ["hang up 1"]);
}

#[test]
fn a_trunk_that_had_taken_the_call_and_is_gone_leaves_it_unknown_and_nobody_dials_again() {
    let mut world = world();
    world.dialled(over("carrier*1,backup*0"));
    world.leg(1, LegInput::Trying);
    world.leg(1, ended(Cause::TrunkFailed));
    let record = world.record();
    assert_eq!((record.outcome, record.release_reason()), (Outcome::Unknown, "998"));
    assert_eq!(world.wants(), NOTHING);
    assert!(world.engine.is_idle());

    let mut world = self::world();
    world.dialled(over("carrier*1,backup*0"));
    world.leg(1, LegInput::Trying);
    world.leg(1, refused(Cause::TrunkFailed, 500, Then::Nothing));
    assert_eq!(world.wants(), ["open 2 to 8899 as 2222201"], "a final answer: nobody rings there");
}

#[test]
fn a_trunk_that_asked_for_credentials_and_is_gone_has_not_taken_the_call() {
    let challenged = || LegInput::Challenged { wire: vec![9], media: vec![2] };
    let mut world = world();
    world.dialled(over("carrier*1,backup*0"));
    world.leg(1, LegInput::Trying);
    world.leg(1, challenged());
    assert_eq!(world.commit(), ["dial 1"]);
    world.pass(Duration::from_secs(20));
    assert_eq!(world.wants(), NOTHING, "it has shown life");
    world.leg(1, ended(Cause::TrunkFailed));
    assert_eq!(world.wants(), ["open 2 to 8899 as 2222201"], "nothing came back to the second");

    let mut world = self::world();
    world.dialled(over("carrier*1,backup*0"));
    world.leg(1, challenged());
    world.commit();
    world.leg(1, LegInput::Trying);
    world.leg(1, ended(Cause::TrunkFailed));
    assert_eq!(world.wants(), NOTHING, "it has the second: somebody may ring");
    assert_eq!(world.record().outcome, Outcome::Unknown);

    let mut world = self::world();
    world.dialled(over("carrier*1,backup*0"));
    world.leg(1, challenged());
    world.commit();
    world.pass(Duration::from_secs(60));
    assert_eq!(world.wants(), ["hang up 1"], "it has the whole ring limit");
}

#[test]
fn where_there_is_no_other_trunk_the_silent_one_has_the_time() {
    let mut world = World::new();
    world.dialled(order());
    world.pass(Duration::from_secs(31));
    assert_eq!(world.wants(), NOTHING);
    world.leg(1, LegInput::Answered { dialog: vec![3] });
    assert_eq!(world.commit(), ["acknowledge 1", "play 1 on 1"]);
}

#[test]
fn a_trunk_that_asks_for_rest_gets_no_invite_and_then_one() {
    let mut world = world();
    world.dialled(over("carrier"));
    world.leg(1, refused(Cause::TrunkFailed, 503, Then::Rest(Duration::from_secs(7))));
    world.commit();
    for _ in 0..3 {
        world.accept(request(over("carrier")));
        assert_eq!(world.fetching(), None, "they wait");
    }
    world.commit();
    world.pass(Duration::from_secs(6));
    assert_eq!((world.wants(), claimed(&world)), (vec![], vec![]));
    world.pass(Duration::from_secs(1));
    assert_eq!((world.wants(), claimed(&world)), (vec![], vec![1]), "one tries it");
}

#[test]
fn trunks_share_the_calls_by_their_weights() {
    let mut world = world();
    let mut chosen = Vec::new();
    for leg in 1..=8 {
        world.accept(request(over("carrier*3,backup*1")));
        let serial = world.fetching().expect("a fetch");
        world.input(Input::Fetched { serial, result: Ok(()) });
        chosen.push(world.opened_over(leg));
    }
    assert_eq!(chosen.iter().filter(|trunk| *trunk == "carrier").count(), 6);
    assert_eq!(chosen[..4].iter().filter(|trunk| *trunk == "backup").count(), 1, "{chosen:?}");
}

#[test]
fn a_trunk_without_weight_is_used_while_the_others_are_out_of_service() {
    let mut world = world();
    world.trunk(pace(1_000, 1_000), false);
    world.accept(request(over("carrier*1,backup*0")));
    let serial = world.fetching().expect("it does not wait for its first trunk");
    world.input(Input::Fetched { serial, result: Ok(()) });
    assert_eq!(world.opened_over(1), "backup");
}

#[test]
fn a_call_is_sent_on_where_the_tenant_allows_it_but_not_in_a_circle() {
    let mut world = world();
    world.dialled(order());
    for leg in 1..=4 {
        let to = Redirect { called: "8898".into(), route: "backup".into() };
        world.leg(leg, refused(Cause::TrunkRefused, 302, Then::Redirect(to)));
        let wants = world.wants();
        if leg == 4 {
            assert_eq!(wants, NOTHING, "three are enough");
            break;
        }
        assert_eq!(wants, [format!("open {} to 8898 as 2222201", leg + 1)]);
        world.leg(leg + 1, prepared());
        world.commit();
    }
    let record = world.record();
    assert_eq!((record.outcome, record.cause), (Outcome::Failed, Some(Cause::TrunkRefused)));
    assert_eq!(world.events().iter().filter(|name| **name == "call.redirected").count(), 3);
}

#[test]
fn after_a_restart_earlier_legs_are_taken_back_and_nothing_is_tried_again() {
    let mut world = world();
    let at_ms = world.now.unix_ms - 5_000;
    let intent = intent(77, at_ms, over("carrier*1,backup*0"));
    let serial = intent.serial;
    let attempt = |leg, trunk: &str| Attempt {
        serial,
        leg: LegId(leg),
        side: Side::Called,
        trunk: Some(trunk.into()),
        number: leg as u32,
        at_ms,
        wire: vec![leg as u8],
        media: vec![2],
    };
    let found =
        |attempt: Attempt| FoundLeg { leg: attempt.leg, attempt: Some(attempt), answered: None };
    world.input(Input::Recovered(Box::new(Unfinished {
        intent,
        ringing_ms: None,
        recorded: false,
        cancelled: false,
        legs: vec![found(attempt(5, "backup")), found(attempt(6, "carrier"))],
    })));
    assert_eq!(world.wants(), ["abandon 5", "fetch"]);
    world.input(Input::Fetched { serial, result: Ok(()) });
    assert_eq!(world.wants(), ["resume 6"]);
    world.leg(5, ended(Cause::HungUp));
    world.leg(6, refused(Cause::TrunkFailed, 503, Then::Nothing));
    assert_eq!(world.wants(), NOTHING);
    assert_eq!(world.record().outcome, Outcome::Failed);
}

#[test]
fn a_process_that_stood_still_does_not_take_its_trunk_for_silent() {
    let mut world = world();
    world.dialled(over("carrier*1,backup*0"));
    world.pass(Duration::from_secs(26));
    assert_eq!(world.wants(), NOTHING, "the answer may be waiting to be read");
    world.leg(1, LegInput::Trying);
    world.pass(Duration::from_secs(4));
    assert_eq!(world.wants(), NOTHING);
}

#[test]
fn a_trunk_that_is_silent_after_we_stood_still_is_left_all_the_same() {
    let mut world = world();
    world.dialled(over("carrier*1,backup*0"));
    world.pass(Duration::from_secs(26));
    world.pass(Duration::from_millis(500));
    assert_eq!(world.wants(), ["open 2 to 8899 as 2222201"]);
}

/// Leg 1 was silent and leg 2 is being prepared.
fn racing() -> World {
    let mut world = world();
    world.dialled(over("carrier*1,backup*0"));
    world.pass(Duration::from_secs(5));
    assert_eq!(world.wants(), ["open 2 to 8899 as 2222201"]);
    world
}

fn answered() -> LegInput {
    LegInput::Answered { dialog: vec![3] }
}

#[test]
fn a_trunk_that_shows_life_before_the_next_invite_is_made_keeps_the_call() {
    let mut world = racing();
    world.leg(1, LegInput::Trying);
    assert_eq!(world.wants(), ["hang up 2"]);
    world.leg(2, prepared());
    assert_eq!(world.commit(), NOTHING, "it crossed the hang-up");
    world.leg(2, ended(Cause::HungUp));
    world.leg(1, LegInput::Ringing);
    world.leg(1, answered());
    assert_eq!(world.commit(), ["acknowledge 1", "play 1 on 1"]);
    world.leg(1, ended(Cause::Released));
    assert_eq!(world.record().trunk, Some("carrier".into()));
    assert!(world.disk.iter().all(|write| !matches!(write, Write::Withdrawn { .. })));
}

#[test]
fn a_trunk_that_shows_life_while_the_next_invite_waits_for_the_disk_keeps_the_call() {
    let lives = [LegInput::Trying, LegInput::Ringing, answered()];
    for life in lives {
        let mut world = racing();
        world.leg(2, prepared());
        assert_eq!(world.wants(), NOTHING);
        let is_answer = life == answered();
        world.leg(1, life);
        let wants = world.commit();
        assert_eq!(wants[0], "hang up 2");
        assert!(!wants.contains(&"dial 2".to_owned()), "never both: {wants:?}");
        assert_eq!(wants.len() > 1, is_answer, "{wants:?}");
        let place = |is: fn(&Write) -> bool| world.disk.iter().rposition(is);
        let attempt = place(|write| matches!(write, Write::Attempt(_)));
        let withdrawn = place(|write| matches!(write, Write::Withdrawn { leg: LegId(2), .. }));
        assert!(attempt.is_some() && attempt < withdrawn, "{:?}", world.disk);
    }
}

#[test]
fn what_a_person_says_over_the_silent_trunk_in_time_is_the_answer() {
    let mut world = racing();
    world.leg(2, prepared());
    world.leg(1, refused(Cause::Busy, 486, Then::Nothing));
    assert_eq!(world.wants(), ["hang up 2"]);
    let record = world.record();
    assert_eq!((record.outcome, record.trunk), (Outcome::Refused, Some("carrier".into())));
}

#[test]
fn a_silent_trunk_that_fails_meanwhile_leaves_the_call_to_the_next() {
    let mut world = racing();
    world.leg(1, refused(Cause::TrunkFailed, 503, Then::Nothing));
    world.leg(2, prepared());
    assert_eq!(world.commit(), ["dial 2"], "there is nothing to hang up");
    world.leg(2, answered());
    assert_eq!(world.commit(), ["acknowledge 2", "play 1 on 2"]);
}

#[test]
fn where_the_next_leg_cannot_be_made_the_silent_trunk_has_the_rest_of_the_time() {
    let mut world = racing();
    world.leg(2, ended(Cause::NoResource));
    assert_eq!(world.wants(), NOTHING);
    world.leg(1, answered());
    assert_eq!(world.commit(), ["acknowledge 1", "play 1 on 1"]);
}

#[test]
fn who_cancels_during_the_race_ends_both_legs() {
    for is_prepared in [false, true] {
        let mut world = racing();
        if is_prepared {
            world.leg(2, prepared());
        }
        let serial = serial_of(&world);
        world.cancel(serial);
        let wants = world.commit();
        for leg in [1, 2] {
            let hang_up = format!("hang up {leg}");
            assert_eq!(wants.iter().filter(|want| **want == hang_up).count(), 1, "{wants:?}");
        }
        world.leg(1, ended(Cause::HungUp));
        world.leg(2, ended(Cause::HungUp));
        assert_eq!(world.record().outcome, Outcome::Cancelled);
    }
}

#[test]
fn a_disk_that_is_slow_is_not_a_trunk_that_is_silent() {
    let mut world = racing();
    world.leg(2, prepared());
    world.pass(Duration::from_secs(20));
    assert_eq!(world.wants(), NOTHING, "its INVITE has not left");
    assert_eq!(world.commit(), ["dial 2", "hang up 1"]);
    world.leg(1, ended(Cause::HungUp));
    world.leg(2, LegInput::Trying);
    world.pass(Duration::from_secs(30));
    assert_eq!(world.wants(), NOTHING);
}

fn serial_of(world: &World) -> Serial {
    let accepted = world.disk.iter().find_map(|write| match write {
        Write::Accepted { intent, .. } => Some(intent.serial),
        _ => None,
    });
    accepted.expect("a call was accepted")
}
