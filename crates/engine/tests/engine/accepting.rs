//! What is accepted, refused, repeated and queued.

use std::time::Duration;

use crate::world::{TENANT, World, ended, idempotency, intent, limits, order, pace, request};
use engine::action::{Claim, Input, LegInput};
use engine::cdr::{Cause, Outcome};
use engine::vocabulary::{Priority, Serial, TenantId};
use engine::writes::Write;
use engine::{Refusal, Reply, Ticket};

fn reply(world: &World, ticket: Ticket) -> Option<&Reply> {
    world.replies.iter().find(|(of, _)| *of == ticket).map(|(_, reply)| reply)
}

#[test]
fn the_same_key_and_body_make_one_call() {
    let mut world = World::new();
    let mut keyed = request(order());
    keyed.idempotency = Some(idempotency("k", 1));
    let first = world.accept(keyed.clone());
    let second = world.accept(keyed.clone());
    assert!(world.replies.is_empty());
    world.pass(Duration::from_millis(3));
    world.commit();
    let third = world.accept(keyed.clone());
    world.commit();
    let serial = world.serial(first);
    for ticket in [second, third] {
        assert_eq!(reply(&world, ticket), Some(&Reply::Accepted { serial, replayed: true }));
    }
    keyed.idempotency = Some(idempotency("k", 2));
    let other_body = world.accept(keyed);
    world.commit();
    assert_eq!(reply(&world, other_body), Some(&Reply::Refused(Refusal::KeyReused)));
    let accepted = world.disk.iter().filter(|w| matches!(w, Write::Accepted { .. })).count();
    assert_eq!(accepted, 1);
}

#[test]
fn a_duplicate_is_refused_while_the_first_is_unfinished() {
    let mut world = World::new();
    let mut twice = request(order());
    twice.limits.refuse_duplicates = true;
    world.accept(twice.clone());
    let serial = world.fetching().expect("a fetch");
    let second = world.accept(twice.clone());
    world.wants();
    assert_eq!(reply(&world, second), Some(&Reply::Refused(Refusal::Duplicate)));
    world.cancel(serial);
    world.commit();
    let third = world.accept(twice);
    world.pass(Duration::from_millis(3));
    world.commit();
    assert!(matches!(reply(&world, third), Some(Reply::Accepted { replayed: false, .. })));
}

#[test]
fn what_waits_is_claimed_when_its_time_comes() {
    let mut world = World::new();
    let mut slow = request(order());
    slow.limits = limits(pace(1, 10));
    world.accept(slow.clone());
    world.accept(slow);
    world.commit();
    assert_eq!(world.replies.len(), 1, "the one that started waits for its INVITE");
    assert!(world.claims.is_empty());
    world.pass(Duration::from_secs(1));
    world.commit();
    let ready = world.claims.iter().find(|(_, what)| matches!(what, Claim::Ready { limit: 1, .. }));
    let claim = ready.expect("it is claimed after a second").0;
    let waiting = world
        .disk
        .iter()
        .find_map(|write| match write {
            Write::Accepted { intent, started: false, .. } => Some(intent.clone()),
            _ => None,
        })
        .expect("one intent waits on disk");
    world.input(Input::Claimed { claim, calls: vec![*waiting] });
    assert_eq!(world.wants(), ["fetch"]);
}

#[test]
fn a_full_queue_refuses_and_keeps_nothing() {
    let mut world = World::new();
    let mut one = request(order());
    one.limits = limits(pace(1, 1));
    one.limits.queue_length = 1;
    world.accept(one.clone());
    world.accept(one.clone());
    let third = world.accept(one);
    world.commit();
    assert_eq!(
        reply(&world, third),
        Some(&Reply::Refused(Refusal::QueueFull { retry_after_s: 1 }))
    );
}

#[test]
fn a_call_that_waited_too_long_ends_with_its_record() {
    let mut world = World::new();
    let (tenant, route) = (TENANT, "carrier".into());
    world.trunk(pace(10, 10), false);
    world.input(Input::Waiting { tenant, route, calls: 1 });
    world.pass(Duration::from_secs(1));
    world.commit();
    let (claim, Claim::Expired { .. }) = world.claims[0] else { panic!("{:?}", world.claims) };
    let late = intent(9, world.now.unix_ms - 600_000, order());
    world.input(Input::Claimed { claim, calls: vec![late] });
    let record = world.record();
    assert_eq!((record.outcome, record.release_reason()), (Outcome::QueueTimeout, "9"));
}

