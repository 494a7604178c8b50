//! An anonymous call, step by step, and a call to a virtual number, which begins where it does.

use std::net::IpAddr;
use std::time::Duration;

use crate::bidirectional_call::{answered, arrived_call, prepared};
use crate::world::{World, ended, order, pace, request};
use engine::action::{Action, Arrival, Input, LegInput, Origin, Refused};
use engine::cdr::{Cause, Outcome};
use engine::intent::{AnonymousCall, Order, OrderKind, Place};
use engine::vocabulary::{BindingId, LegId, Serial};
use engine::writes::Write;
use engine::{Refusal, Reply, Request};

const NOTHING: [&str; 0] = [];

/// The leg that the caller comes over.
pub const APP: u64 = 1 << 63 | 5;

/// What is valid for a minute from the beginning of the world.
pub fn expected(world: &World, code: &str) -> Order {
    let call = AnonymousCall {
        call_data: Some("1".into()),
        code: code.into(),
        valid_until_ms: world.now.unix_ms + 60_000,
        connected_url: None,
    };
    Order { kind: OrderKind::AnonymousCall(call), ..order() }
}

fn source(n: u32) -> IpAddr {
    IpAddr::from(n.to_be_bytes())
}

pub fn comes(world: &mut World, leg: u64, code: &str) {
    let arrival = Arrival::Code(code.into());
    world.input(Input::Incoming {
        leg: LegId(leg),
        arrival,
        source: source(1),
        origin: Origin::Claimed,
    });
}

/// The caller is there and the called party (leg 1) rings.
pub fn called_rings(world: &mut World) -> Serial {
    let order = expected(world, "17908001");
    called_rings_for(world, order)
}

pub fn called_rings_for(world: &mut World, order: Order) -> Serial {
    let serial = world.accepted(order);
    comes(world, APP, "17908001");
    assert_eq!(world.wants(), [format!("take in {APP}")]);
    world.leg(APP, LegInput::TakenIn);
    let wants = [format!("ring {APP}"), format!("open 1 to 8899 as 2222201 beside {APP}")];
    assert_eq!(world.wants(), wants);
    world.leg(1, prepared());
    assert_eq!(world.commit(), ["dial 1"]);
    world.leg(1, LegInput::Ringing);
    serial
}

pub fn talking(world: &mut World) -> Serial {
    let serial = called_rings(world);
    world.leg(1, answered());
    assert_eq!(world.commit(), [format!("answer {APP}")]);
    world.leg(APP, LegInput::Answering { dialog: vec![9] });
    assert_eq!(world.wants(), NOTHING, "neither ACK nor 200 before both dialogs are on disk");
    let wants = world.commit();
    let first =
        ["acknowledge 1".to_owned(), format!("send answer {APP}"), format!("bridge {APP} with 1")];
    assert_eq!(wants[..3], first);
    serial
}

#[test]
fn who_comes_with_the_code_is_connected() {
    let mut world = World::new();
    let serial = talking(&mut world);
    world.pass(Duration::from_secs(4));
    world.leg(APP, ended(Cause::Released));
    assert_eq!(world.wants(), ["hang up 1"]);
    world.leg(1, ended(Cause::HungUp));
    let record = world.record();
    assert_eq!(record.intent.serial, serial);
    assert_eq!((record.outcome, record.release_reason()), (Outcome::CallerHungUp, "1"));
    assert_eq!(record.talk_duration_ms, 4_000);
    let caller = record.caller.expect("it came");
    assert_eq!((caller.cause, caller.talk_duration_ms), (Some(Cause::Released), 4_000));
    assert_eq!(caller.number, "2222201", "the number that is shown for it");
    assert!(world.engine.is_idle());
    assert_eq!(
        world.events(),
        [
            "call.accepted",
            "call.expecting",
            "call.arrived",
            "call.dialling",
            "call.ringing",
            "call.answered",
            "call.answered",
            "call.bridged",
            "call.leg_ended",
            "call.leg_ended",
            "call.ended",
        ]
    );
}

