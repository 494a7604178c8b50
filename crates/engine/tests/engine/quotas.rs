//! S-10: what a tenant may use up in a day.

use std::time::Duration;

use crate::bidirectional_call::{answered, called_rings, over_trunks};
use crate::world::{TENANT, World, ended, intent, limits, order, pace, request};
use engine::action::{Claim, Input, LegInput};
use engine::cdr::{Cause, Outcome};
use engine::vocabulary::{DailyLimits, TenantLimits};
use engine::{Quota, Refusal, Reply, Request, Ticket, Used};

fn with(daily: DailyLimits) -> TenantLimits {
    TenantLimits { daily, ..limits(pace(1_000, 1_000)) }
}

fn limited(daily: DailyLimits) -> Request {
    Request { limits: with(daily), ..request(order()) }
}

fn reply(world: &World, ticket: Ticket) -> Option<&Reply> {
    world.replies.iter().find(|(of, _)| *of == ticket).map(|(_, reply)| reply)
}

fn refused(world: &World, ticket: Ticket) -> Option<Quota> {
    match reply(world, ticket) {
        Some(Reply::Refused(Refusal::DailyLimit { quota, .. })) => Some(*quota),
        _ => None,
    }
}

#[test]
fn the_call_past_the_days_limit_is_refused_until_the_day_is_over() {
    let mut world = World::new();
    let two = limited(DailyLimits { calls: Some(2), ..DailyLimits::default() });
    for _ in 0..2 {
        let ticket = world.accept(two.clone());
        world.pass(Duration::from_millis(3));
        world.commit();
        assert!(matches!(reply(&world, ticket), Some(Reply::Accepted { .. })));
    }
    let third = world.accept(two.clone());
    world.commit();
    let Some(Reply::Refused(Refusal::DailyLimit { quota: Quota::Calls, retry_after_s })) =
        reply(&world, third).cloned()
    else {
        panic!("{:?}", world.replies)
    };
    world.pass(Duration::from_secs(retry_after_s.into()));
    let tomorrow = world.accept(two);
    world.pass(Duration::from_millis(3));
    world.commit();
    assert!(matches!(reply(&world, tomorrow), Some(Reply::Accepted { .. })), "{retry_after_s}");
}

#[test]
fn minutes_count_while_they_are_talked_what_is_up_is_cut_and_what_waits_is_restricted() {
    let mut world = World::new();
    let one_minute = DailyLimits { minutes: Some(1), ..DailyLimits::default() };
    world.playing(order());
    world.input(Input::TenantLimits { tenant: TENANT, limits: with(one_minute) });
    world.input(Input::Waiting { tenant: TENANT, route: "carrier".into(), calls: 1 });
    world.wants();
    let (claim, Claim::Ready { .. }) = world.claims[0] else { panic!("{:?}", world.claims) };
    world.pass(Duration::from_secs(59));
    assert_eq!(world.wants(), [""; 0]);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.wants(), ["hang up 1"]);
    let asked = world.accept(limited(one_minute));
    world.wants();
    assert_eq!(refused(&world, asked), Some(Quota::Minutes));

    let waited = intent(9, world.now.unix_ms, order());
    world.input(Input::Claimed { claim, calls: vec![waited] });
    let record = world.record();
    assert_eq!((record.outcome, record.release_reason()), (Outcome::Restricted, "10"));
    world.leg(1, ended(Cause::HungUp));
    world.commit();
    let records = world.records();
    let cut = records.last().expect("its record");
    assert_eq!((cut.outcome, cut.release_reason()), (Outcome::Restricted, "10"));
    assert!(cut.talk_duration_ms >= 60_000, "{cut:?}");
    assert!(world.events().contains(&"call.minutes_used_up"));
    let after = world.accept(limited(one_minute));
    world.wants();
    assert_eq!(refused(&world, after), Some(Quota::Minutes));
}

