//! What holds for calls of two parties, whatever befalls the world.

use std::time::Duration;

use engine::cdr::{Cause, Cdr};
use engine::events::{Event, EventKind};
use engine::intent::OrderKind;
use engine::vocabulary::Side;

use super::World;
use super::far_side::{Call, Ended, Errand, FarSide, Fate};
use super::nature::at_once;
use super::witness::side_of_attempt;

/// Where nothing is lost the other leg has ended so soon.
const SOON: Duration = Duration::from_secs(1);
/// Else within this time after the trouble: the media time-out (30 s), and what a BYE has to be answered in (32 s).
const AT_LAST: Duration = Duration::from_secs(64);

/// A leg of a call as its far side has it.
struct Leg<'a> {
    call_id: &'a str,
    side: Side,
    /// It answered, or was answered.
    talked: bool,
    /// Whether the call is over when this party leaves: it is connected, or called in.
    decides: bool,
    began: Duration,
    ended: Ended,
}

/// To be asked when all is quiet.
pub fn hold(cdr: &Cdr, world: &World) {
    if matches!(cdr.intent.order.kind, OrderKind::VoiceNotification { .. }) {
        return;
    }
    let serial = cdr.intent.serial;
    let events = at_once(world.store.events_of(cdr.intent.tenant, serial)).expect("it is readable");
    let events: Vec<Event> = events.into_iter().map(|(_, event)| event).collect();
    let legs = legs(cdr, &events, world);
    connected_once(cdr, &events, &legs);
    for leg in &legs {
        others_end(cdr, leg, &legs, world);
    }
    let caller = cdr.caller.as_ref().and_then(|caller| caller.cause);
    assert_ne!(caller, Some(Cause::Internal), "{serial}: {cdr:?}");
}

/// A code connects one caller, a wrong one none, and nobody hears that there is a call behind a wrong one.
pub fn codes_hold(world: &World) {
    let calls: Vec<&Call> = world.far.iter().flat_map(|far| far.calls.values()).collect();
    for call in &calls {
        match &call.errand {
            Errand::Guess(code) => {
                assert!(
                    call.heard <= 100,
                    "a wrong code reaches somebody: {code} heard {}",
                    call.heard
                );
                if let Some(status) = call.refused {
                    // The same answer as ever; it was taken back, or the server is busy, is going down, or was down.
                    let allowed = [404, 408, 480, 487, 503];
                    assert!(allowed.contains(&status), "a wrong code is refused with {status}");
                }
            }
            Errand::Code { code, valid_until_ms } => {
                let after = call.dialled_ms > valid_until_ms + 1_000;
                let is_late = after && !world.nature.wall_clock_was_moved();
                assert!(!is_late || call.heard <= 100, "an expired code reaches somebody: {code}");
                let same = |other: &&&Call| other.errand.number() == code && other.heard >= 200;
                let connected = calls.iter().filter(same).count();
                assert!(
                    connected <= 1,
                    "a code connects a second time: {code}, {connected} callers"
                );
            }
            Errand::Virtual { x, from } if from.starts_with('7') => {
                assert!(call.heard <= 100, "a stranger reaches somebody by calling {x}");
            }
            Errand::Virtual { .. } => {}
        }
    }
}

/// They hear each other once at the most, and only when both are up.
fn connected_once(cdr: &Cdr, events: &[Event], legs: &[Leg]) {
    let serial = cdr.intent.serial;
    let count = |is: fn(&EventKind) -> bool| events.iter().filter(|of| is(&of.kind)).count();
    let bridged = count(|kind| matches!(kind, EventKind::Bridged { .. }));
    assert!(bridged <= 1, "{serial} was connected {bridged} times");
    for side in [Side::Caller, Side::Called] {
        let answered =
            |of: &&Event| matches!(&of.kind, EventKind::Answered { side: s, .. } if *s == side);
        let answers = events.iter().filter(answered).count();
        assert!(answers <= 1, "{serial}: its {} answered {answers} times", side.name());
        assert!(bridged == 0 || answers == 1, "{serial} is connected without its {}", side.name());
    }
    if bridged == 1 {
        let up = legs.iter().any(|leg| leg.side == Side::Called && leg.talked);
        assert!(up, "{serial} was connected with nobody: {cdr:?}");
    }
}

/// The party of `leg` has left of itself: so every other leg of the call ends.
fn others_end(cdr: &Cdr, leg: &Leg, legs: &[Leg], world: &World) {
    // Who does not take the call at one trunk or phone may at the next.
    if !(leg.ended.by_itself && leg.decides) {
        return;
    }
    let serial = cdr.intent.serial;
    let begins = leg.ended.at;
    let wronged = legs.iter().any(|leg| world.link.wrongs(leg.call_id));
    let fair = !wronged && world.trouble.is_none(begins, begins + SOON);
    let limit = if fair { begins + SOON } else { world.trouble.over(begins) + AT_LAST };
    for other in legs.iter().filter(|other| other.call_id != leg.call_id) {
        if fair && other.ended.at >= begins {
            world.ended_soon.update(|count| count + 1);
        }
        // An INVITE of which nothing was heard cannot be cancelled before something is (RFC 3261 §9.1).
        let late = other.ended.at > limit.max(other.began + SOON);
        assert!(
            !late,
            "the other leg of {serial} did not end: {} left at {begins:?}, {} at {:?}, fair: {fair}",
            leg.call_id, other.call_id, other.ended.at
        );
    }
}

/// All that the far sides know of; each is over.
fn legs<'a>(cdr: &Cdr, events: &[Event], world: &'a World) -> Vec<Leg<'a>> {
    let serial = cdr.intent.serial;
    let mut legs = Vec::new();
    for dialog in world.far.iter().flat_map(|far| far.dialogs.values()) {
        if dialog.serial == serial.0 {
            let call_id = &*dialog.call_id;
            let side = side_of_attempt(events, call_id);
            let side = side.unwrap_or_else(|| panic!("{call_id} is in no event"));
            let talked = matches!(dialog.fate, Fate::Answered | Fate::Confirmed);
            let ended = dialog.ended.unwrap_or_else(|| panic!("{call_id} never ended"));
            let decides = dialog.fate == Fate::Confirmed;
            let began = dialog.began;
            legs.push(Leg { call_id, side, talked, decides, began, ended });
        }
    }
    let arrived = events.iter().filter_map(|event| match &event.kind {
        EventKind::Arrived { leg, .. } => world.witness.call_id_of(*leg),
        _ => None,
    });
    for call_id in arrived {
        let mut calls = world.far.iter().flat_map(|far: &FarSide| far.calls.values());
        let call = calls.find(|call| call.call_id == call_id).expect("somebody made it");
        let ended = call.ended.unwrap_or_else(|| panic!("{call_id} never ended"));
        let talked = call.heard >= 200;
        let (side, decides, began) = (Side::Caller, true, Duration::ZERO);
        legs.push(Leg { call_id, side, talked, decides, began, ended });
    }
    legs
}
