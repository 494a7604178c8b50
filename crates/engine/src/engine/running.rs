//! A room takes a step, and what it wants is done in its order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::{Call, Engine, Mode, Owner, Slots, Switches, Unwritten, natural_key};
use crate::action::{Action, Refused};
use crate::calls::{CallInput, Effect, Effects, Room};
use crate::cdr::{Cause, Cdr, LegEnd, Outcome};
use crate::events::{Event, EventKind};
use crate::request::{Refusal, Reply};
use crate::vocabulary::{Now, Serial, TenantId};
use crate::writes::Write;

impl Engine {
    pub(super) fn insert(
        &mut self,
        serial: Serial,
        room: Room,
        slots: Slots,
        unwritten: Option<Unwritten>,
    ) {
        let call = Call {
            room,
            slots,
            timer: None,
            legs: Vec::new(),
            unwritten,
            switches: Switches::default(),
            answered: None,
        };
        self.calls.insert(serial, call);
    }

    /// Lets a room take one step. A panic in it costs this call only: the call is out of the map
    /// while its room runs, its legs are hung up and it is reported as failed.
    pub(super) fn run(&mut self, serial: Serial, input: CallInput, now: Now) {
        let Some(mut call) = self.calls.remove(&serial) else { return };
        let mut effects = Effects::new(self.last_leg);
        let came = match &input {
            CallInput::Arrived { leg, .. } => Some(*leg),
            CallInput::Start(_)
            | CallInput::Fetched(_)
            | CallInput::Leg(..)
            | CallInput::Trunks(_)
            | CallInput::PhoneFound(_)
            | CallInput::Trunk(_)
            | CallInput::Stop(_)
            | CallInput::Tick { .. } => None,
        };
        let step = AssertUnwindSafe(|| call.room.handle(input, now, &mut effects));
        let held = catch_unwind(step).is_ok();
        if !held {
            // Its silent leg is among those that are hung up.
            self.races.remove(&serial);
            effects = Effects::new(self.last_leg);
            let end = LegEnd { cause: Cause::Internal, sip_status: None, media: None };
            let hang_ups = call.legs.iter().map(|leg| Action::HangUp { leg: *leg });
            effects.list.extend(hang_ups.map(Effect::Act));
            let refusal = came.map(|leg| Action::Refuse { leg, with: Refused::Busy });
            effects.list.extend(refusal.map(Effect::Act));
            let cdr = call.room.draft().finish(Outcome::Failed, Some(end), now);
            effects.list.push(Effect::Over(Box::new(cdr)));
        }
        self.calls.insert(serial, call);
        self.apply(serial, effects, now);
    }

    pub(super) fn apply(&mut self, serial: Serial, effects: Effects, now: Now) {
        self.last_leg = effects.last_leg();
        for effect in effects.list {
            match effect {
                Effect::Write(write) => {
                    self.flush_intent(serial, now);
                    if matches!(write, Write::Answered { .. }) {
                        self.answered(serial, now);
                    }
                    self.gate.now(Action::Write(write));
                }
                Effect::Event(kind) => {
                    self.flush_intent(serial, now);
                    let Some(call) = self.calls.get(&serial) else { continue };
                    let intent = &call.room.draft().intent;
                    let connected = matches!(kind, EventKind::Bridged { .. });
                    let url = intent.order.connected_url().filter(|_| connected);
                    self.event(intent.tenant, serial, kind, url.map(str::to_owned), now);
                }
                Effect::Act(action) => {
                    self.own_leg(serial, &action);
                    if let Action::HangUp { leg } = &action {
                        self.hang_up_both(serial, *leg);
                    }
                    self.gate.act(serial, action);
                }
                Effect::AfterCommit(action) => {
                    let dialled =
                        if let Action::Dial { leg } = &action { Some(*leg) } else { None };
                    self.gate.after_commit(serial, action);
                    if let Some(leg) = dialled {
                        self.unsent.remove(&leg);
                        self.dial_is_held(serial, leg);
                    }
                }
                Effect::NextTrunk { side, route, tried, silent } => {
                    self.next_trunk(serial, side, &route, &tried, silent, now);
                }
                Effect::Race { silent, next } => self.race(serial, silent, next),
                Effect::Stay { side, trunk, next } => self.stay(serial, side, trunk, next, now),
                Effect::Trunks { caller } => self.two_trunks(serial, &caller, now),
                Effect::Over(cdr) => {
                    self.flush_intent(serial, now);
                    self.over(serial, *cdr, now);
                }
            }
        }
        self.set_timer(serial);
    }

    /// Talk counts from the called party's answer.
    fn answered(&mut self, serial: Serial, now: Now) {
        let Some(call) = self.calls.get_mut(&serial) else { return };
        let draft = call.room.draft();
        if call.answered.is_none() && draft.called.talking_ms.is_some() {
            self.quotas.answered(draft.intent.tenant, now);
            self.balances.answered(serial, now);
            call.answered = Some(now);
        }
    }