#[test]
fn the_intent_is_on_disk_before_the_code_is_given_and_never_in_the_backlog() {
    let mut world = World::new();
    let order = expected(&world, "17908001");
    let ticket = world.accept(request(order));
    assert_eq!(world.wants(), NOTHING);
    assert!(world.replies.is_empty());
    world.commit();
    world.serial(ticket);
    assert!(matches!(&world.disk[0], Write::Accepted { started: true, .. }));
    assert!(world.claims.is_empty());
}

#[test]
fn early_media_of_the_called_party_reaches_the_caller() {
    let mut world = World::new();
    called_rings(&mut world);
    world.leg(1, LegInput::EarlyMedia);
    assert_eq!(world.wants(), [format!("progress {APP}"), format!("forward 1 to {APP}")]);
}

#[test]
fn a_code_works_once() {
    let mut world = World::new();
    called_rings(&mut world);
    comes(&mut world, APP + 1, "17908001");
    assert_eq!(world.wants(), [format!("refuse {} Unknown", APP + 1)]);
    world.leg(APP, ended(Cause::Released));
    world.leg(1, ended(Cause::HungUp));
    world.commit();
    comes(&mut world, APP + 2, "17908001");
    assert_eq!(world.wants(), [format!("refuse {} Unknown", APP + 2)]);
    assert_eq!(world.engine.refused_codes(), 2);
}

#[test]
fn a_code_that_nobody_uses_expires_with_a_record() {
    let mut world = World::new();
    let order = expected(&world, "17908001");
    world.accepted(order);
    world.pass(Duration::from_secs(60));
    let record = world.record();
    assert_eq!((record.outcome, record.release_reason()), (Outcome::Unused, "6"));
    comes(&mut world, APP, "17908001");
    assert_eq!(world.wants(), [format!("refuse {APP} Unknown")]);
    assert!(world.engine.is_idle());
}

#[test]
fn a_code_that_is_out_is_not_given_twice_and_is_free_when_it_is_used() {
    let mut world = World::new();
    let order = expected(&world, "17908001");
    world.accepted(order.clone());
    let again = world.accept(request(order.clone()));
    assert!(world.wants().is_empty());
    assert!(world.replies.contains(&(again, Reply::Refused(Refusal::CodeTaken))));
    comes(&mut world, APP, "17908001");
    world.commit();
    world.accepted(order);
}

#[test]
fn the_codes_that_are_out_are_bounded() {
    let mut world = World::new();
    let mut wanted = request(expected(&world, "0"));
    wanted.limits.queue_length = 3;
    let mut tickets = Vec::new();
    for code in ["1", "2", "3", "4"] {
        wanted.order = expected(&world, code);
        tickets.push(world.accept(wanted.clone()));
    }
    world.commit();
    let full = Reply::Refused(Refusal::QueueFull { retry_after_s: 10 });
    assert!(world.replies.contains(&(tickets[3], full)));
    let serial = world.serial(tickets[0]);
    world.cancel(serial);
    world.wants();
    wanted.order = expected(&world, "5");
    let ticket = world.accept(wanted);
    world.commit();
    world.serial(ticket);
}

#[test]
fn where_no_trunk_is_free_the_caller_may_come_again_with_its_code() {
    let mut world = World::new();
    world.trunk(pace(1_000, 1), true);
    let running = world.accepted(order());
    let order = expected(&world, "17908001");
    let serial = world.accepted(order);
    for n in 0..10 {
        comes(&mut world, APP + n, "17908001");
        assert_eq!(world.wants(), [format!("refuse {} Busy", APP + n)]);
    }
    world.cancel(running);
    world.wants();
    world.pass(Duration::from_secs(5));
    comes(&mut world, APP, "17908001");
    assert_eq!(world.wants(), [format!("take in {APP}")]);
    assert!(world.engine.intent(serial).is_some());
    assert_eq!(world.engine.refused_codes(), 0, "none was a wrong guess");
}

/// The called party (leg 1) has answered, and the caller's 200 is being built.
fn answering() -> World {
    let mut world = World::new();
    called_rings(&mut world);
    world.leg(1, answered());
    assert_eq!(world.commit(), [format!("answer {APP}")]);
    world
}

