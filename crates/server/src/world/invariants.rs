//! What holds whatever befalls the world; P1 to P4 are the promises of `docs/reliability.md`.

use std::collections::BTreeMap;

use engine::cdr::{Cause, Cdr, Outcome};
use engine::events::{Event, EventKind};
use engine::intent::OrderKind;
use engine::vocabulary::Serial;
use store::{CallbackAttempt, CallbackNext, CallbackState, CallbackStatus, Scope, Store};

use super::clients::{LAST_CALLS, TENANTS};
use super::far_side::{Dialog, FarSide, Fate};
use super::nature::at_once;
use super::{World, two_parties};
use crate::callbacks::delivery::webhook_id;

/// To be asked when all is quiet.
pub fn hold(world: &World) {
    let calls = read_log(&world.store);
    for serial in &world.clients.promised {
        assert!(calls.contains_key(serial), "P1: {serial} was promised and is not there");
    }
    let dialogs: Vec<&Dialog> = world.far.iter().flat_map(|far| far.dialogs.values()).collect();
    for (serial, call) in &calls {
        let cdr = call.record(*serial, &world.store);
        agrees_with_far_side(&cdr, &dialogs);
        callbacks_were_delivered(&cdr, call.connected.len(), world);
        two_parties::hold(&cdr, world);
    }
    two_parties::codes_hold(world);
    bindings_are_of_calls(&calls, &world.store);
    for dialog in dialogs {
        let serial = Serial(dialog.serial);
        assert!(calls.contains_key(&serial), "P3: {serial} rang and was never accepted");
    }
    for id in world.receiver.got().keys() {
        let ended = |call: &Call| call.ended.as_ref().is_some_and(|(at, _)| at == id);
        let sent = |call: &Call| ended(call) || call.connected.contains(id);
        assert!(calls.values().any(sent), "P4: nobody is to be told of {id}");
    }
    let server = world.server.as_ref().expect("the server is up");
    server.assert_nothing_is_left();
    let panics: u64 = world.far.iter().map(FarSide::panics).sum();
    assert_eq!(panics, 0, "a leg of a far side broke an invariant");
    let left = at_once(world.store.recover()).expect("it is readable");
    assert!(left.unfinished_started.is_empty() && left.waiting.is_empty(), "{left:?}");
}

/// Every place was free: the calls that wanted all of them at once were dialled at once.
pub fn nothing_waited(world: &World) {
    let calls = read_log(&world.store);
    let last: Vec<&Call> =
        calls.values().filter(|call| call.called.starts_with(LAST_CALLS)).collect();
    assert_eq!(last.len(), world.clients.last_calls(), "the last calls were all accepted");
    for call in last {
        assert!(!call.waited, "a place was never given back: {} waited", call.called);
    }
}

/// What the event log says of a call.
#[derive(Default)]
struct Call {
    called: String,
    waited: bool,
    /// The ids of the events that the two hear each other.
    connected: Vec<String>,
    /// The id of the terminal event, and the record in it.
    ended: Option<(String, Box<Cdr>)>,
}

impl Call {
    fn record(&self, serial: Serial, store: &Store) -> Cdr {
        let (_, in_log) = self.ended.as_ref().unwrap_or_else(|| panic!("P2: {serial} never ended"));
        let cdr = at_once(store.cdr(Scope::All, serial)).expect("it is readable");
        let cdr = cdr.unwrap_or_else(|| panic!("P2: {serial} has no record"));
        assert_eq!(cdr, **in_log, "the record is the terminal event's");
        let unfinished = at_once(store.intent(Scope::All, serial)).expect("it is readable");
        assert_eq!(unfinished, None, "{serial} has its record and is still in the backlog");
        cdr
    }
}

/// The calls of both tenants; positions have no gaps, and nothing comes after a call's end.
fn read_log(store: &Store) -> BTreeMap<Serial, Call> {
    let mut calls = BTreeMap::<Serial, Call>::new();
    for tenant in TENANTS {
        let events = at_once(store.events(tenant, 0, u32::MAX)).expect("it is readable");
        for (index, (position, event)) in events.iter().enumerate() {
            assert_eq!(*position, index as u64 + 1, "a gap in the event log of {tenant:?}");
            let id = format!("{}-{position}", tenant.0);
            take_event(&mut calls, event, id);
        }
    }
    calls
}

fn take_event(calls: &mut BTreeMap<Serial, Call>, event: &Event, id: String) {
    let serial = event.serial.expect("every event here is a call's");
    let before = calls.get(&serial).map(|call| call.ended.is_some());
    match (&event.kind, before) {
        (EventKind::Accepted { called, .. }, None) => {
            calls.insert(serial, Call { called: called.clone(), ..Call::default() });
        }
        (EventKind::Accepted { .. }, Some(_)) => panic!("{serial} was accepted twice"),
        (kind, None) => panic!("{serial}: {} before it was accepted", kind.name()),
        (kind, Some(true)) => panic!("P2: {serial}: {} after its end", kind.name()),
        (kind, Some(false)) => {
            let call = calls.entry(serial).or_default();
            match kind {
                EventKind::Queued { .. } => call.waited = true,
                EventKind::Bridged { .. } => call.connected.push(id),
                EventKind::Ended { cdr } => call.ended = Some((id, cdr.clone())),
                _ => {}
            }
        }
    }
}

