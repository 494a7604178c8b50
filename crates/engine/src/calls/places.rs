//! A party that rings at one place, over trunks, or at each place where its softphone is registered.
//! The first answer wins and the others are hung up; where nobody answers, the answer that says
//! most counts.
//!
//! ```text
//! dials ─answer─▶ answered, the others are hung up
//!   │ └─ one ends: the others go on
//!   └─ the last one ends, or all are told to ─▶ over
//! ```

use std::time::Duration;

use crate::action::{Action, LegInput};
use crate::calls::dial::{self, Dial};
use crate::calls::endings::leg_over;
use crate::calls::way::To;
use crate::calls::{Effects, of_party};
use crate::cdr::{Cause, Draft, LegEnd, Outcome};
use crate::events::EventKind;
use crate::vocabulary::{Deadline, LegId, Now, Side, TrunkName};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Places {
    side: Side,
    dials: Vec<Dial>,
    /// Told to end.
    leaving: Vec<LegId>,
    /// The answer that says most so far.
    said: Option<Said>,
}

/// What became of one place.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    leg: LegId,
    outcome: Outcome,
    cause: Cause,
    /// `None` while its leg is told to end.
    end: Option<(LegEnd, Now)>,
}

/// What became of a step.
#[derive(Debug)]
pub(super) enum Step {
    GoesOn(Places),
    /// It goes on, and what comes of this leg before an answer can be heard.
    Heard(Places, LegId),
    Answered {
        leg: LegId,
        dialog: Vec<u8>,
    },
    /// Nothing rings any more; `leaving`: legs that were told to end and are not over.
    Over {
        outcome: Outcome,
        cause: Cause,
        leaving: Vec<(Side, LegId)>,
    },
}

impl Places {
    /// `to`: one at the least, all of them one party.
    pub fn start(
        side: Side,
        to: Vec<To>,
        draft: &mut Draft,
        now: Now,
        out: &mut Effects,
    ) -> Places {
        let dials = to.into_iter().map(|to| Dial::start(to, draft, now, out)).collect();
        Places { side, dials, leaving: Vec::new(), said: None }
    }

    pub fn until(&self) -> Option<Deadline> {
        self.dials.iter().filter_map(Dial::until).min()
    }

    pub fn leg_input(
        mut self,
        leg: LegId,
        input: LegInput,
        draft: &mut Draft,
        now: Now,
        out: &mut Effects,
    ) -> Step {
        let Some(place) = self.dials.iter().position(|dial| dial.leg() == leg) else {
            return self.left_leg_input(leg, input, draft, now, out);
        };
        let step = self.dials.remove(place).leg_input(input, draft, now, out);
        self.dialled(place, step, draft, now, out)
    }

    /// The engine's answer to the one dial that asked.
    pub fn trunk_chosen(
        mut self,
        trunk: Option<TrunkName>,
        draft: &mut Draft,
        now: Now,
        out: &mut Effects,
    ) -> Step {
        let Some(place) = self.dials.iter().position(Dial::chooses) else {
            return Step::GoesOn(self);
        };
        let step = self.dials.remove(place).trunk_chosen(trunk, draft, now, out);
        self.dialled(place, step, draft, now, out)
    }

    /// A deadline of [`Places::until`] has come.
    pub fn overdue(
        mut self,
        late: Duration,
        draft: &mut Draft,
        now: Now,
        out: &mut Effects,
    ) -> Step {
        let is_due = |dial: &Dial| dial.until().is_some_and(|until| until <= now.since_start);
        let Some(place) = self.dials.iter().position(is_due) else { return Step::GoesOn(self) };
        let step = self.dials.remove(place).overdue(late, now, out);
        match self.dialled(place, step, draft, now, out) {
            Step::GoesOn(places) if places.dials.iter().any(is_due) => {
                places.overdue(late, draft, now, out)
            }
            step @ (Step::GoesOn(_)
            | Step::Heard(..)
            | Step::Answered { .. }
            | Step::Over { .. }) => step,
        }
    }

