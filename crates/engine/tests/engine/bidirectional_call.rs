//! A bidirectional call, step by step: this input, exactly these actions.

use std::time::Duration;

use crate::world::{World, ended, intent, limits, order, pace, request};
use engine::action::{Claim, Input, LegInput, Redirect, Then};
use engine::cdr::{Cause, Outcome};
use engine::events::EventKind;
use engine::intent::{BidirectionalCall, Caller, Order, OrderKind, Party, Place};
use engine::vocabulary::{BindingId, CallKind, Serial, Side};
use engine::writes::Write;
use engine::{Refusal, Reply};

const NOTHING: [&str; 0] = [];

pub fn order_with(place: Place) -> Order {
    let caller = Party { number: "66666666".into(), place, presented: "95599".into() };
    let call = BidirectionalCall {
        caller: Caller::Dialled(caller),
        call_data: Some("ticket 7".into()),
        ita: false,
        agent_work_no: None,
        binding: None,
        connected_url: Some("http://127.0.0.1:8800/connected".into()),
    };
    Order { kind: OrderKind::BidirectionalCall(call), ..order() }
}

/// The call that connects who called a virtual number.
pub fn arrived_call() -> Order {
    let call = BidirectionalCall {
        caller: Caller::Inbound { number: "13800000001".into() },
        call_data: None,
        ita: true,
        agent_work_no: None,
        binding: None,
        connected_url: None,
    };
    Order { kind: OrderKind::BidirectionalCall(call), ..order() }
}

pub fn over_trunks() -> Order {
    order_with(Place::Trunks("carrier".into()))
}

pub fn answered() -> LegInput {
    LegInput::Answered { dialog: vec![3] }
}

pub fn prepared() -> LegInput {
    LegInput::Prepared { wire: vec![1], media: vec![2] }
}

/// The caller (leg 1) rings.
pub fn caller_rings(world: &mut World, order: Order) -> Serial {
    let ticket = world.accept(request(order));
    assert_eq!(world.wants(), ["open 1 to 66666666 as 95599"]);
    world.leg(1, prepared());
    assert_eq!(world.commit(), ["dial 1"]);
    world.leg(1, LegInput::Ringing);
    world.serial(ticket)
}

/// The caller is up and the called party (leg 2) rings.
pub fn called_rings(world: &mut World, order: Order) -> Serial {
    let serial = caller_rings(world, order);
    world.leg(1, answered());
    assert_eq!(world.wants(), NOTHING, "the ACK waits for the dialog");
    let wants = ["acknowledge 1", "ringback 1", "open 2 to 8899 as 2222201 beside 1"];
    assert_eq!(world.commit(), wants);
    world.leg(2, prepared());
    assert_eq!(world.commit(), ["dial 2"]);
    world.leg(2, LegInput::Ringing);
    serial
}

pub fn talking(world: &mut World, order: Order) -> Serial {
    let serial = called_rings(world, order);
    world.leg(2, answered());
    assert_eq!(world.wants(), NOTHING, "the second ACK waits for its dialog too");
    let wants = world.commit();
    assert_eq!(wants[..2], ["acknowledge 2", "bridge 1 with 2"]);
    serial
}

#[test]
fn calls_the_caller_then_the_called_party_and_connects_them() {
    let mut world = World::new();
    let serial = called_rings(&mut world, Order { record: true, ..over_trunks() });
    world.pass(Duration::from_secs(2));
    world.leg(2, answered());
    let wants = ["acknowledge 2", "bridge 1 with 2", "record 1", "watch 1", "watch 2"];
    assert_eq!(world.commit(), wants);
    world.leg(1, LegInput::RecordingStarted);
    world.pass(Duration::from_secs(5));
    world.leg(2, ended(Cause::Released));
    assert_eq!(world.wants(), ["hang up 1"], "in the same step");
    world.leg(1, ended(Cause::HungUp));
    let record = world.record();
    assert_eq!(record.intent.serial, serial);
    assert_eq!((record.outcome, record.release_reason()), (Outcome::CalledHungUp, "0"));
    assert_eq!((record.cause, record.talk_duration_ms), (Some(Cause::Released), 5_000));
    let caller = record.caller.expect("the caller had a leg");
    assert_eq!((caller.number.as_str(), caller.cause), ("66666666", Some(Cause::HungUp)));
    assert_eq!(caller.talk_duration_ms, 7_000);
    assert!(record.recorded && world.engine.is_idle());
    assert_eq!(
        world.events(),
        [
            "call.accepted",
            "call.dialling",
            "call.ringing",
            "call.answered",
            "call.dialling",
            "call.ringing",
            "call.answered",
            "call.bridged",
            "call.leg_ended",
            "call.leg_ended",
            "call.ended",
        ]
    );
}

