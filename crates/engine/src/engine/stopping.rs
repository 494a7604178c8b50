//! The disk refuses, or the server stops: what becomes of the calls that are here.

use std::collections::BTreeSet;

use super::{Call, Engine, Mode};
use crate::action::Action;
use crate::calls::CallInput;
use crate::cdr::Outcome;
use crate::events::EventKind;
use crate::request::Refusal;
use crate::vocabulary::{Now, Serial, TenantId};

impl Engine {
    /// Nothing that waited for the disk is done. Calls that are up go on; all others are ended, and
    /// the next start resolves what they were.
    pub(super) fn commit_failed(&mut self, now: Now) {
        self.mode = Mode::Broken;
        self.backlog.drain();
        let mut unacknowledged = BTreeSet::new();
        for action in self.gate.disk_refused() {
            match action {
                Action::Reply { ticket, .. } => self.refuse(ticket, Refusal::Stopping),
                Action::Acknowledge { leg } | Action::SendAnswer { leg } => {
                    unacknowledged.extend(self.legs.get(&leg).map(|owner| owner.serial));
                }
                // What must not be recorded is not, whatever the disk says.
                end @ (Action::HangUp { .. }
                | Action::Refuse { .. }
                | Action::SwitchRecording { .. }) => self.gate.now(end),
                Action::Write(_)
                | Action::Claim { .. }
                | Action::Fetch { .. }
                | Action::FindPhone { .. }
                | Action::TakeIn { .. }
                | Action::Ring { .. }
                | Action::Progress { .. }
                | Action::Answer { .. }
                | Action::Ringback { .. }
                | Action::Forward { .. }
                | Action::Bridge { .. }
                | Action::Watch { .. }
                | Action::SendDigit { .. }
                | Action::Open { .. }
                | Action::Dial { .. }
                | Action::Record { .. }
                | Action::Play { .. }
                | Action::Resume { .. }
                | Action::Abandon { .. }
                | Action::HangUpStored { .. }
                | Action::TrunkHealth { .. }
                | Action::Forget { .. } => {}
            }
        }
        let up = |serial: &Serial, call: &Call| {
            call.room.draft().is_up() && !unacknowledged.contains(serial)
        };
        let others = self.calls.iter().filter(|(serial, call)| !up(serial, call));
        let others: Vec<Serial> = others.map(|(serial, _)| *serial).collect();
        for serial in others {
            self.interrupt(serial, now);
        }
    }

    /// Nothing is claimed or let in any more. Calls that wait here for a caller or for trunks wait on disk
    /// until the next start.
    pub(super) fn drain(&mut self) {
        self.backlog.drain();
        if self.mode == Mode::Running {
            self.mode = Mode::Draining;
        }
        let dormant = self.calls.iter().filter(|(_, call)| call.room.is_dormant());
        let dormant: Vec<Serial> = dormant.map(|(serial, _)| *serial).collect();
        for serial in dormant {
            self.leave_on_disk(serial);
        }
    }

    fn interrupt(&mut self, serial: Serial, now: Now) {
        let dialled = |call: &Call| call.room.draft().is_dialled();
        if self.calls.get(&serial).is_some_and(dialled) {
            return self.run(serial, CallInput::Stop(Outcome::Interrupted), now);
        }
        self.leave_on_disk(serial);
    }

    /// A call that was never dialled leaves no record: the next start finds its intent and makes it.
    fn leave_on_disk(&mut self, serial: Serial) {
        self.races.remove(&serial);
        let Some(call) = self.calls.remove(&serial) else { return };
        if let Some(timer) = call.timer {
            self.timers.remove(&(timer, serial));
        }
        self.backlog.unpark(serial);
        self.codes.forget(serial);
        for leg in call.legs {
            self.legs.remove(&leg);
            self.unsent.remove(&leg);
            self.gate.act(serial, Action::HangUp { leg });
        }
        for (ticket, _) in call.unwritten.map(|unwritten| unwritten.tickets).into_iter().flatten() {
            self.refuse(ticket, Refusal::Stopping);
        }
    }

    /// The tenant has no minute left today: what is up and counts today ends.
    pub(super) fn cut(&mut self, tenant: TenantId, now: Now) {
        let counts = |call: &Call| {
            let of_tenant = call.room.draft().intent.tenant == tenant;
            of_tenant && call.answered.is_some_and(|at| self.quotas.counts_today(tenant, at))
        };
        let calls = self.calls.iter().filter(|(_, call)| counts(call));
        let calls: Vec<Serial> = calls.map(|(serial, _)| *serial).collect();
        for serial in calls {
            self.cut_call(serial, EventKind::MinutesUsedUp, now);
        }
    }

    /// `why` stands in the log before the end.
    pub(super) fn cut_call(&mut self, serial: Serial, why: EventKind, now: Now) {
        let Some(tenant) = self.intent(serial).map(|intent| intent.tenant) else { return };
        self.flush_intent(serial, now);
        self.event(tenant, serial, why, None, now);
        self.run(serial, CallInput::Stop(Outcome::Restricted), now);
    }

    pub(super) fn interrupt_all(&mut self, now: Now) {
        let serials: Vec<Serial> = self.calls.keys().copied().collect();
        for serial in serials {
            self.interrupt(serial, now);
        }
    }
}