    fn own_leg(&mut self, serial: Serial, action: &Action) {
        let Some(call) = self.calls.get_mut(&serial) else { return };
        let (leg, trunk) = match action {
            Action::Open { leg, to, .. } => {
                self.unsent.insert(*leg);
                (*leg, to.via.trunk().cloned())
            }
            Action::TakeIn { leg, .. } => (*leg, None),
            Action::Resume { leg, .. }
            | Action::Abandon { leg, .. }
            | Action::HangUpStored { leg, .. } => (*leg, call.slots.called().cloned()),
            Action::Write(_)
            | Action::Reply { .. }
            | Action::Claim { .. }
            | Action::Fetch { .. }
            | Action::FindPhone { .. }
            | Action::Dial { .. }
            | Action::Acknowledge { .. }
            | Action::Ring { .. }
            | Action::Progress { .. }
            | Action::Answer { .. }
            | Action::SendAnswer { .. }
            | Action::Refuse { .. }
            | Action::Ringback { .. }
            | Action::Forward { .. }
            | Action::Bridge { .. }
            | Action::Watch { .. }
            | Action::SendDigit { .. }
            | Action::Record { .. }
            | Action::SwitchRecording { .. }
            | Action::Play { .. }
            | Action::HangUp { .. }
            | Action::TrunkHealth { .. }
            | Action::Forget { .. } => return,
        };
        call.legs.push(leg);
        self.legs.insert(leg, Owner { serial, trunk });
    }

    pub(super) fn set_timer(&mut self, serial: Serial) {
        let Some(call) = self.calls.get_mut(&serial) else { return };
        let unwritten = call.unwritten.as_ref().map(|unwritten| unwritten.until);
        let next = [call.room.wake_at(), unwritten].into_iter().flatten().min();
        if next == call.timer {
            return;
        }
        if let Some(timer) = call.timer.take() {
            self.timers.remove(&(timer, serial));
        }
        if let Some(next) = next {
            self.timers.insert((next, serial));
            call.timer = Some(next);
        }
    }

    pub(super) fn flush_intent(&mut self, serial: Serial, now: Now) {
        let unwritten = self.calls.get_mut(&serial).and_then(|call| call.unwritten.take());
        if let Some(unwritten) = unwritten {
            self.write_intent(serial, unwritten, now);
        }
    }

    pub(super) fn write_intent(&mut self, serial: Serial, unwritten: Unwritten, now: Now) {
        let Unwritten { intent, idempotency, started, tickets, .. } = unwritten;
        if self.mode == Mode::Broken {
            return tickets
                .into_iter()
                .for_each(|(ticket, _)| self.refuse(ticket, Refusal::Stopping));
        }
        let batch = self.gate.open_batch();
        if let Some(idempotency) = &idempotency {
            self.keys.written(&idempotency.key, batch);
        }
        let tenant = intent.tenant;
        let accepted = EventKind::Accepted {
            called: intent.order.called.clone(),
            caller_present: intent.order.caller_present.clone(),
        };
        self.gate.now(Action::Write(Write::Accepted { intent, idempotency, started }));
        self.event(tenant, serial, accepted, None, now);
        for (ticket, replayed) in tickets {
            let reply = Reply::Accepted { serial, replayed };
            self.gate.reply_after(batch, Action::Reply { ticket, reply });
        }
    }

    pub(super) fn event(
        &mut self,
        tenant: TenantId,
        serial: Serial,
        kind: EventKind,
        callback: Option<String>,
        now: Now,
    ) {
        let event = Event { tenant, serial: Some(serial), at_ms: now.unix_ms, kind };
        self.gate.now(Action::Write(Write::Event { event, callback }));
    }

    pub(super) fn over(&mut self, serial: Serial, cdr: Cdr, now: Now) {
        self.hang_up_silent(serial);
        let Some(call) = self.calls.remove(&serial) else { return };
        if let Some(timer) = call.timer {
            self.timers.remove(&(timer, serial));
        }
        for leg in &call.legs {
            self.legs.remove(leg);
            self.unsent.remove(leg);
        }
        self.forget_switches(call.switches);
        self.backlog.unpark(serial);
        self.codes.forget(serial);
        self.backlog.release(cdr.intent.tenant, call.slots, now.since_start);
        if let Some(at) = call.answered {
            self.quotas.hung_up(cdr.intent.tenant, at, now);
        }
        self.record(cdr, now);
    }

    /// The terminal event and the record, in one batch.
    pub(super) fn record(&mut self, cdr: Cdr, now: Now) {
        let serial = cdr.intent.serial;
        self.balances.over(serial, Duration::from_millis(cdr.talk_duration_ms));
        let key = natural_key(cdr.intent.tenant, &cdr.intent.order);
        if self.natural.get(&key) == Some(&serial) {
            self.natural.remove(&key);
        }
        let callback = cdr.intent.order.callback_url.clone();
        let ended = EventKind::Ended { cdr: Box::new(cdr.clone()) };
        self.event(cdr.intent.tenant, serial, ended, callback, now);
        self.gate.now(Action::Write(Write::Ended(Box::new(cdr))));
        self.gate.after_commit(serial, Action::Forget { serial });
    }
}