/// A refused order binds nobody.
fn bindings_are_of_calls(calls: &BTreeMap<Serial, Call>, store: &Store) {
    for bound in at_once(store.number_bindings()).expect("they are readable") {
        let of_call = |call: &Call| {
            let (_, cdr) = call.ended.as_ref().expect("each call is over");
            let OrderKind::BidirectionalCall(order) = &cdr.intent.order.kind else { return false };
            let binding = order.binding.as_ref();
            cdr.intent.order.caller_present == bound.x
                && binding
                    .is_some_and(|of| of.party_a == bound.party_a && of.party_b == bound.party_b)
        };
        assert!(calls.values().any(of_call), "bound with no call: {bound:?}");
    }
}

fn agrees_with_far_side(cdr: &Cdr, dialogs: &[&Dialog]) {
    let (serial, order) = (cdr.intent.serial, &cdr.intent.order);
    let mut of_call = dialogs.iter().filter(|dialog| dialog.serial == serial.0);
    let answered = of_call.any(|dialog| matches!(dialog.fate, Fate::Answered | Fate::Confirmed));
    assert!(cdr.talking_ms.is_none() || answered, "{serial} was never answered: {cdr:?}");
    let play_times = match &order.kind {
        OrderKind::VoiceNotification { play_times, .. } => play_times,
        OrderKind::BidirectionalCall(_) | OrderKind::AnonymousCall(_) => &0,
    };
    if cdr.outcome == Outcome::Played {
        assert!(answered, "{serial} was played to nobody: {cdr:?}");
        assert_eq!(cdr.rounds, *play_times, "{serial}: {cdr:?}");
    }
    assert_ne!(cdr.cause, Some(Cause::Internal), "{serial}: {cdr:?}");
    let longest_ms = u64::from(order.max_duration_s + 60) * 1_000;
    assert!(cdr.talk_duration_ms <= longest_ms, "O-9: {serial} talked too long: {cdr:?}");
    // A wall clock that was set back is only known not to end a call before somebody answered.
    let of_caller = cdr.caller.as_ref().and_then(|caller| caller.talking_ms);
    let began = cdr.talking_ms.or(of_caller).unwrap_or(cdr.intent.created_ms);
    assert!(cdr.released_ms >= began, "O-9: {serial} ended before it began: {cdr:?}");
}

/// At least once, under the same id with the same body, or ten times in vain over three days.
fn callbacks_were_delivered(cdr: &Cdr, connected: usize, world: &World) {
    let serial = cdr.intent.serial;
    let callbacks =
        at_once(world.store.callbacks_of(cdr.intent.tenant, serial)).expect("it is readable");
    let order = &cdr.intent.order;
    let of_connection = if order.connected_url().is_some() { connected } else { 0 };
    let wanted = usize::from(order.callback_url.is_some()) + of_connection;
    assert_eq!(callbacks.len(), wanted, "P4: callbacks of {serial}");
    for (state, attempts) in &callbacks {
        tries_are_in_order(state, attempts);
        let got = world.receiver.got().get(&webhook_id(state.id));
        let bodies = got.map(|got| got.bodies.as_slice()).unwrap_or_default();
        assert!(bodies.windows(2).all(|two| two[0] == two[1]), "P4: {serial}: the body changed");
        match state.status {
            CallbackStatus::Delivered => {
                let taken = got.is_some_and(|got| got.taken > 0);
                assert!(taken, "P4: {serial} counts as delivered and was never taken");
            }
            CallbackStatus::Dead => {
                assert_eq!(attempts.len(), 10, "P4: {serial} was given up too early");
                let took_ms = attempts[9].at_ms - attempts[0].at_ms;
                let schedule_ms = 272_105 * 900 - 2 * 3_600_000;
                assert!(took_ms >= schedule_ms, "P4: {serial}: ten tries in {took_ms} ms");
            }
            CallbackStatus::Pending { .. } => panic!("P4: {serial} still waits: {state:?}"),
        }
    }
}

fn tries_are_in_order(state: &CallbackState, attempts: &[CallbackAttempt]) {
    for (index, attempt) in attempts.iter().enumerate() {
        assert_eq!(attempt.number as usize, index + 1, "P4: tries of {:?}", state.id);
    }
    for two in attempts.windows(2) {
        match two[0].next {
            CallbackNext::RetryAt(at_ms) => {
                assert!(two[1].at_ms >= at_ms, "P4: {:?} was tried before its time", state.id);
            }
            CallbackNext::Delivered | CallbackNext::Dead => {
                panic!("P4: {:?} was tried after {:?}", state.id, two[0].next)
            }
        }
    }
}
