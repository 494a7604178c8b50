//! The engine: every call of this server, one input at a time.
//!
//! Canonical loop of a driver:
//! 1. [`Engine::handle`] with what happened, or [`Engine::handle_timeout`] when [`Engine::wake_at`] has come;
//! 2. [`Engine::poll`] until `None`, doing each action in order; a [`Write`] is added to the current batch;
//! 3. when the disk is free, [`Engine::close_batch`], commit, and tell [`Input::Committed`].

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::action::{Action, BatchNumber, Claim, ClaimId, Input, Refused};
use crate::backlog::Backlog;
use crate::calls::{CallInput, Effect, Effects, Room};
use crate::cdr::{Cause, Cdr, Draft, LegEnd, Outcome, Progress};
use crate::events::{Event, EventKind};
use crate::gate::Gate;
use crate::intent::{Idempotency, Intent, Order};
use crate::quotas::Quotas;
use crate::request::{Refusal, Reply, Ticket};
use crate::serials::Serials;
use crate::vocabulary::{CallKind, Deadline, LegId, Now, Serial, TenantId, TrunkName};
use crate::writes::{Unfinished, Write};

mod accepting;
mod recent_keys;
mod stopping;
mod trunks;
use recent_keys::RecentKeys;

/// How long an intent may wait for its INVITE to be built, so that both go to disk in one commit.
const INTENT_WAITS: Duration = Duration::from_millis(3);

/// How often calls are looked for whose time in the queue is over.
const EXPIRY_CHECK: Duration = Duration::from_secs(1);

/// INVITEs that may be in the making before nothing more is claimed from the backlog.
const UNSENT: u32 = 128;

/// The most calls that one look at the expired ones takes.
const EXPIRED_LIMIT: u32 = 200;

/// What the engine must know before its first input.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// 0 to 1023, different for each node on one database.
    pub node: u16,
    pub highest_serial: Option<Serial>,
    /// Above every leg number of earlier runs.
    pub first_leg: u64,
    /// Calls that ports and descriptors allow at the same time.
    pub capacity: u32,
}

pub struct Engine {
    serials: Serials,
    last_leg: u64,
    gate: Gate,
    backlog: Backlog,
    quotas: Quotas,
    calls: BTreeMap<Serial, Call>,
    legs: BTreeMap<LegId, Owner>,
    /// Legs whose INVITE is being made.
    unsent: BTreeSet<LegId>,
    timers: BTreeSet<(Deadline, Serial)>,
    /// Claims that are out for another reason than to start calls.
    asked: BTreeMap<ClaimId, Asked>,
    last_asked: u64,
    expiry_at: Option<Deadline>,
    keys: RecentKeys,
    /// Unfinished calls of tenants that refuse duplicates.
    natural: BTreeMap<NaturalKey, Serial>,
    mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Running,
    Draining,
    /// The disk refused a batch.
    Broken,
}

struct Call {
    room: Room,
    /// The trunk whose slot it takes.
    trunk: TrunkName,
    timer: Option<Deadline>,
    legs: Vec<LegId>,
    unwritten: Option<Unwritten>,
    /// When it was answered, where that was in this process.
    answered: Option<Now>,
}

/// An accepted intent that is not in a batch yet, and those who wait for it.
struct Unwritten {
    intent: Box<Intent>,
    idempotency: Option<Idempotency>,
    started: bool,
    tickets: Vec<(Ticket, bool)>,
    until: Deadline,
}

/// Whose leg it is, and over which trunk.
struct Owner {
    serial: Serial,
    trunk: TrunkName,
}

enum Asked {
    Expired,
    Cancel { ticket: Ticket, tenant: TenantId, serial: Serial },
}

/// Tenant, kind, caller's number, number called: what makes two calls the same for a client that
/// repeats itself.
pub type NaturalKey = (TenantId, CallKind, String, String);

impl Engine {
    pub fn new(start: Start) -> Engine {
        Engine {
            serials: Serials::new(start.node, start.highest_serial),
            last_leg: start.first_leg,
            gate: Gate::default(),
            backlog: Backlog::new(start.capacity),
            quotas: Quotas::default(),
            calls: BTreeMap::new(),
            legs: BTreeMap::new(),
            unsent: BTreeSet::new(),
            timers: BTreeSet::new(),
            asked: BTreeMap::new(),
            last_asked: 1 << 63,
            expiry_at: None,
            keys: RecentKeys::default(),
            natural: BTreeMap::new(),
            mode: Mode::Running,
        }
    }

    /// Due timers fire first, each at its own time, before the input that came after them.
    pub fn handle(&mut self, input: Input, now: Now) {
        self.fire_due(now);
        self.dispatch(input, now);
        self.claim(now);
    }