#[test]
fn a_called_party_that_goes_before_the_caller_has_its_200_gives_the_caller_its_cause() {
    let mut world = answering();
    world.leg(1, ended(Cause::TrunkFailed));
    assert_eq!(world.wants(), [format!("refuse {APP} Ended(TrunkFailed)")]);
    world.leg(APP, ended(Cause::HungUp));
    assert_eq!(world.record().outcome, Outcome::CalledFailed);

    let mut world = answering();
    world.leg(1, LegInput::MediaFailed(Cause::MediaFailed));
    let wants = ["hang up 1".to_owned(), format!("refuse {APP} Ended(MediaFailed)")];
    assert_eq!(world.wants(), wants);

    let mut world = answering();
    world.leg(APP, ended(Cause::Released));
    assert_eq!(world.wants(), ["hang up 1"]);
}

#[test]
fn an_offer_that_cannot_be_taken_dials_nobody() {
    let mut world = World::new();
    let order = expected(&world, "17908001");
    world.accepted(order);
    comes(&mut world, APP, "17908001");
    world.wants();
    world.leg(APP, LegInput::MediaFailed(Cause::MediaFailed));
    assert_eq!(world.wants(), [format!("refuse {APP} Ended(MediaFailed)")]);
    world.leg(APP, ended(Cause::HungUp));
    let record = world.record();
    assert_eq!((record.outcome, record.dialled_ms), (Outcome::CallerFailed, None));
    assert_eq!(record.caller.expect("it came").cause, Some(Cause::MediaFailed));
}

/// S-8.
#[test]
fn a_hundred_thousand_guesses_make_no_call() {
    let mut world = World::new();
    let order = expected(&world, "179080024609291");
    world.accepted(order);
    // One source, many sources, and many that come again.
    for n in 0..100_000_u32 {
        let from = match n % 3 {
            0 => source(7),
            1 => source(0x0A00_0000 + n),
            _ => source(0x0B00_0000 + n % 50),
        };
        let code = format!("17908{:010}", u64::from(n) * 7919 % 10_000_000_000);
        let (leg, arrival) = (LegId(APP + u64::from(n)), Arrival::Code(code));
        world.input(Input::Incoming { leg, arrival, source: from, origin: Origin::Claimed });
        let refusal = world.engine.poll();
        assert_eq!(refusal, Some(Action::Refuse { leg, with: Refused::Unknown }));
        assert_eq!(world.engine.poll(), None);
        world.now = world.now.later(Duration::from_micros(500));
    }
    assert_eq!((world.engine.live_calls(), world.engine.refused_codes()), (1, 100_000));
    // The right code from a source that guessed gets the answer of a wrong one.
    let (leg, arrival) = (LegId(APP - 1), Arrival::Code("179080024609291".into()));
    world.input(Input::Incoming { leg, arrival, source: source(7), origin: Origin::Claimed });
    assert_eq!(world.wants(), [format!("refuse {} Unknown", APP - 1)]);
}

#[test]
fn a_source_that_guessed_does_not_lock_out_the_caller_with_the_code() {
    let mut world = World::new();
    let order = expected(&world, "17908001");
    world.accepted(order);
    for n in 0..1_000 {
        let arrival = Arrival::Code("17908002".into());
        world.input(Input::Incoming {
            leg: LegId(APP + n),
            arrival,
            source: source(7),
            origin: Origin::Claimed,
        });
    }
    world.wants();
    comes(&mut world, APP - 1, "17908001");
    assert_eq!(world.wants(), [format!("take in {}", APP - 1)]);
}

fn bound() -> Request {
    request(arrived_call())
}

fn virtual_number_called(world: &mut World, request: Request) {
    let arrival = Arrival::Bound(Box::new(request));
    world.input(Input::Incoming {
        leg: LegId(APP),
        arrival,
        source: source(1),
        origin: Origin::Claimed,
    });
}

