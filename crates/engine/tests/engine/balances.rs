//! The balance of a tenant's ITA calls: set aside when a call is accepted, given back at its end, and cut when it is used up.

use std::time::Duration;

use crate::bidirectional_call::{answered, arrived_call, over_trunks, prepared};
use crate::world::{TENANT, World, ended, intent, limits, order, pace, request};
use engine::action::{Arrival, Claim, Input, Origin};
use engine::cdr::{Cause, Outcome};
use engine::intent::{BidirectionalCall, Order, OrderKind};
use engine::vocabulary::{LegId, Serial, TenantLimits};
use engine::{Refusal, Reply, Request, Ticket};

fn ita_order() -> Order {
    let OrderKind::BidirectionalCall(call) = over_trunks().kind else { panic!("another kind") };
    let call = BidirectionalCall { ita: true, ..call };
    Order { kind: OrderKind::BidirectionalCall(call), ..order() }
}

fn paid(minutes: Option<u32>) -> TenantLimits {
    TenantLimits { ita_minutes: minutes, ..limits(pace(1_000, 1_000)) }
}

fn ita(minutes: u32) -> Request {
    Request { limits: paid(Some(minutes)), ..request(ita_order()) }
}

/// Whether there is a minute for the request; without one nobody is dialled.
fn is_taken(world: &mut World, request: Request) -> bool {
    let ticket = world.accept(request);
    let wants = world.wants();
    let refused = world.replies.contains(&(ticket, Reply::Refused(Refusal::BalanceUsedUp)));
    assert!(!refused || wants.is_empty(), "{wants:?}");
    !refused
}

/// The caller on leg `caller` and the called party on the next hear each other.
fn talks(world: &mut World, request: Request, caller: u64) -> Ticket {
    let ticket = world.accept(request);
    world.wants();
    world.leg(caller, prepared());
    world.commit();
    world.leg(caller, answered());
    world.commit();
    world.leg(caller + 1, prepared());
    world.commit();
    world.leg(caller + 1, answered());
    assert_eq!(world.commit()[1], format!("bridge {caller} with {}", caller + 1));
    ticket
}

fn hung_up(world: &mut World, legs: [u64; 2]) {
    for leg in legs {
        world.leg(leg, ended(Cause::HungUp));
    }
    world.commit();
}

#[test]
fn two_calls_cannot_both_start_on_the_last_minute() {
    let mut world = World::new();
    talks(&mut world, ita(1), 1);
    assert!(!is_taken(&mut world, ita(1)), "{:?}", world.replies);
    world.pass(Duration::from_secs(10));
    hung_up(&mut world, [1, 2]);
    // 50 s were given back.
    talks(&mut world, ita(1), 3);
    world.pass(Duration::from_millis(49_999));
    assert!(world.wants().is_empty());
    world.pass(Duration::from_millis(1));
    assert_eq!(world.wants(), ["hang up 3", "hang up 4"]);
    hung_up(&mut world, [3, 4]);
    let records = world.records();
    let cut = records.last().expect("its record");
    assert_eq!((cut.outcome, cut.talk_duration_ms), (Outcome::Restricted, 50_000));
    assert!(world.events().contains(&"call.balance_used_up"));
    let talked: u64 = world.records().iter().map(|record| record.talk_duration_ms).sum();
    assert_eq!(talked, 60_000, "what was paid for and nothing more");
}

#[test]
fn what_is_accepted_and_never_talks_gives_its_minute_back() {
    let mut world = World::new();
    let narrow =
        Request { limits: TenantLimits { pace: pace(1_000, 1), ..paid(Some(2)) }, ..ita(2) };
    let rings = world.accept(narrow.clone());
    assert_eq!(world.wants(), ["open 1 to 66666666 as 95599"]);
    let waits = world.accept(narrow.clone());
    world.commit();
    assert!(matches!(world.replies.last(), Some((of, Reply::Accepted { .. })) if *of == waits));
    assert!(!is_taken(&mut world, narrow.clone()), "the one that waits has the second minute");
    let cancelled = world.cancel(world.serial(waits));
    world.wants();
    let (claim, Claim::One { .. }) = world.claims[0] else { panic!("{:?}", world.claims) };
    let queued = Order { place: "carrier".into(), ..ita_order() };
    let waiting = intent(world.serial(waits).0, world.now.unix_ms, queued);
    world.input(Input::Claimed { claim, calls: vec![waiting] });
    world.commit();
    assert!(world.replies.contains(&(cancelled, Reply::Cancelled)), "{:?}", world.replies);
    assert!(is_taken(&mut world, narrow.clone()), "the cancelled one gave its minute back");
    world.commit();
    world.leg(1, prepared());
    world.commit();
    world.leg(1, ended(Cause::Busy));
    world.commit();
    assert_eq!(
        world.records().last().map(|record| record.intent.serial),
        Some(world.serial(rings))
    );
    assert!(is_taken(&mut world, narrow), "and so did the one that was busy");
}

