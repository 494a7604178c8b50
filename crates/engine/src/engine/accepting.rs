//! A request comes in: refused, answered as the one that it repeats, started, or put into the queue.

use super::recent_keys::Recent;
use super::{Engine, INTENT_WAITS, Mode, Slots, Unwritten, natural_key};
use crate::action::Action;
use crate::backlog::{Admission, QueueFull};
use crate::calls::{CallInput, Room};
use crate::events::EventKind;
use crate::intent::{AnonymousCall, Idempotency, Intent, Order, OrderKind};
use crate::request::{Refusal, Reply, Request, Ticket};
use crate::vocabulary::{Now, Serial, TenantId, TenantLimits};

/// Where as many codes are out as may be: when to ask again, in seconds.
const CODES_PASS_S: u32 = 10;

/// The same where nothing ever waits.
const NO_QUEUE_S: u32 = 60;

impl Engine {
    pub(super) fn accept(&mut self, ticket: Ticket, request: Request, now: Now) {
        match self.refusal_or_replay(&request) {
            Some(Judged::Refuse(refusal)) => return self.refuse(ticket, refusal),
            Some(Judged::Replay(recent)) => return self.replay(ticket, recent),
            None => {}
        }
        let Request { tenant, limits, idempotency, queue_timeout, order } = request;
        self.limit(tenant, limits, now);
        if let Some((quota, retry_after_s)) = self.quotas.reached(tenant, now) {
            return self.refuse(ticket, Refusal::DailyLimit { quota, retry_after_s });
        }
        if order.is_ita() && !self.balances.allows(tenant) {
            return self.refuse(ticket, Refusal::BalanceUsedUp);
        }
        if let OrderKind::AnonymousCall(call) = &order.kind {
            let call = call.clone();
            if let Some(refusal) = self.cannot_expect(tenant, limits, &call) {
                return self.refuse(ticket, refusal);
            }
            let serial = self.taken_up(tenant, limits, idempotency.as_ref(), &order, now);
            let intent = Intent {
                serial,
                tenant,
                created_ms: now.unix_ms,
                queue_deadline_ms: call.valid_until_ms,
                order,
            };
            return self.expect(ticket, intent, idempotency, call, now);
        }
        let (length, now_at) = (limits.queue_length, now.since_start);
        let admission = match order.place.route() {
            Some(route) => self.backlog.admit(tenant, route, order.caller_route(), length, now_at),
            // Nothing waits for a softphone: no order names one, and the queue for it has no place.
            None => Err(QueueFull { retry_after_s: NO_QUEUE_S }),
        };
        let admission = match admission {
            Ok(admission) => admission,
            Err(QueueFull { retry_after_s }) => {
                return self.refuse(ticket, Refusal::QueueFull { retry_after_s });
            }
        };
        let serial = self.taken_up(tenant, limits, idempotency.as_ref(), &order, now);
        let queue_deadline_ms = now.later(queue_timeout).unix_ms;
        let intent = Intent { serial, tenant, created_ms: now.unix_ms, queue_deadline_ms, order };
        let unwritten = Unwritten {
            intent: Box::new(intent.clone()),
            idempotency,
            started: matches!(admission, Admission::Start(_)),
            tickets: vec![(ticket, false)],
            until: now.since_start + INTENT_WAITS,
        };
        match admission {
            Admission::Start(trunk) => {
                let slots = Slots::of(Some(trunk.clone()));
                self.insert(serial, Room::new(intent, now), slots, Some(unwritten));
                self.run(serial, CallInput::Start(trunk), now);
            }
            Admission::Wait(why) => {
                self.write_intent(serial, unwritten, now);
                self.event(tenant, serial, EventKind::Queued { why }, None, now);
                self.watch_expiry(now);
            }
        }
    }