#[test]
fn who_calls_a_virtual_number_is_connected_like_one_with_a_code() {
    let mut world = World::new();
    virtual_number_called(&mut world, bound());
    assert_eq!(world.wants(), [format!("take in {APP}")]);
    world.leg(APP, LegInput::TakenIn);
    world.leg(1, prepared());
    let wants = world.commit();
    assert_eq!(wants[..1], [format!("ring {APP}")]);
    assert!(matches!(&world.disk[0], Write::Accepted { started: true, .. }));
    world.leg(1, LegInput::Ringing);
    world.leg(1, ended(Cause::Busy));
    assert_eq!(world.wants(), [format!("refuse {APP} Ended(Busy)")]);
    world.leg(APP, ended(Cause::HungUp));
    let record = world.record();
    assert_eq!((record.outcome, record.release_reason()), (Outcome::Refused, "5"));
    assert_eq!(record.caller.expect("it came").number, "13800000001");
}

/// The same where the called party has a softphone.
fn bound_to_a_softphone() -> Request {
    let bound = bound();
    Request { order: Order { place: Place::Softphone, ..bound.order }, ..bound }
}

/// The caller is taken in, and the called party's softphone is looked up.
fn finding(world: &mut World) -> Serial {
    virtual_number_called(world, bound_to_a_softphone());
    assert_eq!(world.wants(), [format!("take in {APP}")]);
    world.leg(APP, LegInput::TakenIn);
    assert_eq!(world.wants(), ["find 8899"]);
    world.commit();
    let Write::Accepted { intent, .. } = &world.disk[0] else { panic!("{:?}", world.disk[0]) };
    intent.serial
}

#[test]
fn a_softphone_behind_a_virtual_number_rings_at_all_of_its_places_and_holds_no_trunk() {
    let mut world = World::new();
    world.trunk(pace(1_000, 0), true);
    let serial = finding(&mut world);
    world.input(Input::PhoneFound { serial, bindings: vec![BindingId(7), BindingId(8)] });
    let opened =
        |leg, place| format!("open {leg} to 8899 as 2222201 at place {place} beside {APP}");
    assert_eq!(world.wants(), [format!("ring {APP}"), opened(1, 7), opened(2, 8)]);
    for leg in [1, 2] {
        world.leg(leg, prepared());
    }
    assert_eq!(world.commit(), ["dial 1", "dial 2"]);
    world.leg(1, LegInput::EarlyMedia);
    assert_eq!(world.wants(), NOTHING, "of two phones that ring none is heard");
    world.leg(2, answered());
    assert_eq!(world.wants(), ["hang up 1".to_owned(), format!("answer {APP}")]);
    world.leg(APP, LegInput::Answering { dialog: vec![9] });
    let bridged =
        ["acknowledge 2".to_owned(), format!("send answer {APP}"), format!("bridge {APP} with 2")];
    assert_eq!(world.commit()[..3], bridged);
    world.leg(1, ended(Cause::HungUp));
    assert_eq!(world.wants(), NOTHING, "the place that did not answer ends for itself");
    world.pass(Duration::from_secs(4));
    world.leg(2, ended(Cause::Released));
    assert_eq!(world.wants(), [format!("hang up {APP}")]);
    world.leg(APP, ended(Cause::HungUp));
    let record = world.record();
    assert_eq!((record.outcome, record.talk_duration_ms), (Outcome::CalledHungUp, 4_000));
    assert_eq!((record.trunk, record.dialled_ms.is_some()), (None, true));
    assert!(world.engine.is_idle());
}

#[test]
fn the_early_media_of_the_only_place_of_a_softphone_is_heard() {
    let mut world = World::new();
    let serial = finding(&mut world);
    world.input(Input::PhoneFound { serial, bindings: vec![BindingId(7)] });
    world.leg(1, prepared());
    world.commit();
    world.leg(1, LegInput::EarlyMedia);
    assert_eq!(world.wants(), [format!("progress {APP}"), format!("forward 1 to {APP}")]);
}