    /// Nobody is to answer any more: the legs that were told to end.
    pub fn hang_up(self, out: &mut Effects) -> Vec<(Side, LegId)> {
        for dial in &self.dials {
            out.act(Action::HangUp { leg: dial.leg() });
        }
        let legs = self.dials.iter().map(Dial::leg).chain(self.leaving);
        legs.map(|leg| (self.side, leg)).collect()
    }

    /// What became of the dial that was at `place`.
    fn dialled(
        mut self,
        place: usize,
        step: dial::Step,
        draft: &mut Draft,
        now: Now,
        out: &mut Effects,
    ) -> Step {
        match step {
            dial::Step::GoesOn(dial) => {
                self.dials.insert(place, dial);
                Step::GoesOn(self)
            }
            // Of several phones that ring none has the other party's ear.
            dial::Step::Heard(dial) => {
                let (leg, alone) = (dial.leg(), self.dials.is_empty());
                self.dials.insert(place, dial);
                if alone { Step::Heard(self, leg) } else { Step::GoesOn(self) }
            }
            dial::Step::Answered { leg, dialog } => {
                for other in &self.dials {
                    let (leg, side, cause) = (other.leg(), self.side, Cause::HungUp);
                    out.act(Action::HangUp { leg });
                    out.event(EventKind::LegEnded { leg, side, cause, sip_status: None });
                }
                Step::Answered { leg, dialog }
            }
            dial::Step::Over { leg, outcome, end } => {
                let cause = end.cause;
                self.says(Said { leg, outcome, cause, end: Some((end.clone(), now)) });
                leg_over(self.side, leg, end, draft, now, out);
                self.one_less(draft)
            }
            dial::Step::HangUp { leg, outcome, cause } => {
                let cause = cause.unwrap_or(Cause::HungUp);
                self.says(Said { leg, outcome, cause, end: None });
                out.act(Action::HangUp { leg });
                self.leaving.push(leg);
                self.one_less(draft)
            }
        }
    }

    fn left_leg_input(
        mut self,
        leg: LegId,
        input: LegInput,
        draft: &mut Draft,
        now: Now,
        out: &mut Effects,
    ) -> Step {
        if let LegInput::Ended { cause, sip_status, media, .. } = input
            && let Some(place) = self.leaving.iter().position(|left| *left == leg)
        {
            self.leaving.remove(place);
            let end = LegEnd { cause, sip_status, media };
            if let Some(said) = self.said.as_mut().filter(|said| said.leg == leg) {
                said.end = Some((LegEnd { cause: said.cause, ..end.clone() }, now));
            }
            leg_over(self.side, leg, end, draft, now, out);
        }
        Step::GoesOn(self)
    }

    fn says(&mut self, said: Said) {
        if self.said.as_ref().is_none_or(|before| weight(said.cause) > weight(before.cause)) {
            self.said = Some(said);
        }
    }

    /// One leg no longer rings.
    fn one_less(self, draft: &mut Draft) -> Step {
        if !self.dials.is_empty() {
            return Step::GoesOn(self);
        }
        let (outcome, cause) = match self.said {
            Some(Said { leg, outcome, cause, end }) => {
                draft.side(self.side).stands(leg, cause, end);
                (outcome, cause)
            }
            None => (Outcome::Failed, Cause::Internal),
        };
        let leaving = self.leaving.into_iter().map(|leg| (self.side, leg)).collect();
        Step::Over { outcome: of_party(self.side, outcome), cause, leaving }
    }
}

/// A person's answer says more than a phone that nobody took, and that more than one out of reach.
fn weight(cause: Cause) -> u8 {
    match cause {
        Cause::Declined => 4,
        Cause::Busy => 3,
        Cause::NoAnswer => 2,
        Cause::Unavailable | Cause::NotFound => 1,
        Cause::Released
        | Cause::TrunkFailed
        | Cause::TrunkRefused
        | Cause::MediaFailed
        | Cause::MediaTimeout
        | Cause::HungUp
        | Cause::NoResource
        | Cause::Internal => 0,
    }
}