#[test]
fn the_connection_callback_is_the_callback_of_the_bridge() {
    let mut world = World::new();
    talking(&mut world, over_trunks());
    let callbacks: Vec<(&str, &str)> = world
        .disk
        .iter()
        .filter_map(|write| match write {
            Write::Event { event, callback: Some(url) } => Some((event.kind.name(), url.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(callbacks, [("call.bridged", "http://127.0.0.1:8800/connected")]);
}

#[test]
fn what_the_called_party_sends_before_it_answers_is_heard_once_it_comes() {
    let mut world = World::new();
    called_rings(&mut world, over_trunks());
    world.leg(2, LegInput::EarlyMedia);
    assert_eq!(world.wants(), ["forward 2 to 1"]);
    world.leg(2, LegInput::EarlyMedia);
    assert_eq!(world.wants(), NOTHING);
}

#[test]
fn a_softphone_rings_wherever_it_is_registered_and_the_first_answer_wins() {
    let mut world = World::new();
    let ticket = world.accept(request(order_with(Place::Softphone)));
    assert_eq!(world.settle(), ["find 66666666"]);
    let serial = world.serial(ticket);
    let bindings = vec![BindingId(7), BindingId(8), BindingId(9)];
    world.input(Input::PhoneFound { serial, bindings });
    let opened = |leg, place| format!("open {leg} to 66666666 as 95599 at place {place}");
    assert_eq!(world.wants(), [opened(1, 7), opened(2, 8), opened(3, 9)]);
    for leg in 1..=3 {
        world.leg(leg, prepared());
    }
    assert_eq!(world.commit(), ["dial 1", "dial 2", "dial 3"]);
    world.leg(1, LegInput::Ringing);
    world.leg(2, LegInput::Ringing);
    world.leg(1, ended(Cause::Busy));
    assert_eq!(world.wants(), NOTHING, "the others ring on");
    world.leg(2, answered());
    assert_eq!(world.wants(), ["hang up 3"]);
    world.leg(3, answered());
    let wants = ["acknowledge 2", "ringback 2", "open 4 to 8899 as 2222201 beside 2"];
    assert_eq!(world.commit(), wants, "the answer that came second is acknowledged to be hung up");
    world.leg(3, ended(Cause::HungUp));
    world.leg(2, ended(Cause::Released));
    assert_eq!(world.wants(), ["hang up 4"]);
    world.leg(4, ended(Cause::HungUp));
    assert_eq!(world.record().outcome, Outcome::CallerHungUp);
}

#[test]
fn where_no_place_of_a_softphone_answers_the_one_that_says_most_counts() {
    let mut world = World::new();
    let serial = world.accepted(order_with(Place::Softphone));
    world.wants();
    world.input(Input::PhoneFound { serial, bindings: (1..=3).map(BindingId).collect() });
    for leg in 1..=3 {
        world.leg(leg, prepared());
    }
    world.commit();
    world.leg(1, ended(Cause::Declined));
    world.leg(2, ended(Cause::TrunkFailed));
    world.pass(Duration::from_secs(5));
    assert_eq!(world.wants(), ["hang up 3"], "a phone that says nothing has gone");
    assert_eq!(world.engine.live_calls(), 1, "its leg is not over");
    world.leg(3, ended(Cause::HungUp));
    let record = world.record();
    assert_eq!((record.outcome, record.release_reason()), (Outcome::CallerNoAnswer, "4"));
    assert_eq!(record.caller.expect("it was dialled").cause, Some(Cause::Declined));
}

/// Three places of the caller's softphone (legs 1 to 3) are dialled.
fn three_places() -> World {
    let mut world = World::new();
    let serial = world.accepted(order_with(Place::Softphone));
    world.wants();
    world.input(Input::PhoneFound { serial, bindings: (1..=3).map(BindingId).collect() });
    for leg in 1..=3 {
        world.leg(leg, prepared());
    }
    world.commit();
    world
}

fn refused(cause: Cause, status: u16) -> LegInput {
    LegInput::Ended { cause, sip_status: Some(status), media: None, then: Then::Nothing }
}

#[test]
fn the_record_names_the_place_that_says_most_and_the_first_that_rang() {
    let mut world = three_places();
    let first = world.now.unix_ms;
    world.leg(1, LegInput::Ringing);
    world.pass(Duration::from_secs(1));
    world.leg(2, LegInput::Ringing);
    world.leg(1, refused(Cause::Declined, 603));
    world.leg(2, refused(Cause::Busy, 486));
    world.leg(3, refused(Cause::NotFound, 404));
    let caller = world.record().caller.expect("it was dialled");
    assert_eq!((caller.cause, caller.sip_status), (Some(Cause::Declined), Some(603)));
    assert_eq!(caller.alerting_ms, Some(first));

    let mut world = three_places();
    world.leg(1, LegInput::Ringing);
    world.leg(2, refused(Cause::NotFound, 404));
    world.pass(Duration::from_secs(5));
    assert_eq!(world.wants(), ["hang up 3"], "a phone that says nothing has gone");
    world.pass(Duration::from_secs(60));
    assert_eq!(world.wants(), ["hang up 1"], "it rang long enough");
    world.leg(1, refused(Cause::HungUp, 487));
    world.leg(3, refused(Cause::Unavailable, 480));
    let caller = world.record().caller.expect("it was dialled");
    assert_eq!((caller.cause, caller.sip_status), (Some(Cause::NoAnswer), Some(487)));
}

#[test]
fn a_softphone_that_is_not_registered_fails_the_call_and_nobody_is_dialled() {
    let mut world = World::new();
    let serial = world.accepted(order_with(Place::Softphone));
    world.input(Input::PhoneFound { serial, bindings: Vec::new() });
    assert_eq!(world.wants(), NOTHING);
    let record = world.record();
    assert_eq!((record.outcome, record.release_reason()), (Outcome::CallerFailed, "2"));
    let caller = record.caller.expect("a call of two parties");
    assert_eq!((caller.cause, caller.dialled_ms), (Some(Cause::Unavailable), None));
}

#[test]
fn each_party_may_go_on_to_its_next_trunk_and_no_attempt_number_comes_twice() {
    let mut world = World::new();
    world.named_trunk("backup", pace(1_000, 1_000), true);
    let both = || "carrier*1,backup*0".parse().expect("a route");
    let order = Order { place: Place::Trunks(both()), ..order_with(Place::Trunks(both())) };
    world.accepted(order);
    world.leg(1, prepared());
    world.commit();
    world.leg(1, ended(Cause::TrunkFailed));
    assert_eq!(world.wants(), ["open 2 to 66666666 as 95599"]);
    world.leg(2, prepared());
    world.commit();
    world.leg(2, answered());
    world.commit();
    world.leg(3, prepared());
    world.commit();
    world.pass(Duration::from_secs(5));
    assert_eq!(world.wants(), ["open 4 to 8899 as 2222201 beside 2"]);
    world.leg(4, prepared());
    assert_eq!(world.commit(), ["dial 4", "hang up 3"]);
    let numbers: Vec<(u32, Side)> = world
        .disk
        .iter()
        .filter_map(|write| match write {
            Write::Attempt(attempt) => Some((attempt.number, attempt.side)),
            _ => None,
        })
        .collect();
    let sides = [Side::Caller, Side::Caller, Side::Called, Side::Called];
    assert_eq!(numbers, [1, 2, 3, 4].into_iter().zip(sides).collect::<Vec<_>>());
    world.leg(4, answered());
    world.commit();
    world.leg(4, ended(Cause::Released));
    world.leg(2, ended(Cause::HungUp));
    let record = world.record();
    assert_eq!(record.trunk, Some("backup".into()));
    assert_eq!(record.caller.expect("a leg").trunk, Some("backup".into()));
}

#[test]
fn the_called_party_may_be_sent_on() {
    let mut world = World::new();
    called_rings(&mut world, over_trunks());
    let then = Then::Redirect(Redirect { called: "8898".into(), route: "carrier".into() });
    let refused =
        LegInput::Ended { cause: Cause::TrunkRefused, sip_status: Some(302), media: None, then };
    // It rang: a person has seen it.
    world.leg(2, refused.clone());
    assert_eq!(world.wants(), ["hang up 1"]);

    let mut world = World::new();
    caller_rings(&mut world, over_trunks());
    world.leg(1, answered());
    world.commit();
    world.leg(2, prepared());
    world.commit();
    world.leg(2, refused);
    assert_eq!(world.wants(), ["open 3 to 8898 as 2222201 beside 1"]);
}

#[test]
fn keys_are_told_with_their_side_and_those_by_info_are_carried_across() {
    let mut world = World::new();
    talking(&mut world, over_trunks());
    world.leg(2, LegInput::Digit('1'));
    assert_eq!(world.wants(), NOTHING, "media carries RFC 4733 across by itself");
    world.leg(2, LegInput::InfoDigit('2'));
    world.leg(1, LegInput::InfoDigit('3'));
    assert_eq!(world.wants(), ["send 2 to 1", "send 3 to 2"]);
    world.leg(1, ended(Cause::Released));
    world.leg(2, ended(Cause::HungUp));
    assert_eq!(world.record().digits, "12", "the record keeps the called party's");
    let sides: Vec<(Side, char)> = world
        .disk
        .iter()
        .filter_map(|write| match write {
            Write::Event { event, .. } => match event.kind {
                EventKind::Digit { side, digit, .. } => Some((side, digit)),
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert_eq!(sides, [(Side::Called, '1'), (Side::Called, '2'), (Side::Caller, '3')]);
}

#[test]
fn a_party_that_presses_keys_without_end_fills_neither_the_event_log_nor_the_other_line() {
    let mut world = World::new();
    talking(&mut world, over_trunks());
    let before = world.events().len();
    let mut sent = 0;
    for n in 0..2_000 {
        world.leg(1, LegInput::InfoDigit('5'));
        world.leg(1, LegInput::Held(n % 2 == 0));
        sent += world.wants().len();
    }
    assert_eq!(sent, 20, "so many fit into a second");
    world.leg(2, LegInput::InfoDigit('7'));
    world.pass(Duration::from_secs(1));
    world.leg(1, LegInput::InfoDigit('6'));
    assert_eq!(world.commit(), ["send 7 to 1", "send 6 to 2"], "carried, and not logged");
    let keys = world.events().len() - before;
    assert_eq!(keys, 500 + 1, "each party has its own share");
    assert_eq!(world.engine.live_calls(), 1);
}

#[test]
fn a_party_on_hold_keeps_the_call() {
    let mut world = World::new();
    talking(&mut world, over_trunks());
    world.leg(1, LegInput::Held(true));
    world.leg(1, LegInput::Held(false));
    assert_eq!(world.commit(), NOTHING);
    assert_eq!(world.events()[world.events().len() - 2..], ["call.held", "call.resumed"]);
    assert_eq!(world.engine.live_calls(), 1);
}

#[test]
fn a_call_lasts_no_longer_than_it_may() {
    let mut world = World::new();
    talking(&mut world, Order { max_duration_s: 30, ..over_trunks() });
    world.pass(Duration::from_secs(30));
    assert_eq!(world.wants(), ["hang up 1", "hang up 2"]);
    world.leg(1, ended(Cause::HungUp));
    assert_eq!(world.engine.live_calls(), 1, "it is over when both legs are");
    world.leg(2, ended(Cause::HungUp));
    let record = world.record();
    assert_eq!((record.outcome, record.release_reason()), (Outcome::TimeUp, "998"));
    assert_eq!(record.talk_duration_ms, 30_000);
}

#[test]
fn legs_that_never_say_that_they_ended_do_not_keep_the_call() {
    let mut world = World::new();
    talking(&mut world, over_trunks());
    world.leg(1, ended(Cause::Released));
    world.pass(Duration::from_secs(40));
    assert_eq!(world.record().outcome, Outcome::CallerHungUp);
    assert_eq!(world.engine.live_calls(), 0);
}

#[test]
fn a_call_waits_for_a_trunk_for_each_party_and_holds_none_meanwhile() {
    let mut world = World::new();
    world.trunk(pace(1_000, 3), true);
    let first = world.accepted(over_trunks());
    let second = world.accept(request(over_trunks()));
    assert_eq!(world.settle(), NOTHING, "one slot is left, and it needs two");
    let third = world.accept(request(order()));
    assert_eq!(world.settle(), NOTHING, "the slot is kept for the call that came before");
    let second = world.serial(second);
    assert!(world.replies.iter().any(|(ticket, _)| *ticket == third), "it waits in the backlog");
    assert!(world.events().contains(&"call.queued"));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.wants(), NOTHING, "still only one");
    world.cancel(first);
    assert_eq!(world.wants(), ["hang up 1"]);
    world.leg(1, ended(Cause::HungUp));
    world.pass(Duration::from_millis(250));
    assert_eq!(world.wants(), ["open 2 to 66666666 as 95599"]);
    assert!(world.engine.intent(second).is_some());
    let started = world.claims.iter().filter(|(_, what)| matches!(what, Claim::Ready { .. }));
    assert_eq!(started.count(), 1, "the third slot is the next one's");
}

#[test]
fn a_call_that_finds_no_trunks_ends_when_its_wait_is_over() {
    let mut world = World::new();
    world.trunk(pace(1_000, 1), true);
    world.accepted(over_trunks());
    world.pass(Duration::from_secs(600));
    let record = world.record();
    assert_eq!((record.outcome, record.release_reason()), (Outcome::QueueTimeout, "9"));
    world.accepted(order());
    assert_eq!(world.engine.live_calls(), 1, "the slot is free");
}

#[test]
fn a_server_that_stops_leaves_calls_that_wait_for_trunks_on_disk() {
    let mut world = World::new();
    world.trunk(pace(1_000, 1), true);
    world.accepted(over_trunks());
    world.input(Input::Drain);
    world.commit();
    assert!(world.engine.is_idle());
    assert_eq!(world.records().len(), 0, "the next start finds its intent");
}

#[test]
fn the_same_two_parties_make_a_duplicate_and_others_do_not() {
    let mut world = World::new();
    let strict = |order: Order| {
        let mut request = request(order);
        request.limits = limits(pace(1_000, 1_000));
        request.limits.refuse_duplicates = true;
        request
    };
    world.accept(strict(over_trunks()));
    let again = world.accept(strict(over_trunks()));
    let other = Order { called: "8898".into(), ..over_trunks() };
    let other = world.accept(strict(other));
    world.settle();
    assert!(world.replies.contains(&(again, Reply::Refused(Refusal::Duplicate))));
    world.serial(other);
    let key = intent(1, 0, over_trunks()).order;
    assert_eq!((key.call_kind(), key.caller_number()), (CallKind::BidirectionalCall, "66666666"));
}

#[test]
fn talk_counts_from_the_called_party_s_answer() {
    let mut world = World::new();
    let mut order = request(over_trunks());
    order.limits.daily.minutes = Some(1);
    world.accept(order.clone());
    world.leg(1, prepared());
    world.commit();
    world.leg(1, answered());
    world.commit();
    world.pass(Duration::from_secs(20));
    world.leg(2, prepared());
    world.commit();
    world.leg(2, LegInput::Ringing);
    world.pass(Duration::from_secs(50));
    world.leg(2, answered());
    world.commit();
    let while_free = world.accept(order.clone());
    world.settle();
    world.serial(while_free);
    world.pass(Duration::from_secs(61));
    let late = world.accept(order);
    world.commit();
    let refused = world.replies.iter().find(|(ticket, _)| *ticket == late);
    assert!(
        matches!(refused, Some((_, Reply::Refused(Refusal::DailyLimit { .. })))),
        "{refused:?}"
    );
    assert!(world.engine.intent(world.serial(while_free)).is_some());
}

#[test]
fn calls_that_need_one_slot_do_not_take_each_that_a_call_of_two_parties_waits_for() {
    let mut world = World::new();
    world.trunk(pace(1_000, 2), true);
    let running = [world.accepted(order()), world.accepted(order())];
    let two_parties = world.accepted(over_trunks());
    for _ in 0..3 {
        world.accepted(order());
    }
    world.cancel(running[0]);
    world.commit();
    let (claim, _) = world.claims.pop().expect("one of those that wait may start");
    let mut claimed = intent(0, world.now.unix_ms, over_trunks());
    claimed.serial = two_parties;
    world.input(Input::Claimed { claim, calls: vec![claimed] });
    world.commit();
    world.cancel(running[1]);
    world.commit();
    assert!(world.claims.is_empty(), "what was freed is kept: {:?}", world.claims);
    world.pass(Duration::from_millis(250));
    assert_eq!(world.wants(), ["open 1 to 66666666 as 95599"]);
    world.cancel(two_parties);
    world.leg(1, ended(Cause::HungUp));
    world.commit();
    assert_eq!(world.claims.len(), 1, "now it is the others' turn");
}

#[test]
fn a_caller_who_leaves_while_the_invite_waits_for_the_disk_leaves_the_called_party_alone() {
    let mut world = World::new();
    caller_rings(&mut world, over_trunks());
    world.leg(1, answered());
    world.commit();
    world.leg(2, prepared());
    world.leg(1, ended(Cause::Released));
    assert_eq!(world.commit(), ["hang up 2"]);
}
