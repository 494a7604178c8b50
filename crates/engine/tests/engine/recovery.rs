//! What a restart makes of a call of two parties: a table of what can be on disk.

use std::time::Duration;

use crate::anonymous_call::{APP, comes, expected};
use crate::bidirectional_call::{arrived_call, over_trunks};
use crate::world::{World, ended, intent, order, pace};
use engine::action::Input;
use engine::cdr::{Cause, Outcome};
use engine::intent::{Order, Place};
use engine::vocabulary::{LegId, Side};
use engine::writes::{Attempt, FoundLeg, Unfinished};

const NOTHING: [&str; 0] = [];

fn dialled(world: &World, leg: u64, side: Side, answered: bool) -> FoundLeg {
    let at_ms = world.now.unix_ms - 3_000;
    let attempt = Attempt {
        serial: engine::vocabulary::Serial(77),
        leg: LegId(leg),
        side,
        trunk: Some("carrier".into()),
        number: leg as u32,
        at_ms,
        wire: vec![1],
        media: vec![2],
    };
    let answered = answered.then(|| (vec![3], at_ms + 1_000));
    FoundLeg { leg: LegId(leg), attempt: Some(attempt), answered }
}

fn inbound(world: &World) -> FoundLeg {
    let answered = Some((vec![4], world.now.unix_ms - 1_000));
    FoundLeg { leg: LegId(APP), attempt: None, answered }
}

fn unfinished(world: &World, order: Order, legs: Vec<FoundLeg>) -> Input {
    let intent = intent(77, world.now.unix_ms - 4_000, order);
    Input::Recovered(Box::new(Unfinished {
        intent,
        ringing_ms: None,
        recorded: false,
        cancelled: false,
        legs,
    }))
}

/// Ends every leg that was told to end; the record.
fn resolve(world: &mut World, legs: &[u64]) -> (Outcome, &'static str) {
    for leg in legs {
        assert_eq!(world.engine.live_calls(), 1);
        world.leg(*leg, ended(Cause::HungUp));
    }
    let record = world.record();
    assert!(world.engine.is_idle());
    assert_eq!(world.engine.wake_at(world.now), None);
    (record.outcome, record.release_reason())
}

fn small_world() -> World {
    let mut world = World::new();
    world.trunk(pace(1_000, 2), true);
    let limits = crate::world::limits(pace(100, 100));
    world.input(Input::TenantLimits { tenant: crate::world::TENANT, limits });
    world
}

#[test]
fn nobody_stays_up_and_nobody_is_dialled_again() {
    type Found = fn(&World) -> Vec<FoundLeg>;
    let bidirectional: [(Found, &[&str], Outcome); 4] = [
        (|world| vec![dialled(world, 1, Side::Caller, false)], &["abandon 1"], Outcome::Unknown),
        (
            |world| vec![dialled(world, 1, Side::Caller, true)],
            &["hang up stored 1"],
            Outcome::Interrupted,
        ),
        (
            |world| {
                vec![dialled(world, 1, Side::Caller, true), dialled(world, 2, Side::Called, false)]
            },
            &["hang up stored 1", "abandon 2"],
            Outcome::Interrupted,
        ),
        (
            |world| {
                vec![dialled(world, 1, Side::Caller, true), dialled(world, 2, Side::Called, true)]
            },
            &["hang up stored 1", "hang up stored 2"],
            Outcome::Interrupted,
        ),
    ];
    for (found, wants, outcome) in bidirectional {
        let mut world = small_world();
        let legs = found(&world);
        let ids: Vec<u64> = legs.iter().map(|leg| leg.leg.0).collect();
        let input = unfinished(&world, over_trunks(), legs);
        world.input(input);
        assert_eq!(world.commit(), wants);
        assert_eq!(resolve(&mut world, &ids), (outcome, "998"), "{wants:?}");
        world.disk.clear();
        for _ in 0..2 {
            world.accepted(order());
        }
        assert_eq!(world.engine.live_calls(), 2, "every slot is free after {wants:?}");
    }
}