#[test]
fn a_start_counts_what_was_talked_and_what_waits() {
    let mut world = World::new();
    let (tenant, limits) = (TENANT, paid(Some(3)));
    world.input(Input::TenantLimits { tenant, limits });
    let talked = Duration::from_secs(90);
    world.input(Input::Balance { tenant, talked, waiting: vec![Serial(7), Serial(8)] });
    world.input(Input::Waiting { tenant, route: "carrier".into(), calls: 2 });
    assert!(!is_taken(&mut world, ita(3)), "60 s and 30 s are set aside for those that wait");
    let (claim, Claim::Ready { .. }) = world.claims[0] else { panic!("{:?}", world.claims) };
    let calls = vec![intent(7, world.now.unix_ms, ita_order())];
    world.input(Input::Claimed { claim, calls });
    assert_eq!(world.wants(), ["open 1 to 66666666 as 95599"]);
    world.leg(1, prepared());
    world.commit();
    world.leg(1, ended(Cause::Busy));
    world.commit();
    assert!(is_taken(&mut world, ita(3)), "its minute is free again");
}

#[test]
fn a_call_that_waited_while_the_balance_was_taken_away_is_not_dialled() {
    let mut world = World::new();
    let (tenant, limits) = (TENANT, paid(Some(1)));
    world.input(Input::TenantLimits { tenant, limits });
    let talked = Duration::from_secs(60);
    world.input(Input::Balance { tenant, talked, waiting: vec![Serial(7)] });
    world.input(Input::Waiting { tenant, route: "carrier".into(), calls: 1 });
    world.wants();
    let (claim, Claim::Ready { .. }) = world.claims[0] else { panic!("{:?}", world.claims) };
    world.input(Input::Claimed { claim, calls: vec![intent(7, world.now.unix_ms, ita_order())] });
    let record = world.record();
    assert_eq!((record.outcome, record.intent.serial), (Outcome::Restricted, Serial(7)));
}

#[test]
fn who_calls_a_virtual_number_needs_a_minute_too() {
    let mut world = World::new();
    talks(&mut world, ita(1), 1);
    let request = Request { order: arrived_call(), ..ita(1) };
    let calls = |world: &mut World, leg| {
        let arrival = Arrival::Bound(Box::new(request.clone()));
        let source = "192.0.2.1".parse().expect("an address");
        world.input(Input::Incoming { leg: LegId(leg), arrival, source, origin: Origin::Trunk });
        world.wants()
    };
    assert_eq!(calls(&mut world, 100), ["refuse 100 Forbidden"]);
    hung_up(&mut world, [1, 2]);
    assert_eq!(calls(&mut world, 101), ["take in 101"]);
    assert!(!is_taken(&mut world, ita(1)), "the one that came has it");
}

#[test]
fn a_balance_that_is_loaded_up_lets_who_talks_go_on() {
    let mut world = World::new();
    talks(&mut world, ita(1), 1);
    world.pass(Duration::from_secs(30));
    world.input(Input::TenantLimits { tenant: TENANT, limits: paid(Some(2)) });
    world.pass(Duration::from_secs(60));
    assert!(world.wants().is_empty());
    world.pass(Duration::from_secs(30));
    assert_eq!(world.wants(), ["hang up 1", "hang up 2"]);
}

#[test]
fn other_calls_of_the_tenant_need_no_balance() {
    let mut world = World::new();
    let notification = Request { limits: paid(Some(0)), ..request(order()) };
    let aicc = Request { limits: paid(Some(0)), ..request(over_trunks()) };
    for request in [notification, aicc] {
        let ticket = world.accept(request);
        world.pass(Duration::from_millis(3));
        world.commit();
        assert!(
            world
                .replies
                .iter()
                .any(|(of, reply)| { *of == ticket && matches!(reply, Reply::Accepted { .. }) })
        );
    }
    assert!(!is_taken(&mut world, ita(0)));
}