#[test]
fn a_waiting_call_is_cancelled_where_it_waits() {
    let mut world = World::new();
    let ticket = world.cancel(Serial(9));
    world.wants();
    let (claim, Claim::One { serial: Serial(9), .. }) = world.claims[0] else { panic!() };
    let waiting = intent(9, world.now.unix_ms, order());
    world.input(Input::Claimed { claim, calls: vec![waiting] });
    assert_eq!(world.record().outcome, Outcome::Cancelled);
    assert_eq!(reply(&world, ticket), Some(&Reply::Cancelled));
}

#[test]
fn a_claim_never_lets_an_invite_leave_before_its_rows() {
    let mut world = World::new();
    world.trunk(pace(10, 10), false);
    world.input(Input::Waiting { tenant: TENANT, route: "other".into(), calls: 1 });
    world.trunk(pace(10, 10), true);
    world.accept(request(order()));
    let serial = world.fetching().expect("a fetch");
    world.input(Input::Fetched { serial, result: Ok(()) });
    world.wants();
    // The check for expired calls is due in the same moment in which the INVITE is built.
    world.now = world.now.later(Duration::from_secs(1));
    world.leg(1, LegInput::Prepared { wire: vec![1], media: vec![2] });
    assert!(!world.wants().contains(&"dial 1".to_owned()));
    assert!(world.claims.iter().any(|(_, what)| matches!(what, Claim::Expired { .. })));
    assert!(world.commit().contains(&"dial 1".to_owned()));
    assert!(world.disk.iter().any(|write| matches!(write, Write::Attempt(_))));
}

#[test]
fn a_repeated_request_is_answered_without_a_further_commit() {
    let mut world = World::new();
    let mut keyed = request(order());
    keyed.idempotency = Some(idempotency("k", 1));
    let first = world.accept(keyed.clone());
    world.pass(Duration::from_millis(3));
    world.commit();
    let again = world.accept(keyed);
    world.wants();
    let serial = world.serial(first);
    assert_eq!(reply(&world, again), Some(&Reply::Accepted { serial, replayed: true }));
    world.input(Input::Fetched { serial, result: Ok(()) });
    assert_eq!(world.wants(), ["open 1 to 8899 as 2222201"], "the reply holds nothing back");
}

#[test]
fn nobody_cancels_another_tenants_call() {
    let mut world = World::new();
    let serial = world.playing(order());
    let (ticket, tenant) = (Ticket(900), TenantId(99));
    world.input(Input::Cancel { ticket, tenant, serial });
    assert_eq!(world.wants(), [""; 0]);
    assert_eq!(reply(&world, ticket), Some(&Reply::NotFound));
    let waiting = Serial(4711);
    world.input(Input::Cancel { ticket, tenant, serial: waiting });
    world.wants();
    let asked = (TenantId(99), Serial(4711));
    let owned =
        |what: &Claim| matches!(what, Claim::One { tenant, serial } if (*tenant, *serial) == asked);
    assert!(world.claims.iter().any(|(_, what)| owned(what)), "{:?}", world.claims);
}

#[test]
fn a_cancel_meets_the_call_that_was_claimed_just_before() {
    let mut world = World::new();
    let (tenant, route) = (TENANT, "carrier".into());
    world.input(Input::TenantLimits { tenant, limits: limits(pace(10, 10)) });
    world.input(Input::Waiting { tenant, route, calls: 1 });
    let waiting = intent(9, world.now.unix_ms, order());
    let ticket = world.cancel(waiting.serial);
    world.wants();
    let [(ready, Claim::Ready { .. }), (one, Claim::One { .. })] = world.claims[..] else {
        panic!("{:?}", world.claims)
    };
    world.input(Input::Claimed { claim: ready, calls: vec![waiting] });
    world.input(Input::Claimed { claim: one, calls: vec![] });
    world.wants();
    assert_eq!(reply(&world, ticket), None, "its record is not on disk yet");
    assert_eq!(world.record().outcome, Outcome::Cancelled);
    assert_eq!(reply(&world, ticket), Some(&Reply::Cancelled));
}

#[test]
fn a_failed_disk_ends_what_is_not_up_and_lets_every_hang_up_out() {
    let mut world = World::new();
    world.ringing(order());
    world.leg(1, LegInput::Answered { dialog: vec![3] });
    world.wants();
    world.engine.close_batch();
    world.input(Input::CommitFailed);
    assert_eq!(world.wants(), ["hang up 1"], "its ACK never left");
    world.leg(1, ended(Cause::HungUp));
    assert_eq!(world.engine.live_calls(), 0);

    let mut world = World::new();
    world.playing(order());
    world.input(Input::CommitFailed);
    assert_eq!(world.wants(), [""; 0], "what is up goes on");
    world.input(Input::HangUpAll);
    assert_eq!(world.wants(), ["hang up 1"]);
}

