//! Delivers what the store says is due, as `callbacks::delivery` does: the same schedule, the same body,
//! the same order of reading, posting and storing.

use std::time::Duration;

use engine::events::Event;
use engine::intent::Intent;
use store::{CallbackAttempt, CallbackDue, Store};
use time::UtcOffset;

use super::agenda::Agenda;
use super::nature::{Nature, at_once};
use super::receiver::Answer;
use super::server::{Around, Happens};
use crate::callbacks::delivery::{IDLE, PAGE, follow_up, webhook_id};
use crate::callbacks::release;

pub struct Courier {
    look_at: Option<Duration>,
}

/// A try that is over.
pub struct Posted {
    due: CallbackDue,
    at_ms: i64,
    answer: Answer,
}

impl Courier {
    pub fn starting(now: Duration) -> Courier {
        Courier { look_at: Some(now) }
    }

    pub fn next(&self) -> Option<Duration> {
        self.look_at
    }

    pub fn look_at(&mut self, at: Duration) {
        self.look_at = Some(self.look_at.map_or(at, |planned| planned.min(at)));
    }

    pub fn look(&mut self, store: &Store, around: &mut Around, happens: &mut Agenda<Happens>) {
        let nature = &mut *around.nature;
        let due = at_once(store.callbacks_due(nature.wall_ms(), PAGE)).expect("it is readable");
        for due in due {
            let call = call_of(store, &due.event);
            let body = release::body(&due.event.kind, call.as_ref(), UtcOffset::UTC, None);
            let body = body.expect("only these events have callbacks here");
            let answer = around.receiver.post(&webhook_id(due.id), body, nature);
            let at = nature.now + answer.after;
            let at_ms = nature.wall_ms();
            happens.put(at, Happens::Posted(Box::new(Posted { due, at_ms, answer })));
        }
        let next = at_once(store.next_callback_ms()).expect("it is readable");
        let wait = next.map_or(IDLE, |next| {
            Duration::from_millis((next - nature.wall_ms()).max(1) as u64).min(IDLE)
        });
        self.look_at = Some(nature.now + wait);
    }

    pub fn store_attempt(&mut self, store: &Store, posted: Posted, nature: &mut Nature) {
        let Posted { due, at_ms, answer } = posted;
        let jitter = nature.dice.jitter();
        let next = follow_up(due.attempt_number, nature.wall_ms(), answer.outcome, jitter);
        let attempt = CallbackAttempt {
            id: due.id,
            number: due.attempt_number,
            at_ms,
            duration_ms: answer.after.as_millis() as u32,
            request: String::new(),
            result: answer.result,
            next,
        };
        let stored = at_once(store.callback_attempt(attempt));
        nature.say(format_args!(
            "try {} of {}: {next:?}, stored: {stored:?}",
            due.attempt_number,
            webhook_id(due.id)
        ));
        self.look_at(nature.now);
    }
}

/// The order behind an event whose body needs it: gone with the record, at the latest.
fn call_of(store: &Store, event: &Event) -> Option<Intent> {
    let serial = event.serial.filter(|_| release::needs_call(&event.kind))?;
    let unfinished = at_once(store.intent(event.tenant, serial)).expect("it is readable");
    unfinished.map(|(intent, _)| intent).or_else(|| {
        at_once(store.cdr(event.tenant, serial)).expect("it is readable").map(|cdr| cdr.intent)
    })
}
