//! Watches what the server sends and hears, over all its lives: P3, and that no customer is dialled before
//! the manager is up, are judged in the moment in which an INVITE leaves.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use engine::events::{Event, EventKind};
use engine::intent::{Caller, Intent, OrderKind};
use engine::vocabulary::{LegId, Serial, Side};
use sip::Transmit;
use store::{NumberBinding, Scope, Store};

use super::cast;
use super::link::header;
use super::nature::{Nature, at_once};
use super::virtual_numbers::VirtualNumbers;

/// After so long without any sign of life a trunk has failed the call, and the next one may be tried.
const SILENCE: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Witness {
    /// The attempts of each call, in the order in which they left.
    attempts: BTreeMap<Serial, Vec<Attempt>>,
    /// Those who called the server, by the leg that they have there.
    callers: BTreeMap<LegId, Arrival>,
    /// Those of accepted calls.
    bindings: Vec<NumberBinding>,
    /// Which life of the server this is.
    life: u32,
}

/// A call from outside.
struct Arrival {
    call_id: String,
    life: u32,
    left: Option<Duration>,
}

struct Attempt {
    call_id: String,
    side: Side,
    to: SocketAddr,
    /// The INVITE of each CSeq, to the byte.
    invites: BTreeMap<String, Vec<u8>>,
    life: u32,
    sent_at: Duration,
    heard: Heard,
    /// Nothing was heard of it for as long as a trunk may be silent.
    was_silent: bool,
    /// Its BYE came.
    left: Option<Duration>,
}

/// What the server heard of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Heard {
    Nothing,
    /// Of the first INVITE that it is not enough; of the next one nothing.
    Challenged,
    /// The far side has it.
    Alive,
    /// Also by a challenge, until it is answered.
    Refused,
    Answered,
}

impl Witness {
    pub fn server_starts(&mut self) {
        self.life += 1;
    }

    pub fn are_bound(&mut self, bindings: Vec<NumberBinding>) {
        self.bindings.extend(bindings);
    }

    /// A binding is on disk with its call: a start finds it until it is over.
    pub fn finds_bindings(&self, found: &VirtualNumbers, nature: &Nature) {
        let wall_ms = nature.wall_ms();
        if nature.wall_clock_was_moved() {
            return;
        }
        for binding in self.bindings.iter().filter(|binding| binding.expires_ms > wall_ms) {
            assert!(
                found.knows(binding, wall_ms),
                "bound with an accepted call, and lost: {binding:?}"
            );
        }
    }

    pub fn server_is_called(&mut self, leg: sip::LegId, call_id: &str) {
        let arrival = Arrival { call_id: call_id.to_owned(), life: self.life, left: None };
        self.callers.insert(LegId(leg.0), arrival);
    }

    /// As which call of the far side the server knows this leg.
    pub fn call_id_of(&self, leg: LegId) -> Option<&str> {
        self.callers.get(&leg).map(|arrival| arrival.call_id.as_str())
    }

    /// An INVITE leaves only when its attempt is on disk. The same attempt is the same bytes, also
    /// after a crash. A further attempt leaves only when the one before was refused, or was met by
    /// silence for five seconds in this very life of the server, and not answered since: what became
    /// of it otherwise is not known. Only a phone is called at several places at a time.
    pub fn server_sends(&mut self, message: &Transmit, store: &Store, now: Duration) {
        let text = String::from_utf8_lossy(&message.bytes);
        if !text.starts_with("INVITE ") || header(&text, "To").contains(";tag=") {
            return;
        }
        let (call_id, cseq) = (header(&text, "Call-ID"), header(&text, "CSeq").to_owned());
        let serial = serial_of(call_id).unwrap_or_else(|| panic!("no serial in {call_id}"));
        let life = self.life;
        let intent = at_once(store.intent(Scope::All, serial)).expect("it is readable");
        let intent = intent.map(|(intent, _)| intent);
        let known = self.attempts.entry(serial).or_default();
        if let Some(attempt) = known.iter_mut().find(|attempt| attempt.call_id == call_id) {
            let first = attempt.invites.entry(cseq).or_insert_with(|| {
                // The answer to a challenge.
                attempt.heard = Heard::Challenged;
                message.bytes.to_vec()
            });
            let same = *first == message.bytes;
            assert!(same, "P3: {call_id} leaves again, and is another INVITE");
            let two = intent.is_some_and(|intent| parties(&intent) == 2);
            assert!(!two || attempt.life == life, "P3: {call_id} of two parties is dialled again");
            return;
        }
        let events = at_once(store.events_of(Scope::All, serial)).expect("it is readable");
        let on_disk = side_of_attempt(events.iter().map(|(_, event)| event), call_id);
        let by_number = || intent.as_ref().map_or(Side::Called, |intent| side_of(intent, &text));
        let side = on_disk.unwrap_or_else(by_number);
        if let (Some(intent), Side::Called) = (&intent, side) {
            self.caller_is_there(intent, store, now);
        }
        assert!(on_disk.is_some(), "the INVITE of {serial} leaves before its attempt is on disk");
        self.dialling_again_is_allowed(serial, side, call_id, message.remote);
        self.attempts.entry(serial).or_default().push(Attempt {
            call_id: call_id.to_owned(),
            side,
            to: message.remote,
            invites: BTreeMap::from([(cseq, message.bytes.to_vec())]),
            life,
            sent_at: now,
            heard: Heard::Nothing,
            was_silent: false,
            left: None,
        });
    }