#[test]
fn minutes_that_run_out_cut_both_legs_of_a_call_of_two_parties() {
    let mut world = World::new();
    let tenant = TENANT;
    let limits = with(DailyLimits { minutes: Some(1), ..DailyLimits::default() });
    // The caller's own ringing and waiting are no talk.
    called_rings(&mut world, over_trunks());
    world.pass(Duration::from_secs(50));
    world.input(Input::TenantLimits { tenant, limits });
    world.leg(2, answered());
    assert_eq!(world.commit()[..2], ["acknowledge 2", "bridge 1 with 2"]);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.wants(), [""; 0], "it has the whole minute");
    world.pass(Duration::from_millis(1));
    assert_eq!(world.wants(), ["hang up 1", "hang up 2"]);
    world.leg(1, ended(Cause::HungUp));
    world.leg(2, ended(Cause::HungUp));
    let record = world.record();
    assert_eq!((record.outcome, record.release_reason()), (Outcome::Restricted, "10"));
    assert_eq!(record.talk_duration_ms, 60_001);
    assert!(world.events().contains(&"call.minutes_used_up"));
}

#[test]
fn who_answers_when_the_minutes_are_used_up_is_hung_up_at_once() {
    let mut world = World::new();
    world.ringing(order());
    let daily = DailyLimits { minutes: Some(3), ..DailyLimits::default() };
    world.input(Input::TenantLimits { tenant: TENANT, limits: with(daily) });
    let used = Used { calls: 1, talked: Duration::from_secs(180) };
    world.input(Input::UsedToday { tenant: TENANT, used });
    assert_eq!(world.commit(), [""; 0], "it rings on: nobody talks");
    world.leg(1, LegInput::Answered { dialog: vec![3] });
    assert_eq!(world.commit(), ["acknowledge 1", "play 1 on 1"]);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.wants(), ["hang up 1"]);
}

#[test]
fn what_the_store_counted_counts() {
    for (used, quota) in [
        (Used { calls: 7, talked: Duration::ZERO }, Some(Quota::Calls)),
        (Used { calls: 6, talked: Duration::from_secs(180) }, Some(Quota::Minutes)),
        (Used { calls: 6, talked: Duration::from_secs(179) }, None),
    ] {
        let mut world = World::new();
        let daily = DailyLimits { calls: Some(7), minutes: Some(3), utc_offset_s: 8 * 3600 };
        world.input(Input::TenantLimits { tenant: TENANT, limits: with(daily) });
        world.input(Input::UsedToday { tenant: TENANT, used });
        let asked = world.accept(limited(daily));
        world.wants();
        assert_eq!(refused(&world, asked), quota, "{used:?}");
    }
}

#[test]
fn a_refused_call_is_not_counted() {
    let mut world = World::new();
    let daily = DailyLimits { calls: Some(2), ..DailyLimits::default() };
    let mut narrow = limited(daily);
    narrow.limits.pace = pace(1, 1);
    narrow.limits.queue_length = 0;
    world.accept(narrow.clone());
    let full = world.accept(narrow);
    world.wants();
    assert!(matches!(reply(&world, full), Some(Reply::Refused(Refusal::QueueFull { .. }))));
    let second = world.accept(limited(daily));
    world.wants();
    assert_eq!(refused(&world, second), None);
}

#[test]
fn limits_that_change_hold_for_what_waits_at_once() {
    let mut world = World::new();
    let tenant = TENANT;
    world.playing(order());
    world.input(Input::TenantLimits { tenant, limits: limits(pace(1_000, 1)) });
    world.input(Input::Waiting { tenant, route: "carrier".into(), calls: 3 });
    world.wants();
    assert!(world.claims.is_empty(), "one call at a time");
    world.pass(Duration::from_millis(50));
    world.input(Input::TenantLimits { tenant, limits: limits(pace(1_000, 10)) });
    world.wants();
    let ready = |what: &Claim| matches!(what, Claim::Ready { limit: 3, .. });
    assert!(world.claims.iter().any(|(_, what)| ready(what)), "{:?}", world.claims);
}
