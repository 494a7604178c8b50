//! Legs of one call that were told to end. The call is over when the last of them is, or when they
//! have had the time for it; its outcome was decided before.

use crate::action::{Action, LegInput};
use crate::calls::{Effects, LEG_END};
use crate::cdr::{Draft, LegEnd, Outcome, Recording};
use crate::events::EventKind;
use crate::vocabulary::{Deadline, LegId, Now, Side};
use crate::writes::{FoundLeg, Unfinished};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endings {
    legs: Vec<(Side, LegId)>,
    outcome: Outcome,
    until: Deadline,
}

impl Endings {
    /// These legs have been told to end.
    pub fn of(legs: Vec<(Side, LegId)>, outcome: Outcome, now: Now) -> Endings {
        Endings { legs, outcome, until: now.since_start + LEG_END }
    }

    pub fn hang_up(
        legs: Vec<(Side, LegId)>,
        outcome: Outcome,
        now: Now,
        out: &mut Effects,
    ) -> Endings {
        for (_, leg) in &legs {
            out.act(Action::HangUp { leg: *leg });
        }
        Endings::of(legs, outcome, now)
    }

    /// What a restart makes of a call of two parties: what was up is hung up, every INVITE that may be
    /// out is taken back. Nobody is dialled.
    pub fn after_restart(found: Unfinished, now: Now, out: &mut Effects) -> (Draft, Endings) {
        let Unfinished { intent, ringing_ms, recorded, legs, .. } = found;
        let serial = intent.serial;
        let mut draft = Draft::new(intent);
        draft.recording = Recording::found(recorded);
        draft.called.alerting_ms = ringing_ms;
        let mut outcome = Outcome::Unknown;
        let mut ending = Vec::new();
        for found in legs {
            let side = found.side();
            let FoundLeg { leg, attempt, answered } = found;
            ending.push((side, leg));
            let of = draft.side(side);
            if let Some(attempt) = &attempt {
                of.trunk.clone_from(&attempt.trunk);
                of.dialled_ms.get_or_insert(attempt.at_ms);
            }
            match (answered, attempt) {
                (Some((dialog, at_ms)), _) => {
                    of.dialled_ms.get_or_insert(at_ms);
                    of.alerting_ms.get_or_insert(at_ms);
                    of.talking_ms = Some(at_ms);
                    outcome = Outcome::Interrupted;
                    out.act(Action::HangUpStored { leg, serial, dialog });
                }
                (None, Some(attempt)) => {
                    out.act(Action::Abandon { leg, serial, wire: attempt.wire });
                }
                (None, None) => {}
            }
        }
        (draft, Endings::of(ending, outcome, now))
    }

    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    pub fn until(&self) -> Deadline {
        self.until
    }

    /// `None`: that was the last of them.
    pub fn leg_input(
        mut self,
        leg: LegId,
        input: LegInput,
        draft: &mut Draft,
        now: Now,
        out: &mut Effects,
    ) -> Option<Endings> {
        // What crosses a decision that has been made changes nothing.
        let LegInput::Ended { cause, sip_status, media, .. } = input else { return Some(self) };
        let place = self.legs.iter().position(|(_, of)| *of == leg);
        let Some((side, _)) = place.map(|place| self.legs.swap_remove(place)) else {
            return Some(self);
        };
        leg_over(side, leg, LegEnd { cause, sip_status, media }, draft, now, out);
        (!self.legs.is_empty()).then_some(self)
    }
}

/// A leg is over; the call may go on.
pub(super) fn leg_over(
    side: Side,
    leg: LegId,
    end: LegEnd,
    draft: &mut Draft,
    now: Now,
    out: &mut Effects,
) {
    let sip_status = end.sip_status;
    let cause = draft.side(side).ended(leg, end, now);
    out.event(EventKind::LegEnded { leg, side, cause, sip_status });
}