#[test]
fn where_nobody_takes_a_softphones_call_its_caller_hears_the_answer_that_says_most() {
    let mut world = World::new();
    let serial = finding(&mut world);
    world.input(Input::PhoneFound { serial, bindings: (1..=3).map(BindingId).collect() });
    for leg in 1..=3 {
        world.leg(leg, prepared());
    }
    world.commit();
    world.leg(1, ended(Cause::Busy));
    world.leg(2, ended(Cause::TrunkFailed));
    assert_eq!(world.wants(), NOTHING, "the third rings on");
    world.pass(Duration::from_secs(5));
    assert_eq!(world.wants(), ["hang up 3".to_owned(), format!("refuse {APP} Ended(Busy)")]);
    world.leg(3, ended(Cause::HungUp));
    world.leg(APP, ended(Cause::HungUp));
    let record = world.record();
    assert_eq!((record.outcome, record.cause), (Outcome::Refused, Some(Cause::Busy)));
}

#[test]
fn a_softphone_that_is_nowhere_refuses_the_caller_of_its_virtual_number() {
    let mut world = World::new();
    let serial = finding(&mut world);
    world.input(Input::PhoneFound { serial, bindings: Vec::new() });
    assert_eq!(world.wants(), [format!("refuse {APP} Ended(Unavailable)")]);
    world.leg(APP, ended(Cause::HungUp));
    let record = world.record();
    assert_eq!((record.outcome, record.release_reason()), (Outcome::CalledFailed, "3"));
    assert_eq!((record.cause, record.dialled_ms), (Some(Cause::Unavailable), None));
    assert!(world.engine.is_idle());
}

#[test]
fn who_leaves_while_the_softphone_is_looked_up_dials_nobody() {
    let mut world = World::new();
    let serial = finding(&mut world);
    world.leg(APP, ended(Cause::Released));
    world.input(Input::PhoneFound { serial, bindings: vec![BindingId(7)] });
    assert_eq!(world.wants(), NOTHING);
    assert_eq!(world.record().outcome, Outcome::CallerHungUp);
}

#[test]
fn a_call_to_a_softphone_takes_its_place_among_the_calls_of_its_tenant() {
    let mut world = World::new();
    let one_at_once = || {
        let mut request = bound_to_a_softphone();
        request.limits.pace = pace(1_000, 1);
        request
    };
    virtual_number_called(&mut world, one_at_once());
    assert_eq!(world.wants(), [format!("take in {APP}")]);
    let another = |world: &mut World, n| {
        let arrival = Arrival::Bound(Box::new(one_at_once()));
        world.input(Input::Incoming {
            leg: LegId(APP + n),
            arrival,
            source: source(1),
            origin: Origin::Claimed,
        });
        world.wants()
    };
    assert_eq!(another(&mut world, 1), [format!("refuse {} Busy", APP + 1)]);
    world.leg(APP, ended(Cause::Released));
    assert_eq!(another(&mut world, 2), [format!("take in {}", APP + 2)], "its place is free again");
}

#[test]
fn nothing_waits_for_a_softphone() {
    let mut world = World::new();
    let ticket = world.accept(request(Order { place: Place::Softphone, ..order() }));
    world.wants();
    let refused = Reply::Refused(Refusal::QueueFull { retry_after_s: 60 });
    assert!(world.replies.contains(&(ticket, refused)));
    assert!(world.commit().is_empty() && world.disk.is_empty());
}

#[test]
fn a_virtual_number_is_refused_where_a_limit_is_reached_and_nothing_is_kept() {
    let mut world = World::new();
    let mut no_calls = bound();
    no_calls.limits.daily.calls = Some(0);
    virtual_number_called(&mut world, no_calls);
    assert_eq!(world.wants(), [format!("refuse {APP} Forbidden")]);
    world.trunk(pace(1_000, 0), true);
    virtual_number_called(&mut world, bound());
    assert_eq!(world.wants(), [format!("refuse {APP} Busy")]);
    world.input(Input::Drain);
    virtual_number_called(&mut world, bound());
    assert_eq!(world.wants(), [format!("refuse {APP} Busy")]);
    assert!(world.commit().is_empty() && world.disk.is_empty());
}

#[test]
fn a_server_that_stops_leaves_unused_codes_on_disk() {
    let mut world = World::new();
    let order = expected(&world, "17908001");
    world.accepted(order);
    world.input(Input::Drain);
    world.commit();
    assert!(world.engine.is_idle() && world.records().is_empty());
    comes(&mut world, APP, "17908001");
    assert_eq!(world.wants(), [format!("refuse {APP} Busy")]);
}
