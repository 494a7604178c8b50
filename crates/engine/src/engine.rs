//! The engine: every call of this server, one input at a time.
//!
//! Canonical loop of a driver:
//! 1. [`Engine::handle`] with what happened, or [`Engine::handle_timeout`] when [`Engine::wake_at`] has come;
//! 2. [`Engine::poll`] until `None`, doing each action in order; a [`Write`] is added to the current batch;
//! 3. when the disk is free, [`Engine::close_batch`], commit, and tell [`Input::Committed`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::action::{Action, BatchNumber, Claim, ClaimId, Input};
use crate::backlog::Backlog;
use crate::balances::Balances;
use crate::calls::{CallInput, Effects, Room};
use crate::cdr::{Draft, Outcome, Progress};
use crate::events::EventKind;
use crate::gate::Gate;
use crate::intent::{Idempotency, Intent, Order, OrderKind};
use crate::quotas::Quotas;
use crate::request::{Refusal, Reply, Ticket};
use crate::serials::Serials;
use crate::vocabulary::{
    CallKind, Deadline, LegId, Now, Serial, TenantId, TenantLimits, TrunkName,
};
use crate::writes::{FoundLeg, Unfinished, Write};

mod accepting;
mod arriving;
mod codes;
mod guesses;
mod races;
mod recent_keys;
mod recordings;
mod running;
mod slots;
mod stopping;
mod trunks;
use codes::Codes;
use guesses::Guesses;
use races::Race;
use recent_keys::RecentKeys;
use recordings::Switches;
use slots::Slots;

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
    balances: Balances,
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
    codes: Codes,
    guesses: Guesses,
    races: BTreeMap<Serial, Race>,
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
    slots: Slots,
    timer: Option<Deadline>,
    legs: Vec<LegId>,
    unwritten: Option<Unwritten>,
    switches: Switches,
    /// When the called party answered, where that was in this process.
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

