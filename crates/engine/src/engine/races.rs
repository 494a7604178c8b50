//! A trunk showed no sign of life and the next one's INVITE is being made: until that has left, the first may still
//! prove alive, and then the second is not dialled. Both never ring by a decision of ours.

use super::Engine;
use crate::action::{Action, LegInput};
use crate::calls::CallInput;
use crate::vocabulary::{LegId, Now, Serial, Side, TrunkName};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Race {
    silent: LegId,
    next: LegId,
    invite: Invite,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Invite {
    InTheMaking,
    /// It waits for its attempt to be on disk.
    Held,
}

impl Engine {
    pub(super) fn race(&mut self, serial: Serial, silent: LegId, next: LegId) {
        self.races.insert(serial, Race { silent, next, invite: Invite::InTheMaking });
    }

    /// The INVITE of `leg` is decided.
    pub(super) fn dial_is_held(&mut self, serial: Serial, leg: LegId) {
        if let Some(race) = self.races.get_mut(&serial).filter(|race| race.next == leg) {
            race.invite = Invite::Held;
        }
    }

    /// A batch is on disk: whose INVITEs have left.
    pub(super) fn decide_races(&mut self, now: Now) {
        let left = |(serial, race): &(&Serial, &Race)| {
            race.invite == Invite::Held && !self.gate.holds_dial(**serial)
        };
        let left = self.races.iter().filter(left);
        let left: Vec<(Serial, LegId)> = left.map(|(serial, race)| (*serial, race.next)).collect();
        for (serial, next) in left {
            self.races.remove(&serial);
            self.run(serial, CallInput::Leg(next, LegInput::Left), now);
        }
    }

    /// The leg that hears what `leg` says, and how.
    pub(super) fn heard_by(
        &mut self,
        serial: Serial,
        leg: LegId,
        input: LegInput,
    ) -> (LegId, LegInput) {
        match self.races.get(&serial) {
            Some(race) if race.silent == leg => {
                let next = race.next;
                if let LegInput::Ended { .. } = input {
                    self.races.remove(&serial);
                }
                (next, LegInput::Earlier { leg, input: Box::new(input) })
            }
            Some(_) | None => (leg, input),
        }
    }

    /// The silent leg has shown life: the call goes back to its trunk.
    pub(super) fn stay(
        &mut self,
        serial: Serial,
        side: Side,
        trunk: TrunkName,
        next: LegId,
        now: Now,
    ) {
        self.races.remove(&serial);
        self.gate.retract_dial(serial, next);
        self.unsent.remove(&next);
        let Some(call) = self.calls.get_mut(&serial) else { return };
        if let Some(other) = call.slots.side(side) {
            self.backlog.release_trunk(other, now.since_start);
            self.backlog.adopt_trunk(&trunk, now.since_start);
            call.slots.move_to(side, trunk);
        }
    }

    /// `leg` is hung up: the one that it was to replace goes with it.
    pub(super) fn hang_up_both(&mut self, serial: Serial, leg: LegId) {
        if self.races.get(&serial).is_some_and(|race| race.next == leg) {
            self.hang_up_silent(serial);
        }
    }

    /// No leg outlives its call.
    pub(super) fn hang_up_silent(&mut self, serial: Serial) {
        if let Some(race) = self.races.remove(&serial) {
            self.gate.act(serial, Action::HangUp { leg: race.silent });
        }
    }
}
