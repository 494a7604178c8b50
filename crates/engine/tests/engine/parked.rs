//! Calls that wait for a trunk for each party.

use std::time::Duration;

use crate::bidirectional_call::{order_with, over_trunks, prepared};
use crate::world::{TENANT, World, ended, intent, limits, order, pace, request};
use engine::action::{Claim, ClaimId, Input, LegInput, Then};
use engine::cdr::Cause;
use engine::intent::{Order, Place};
use engine::vocabulary::{Serial, TenantId};
use engine::{Refusal, Reply};

const OTHER: TenantId = TenantId(2);

/// The called party's trunk is free, the caller's is out of service.
fn callers_trunk_down() -> (World, Order) {
    let mut world = World::new();
    world.named_trunk("broken", pace(1_000, 1_000), false);
    (world, order_with(Place::Trunks("broken".into())))
}

fn queue_full(reply: &Reply) -> bool {
    matches!(reply, Reply::Refused(Refusal::QueueFull { .. }))
}

#[test]
fn what_waits_for_trunks_counts_for_the_queue_and_too_much_is_refused() {
    let (mut world, order) = callers_trunk_down();
    let mut wanted = request(order);
    wanted.limits.queue_length = 3;
    for _ in 0..5 {
        world.accept(wanted.clone());
        world.settle();
    }
    let refused = world.replies.iter().filter(|(_, reply)| queue_full(reply)).count();
    assert_eq!((world.engine.live_calls(), refused), (3, 2));
    wanted.order = over_trunks();
    let both_free = world.accept(wanted);
    assert_eq!(world.settle(), ["open 1 to 66666666 as 95599"], "it need not wait");
    world.serial(both_free);
}

#[test]
fn two_slots_of_one_trunk_are_counted_before_a_call_that_may_not_wait_is_let_through() {
    let mut world = World::new();
    world.trunk(pace(1_000, 1), true);
    let mut wanted = request(over_trunks());
    wanted.limits.queue_length = 0;
    let refused = world.accept(wanted.clone());
    world.settle();
    assert!(world.replies.iter().any(|(of, reply)| *of == refused && queue_full(reply)));
    world.trunk(pace(1_000, 2), true);
    let ticket = world.accept(wanted);
    assert_eq!(world.settle(), ["open 1 to 66666666 as 95599"]);
    world.serial(ticket);
}

/// What the engine asks of the backlog, answered with calls that find no trunk for their caller.
fn claimed_until_none(world: &mut World, order: &Order) -> u32 {
    let mut claimed = 0;
    loop {
        world.commit();
        let asked: Vec<(ClaimId, Claim)> = world.claims.drain(..).collect();
        if asked.is_empty() {
            return claimed;
        }
        for (claim, what) in asked {
            let Claim::Ready { limit, tenant, .. } = what else { continue };
            assert_eq!(tenant, TENANT);
            let call = |n| intent(1 + u64::from(claimed + n), world.now.unix_ms, order.clone());
            let calls = (0..limit).map(call).collect();
            claimed += limit;
            world.input(Input::Claimed { claim, calls });
        }
        world.pass(Duration::from_millis(20));
    }
}

#[test]
fn what_one_tenant_has_waiting_for_trunks_holds_back_no_other() {
    let (mut world, order_of_two) = callers_trunk_down();
    let known = |tenant| Input::TenantLimits { tenant, limits: limits(pace(1_000, 1_000)) };
    world.input(known(TENANT));
    world.input(known(OTHER));
    let waiting = |tenant, calls| Input::Waiting { tenant, route: "carrier".into(), calls };
    world.input(waiting(TENANT, 1_000));
    assert_eq!(claimed_until_none(&mut world, &order_of_two), 128, "the rest waits on disk");
    world.input(waiting(OTHER, 1));
    world.commit();
    let of = world.claims.iter().filter_map(|(_, what)| match what {
        Claim::Ready { tenant, .. } => Some(*tenant),
        Claim::Expired { .. } | Claim::One { .. } => None,
    });
    assert_eq!(of.collect::<Vec<_>>(), [OTHER]);
    let now = world.now.since_start;
    assert!(world.engine.wake_at(world.now).is_some_and(|at| at > now), "it does not spin");
    world.claims.clear();
    world.cancel(Serial(1));
    world.commit();
    assert_eq!(world.claims.len(), 1, "as one leaves the next may come");
}

#[test]
fn a_claim_that_is_answered_after_the_drain_began_dials_nobody() {
    let mut world = World::new();
    let known = limits(pace(1_000, 1_000));
    world.input(Input::TenantLimits { tenant: TENANT, limits: known });
    world.input(Input::Waiting { tenant: TENANT, route: "carrier".into(), calls: 1 });
    world.commit();
    let (claim, _) = world.claims.pop().expect("the call that waits is claimed");
    world.input(Input::Drain);
    let call = intent(7, world.now.unix_ms, order());
    world.input(Input::Claimed { claim, calls: vec![call] });
    assert!(world.commit().is_empty() && world.engine.is_idle());
    assert!(world.records().is_empty(), "it waits on disk");
}

#[test]
fn a_trunk_that_rested_is_tried_by_a_call_that_needs_it_for_both_parties() {
    let mut world = World::new();
    world.accepted(over_trunks());
    world.leg(1, prepared());
    world.commit();
    let then = Then::Rest(Duration::from_secs(7));
    let (cause, sip_status) = (Cause::TrunkFailed, Some(503));
    world.leg(1, LegInput::Ended { cause, sip_status, media: None, then });
    world.commit();
    let waits = world.accepted(over_trunks());
    world.pass(Duration::from_secs(8));
    world.commit();
    let (claim, _) = world.claims.pop().expect("the trunk has rested");
    let mut call = intent(0, world.now.unix_ms, over_trunks());
    call.serial = waits;
    world.input(Input::Claimed { claim, calls: vec![call] });
    assert_eq!(world.wants(), ["open 2 to 66666666 as 95599"]);
}

#[test]
fn places_are_kept_for_the_oldest_call_whose_trunks_are_in_service() {
    let (mut world, order_of_two) = callers_trunk_down();
    world.trunk(pace(1_000, 3), true);
    world.accepted(order_of_two);
    let running = world.accepted(order());
    world.accepted(order());
    let waits = world.accepted(over_trunks());
    world.cancel(running);
    world.commit();
    let later = world.accepted(order());
    assert_eq!(world.engine.intent(later), None, "it waits on disk");
    world.pass(Duration::from_millis(250));
    assert_eq!(world.wants(), ["open 1 to 66666666 as 95599"]);
    world.cancel(waits);
    world.leg(1, ended(Cause::HungUp));
    world.commit();
    assert_eq!(world.claims.len(), 1, "now it is the other's turn");
}