#[test]
fn a_failed_disk_accepts_and_dials_nothing() {
    let mut world = World::new();
    let ticket = world.accept(request(order()));
    let serial = world.fetching().expect("a fetch");
    world.input(Input::Fetched { serial, result: Ok(()) });
    world.leg(1, LegInput::Prepared { wire: vec![1], media: vec![2] });
    world.wants();
    world.engine.close_batch();
    world.input(Input::CommitFailed);
    let wants = world.wants();
    assert!(!wants.contains(&"dial 1".to_owned()), "{wants:?}");
    assert_eq!(reply(&world, ticket), Some(&Reply::Refused(Refusal::Stopping)));
    let later = world.accept(request(order()));
    world.wants();
    assert_eq!(reply(&world, later), Some(&Reply::Refused(Refusal::Stopping)));
}

#[test]
fn a_draining_server_refuses_and_claims_nothing() {
    let mut world = World::new();
    world.playing(order());
    let (tenant, route) = (TENANT, "carrier".into());
    world.input(Input::Drain);
    world.input(Input::Waiting { tenant, route, calls: 5 });
    let refused = world.accept(request(order()));
    world.pass(Duration::from_secs(5));
    world.commit();
    assert_eq!(reply(&world, refused), Some(&Reply::Refused(Refusal::Stopping)));
    assert!(world.claims.is_empty());
    assert_eq!(world.engine.live_calls(), 1, "what is up goes on");
}

#[test]
fn priorities_are_one_to_nine() {
    assert_eq!(Priority::new(0), None);
    assert_eq!(Priority::new(10), None);
    assert_eq!(Priority::new(1).map(Priority::value), Some(1));
}

#[test]
fn a_backlog_is_worked_off_no_faster_than_invites_leave() {
    let mut world = World::new();
    let fast = pace(100_000, 100_000);
    world.input(Input::TenantLimits { tenant: TENANT, limits: limits(fast) });
    world.trunk(fast, true);
    world.input(Input::Waiting { tenant: TENANT, route: "carrier".into(), calls: 10_000 });
    let mut opened: Vec<u64> = Vec::new();
    let mut serial = 0;
    // Every claim is answered; no port is bound and no INVITE is built.
    loop {
        let wants = world.wants();
        let legs = wants.iter().filter_map(|want| want.strip_prefix("open ")?.split(' ').next());
        opened.extend(legs.map(|leg| leg.parse::<u64>().expect("a leg")));
        let Some((claim, Claim::Ready { limit, .. })) = world.claims.pop() else { break };
        let calls = (0..limit).map(|_| {
            serial += 1;
            intent(serial, world.now.unix_ms, order())
        });
        let calls: Vec<_> = calls.collect();
        let serials: Vec<Serial> = calls.iter().map(|call| call.serial).collect();
        world.input(Input::Claimed { claim, calls });
        for serial in serials {
            world.input(Input::Fetched { serial, result: Ok(()) });
        }
        world.pass(Duration::from_millis(50));
    }
    // One claim more may have gone out while the clips of the last one were fetched.
    assert!((128..=160).contains(&opened.len()), "{}", opened.len());
    assert!(world.engine.wake_at(world.now).is_some_and(|at| at > world.now.since_start));
    for leg in opened {
        world.leg(leg, LegInput::Prepared { wire: vec![1], media: vec![2] });
    }
    world.wants();
    assert!(matches!(world.claims[..], [(_, Claim::Ready { .. }), ..]), "{:?}", world.claims);
}

#[test]
fn a_tenant_with_a_million_calls_in_its_queue_keeps_no_other_tenant_waiting() {
    let mut world = World::new();
    let (tenant, route) = (TENANT, "carrier".into());
    world.input(Input::TenantLimits { tenant, limits: limits(pace(10, 10)) });
    world.input(Input::Waiting { tenant, route, calls: 1_000_000 });
    world.wants();
    let other = TenantId(2);
    world.accept(engine::Request { tenant: other, ..request(order()) });
    assert_eq!(world.wants(), ["fetch"], "its first call starts at once");
    let own = world.accept(engine::Request { limits: limits(pace(10, 10)), ..request(order()) });
    assert!(world.wants().is_empty());
    let refused = Reply::Refused(Refusal::QueueFull { retry_after_s: 60 });
    assert_eq!(reply(&world, own), Some(&refused), "its own next one finds its queue full");
}