/// Whose leg it is, and over which trunk, where it is over one.
struct Owner {
    serial: Serial,
    trunk: Option<TrunkName>,
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
            balances: Balances::default(),
            calls: BTreeMap::new(),
            legs: BTreeMap::new(),
            unsent: BTreeSet::new(),
            timers: BTreeSet::new(),
            asked: BTreeMap::new(),
            last_asked: 1 << 63,
            expiry_at: None,
            keys: RecentKeys::default(),
            codes: Codes::default(),
            guesses: Guesses::default(),
            races: BTreeMap::new(),
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
        let used_up = [self.quotas.wake_at(), self.balances.wake_at()].into_iter().flatten().min();
        [calls, backlog, self.expiry_at, used_up].into_iter().flatten().min()
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
            Input::SwitchRecording { ticket, tenant, serial, switch } => {
                self.switch_recording(ticket, tenant, serial, switch);
            }
            Input::RecordingSwitched { leg } => self.recording_switched(leg, now),
            Input::Claimed { claim, calls } => self.claimed(claim, calls, now),
            Input::Fetched { serial, result } => self.run(serial, CallInput::Fetched(result), now),
            Input::Leg { leg, input } => self.leg(leg, input, now),
            Input::PhoneFound { serial, bindings } => {
                self.run(serial, CallInput::PhoneFound(bindings), now);
            }
            Input::Incoming { leg, arrival, source, origin } => {
                self.incoming(leg, arrival, (source, origin), now);
            }
            Input::TenantLimits { tenant, limits } => {
                self.limit(tenant, limits, now);
            }
            Input::UsedToday { tenant, used } => self.quotas.seed(tenant, used, now),
            Input::Balance { tenant, talked, waiting } => {
                self.balances.seed(tenant, talked);
                waiting.into_iter().for_each(|serial| self.balances.begin(serial, tenant));
            }
            Input::Trunk { trunk, pace, up } => self.backlog.set_trunk(trunk, pace, up),
            Input::Recovered(found) => self.recovered(*found, now),
            Input::Waiting { tenant, route, calls } => {
                self.backlog.add_waiting(tenant, route, calls);
                self.watch_expiry(now);
            }
            Input::Committed(batch) => {
                self.gate.committed(batch);
                self.decide_races(now);
            }
            Input::CommitFailed => self.commit_failed(now),
            Input::Drain => self.drain(),
            Input::HangUpAll => self.interrupt_all(now),
        }
    }

    fn limit(&mut self, tenant: TenantId, limits: TenantLimits, now: Now) {
        self.backlog.limit_tenant(tenant, limits);
        self.quotas.limit(tenant, limits.daily, now);
        self.balances.limit(tenant, limits.ita_minutes);
    }

    fn recovered(&mut self, found: Unfinished, now: Now) {
        let (tenant, serial) = (found.intent.tenant, found.intent.serial);
        self.set_aside(serial, tenant, &found.intent.order);
        let (undialled, cancelled) = (found.legs.is_empty(), found.cancelled);
        let trunk_of = |leg: &FoundLeg| leg.attempt.as_ref().and_then(|one| one.trunk.clone());
        let trunks: Vec<_> = found.legs.iter().map(|leg| (leg.leg, trunk_of(leg))).collect();
        let slots = match &found.intent.order.kind {
            OrderKind::AnonymousCall(call) if undialled => {
                self.codes.insert(tenant, call.code.clone(), serial);
                Slots::None
            }
            OrderKind::AnonymousCall(_)
            | OrderKind::VoiceNotification { .. }
            | OrderKind::BidirectionalCall(_) => self.backlog.adopt_all(&found, now.since_start),
        };
        let next = match &slots {
            Slots::Held { .. } | Slots::None if cancelled => {
                Some(CallInput::Stop(Outcome::Cancelled))
            }
            Slots::Held { called, .. } if undialled => Some(match called {
                Some(trunk) => CallInput::Start(trunk.clone()),
                // Only who called us reaches a softphone, and has gone.
                None => CallInput::Stop(Outcome::Interrupted),
            }),
            Slots::Held { .. } | Slots::None => None,
        };
        let mut effects = Effects::new(self.last_leg);
        let room = Room::recover(found, now, &mut effects);
        self.insert(serial, room, slots, None);
        self.apply(serial, effects, now);
        for (leg, trunk) in trunks {
            if let Some(owner) = self.legs.get_mut(&leg) {
                owner.trunk = trunk;
            }
        }
        if let Some(next) = next {
            self.run(serial, next, now);
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
        self.run(serial, CallInput::Stop(Outcome::Cancelled), now);
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
                    match self.mode {
                        Mode::Running => self.start_claimed(intent, &trunk, now),
                        // The next start finds it on disk and makes it.
                        Mode::Draining | Mode::Broken => {
                            self.backlog.ended(intent.tenant, Some(&trunk), now.since_start);
                        }
                    }
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
        self.set_aside(serial, intent.tenant, &intent.order);
        let refused = if intent.queue_deadline_ms <= now.unix_ms {
            Some(Outcome::QueueTimeout)
        } else if self.quotas.forbids_dialling(intent.tenant, now)
            || self.balances.forbids_dialling(serial)
        {
            Some(Outcome::Restricted)
        } else {
            None
        };
        if let Some(outcome) = refused {
            self.backlog.ended(intent.tenant, Some(trunk), now.since_start);
            self.record(Draft::new(intent).finish(outcome, None, now), now);
            return;
        }
        self.insert(serial, Room::new(intent, now), Slots::of(Some(trunk.clone())), None);
        self.run(serial, CallInput::Start(trunk.clone()), now);
    }

    /// A call that ends in the queue: no room ever saw it.
    fn end_waiting(&mut self, intent: Intent, outcome: Outcome, now: Now) {
        if let Some(route) = intent.order.place.route() {
            self.backlog.remove_waiting(intent.tenant, route);
        }
        self.record(Draft::new(intent).finish(outcome, None, now), now);
    }

    fn claim(&mut self, now: Now) {
        if self.mode != Mode::Running {
            return;
        }
        self.backlog.keep_places(now.since_start);
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
        for tenant in self.quotas.used_up(now) {
            self.cut(tenant, now);
        }
        for serial in self.balances.used_up(now) {
            self.cut_call(serial, EventKind::BalanceUsedUp, now);
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
}

fn natural_key(tenant: TenantId, order: &Order) -> NaturalKey {
    (tenant, order.call_kind(), order.caller_number().to_owned(), order.called.clone())
}

#[cfg(test)]
mod tests;