#[test]
fn of_an_anonymous_call_too() {
    let mut world = small_world();
    let legs = vec![dialled(&world, 2, Side::Called, false)];
    let input = unfinished(&world, expected(&world, "17908001"), legs);
    world.input(input);
    assert_eq!(world.wants(), ["abandon 2"]);
    comes(&mut world, APP, "17908001");
    assert_eq!(world.wants(), [format!("refuse {APP} Unknown")], "its code was used");
    assert_eq!(resolve(&mut world, &[2]), (Outcome::Unknown, "998"));

    let mut world = small_world();
    let legs = vec![inbound(&world), dialled(&world, 2, Side::Called, true)];
    let input = unfinished(&world, expected(&world, "17908001"), legs);
    world.input(input);
    assert_eq!(world.wants(), [format!("hang up stored {APP}"), "hang up stored 2".into()]);
    assert_eq!(resolve(&mut world, &[APP, 2]), (Outcome::Interrupted, "998"));
    let caller = world.records()[0].caller.clone().expect("it came");
    assert!(caller.talking_ms.is_some() && caller.released_ms.is_some());
}

#[test]
fn an_unused_code_is_good_again_for_the_rest_of_its_time() {
    let mut world = small_world();
    let input = unfinished(&world, expected(&world, "17908001"), Vec::new());
    world.input(input);
    assert_eq!(world.wants(), NOTHING);
    world.pass(Duration::from_secs(59));
    comes(&mut world, APP, "17908001");
    assert_eq!(world.wants(), [format!("take in {APP}")]);

    let mut world = small_world();
    let input = unfinished(&world, expected(&world, "17908001"), Vec::new());
    world.pass(Duration::from_secs(70));
    world.input(input);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.record().outcome, Outcome::Unused, "it ran out while no server was there");
}

/// The side of each leg's losers is known too: they are taken back like the rest.
#[test]
fn every_place_where_a_softphone_rang_is_taken_back() {
    let mut world = small_world();
    let rings = |leg| {
        let mut found = dialled(&world, leg, Side::Caller, false);
        if let Some(attempt) = &mut found.attempt {
            attempt.trunk = None;
        }
        found
    };
    let legs = vec![rings(1), rings(2), rings(3)];
    let input = unfinished(&world, over_trunks(), legs);
    world.input(input);
    assert_eq!(world.wants(), ["abandon 1", "abandon 2", "abandon 3"]);
    assert_eq!(resolve(&mut world, &[3, 1, 2]), (Outcome::Unknown, "998"));
}

#[test]
fn a_call_to_a_softphone_that_was_never_dialled_ends_at_once() {
    for (cancelled, outcome) in [(false, Outcome::Interrupted), (true, Outcome::Cancelled)] {
        let mut world = small_world();
        let intent =
            intent(77, world.now.unix_ms, Order { place: Place::Softphone, ..arrived_call() });
        let (ringing_ms, recorded, legs) = (None, false, Vec::new());
        let found = Unfinished { intent, ringing_ms, recorded, cancelled, legs };
        world.input(Input::Recovered(Box::new(found)));
        assert_eq!(world.wants(), NOTHING, "its caller has gone");
        assert_eq!(world.record().outcome, outcome);
        assert!(world.engine.is_idle());
    }
}

#[test]
fn every_place_where_a_called_softphone_rang_is_taken_back() {
    let mut world = small_world();
    let rings = |leg| {
        let mut found = dialled(&world, leg, Side::Called, false);
        if let Some(attempt) = &mut found.attempt {
            attempt.trunk = None;
        }
        found
    };
    let order = Order { place: Place::Softphone, ..arrived_call() };
    let input = unfinished(&world, order, vec![rings(1), rings(2)]);
    world.input(input);
    assert_eq!(world.wants(), ["abandon 1", "abandon 2"]);
    assert_eq!(resolve(&mut world, &[2, 1]), (Outcome::Unknown, "998"));
}

#[test]
fn a_call_to_a_virtual_number_that_was_never_dialled_ends_when_it_is_claimed() {
    use engine::action::Claim;
    let order = arrived_call();
    let mut world = small_world();
    let tenant = crate::world::TENANT;
    world.input(Input::Waiting { tenant, route: "carrier".into(), calls: 1 });
    world.commit();
    let (claim, Claim::Ready { limit: 1, .. }) = world.claims.remove(0) else { panic!() };
    let calls = vec![intent(77, world.now.unix_ms, order)];
    world.input(Input::Claimed { claim, calls });
    assert_eq!(world.wants(), NOTHING, "its caller has gone");
    assert_eq!(world.record().outcome, Outcome::Interrupted);
}
