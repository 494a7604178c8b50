//! What legs show of their trunks, and which trunk a call goes on to.

use super::{Engine, Mode, Owner, Slots};
use crate::action::{Action, LegInput, Then};
use crate::backlog::{Seen, Wanted};
use crate::calls::{CallInput, TwoTrunks};
use crate::cdr::Cause;
use crate::intent::Intent;
use crate::route::Route;
use crate::vocabulary::{LegId, Now, Serial, Side, TrunkName};

impl Engine {
    /// What a leg says of its trunk, then what it says to its call.
    pub(super) fn leg(&mut self, leg: LegId, input: LegInput, now: Now) {
        let Some(Owner { serial, trunk }) = self.legs.get(&leg) else { return };
        let (serial, trunk) = (*serial, trunk.clone());
        if let (Some(trunk), Some(seen)) = (trunk, seen_of_trunk(&input)) {
            self.trunk_seen(trunk, seen, now);
        }
        if let LegInput::Ended { .. } = &input {
            self.unsent.remove(&leg);
        }
        let (leg, input) = self.heard_by(serial, leg, input);
        self.run(serial, CallInput::Leg(leg, input), now);
    }

    pub(super) fn trunk_seen(&mut self, trunk: TrunkName, seen: Seen, now: Now) {
        if let Some(works) = self.backlog.seen(&trunk, seen, now.since_start) {
            self.gate.now(Action::TrunkHealth { trunk, works });
        }
    }

    pub(super) fn next_trunk(
        &mut self,
        serial: Serial,
        side: Side,
        route: &Route,
        tried: &[TrunkName],
        silent: bool,
        now: Now,
    ) {
        let last = self.calls.get(&serial).and_then(|call| call.slots.side(side).cloned());
        let Some(last) = last else { return };
        if silent {
            self.trunk_seen(last.clone(), Seen::Silent, now);
        }
        // Nothing is dialled any more once the server stops.
        let running = self.mode == Mode::Running;
        let next = running.then(|| self.backlog.move_on(route, tried, &last, now.since_start));
        let next = next.flatten();
        if let (Some(next), Some(call)) = (&next, self.calls.get_mut(&serial)) {
            call.slots.move_to(side, next.clone());
        }
        self.run(serial, CallInput::Trunk(next), now);
    }

    /// A call of two parties that are both dialled over trunks gets a slot for each, or waits with
    /// none: two calls that hold one each and wait for the other's would wait for ever.
    pub(super) fn two_trunks(&mut self, serial: Serial, route: &Route, now: Now) {
        let Some(call) = self.calls.get_mut(&serial) else { return };
        let Intent { tenant, order, .. } = &call.room.draft().intent;
        let (tenant, now_at) = (*tenant, now.since_start);
        let Some(route_of_called) = order.place.route() else {
            return self.run(serial, CallInput::Trunks(None), now);
        };
        let called = match std::mem::replace(&mut call.slots, Slots::None) {
            Slots::Held { called, .. } => called,
            Slots::None => self.backlog.retake(tenant, route_of_called, now_at),
        };
        let trunks = called.and_then(|called| {
            let caller = self.backlog.take_trunk(route, &called, now_at);
            if caller.is_none() {
                self.backlog.ended(tenant, Some(&called), now_at);
            }
            Some(TwoTrunks { called, caller: caller? })
        });
        match trunks.clone() {
            Some(TwoTrunks { called, caller }) => {
                call.slots = Slots::Held { called: Some(called), caller: Some(caller) };
                self.backlog.unpark(serial);
            }
            None => {
                let (called, caller) = (route_of_called, route);
                self.backlog.park(serial, || Wanted {
                    tenant,
                    called: called.clone(),
                    caller: caller.clone(),
                });
            }
        }
        self.run(serial, CallInput::Trunks(trunks), now);
    }
}

/// `None` where it says nothing about the trunk.
fn seen_of_trunk(input: &LegInput) -> Option<Seen> {
    match input {
        LegInput::Trying
        | LegInput::Challenged { .. }
        | LegInput::Ringing
        | LegInput::EarlyMedia
        | LegInput::Answered { .. } => Some(Seen::Works),
        LegInput::Ended { then: Then::Rest(rest), .. } => Some(Seen::WantsRest(*rest)),
        LegInput::Ended { sip_status: Some(_), .. } => Some(Seen::Works),
        LegInput::Ended { cause: Cause::TrunkFailed, .. } => Some(Seen::Silent),
        LegInput::Ended { .. }
        | LegInput::Prepared { .. }
        | LegInput::Retried { .. }
        | LegInput::TakenIn
        | LegInput::Answering { .. }
        | LegInput::Held(_)
        | LegInput::Quiet
        | LegInput::InfoDigit(_)
        | LegInput::Left
        | LegInput::Earlier { .. }
        | LegInput::PlayStarted
        | LegInput::PlayFinished { .. }
        | LegInput::Digit(_)
        | LegInput::RecordingStarted
        | LegInput::RecordingFailed
        | LegInput::MediaFailed(_) => None,
    }
}