    pub fn server_hears(&mut self, message: &[u8], now: Duration) {
        let text = String::from_utf8_lossy(message);
        let call_id = header(&text, "Call-ID");
        if text.starts_with("BYE ") || text.starts_with("CANCEL ") {
            let mut attempts = self.attempts.values_mut().flatten();
            if let Some(attempt) = attempts.find(|attempt| attempt.call_id == call_id) {
                attempt.left.get_or_insert(now);
            }
            let mut callers = self.callers.values_mut();
            if let Some(caller) = callers.find(|caller| caller.call_id == call_id) {
                caller.left.get_or_insert(now);
            }
            return;
        }
        let status = text.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let Some(status) = status.filter(|_| header(&text, "CSeq").ends_with(" INVITE")) else {
            return;
        };
        let Some(serial) = serial_of(call_id) else { return };
        let Some(attempts) = self.attempts.get_mut(&serial) else { return };
        let of_it = attempts.iter_mut().find(|attempt| attempt.call_id == call_id);
        let heard = match status {
            ..=199 => Heard::Alive,
            200..=299 => Heard::Answered,
            300_u16.. => Heard::Refused,
        };
        let Some(attempt) = of_it else { return };
        attempt.was_silent |= attempt.heard == Heard::Nothing && now >= attempt.sent_at + SILENCE;
        attempt.heard = attempt.heard.max(heard);
    }

    fn dialling_again_is_allowed(&self, serial: Serial, side: Side, call_id: &str, to: SocketAddr) {
        let attempts = self.attempts.get(&serial).into_iter().flatten();
        for attempt in attempts.filter(|attempt| attempt.side == side) {
            let Attempt { call_id: earlier, heard, was_silent, life: then, .. } = attempt;
            let other_place = attempt.to != to && is_phone(to) && is_phone(attempt.to);
            let known = match heard {
                Heard::Refused => true,
                Heard::Nothing | Heard::Challenged => *then == self.life,
                Heard::Alive => *then == self.life && (*was_silent || other_place),
                Heard::Answered => false,
            };
            assert!(known, "P3: {call_id} is dialled; of {earlier} it is only known: {heard:?}");
        }
    }

    /// The caller's dialog, or that it came, is on disk, of this very life of the server, and it has not left.
    fn caller_is_there(&self, intent: &Intent, store: &Store, now: Duration) {
        let serial = intent.serial;
        let events = at_once(store.events_of(intent.tenant, serial)).expect("it is readable");
        let mut kinds = events.iter().map(|(_, event)| &event.kind);
        let is_here = |life: u32, left: Option<Duration>| {
            life == self.life && left.is_none_or(|left| left >= now)
        };
        let there = match &intent.order.kind {
            OrderKind::VoiceNotification { .. } => return,
            OrderKind::BidirectionalCall(call) if matches!(call.caller, Caller::Dialled(_)) => {
                let up = |kind| matches!(kind, &EventKind::Answered { side: Side::Caller, .. });
                let attempts = self.attempts.get(&serial).into_iter().flatten();
                let mut managers = attempts.filter(|attempt| attempt.side == Side::Caller);
                kinds.any(up)
                    && managers.any(|of| of.heard == Heard::Answered && is_here(of.life, of.left))
            }
            OrderKind::BidirectionalCall(_) | OrderKind::AnonymousCall(_) => kinds.any(|kind| {
                let EventKind::Arrived { leg, .. } = kind else { return false };
                self.callers.get(leg).is_some_and(|of| is_here(of.life, of.left))
            }),
        };
        assert!(there, "the customer of {serial} is dialled before the manager is up");
    }
}

/// Our Call-IDs begin with the serial.
pub fn serial_of(call_id: &str) -> Option<Serial> {
    call_id.split('-').next()?.parse().ok().map(Serial)
}

/// Whom the attempt of this Call-ID is for, where it is among the events of its call.
pub fn side_of_attempt<'a>(
    events: impl IntoIterator<Item = &'a Event>,
    call_id: &str,
) -> Option<Side> {
    let number: u32 = call_id.split('-').nth(1)?.parse().ok()?;
    events.into_iter().find_map(|event| match &event.kind {
        EventKind::Dialling { side, attempt, .. } if *attempt == number => Some(*side),
        _ => None,
    })
}

/// How many are dialled or come.
fn parties(intent: &Intent) -> u32 {
    match &intent.order.kind {
        OrderKind::VoiceNotification { .. } => 1,
        OrderKind::BidirectionalCall(_) | OrderKind::AnonymousCall(_) => 2,
    }
}

/// Whom this INVITE is for. A softphone has its Contact in the request line, and its number in To.
fn side_of(intent: &Intent, invite: &str) -> Side {
    let OrderKind::BidirectionalCall(call) = &intent.order.kind else { return Side::Called };
    let Caller::Dialled(party) = &call.caller else { return Side::Called };
    let is_manager = header(invite, "To").contains(&format!("sip:{}@", party.number));
    if is_manager { Side::Caller } else { Side::Called }
}

fn is_phone(at: SocketAddr) -> bool {
    matches!(cast::Side::at(at), cast::Side::Phone(_))
}
