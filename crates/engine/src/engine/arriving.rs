//! A call that begins with its caller's INVITE: by the code of an anonymous call, or to a virtual
//! number (ITA).

use std::net::IpAddr;

use super::guesses::Guesser;
use super::{Engine, INTENT_WAITS, Mode, Slots, Unwritten};
use crate::action::{Action, Arrival, Origin, Refused};
use crate::calls::{CallInput, Denied, Room};
use crate::intent::Intent;
use crate::request::Request;
use crate::vocabulary::{LegId, Now, Serial, TrunkName};

impl Engine {
    /// Codes from outside that were refused since the start.
    pub fn refused_codes(&self) -> u64 {
        self.guesses.count()
    }

    pub(super) fn incoming(
        &mut self,
        leg: LegId,
        arrival: Arrival,
        (source, origin): (IpAddr, Origin),
        now: Now,
    ) {
        // Said before the code is looked at: it tells nothing of it.
        if self.mode != Mode::Running {
            return self.turn_away(leg, Refused::Busy);
        }
        match arrival {
            Arrival::Code(code) => {
                let guesser = Guesser::new(source, origin);
                self.code_called(leg, &code, source, guesser, now);
            }
            Arrival::Bound(request) => self.virtual_number_called(leg, *request, source, now),
        }
    }

    fn code_called(&mut self, leg: LegId, code: &str, source: IpAddr, guesser: Guesser, now: Now) {
        if !self.guesses.is_heard(&guesser, now) {
            return self.turn_away(leg, Refused::Unknown);
        }
        let Some(serial) = self.codes.find(code) else {
            self.guesses.was_wrong(guesser, now);
            return self.turn_away(leg, Refused::Unknown);
        };
        // It was told to come again: its code stays good.
        let Some(way) = self.let_through(serial, now) else {
            return self.turn_away(leg, Refused::Busy);
        };
        self.codes.forget(serial);
        self.run(serial, CallInput::Arrived { leg, source, way }, now);
    }

    /// The places that the call takes from now on; `None` where none is free.
    fn let_through(
        &mut self,
        serial: Serial,
        now: Now,
    ) -> Option<Result<Option<TrunkName>, Denied>> {
        let call = self.calls.get_mut(&serial)?;
        let Intent { tenant, order, .. } = &call.room.draft().intent;
        if self.quotas.forbids_dialling(*tenant, now) {
            return Some(Err(Denied::Restricted));
        }
        let trunk = self.backlog.start_now(*tenant, &order.place, now.since_start).ok()?;
        call.slots = Slots::of(trunk.clone());
        Some(Ok(trunk))
    }

    fn virtual_number_called(&mut self, leg: LegId, request: Request, source: IpAddr, now: Now) {
        let Request { tenant, limits, idempotency, queue_timeout, order } = request;
        self.limit(tenant, limits, now);
        if self.quotas.reached(tenant, now).is_some() || !self.balances.allows(tenant) {
            return self.turn_away(leg, Refused::Forbidden);
        }
        let Ok(trunk) = self.backlog.start_now(tenant, &order.place, now.since_start) else {
            return self.turn_away(leg, Refused::Busy);
        };
        let serial = self.numbered(tenant, &order, now);
        let queue_deadline_ms = now.later(queue_timeout).unix_ms;
        let intent = Intent { serial, tenant, created_ms: now.unix_ms, queue_deadline_ms, order };
        let unwritten = Unwritten {
            intent: Box::new(intent.clone()),
            idempotency,
            started: true,
            tickets: Vec::new(),
            until: now.since_start + INTENT_WAITS,
        };
        let slots = Slots::of(trunk.clone());
        self.insert(serial, Room::new(intent, now), slots, Some(unwritten));
        self.run(serial, CallInput::Arrived { leg, source, way: Ok(trunk) }, now);
    }

    fn turn_away(&mut self, leg: LegId, with: Refused) {
        self.gate.now(Action::Refuse { leg, with });
    }
}