    pub fn handle_timeout(&mut self, now: Now) {
        self.fire_due(now);
        self.claim(now);
    }

    /// Later than the `now` of the last call.
    pub fn wake_at(&self, now: Now) -> Option<Deadline> {
        let calls = self.timers.first().map(|(due, _)| *due);
        let backlog = self.backlog.wake_at(now.since_start).filter(|_| self.may_claim() > 0);
        [calls, backlog, self.expiry_at].into_iter().flatten().min()
    }

    pub fn poll(&mut self) -> Option<Action> {
        self.gate.poll()
    }

    /// What was written so far is one batch; its number comes back in [`Input::Committed`].
    pub fn close_batch(&mut self) -> BatchNumber {
        self.gate.close_batch()
    }

    pub fn live_calls(&self) -> usize {
        self.calls.len()
    }

    /// What was ordered, while the call lives here.
    pub fn intent(&self, serial: Serial) -> Option<&Intent> {
        self.calls.get(&serial).map(|call| &call.room.draft().intent)
    }

    /// How far a call has come, while it lives here.
    pub fn progress(&self, serial: Serial) -> Option<Progress> {
        self.calls.get(&serial).map(|call| call.room.draft().progress())
    }

    /// Nothing is up and nothing waits for the disk.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.gate.holds_nothing()
    }

    /// A call on disk counts for the natural key (return code 1) of its tenant.
    pub fn remember_unfinished(&mut self, key: NaturalKey, serial: Serial) {
        self.natural.insert(key, serial);
    }

    fn dispatch(&mut self, input: Input, now: Now) {
        match input {
            Input::Accept { ticket, request } => self.accept(ticket, *request, now),
            Input::Cancel { ticket, tenant, serial } => self.cancel(ticket, tenant, serial, now),
            Input::Claimed { claim, calls } => self.claimed(claim, calls, now),
            Input::Fetched { serial, result } => self.run(serial, CallInput::Fetched(result), now),
            Input::Leg { leg, input } => self.leg(leg, input, now),
            Input::PhoneFound { .. } => {}
            Input::Incoming { leg, .. } => {
                self.gate.now(Action::Refuse { leg, with: Refused::Unknown });
            }
            Input::TenantLimits { tenant, limits } => {
                self.backlog.limit_tenant(tenant, limits);
                self.quotas.limit(tenant, limits.daily);
            }
            Input::UsedToday { tenant, used } => self.quotas.seed(tenant, used, now),
            Input::Trunk { trunk, pace, up } => self.backlog.set_trunk(trunk, pace, up),
            Input::Recovered(found) => self.recovered(*found, now),
            Input::Waiting { tenant, route, calls } => {
                self.backlog.add_waiting(tenant, route, calls);
                self.watch_expiry(now);
            }
            Input::Committed(batch) => self.gate.committed(batch),
            Input::CommitFailed => self.commit_failed(now),
            Input::Drain => {
                self.backlog.drain();
                if self.mode == Mode::Running {
                    self.mode = Mode::Draining;
                }
            }
            Input::HangUpAll => self.interrupt_all(now),
        }
    }

    fn recovered(&mut self, found: Unfinished, now: Now) {
        let (tenant, serial) = (found.intent.tenant, found.intent.serial);
        // A call without an attempt was never dialled: any of its trunks will do.
        let last = found.legs.last().and_then(|leg| leg.attempt.as_ref());
        let dialled = last.and_then(|attempt| attempt.trunk.clone());
        let route = &found.intent.order.route;
        let Some(trunk) = dialled.or_else(|| route.trunks().next().cloned()) else { return };
        self.backlog.adopt(tenant, &trunk, now.since_start);
        let (undialled, cancelled) = (found.legs.is_empty(), found.cancelled);
        let mut effects = Effects::new(self.last_leg);
        let room = Room::recover(found, now, &mut effects);
        self.insert(serial, room, trunk.clone(), None);
        self.apply(serial, effects, now);
        if cancelled {
            self.run(serial, CallInput::Cancel, now);
        } else if undialled {
            self.run(serial, CallInput::Start(trunk), now);
        }
    }

    fn cancel(&mut self, ticket: Ticket, tenant: TenantId, serial: Serial, now: Now) {
        match self.intent(serial).map(|intent| intent.tenant) {
            Some(owner) if owner == tenant => self.cancel_live(ticket, serial, now),
            Some(_) => self.gate.now(Action::Reply { ticket, reply: Reply::NotFound }),
            None => {
                self.ask(Claim::One { tenant, serial }, Asked::Cancel { ticket, tenant, serial });
            }
        }
    }

    /// It is hung up at once. The reply promises that it is not dialled any more, also after a crash.
    fn cancel_live(&mut self, ticket: Ticket, serial: Serial, now: Now) {
        self.run(serial, CallInput::Cancel, now);
        if self.mode == Mode::Broken {
            return self.refuse(ticket, Refusal::Stopping);
        }
        if self.calls.contains_key(&serial) {
            self.flush_intent(serial, now);
            self.gate.now(Action::Write(Write::Cancelled { serial }));
        }
        let reply = Action::Reply { ticket, reply: Reply::Cancelled };
        self.gate.reply_after(self.gate.open_batch(), reply);
    }

    fn ask(&mut self, what: Claim, asked: Asked) {
        self.last_asked += 1;
        let claim = ClaimId(self.last_asked);
        self.asked.insert(claim, asked);
        self.gate.claim(Action::Claim { claim, what });
    }

    fn claimed(&mut self, claim: ClaimId, calls: Vec<Intent>, now: Now) {
        match self.asked.remove(&claim) {
            None => {
                let count = calls.len() as u32;
                let Some(trunk) = self.backlog.claimed(claim, count, now.since_start) else {
                    return;
                };
                for intent in calls {
                    self.start_claimed(intent, &trunk, now);
                }
            }
            Some(Asked::Expired) => {
                let more = calls.len() as u32 == EXPIRED_LIMIT;
                for intent in calls {
                    self.end_waiting(intent, Outcome::QueueTimeout, now);
                }
                self.expiry_at = None;
                if more {
                    self.ask_expired(now);
                }
                self.watch_expiry(now);
            }
            Some(Asked::Cancel { ticket, tenant, serial }) => {
                let Some(intent) = calls.into_iter().next() else {
                    // It may have been claimed to start just before.
                    let started = self.intent(serial).is_some_and(|intent| intent.tenant == tenant);
                    if started {
                        return self.cancel_live(ticket, serial, now);
                    }
                    return self.gate.now(Action::Reply { ticket, reply: Reply::NotFound });
                };
                self.end_waiting(intent, Outcome::Cancelled, now);
                let reply = Action::Reply { ticket, reply: Reply::Cancelled };
                self.gate.reply_after(self.gate.open_batch(), reply);
            }
        }
    }

    fn start_claimed(&mut self, intent: Intent, trunk: &TrunkName, now: Now) {
        let serial = intent.serial;
        let refused = if intent.queue_deadline_ms <= now.unix_ms {
            Some(Outcome::QueueTimeout)
        } else if self.quotas.forbids_dialling(intent.tenant, now) {
            Some(Outcome::Restricted)
        } else {
            None
        };
        if let Some(outcome) = refused {
            self.backlog.ended(intent.tenant, trunk, now.since_start);
            self.record(Draft::new(intent).finish(outcome, None, now), now);
            return;
        }
        self.insert(serial, Room::new(intent, now), trunk.clone(), None);
        self.run(serial, CallInput::Start(trunk.clone()), now);
    }

    /// A call that ends in the queue: no room ever saw it.
    fn end_waiting(&mut self, intent: Intent, outcome: Outcome, now: Now) {
        self.backlog.remove_waiting(intent.tenant, &intent.order.route);
        self.record(Draft::new(intent).finish(outcome, None, now), now);
    }

    fn claim(&mut self, now: Now) {
        if self.mode != Mode::Running {
            return;
        }
        for (claim, what) in self.backlog.claims(now.since_start, self.may_claim()) {
            self.gate.claim(Action::Claim { claim, what });
        }
    }

    /// A backlog without another limit is worked off as fast as INVITEs leave, and no faster: what was
    /// claimed and cannot be sent yet would stand in the way of new calls.
    fn may_claim(&self) -> u32 {
        UNSENT.saturating_sub(self.unsent.len() as u32 + self.backlog.claimed_calls())
    }

    fn watch_expiry(&mut self, now: Now) {
        if self.expiry_at.is_none() && !self.backlog.nothing_waits() && self.mode == Mode::Running {
            self.expiry_at = Some(now.since_start + EXPIRY_CHECK);
        }
    }

    fn ask_expired(&mut self, now: Now) {
        let what = Claim::Expired { now_ms: now.unix_ms, limit: EXPIRED_LIMIT };
        self.ask(what, Asked::Expired);
    }

    fn fire_due(&mut self, now: Now) {
        while let Some((due, serial)) = self.timers.first().copied() {
            if due > now.since_start {
                break;
            }
            self.timers.pop_first();
            let at = Now {
                since_start: due,
                unix_ms: now.unix_ms - (now.since_start - due).as_millis() as i64,
            };
            self.fire(serial, at, now.since_start - due);
        }
        if self.expiry_at.is_some_and(|due| due <= now.since_start) {
            self.expiry_at = None;
            if self.mode == Mode::Running && !self.backlog.nothing_waits() {
                self.ask_expired(now);
            }
        }
        self.keys.forget_old(now);
    }

    /// `late`: how long ago the timer was due.
    fn fire(&mut self, serial: Serial, at: Now, late: Duration) {
        let Some(call) = self.calls.get_mut(&serial) else { return };
        call.timer = None;
        if call.unwritten.as_ref().is_some_and(|unwritten| unwritten.until <= at.since_start) {
            self.flush_intent(serial, at);
        }
        self.run(serial, CallInput::Tick { late }, at);
    }

    fn insert(
        &mut self,
        serial: Serial,
        room: Room,
        trunk: TrunkName,
        unwritten: Option<Unwritten>,
    ) {
        let call = Call { room, trunk, timer: None, legs: Vec::new(), unwritten, answered: None };
        self.calls.insert(serial, call);
    }

    /// Lets a room take one step. A panic in it costs this call only: the call is out of the map
    /// while its room runs, its legs are hung up and it is reported as failed.
    fn run(&mut self, serial: Serial, input: CallInput, now: Now) {
        let Some(mut call) = self.calls.remove(&serial) else { return };
        let mut effects = Effects::new(self.last_leg);
        let step = AssertUnwindSafe(|| call.room.handle(input, now, &mut effects));
        let held = catch_unwind(step).is_ok();
        if !held {
            effects = Effects::new(self.last_leg);
            let end = LegEnd { cause: Cause::Internal, sip_status: None, media: None };
            let hang_ups = call.legs.iter().map(|leg| Action::HangUp { leg: *leg });
            effects.list.extend(hang_ups.map(Effect::Act));
            let cdr = call.room.draft().finish(Outcome::Failed, Some(end), now);
            effects.list.push(Effect::Over(Box::new(cdr)));
        }
        self.calls.insert(serial, call);
        self.apply(serial, effects, now);
    }

    fn apply(&mut self, serial: Serial, effects: Effects, now: Now) {
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
                    let tenant = call.room.draft().intent.tenant;
                    self.event(tenant, serial, kind, None, now);
                }
                Effect::Act(action) => {
                    self.own_leg(serial, &action);
                    self.gate.act(serial, action);
                }
                Effect::AfterCommit(action) => {
                    if let Action::Dial { leg } = &action {
                        self.unsent.remove(leg);
                    }
                    self.gate.after_commit(serial, action);
                }
                Effect::NextTrunk { route, tried, silent } => {
                    self.next_trunk(serial, &route, &tried, silent, now);
                }
                Effect::Over(cdr) => {
                    self.flush_intent(serial, now);
                    self.over(serial, *cdr, now);
                }
            }
        }
        self.set_timer(serial);
    }

    fn answered(&mut self, serial: Serial, now: Now) {
        let Some(call) = self.calls.get_mut(&serial) else { return };
        call.answered = Some(now);
        self.quotas.answered(call.room.draft().intent.tenant, now);
    }

    fn own_leg(&mut self, serial: Serial, action: &Action) {
        let (Action::Open { leg, .. }
        | Action::Resume { leg, .. }
        | Action::Abandon { leg, .. }
        | Action::HangUpStored { leg, .. }) = action
        else {
            return;
        };
        if let Some(call) = self.calls.get_mut(&serial) {
            if let Action::Open { .. } = action {
                self.unsent.insert(*leg);
            }
            call.legs.push(*leg);
            self.legs.insert(*leg, Owner { serial, trunk: call.trunk.clone() });
        }
    }

    fn set_timer(&mut self, serial: Serial) {
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

    fn flush_intent(&mut self, serial: Serial, now: Now) {
        let unwritten = self.calls.get_mut(&serial).and_then(|call| call.unwritten.take());
        if let Some(unwritten) = unwritten {
            self.write_intent(serial, unwritten, now);
        }
    }

    fn write_intent(&mut self, serial: Serial, unwritten: Unwritten, now: Now) {
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

    fn event(
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

    fn over(&mut self, serial: Serial, cdr: Cdr, now: Now) {
        let Some(call) = self.calls.remove(&serial) else { return };
        if let Some(timer) = call.timer {
            self.timers.remove(&(timer, serial));
        }
        for leg in &call.legs {
            self.legs.remove(leg);
            self.unsent.remove(leg);
        }
        self.backlog.ended(cdr.intent.tenant, &call.trunk, now.since_start);
        if let Some(at) = call.answered {
            self.quotas.hung_up(cdr.intent.tenant, at, now);
        }
        self.record(cdr, now);
    }

    /// The terminal event and the record, in one batch.
    fn record(&mut self, cdr: Cdr, now: Now) {
        let serial = cdr.intent.serial;
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

fn natural_key(tenant: TenantId, order: &Order) -> NaturalKey {
    (tenant, order.call_kind(), order.caller_number().to_owned(), order.called.clone())
}

#[cfg(test)]
mod tests;
