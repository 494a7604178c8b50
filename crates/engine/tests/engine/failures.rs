//! The failure matrix of two legs: whatever happens to one, the other ends in the same step, the record
//! says why, and nothing is left.

use std::time::Duration;

use crate::anonymous_call::{self, APP};
use crate::bidirectional_call::{self as bidirectional, answered, over_trunks, prepared};
use crate::world::{World, ended, order, pace};
use engine::action::LegInput;
use engine::cdr::Outcome::{
    CalledFailed, CalledHungUp, CallerFailed, CallerHungUp, CallerNoAnswer, Cancelled, NoAnswer,
    Refused,
};
use engine::cdr::{Cause, Outcome};
use engine::vocabulary::Serial;

/// How far the call has come when it happens.
#[derive(Debug, Clone, Copy, PartialEq)]
enum When {
    CallerDialled,
    CallerRings,
    CalledDialled,
    CalledRings,
    Talking,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    Ends(Cause),
    MediaFails,
    NothingIsHeard,
    RingsTooLong,
    Cancel,
    /// Its answer crosses our hang-up.
    CancelCrossesAnswer,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Who {
    Caller,
    Called,
}

/// The leg to which it happens, and the other one where there is one.
struct Legs {
    struck: u64,
    other: Option<u64>,
}

fn strike(world: &mut World, serial: Serial, legs: &Legs, what: What) {
    match what {
        What::Ends(cause) => world.leg(legs.struck, ended(cause)),
        What::MediaFails => world.leg(legs.struck, LegInput::MediaFailed(Cause::MediaFailed)),
        What::NothingIsHeard => world.leg(legs.struck, LegInput::Quiet),
        What::RingsTooLong => world.pass(Duration::from_secs(60)),
        What::Cancel => drop(world.cancel(serial)),
        What::CancelCrossesAnswer => {
            world.cancel(serial);
            world.leg(legs.struck, answered());
        }
    }
}

/// Both legs end as they were told to; then everything is free and the record is as it should be.
fn judge(
    world: &mut World,
    legs: &Legs,
    what: What,
    (outcome, reason): (Outcome, &str),
    name: &str,
) {
    let wants = world.commit();
    let told = |leg: u64| {
        let ends = [format!("hang up {leg}"), format!("refuse {leg} ")];
        wants.iter().any(|want| *want == ends[0] || want.starts_with(&ends[1]))
    };
    let gone = matches!(what, What::Ends(_));
    assert_eq!(told(legs.struck), !gone, "{name}: {wants:?}");
    if let Some(other) = legs.other {
        assert!(told(other), "{name}: the other leg goes on: {wants:?}");
        world.leg(other, ended(Cause::HungUp));
    }
    if !gone {
        world.leg(legs.struck, ended(Cause::HungUp));
    }
    assert!(world.commit().is_empty(), "{name}: nothing more is done");
    let records = world.records();
    let [record] = records[..] else { panic!("{name}: {records:?}") };
    assert_eq!((record.outcome, record.release_reason()), (outcome, reason), "{name}");
    assert!(world.engine.is_idle(), "{name}: something is left");
    assert_eq!(world.engine.wake_at(world.now), None, "{name}: a timer is left");
    // Two slots: both must have been given back.
    world.disk.clear();
    for _ in 0..2 {
        world.accepted(order());
    }
    assert_eq!(world.engine.live_calls(), 2, "{name}: a trunk's slot is left");
}

fn bidirectional(when: When, who: Who, what: What, wanted: (Outcome, &str)) {
    let name = format!("{when:?}, {who:?}: {what:?}");
    let mut world = World::new();
    world.trunk(pace(1_000, 2), true);
    let serial = match when {
        When::CallerDialled => {
            let serial = world.accepted(over_trunks());
            world.leg(1, prepared());
            world.commit();
            serial
        }
        When::CallerRings => bidirectional::caller_rings(&mut world, over_trunks()),
        When::CalledDialled => {
            let serial = bidirectional::caller_rings(&mut world, over_trunks());
            world.leg(1, answered());
            world.commit();
            world.leg(2, prepared());
            world.commit();
            serial
        }
        When::CalledRings => bidirectional::called_rings(&mut world, over_trunks()),
        When::Talking => bidirectional::talking(&mut world, over_trunks()),
    };
    let alone = matches!(when, When::CallerDialled | When::CallerRings);
    let legs = match who {
        Who::Caller => Legs { struck: 1, other: (!alone).then_some(2) },
        Who::Called => Legs { struck: 2, other: Some(1) },
    };
    strike(&mut world, serial, &legs, what);
    judge(&mut world, &legs, what, wanted, &name);
}

#[test]
fn of_a_bidirectional_call() {
    use Cause::{Busy, Declined, NotFound, Released, TrunkFailed, Unavailable};
    use What::{Cancel, CancelCrossesAnswer, Ends, MediaFails, NothingIsHeard, RingsTooLong};
    use When::{CalledDialled, CalledRings, CallerDialled, CallerRings, Talking};
    use Who::{Called, Caller};
    let table = [
        (CallerDialled, Caller, Ends(Busy), CallerNoAnswer, "4"),
        (CallerRings, Caller, Ends(Busy), CallerNoAnswer, "4"),
        (CallerRings, Caller, Ends(Declined), CallerNoAnswer, "4"),
        (CallerRings, Caller, Ends(Cause::NoAnswer), CallerNoAnswer, "4"),
        (CallerRings, Caller, RingsTooLong, CallerNoAnswer, "4"),
        (CallerDialled, Caller, Ends(NotFound), CallerFailed, "2"),
        (CallerDialled, Caller, Ends(Unavailable), CallerFailed, "2"),
        (CallerDialled, Caller, Ends(TrunkFailed), CallerFailed, "2"),
        (CallerRings, Caller, Ends(TrunkFailed), CallerFailed, "2"),
        (CallerDialled, Caller, MediaFails, CallerFailed, "2"),
        (CallerDialled, Caller, RingsTooLong, CallerFailed, "2"),
        (CallerDialled, Caller, Cancel, Cancelled, "998"),
        (CallerRings, Caller, Cancel, Cancelled, "998"),
        (CallerRings, Caller, CancelCrossesAnswer, Cancelled, "998"),
        (CalledDialled, Called, Ends(Busy), Refused, "5"),
        (CalledRings, Called, Ends(Busy), Refused, "5"),
        (CalledRings, Called, Ends(Declined), Refused, "5"),
        (CalledRings, Called, Ends(Cause::NoAnswer), NoAnswer, "5"),
        (CalledRings, Called, RingsTooLong, NoAnswer, "5"),
        (CalledDialled, Called, Ends(NotFound), CalledFailed, "3"),
        (CalledDialled, Called, Ends(Unavailable), CalledFailed, "3"),
        (CalledDialled, Called, Ends(TrunkFailed), CalledFailed, "3"),
        (CalledRings, Called, Ends(TrunkFailed), CalledFailed, "3"),
        (CalledRings, Called, MediaFails, CalledFailed, "3"),
        (CalledDialled, Called, Cancel, Cancelled, "998"),
        (CalledRings, Called, Cancel, Cancelled, "998"),
        (CalledRings, Called, CancelCrossesAnswer, Cancelled, "998"),
        (CalledDialled, Caller, Ends(Released), CallerHungUp, "1"),
        (CalledRings, Caller, Ends(Released), CallerHungUp, "1"),
        (CalledRings, Caller, Ends(TrunkFailed), CallerFailed, "2"),
        (CalledRings, Caller, MediaFails, CallerFailed, "2"),
        (Talking, Caller, Ends(Released), CallerHungUp, "1"),
        (Talking, Called, Ends(Released), CalledHungUp, "0"),
        (Talking, Caller, Ends(TrunkFailed), CallerFailed, "2"),
        (Talking, Called, Ends(TrunkFailed), CalledFailed, "3"),
        (Talking, Caller, NothingIsHeard, CallerFailed, "2"),
        (Talking, Called, NothingIsHeard, CalledFailed, "3"),
        (Talking, Caller, MediaFails, CallerFailed, "2"),
        (Talking, Called, MediaFails, CalledFailed, "3"),
        (Talking, Called, Cancel, Cancelled, "998"),
    ];
    for (when, who, what, outcome, reason) in table {
        bidirectional(when, who, what, (outcome, reason));
    }
}

fn anonymous(when: When, who: Who, what: What, wanted: (Outcome, &str)) {
    let name = format!("{when:?}, {who:?}: {what:?}");
    let mut world = World::new();
    world.trunk(pace(1_000, 2), true);
    let serial = match when {
        When::CallerDialled | When::CallerRings => {
            let order = anonymous_call::expected(&world, "17908001");
            let serial = world.accepted(order);
            anonymous_call::comes(&mut world, APP, "17908001");
            world.wants();
            serial
        }
        When::CalledDialled => {
            let order = anonymous_call::expected(&world, "17908001");
            let serial = world.accepted(order);
            anonymous_call::comes(&mut world, APP, "17908001");
            world.leg(APP, LegInput::TakenIn);
            world.leg(1, prepared());
            world.commit();
            serial
        }
        When::CalledRings => anonymous_call::called_rings(&mut world),
        When::Talking => anonymous_call::talking(&mut world),
    };
    let alone = matches!(when, When::CallerDialled | When::CallerRings);
    let legs = match who {
        Who::Caller => Legs { struck: APP, other: (!alone).then_some(1) },
        Who::Called => Legs { struck: 1, other: Some(APP) },
    };
    strike(&mut world, serial, &legs, what);
    judge(&mut world, &legs, what, wanted, &name);
}

#[test]
fn of_an_anonymous_call() {
    use Cause::{Busy, Declined, NotFound, Released, TrunkFailed, Unavailable};
    use What::{Cancel, CancelCrossesAnswer, Ends, MediaFails, NothingIsHeard, RingsTooLong};
    use When::{CalledDialled, CalledRings, CallerRings, Talking};
    use Who::{Called, Caller};
    let table = [
        (CallerRings, Caller, Ends(Released), CallerHungUp, "1"),
        (CallerRings, Caller, Ends(TrunkFailed), CallerFailed, "2"),
        (CallerRings, Caller, MediaFails, CallerFailed, "2"),
        (CallerRings, Caller, Cancel, Cancelled, "998"),
        (CalledDialled, Caller, Ends(Released), CallerHungUp, "1"),
        (CalledRings, Caller, Ends(Released), CallerHungUp, "1"),
        (CalledRings, Caller, MediaFails, CallerFailed, "2"),
        (CalledDialled, Called, Ends(Busy), Refused, "5"),
        (CalledRings, Called, Ends(Busy), Refused, "5"),
        (CalledRings, Called, Ends(Declined), Refused, "5"),
        (CalledRings, Called, Ends(Cause::NoAnswer), NoAnswer, "5"),
        (CalledRings, Called, RingsTooLong, NoAnswer, "5"),
        (CalledDialled, Called, Ends(NotFound), CalledFailed, "3"),
        (CalledDialled, Called, Ends(Unavailable), CalledFailed, "3"),
        (CalledDialled, Called, Ends(TrunkFailed), CalledFailed, "3"),
        (CalledRings, Called, MediaFails, CalledFailed, "3"),
        (CalledRings, Called, Cancel, Cancelled, "998"),
        (CalledRings, Called, CancelCrossesAnswer, Cancelled, "998"),
        (Talking, Caller, Ends(Released), CallerHungUp, "1"),
        (Talking, Called, Ends(Released), CalledHungUp, "0"),
        (Talking, Caller, NothingIsHeard, CallerFailed, "2"),
        (Talking, Called, NothingIsHeard, CalledFailed, "3"),
        (Talking, Called, Cancel, Cancelled, "998"),
    ];
    for (when, who, what, outcome, reason) in table {
        anonymous(when, who, what, (outcome, reason));
    }
}

/// The called party has answered, and the 200 for the caller is not out yet.
#[test]
fn of_an_anonymous_call_between_the_two_answers() {
    use What::{Cancel, Ends, MediaFails};
    let table = [
        (Who::Caller, Ends(Cause::Released), CallerHungUp, "1"),
        (Who::Called, Ends(Cause::Released), CalledHungUp, "0"),
        (Who::Caller, MediaFails, CallerFailed, "2"),
        (Who::Called, MediaFails, CalledFailed, "3"),
        (Who::Called, Cancel, Cancelled, "998"),
    ];
    for (who, what, outcome, reason) in table {
        let mut world = World::new();
        world.trunk(pace(1_000, 2), true);
        let serial = anonymous_call::called_rings(&mut world);
        world.leg(1, answered());
        world.commit();
        let legs = match who {
            Who::Caller => Legs { struck: APP, other: Some(1) },
            Who::Called => Legs { struck: 1, other: Some(APP) },
        };
        strike(&mut world, serial, &legs, what);
        judge(&mut world, &legs, what, (outcome, reason), &format!("{who:?}: {what:?}"));
    }
}

#[test]
fn a_recording_that_fails_ends_both() {
    let mut world = World::new();
    let order = engine::intent::Order { record: true, ..over_trunks() };
    bidirectional::talking(&mut world, order);
    world.leg(1, LegInput::RecordingFailed);
    assert_eq!(world.wants(), ["hang up 1", "hang up 2"]);
    world.leg(1, ended(Cause::HungUp));
    world.leg(2, ended(Cause::HungUp));
    assert_eq!(world.record().release_reason(), "999");
}

/// The disk fails while the caller's 200 is built: it could never leave.
#[test]
fn a_disk_that_fails_between_the_answers_ends_both() {
    let mut world = World::new();
    anonymous_call::called_rings(&mut world);
    world.leg(1, answered());
    world.commit();
    world.input(engine::action::Input::CommitFailed);
    assert_eq!(world.wants(), [format!("hang up {APP}"), "hang up 1".to_owned()]);
}

#[test]
fn a_disk_that_fails_lets_those_who_talk_finish() {
    for anonymous in [false, true] {
        let mut world = World::new();
        if anonymous {
            anonymous_call::talking(&mut world);
        } else {
            bidirectional::talking(&mut world, over_trunks());
        }
        world.input(engine::action::Input::CommitFailed);
        assert_eq!(world.wants(), [""; 0]);
        assert_eq!(world.engine.live_calls(), 1);
    }
}

/// The disk refuses the dialogs: neither the ACK nor the 200 may leave, and nobody stays up.
#[test]
fn a_disk_that_fails_under_the_answers_ends_both() {
    let mut world = World::new();
    anonymous_call::called_rings(&mut world);
    world.leg(1, answered());
    world.commit();
    world.leg(APP, LegInput::Answering { dialog: vec![9] });
    world.input(engine::action::Input::CommitFailed);
    let wants = world.wants();
    assert_eq!(wants, [format!("hang up {APP}"), "hang up 1".to_owned()]);
}