    /// A new call is counted, and remembered for who asks again.
    fn taken_up(
        &mut self,
        tenant: TenantId,
        limits: TenantLimits,
        idempotency: Option<&Idempotency>,
        order: &Order,
        now: Now,
    ) -> Serial {
        let serial = self.numbered(tenant, order, now);
        if let Some(idempotency) = idempotency {
            self.keys.remember(idempotency.clone(), serial, now);
        }
        if limits.refuse_duplicates {
            self.natural.insert(natural_key(tenant, order), serial);
        }
        serial
    }

    /// A new call, counted; what it may talk is set aside.
    pub(super) fn numbered(&mut self, tenant: TenantId, order: &Order, now: Now) -> Serial {
        self.quotas.accepted(tenant, now);
        let serial = self.serials.next(now.unix_ms);
        self.set_aside(serial, tenant, order);
        serial
    }

    /// What it may talk, where that is paid for; once, however often it is asked for.
    pub(super) fn set_aside(&mut self, serial: Serial, tenant: TenantId, order: &Order) {
        if order.is_ita() {
            self.balances.begin(serial, tenant);
        }
    }

    fn cannot_expect(
        &self,
        tenant: TenantId,
        limits: TenantLimits,
        call: &AnonymousCall,
    ) -> Option<Refusal> {
        if self.codes.of(tenant) >= limits.queue_length {
            // Codes are short-lived: by then some are used or expired.
            return Some(Refusal::QueueFull { retry_after_s: CODES_PASS_S });
        }
        self.codes.has(&call.code).then_some(Refusal::CodeTaken)
    }

    /// An anonymous call waits for its caller here and never in the backlog.
    fn expect(
        &mut self,
        ticket: Ticket,
        intent: Intent,
        idempotency: Option<Idempotency>,
        call: AnonymousCall,
        now: Now,
    ) {
        let (serial, tenant) = (intent.serial, intent.tenant);
        let AnonymousCall { code, valid_until_ms, .. } = call;
        self.codes.insert(tenant, code, serial);
        let unwritten = Unwritten {
            intent: Box::new(intent.clone()),
            idempotency,
            started: true,
            tickets: vec![(ticket, false)],
            until: now.since_start,
        };
        self.insert(serial, Room::new(intent, now), Slots::None, None);
        self.write_intent(serial, unwritten, now);
        self.event(tenant, serial, EventKind::Expecting { until_ms: valid_until_ms }, None, now);
        self.set_timer(serial);
    }

    fn refusal_or_replay(&self, request: &Request) -> Option<Judged> {
        if self.mode != Mode::Running {
            return Some(Judged::Refuse(Refusal::Stopping));
        }
        if let Some(asked) = &request.idempotency
            && let Some(recent) = self.keys.find(&asked.key)
        {
            let same = recent.body_sha256 == asked.body_sha256;
            let reused = Judged::Refuse(Refusal::KeyReused);
            return Some(if same { Judged::Replay(recent) } else { reused });
        }
        let duplicate = request.limits.refuse_duplicates
            && self.natural.contains_key(&natural_key(request.tenant, &request.order));
        duplicate.then_some(Judged::Refuse(Refusal::Duplicate))
    }

    /// The same key and body again: the same reply, not before the intent is on disk.
    fn replay(&mut self, ticket: Ticket, recent: Recent) {
        let serial = recent.serial;
        let waiting = self.calls.get_mut(&serial).and_then(|call| call.unwritten.as_mut());
        if let Some(unwritten) = waiting {
            return unwritten.tickets.push((ticket, true));
        }
        let reply = Reply::Accepted { serial, replayed: true };
        let batch = recent.batch.unwrap_or_else(|| self.gate.open_batch());
        self.gate.reply_after(batch, Action::Reply { ticket, reply });
    }

    pub(super) fn refuse(&mut self, ticket: Ticket, refusal: Refusal) {
        self.gate.now(Action::Reply { ticket, reply: Reply::Refused(refusal) });
    }
}

enum Judged {
    Refuse(Refusal),
    Replay(Recent),
}
