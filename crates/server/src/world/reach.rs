//! What the worlds of a run have seen: a promise that is never put to the test is not kept, only never broken.

use std::collections::BTreeSet;

use engine::cdr::{Cause, Cdr, Outcome};
use engine::events::{EventKind, Waiting};
use engine::intent::{Caller, OrderKind, Party, Place};

use super::World;
use super::cast::{self, STREAM};
use super::clients::TENANTS;
use super::far_side::{Call, Errand};
use super::nature::at_once;

/// What as many worlds with every kind of call as run in a test have to see.
pub const WORLDS: u64 = 60;
pub const ALL: [&str; 19] = [
    "a manager over a trunk and a customer",
    "a manager at a softphone and a customer",
    "a caller with a code and a customer",
    "a party calls a virtual number",
    "a virtual number reaches a softphone",
    "a party puts the other on hold",
    "a carrier sends a call on",
    "a silent party is given up",
    "two parties are interrupted by a crash",
    "what a crash made of dialling is unknown",
    "nobody comes with a code",
    "a caller leaves before the called party answers",
    "a call is cancelled",
    "a guess is refused",
    "a used or expired code is refused",
    "a caller is connected over a connection",
    "a trunk over a connection is dialled",
    "a call waits for a trunk that is down",
    "the other leg ends within a second",
];

/// Which of them this world saw.
pub fn reached(world: &World) -> BTreeSet<&'static str> {
    let mut seen = BTreeSet::new();
    for tenant in TENANTS {
        let events = at_once(world.store.events(tenant, 0, u32::MAX)).expect("it is readable");
        for (_, event) in events {
            match &event.kind {
                EventKind::Held { .. } => seen.insert(ALL[5]),
                EventKind::Redirected { .. } => seen.insert(ALL[6]),
                EventKind::Dialling { trunk: Some(trunk), .. } if *trunk == STREAM.into() => {
                    seen.insert(ALL[16])
                }
                EventKind::Queued { why: Waiting::TrunkDown } => seen.insert(ALL[17]),
                EventKind::Bridged { .. } => {
                    let serial = event.serial.expect("it is a call's");
                    let cdr = at_once(world.store.cdr(tenant, serial)).expect("it is readable");
                    seen.insert(ALL[connected(&cdr.expect("it is over"))])
                }
                EventKind::Ended { cdr } => {
                    seen.extend(ended(cdr));
                    continue;
                }
                _ => continue,
            };
        }
    }
    for far in &world.far {
        let over_connection = far.side == cast::Side::Caller(2);
        seen.extend(far.calls.values().filter_map(|call| called(call, over_connection)));
    }
    if world.ended_soon.get() > 0 {
        seen.insert(ALL[18]);
    }
    seen
}

fn connected(cdr: &Cdr) -> usize {
    match (&cdr.intent.order.kind, &cdr.intent.order.place) {
        (OrderKind::AnonymousCall(_), _) => 2,
        (OrderKind::BidirectionalCall(call), place) => match (&call.caller, place) {
            (Caller::Inbound { .. }, Place::Softphone) => 4,
            (Caller::Inbound { .. }, Place::Trunks(_)) => 3,
            (Caller::Dialled(Party { place: Place::Softphone, .. }), _) => 1,
            (Caller::Dialled(Party { place: Place::Trunks(_), .. }), _) => 0,
        },
        (OrderKind::VoiceNotification { .. }, _) => panic!("a notification has one party"),
    }
}

fn ended(cdr: &Cdr) -> Vec<&'static str> {
    if matches!(cdr.intent.order.kind, OrderKind::VoiceNotification { .. }) {
        return Vec::new();
    }
    let silent = |cause: Option<Cause>| cause == Some(Cause::MediaTimeout);
    let of_caller = cdr.caller.as_ref().and_then(|leg| leg.cause);
    let by_outcome = match cdr.outcome {
        Outcome::Interrupted => Some(ALL[8]),
        Outcome::Unknown => Some(ALL[9]),
        Outcome::Unused => Some(ALL[10]),
        Outcome::CallerHungUp if cdr.talking_ms.is_none() => Some(ALL[11]),
        Outcome::Cancelled => Some(ALL[12]),
        _ => None,
    };
    let given_up = (silent(cdr.cause) || silent(of_caller)).then_some(ALL[7]);
    by_outcome.into_iter().chain(given_up).collect()
}

fn called(call: &Call, over_connection: bool) -> Option<&'static str> {
    match (&call.errand, call.refused) {
        (Errand::Guess(_), Some(404)) => Some(ALL[13]),
        (Errand::Code { .. }, Some(404)) => Some(ALL[14]),
        _ if over_connection && call.heard >= 200 => Some(ALL[15]),
        _ => None,
    }
}
