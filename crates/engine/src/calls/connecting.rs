//! A caller who waits while the called party is dialled.
//!
//! ```text
//! Ringback ─early media of the called party─▶ EarlyMedia
//!     └───────────┬─────────────────────────────┘
//!   called answers│ called fails: the caller is told to end │ caller leaves: the called party is
//!                 ▼                                         ▼
//!             answered                                   Endings
//! ```

use std::time::Duration;

use crate::action::{Action, LegInput, Refused};
use crate::calls::Effects;
use crate::calls::endings::{Endings, leg_over};
use crate::calls::places::{self, Places};
use crate::calls::talk::{ended_by, failed, held, pressed};
use crate::calls::way::To;
use crate::cdr::{Cause, Draft, LegEnd, Outcome};
use crate::events::EventKind;
use crate::vocabulary::{Deadline, LegId, Now, Side, TrunkName};
use crate::writes::Write;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Connecting {
    caller: Waiting,
    hears: Hears,
    places: Places,
}

/// Who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Was called and has answered.
    Answered(LegId),
    /// Called us, and has no answer before the called party gives one.
    Unanswered(LegId),
}

/// What the caller hears meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hears {
    Ringback,
    EarlyMedia,
}

/// What became of a step.
#[derive(Debug)]
pub(super) enum Step {
    GoesOn(Box<Connecting>),
    /// Its dialog is written; it is not acknowledged.
    Answered {
        caller: LegId,
        called: LegId,
    },
    Over(Endings),
}

impl Waiting {
    fn leg(self) -> LegId {
        match self {
            Waiting::Answered(leg) | Waiting::Unanswered(leg) => leg,
        }
    }

    /// `cause`: what became of the called side.
    pub fn end(self, cause: Cause, out: &mut Effects) {
        match self {
            Waiting::Answered(leg) => out.act(Action::HangUp { leg }),
            Waiting::Unanswered(leg) => {
                out.act(Action::Refuse { leg, with: Refused::Ended(cause) });
            }
        }
    }
}

impl Connecting {
    /// Dials the called party.
    pub fn start(
        caller: Waiting,
        to: Vec<To>,
        draft: &mut Draft,
        now: Now,
        out: &mut Effects,
    ) -> Connecting {
        match caller {
            Waiting::Answered(leg) => out.act(Action::Ringback { leg }),
            Waiting::Unanswered(leg) => out.act(Action::Ring { leg }),
        }
        let places = Places::start(Side::Called, to, draft, now, out);
        Connecting { caller, hears: Hears::Ringback, places }
    }

    pub fn until(&self) -> Option<Deadline> {
        self.places.until()
    }

    pub fn leg_input(
        self,
        leg: LegId,
        input: LegInput,
        draft: &mut Draft,
        now: Now,
        out: &mut Effects,
    ) -> Step {
        if leg == self.caller.leg() {
            return self.caller_input(input, draft, now, out);
        }
        let step = self.places.leg_input(leg, input, draft, now, out);
        Connecting::dialled((self.caller, self.hears), step, draft, now, out)
    }

    /// The engine's answer to [`Effects::next_trunk`].
    pub fn trunk_chosen(
        self,
        trunk: Option<TrunkName>,
        draft: &mut Draft,
        now: Now,
        out: &mut Effects,
    ) -> Step {
        let step = self.places.trunk_chosen(trunk, draft, now, out);
        Connecting::dialled((self.caller, self.hears), step, draft, now, out)
    }

    /// A deadline of [`Connecting::until`] has come.
    pub fn overdue(self, late: Duration, draft: &mut Draft, now: Now, out: &mut Effects) -> Step {
        let step = self.places.overdue(late, draft, now, out);
        Connecting::dialled((self.caller, self.hears), step, draft, now, out)
    }

    /// Cancelled, or the server stops.
    pub fn stop(self, outcome: Outcome, now: Now, out: &mut Effects) -> Step {
        self.both(outcome, Cause::HungUp, now, out)
    }

    fn caller_input(self, input: LegInput, draft: &mut Draft, now: Now, out: &mut Effects) -> Step {
        let (side, leg) = (Side::Caller, self.caller.leg());
        match input {
            LegInput::Ended { cause, sip_status, media, .. } => {
                leg_over(side, leg, LegEnd { cause, sip_status, media }, draft, now, out);
                let called = self.places.hang_up(out);
                Step::Over(Endings::of(called, ended_by(side, cause), now))
            }
            LegInput::MediaFailed(cause) => {
                draft.caller.blame(cause);
                self.both(failed(side), cause, now, out)
            }
            LegInput::Digit(digit) | LegInput::InfoDigit(digit) => {
                pressed(side, leg, digit, draft, out);
                Step::GoesOn(Box::new(self))
            }
            LegInput::Held(on) => {
                held(on, side, leg, draft, out);
                Step::GoesOn(Box::new(self))
            }
            // What crosses a decision that has been made changes nothing; who waits is not watched.
            LegInput::Quiet
            | LegInput::Prepared { .. }
            | LegInput::Challenged { .. }
            | LegInput::Retried { .. }
            | LegInput::Trying
            | LegInput::Ringing
            | LegInput::EarlyMedia
            | LegInput::Answered { .. }
            | LegInput::TakenIn
            | LegInput::Answering { .. }
            | LegInput::Left
            | LegInput::Earlier { .. }
            | LegInput::PlayStarted
            | LegInput::PlayFinished { .. }
            | LegInput::RecordingStarted
            | LegInput::RecordingFailed => Step::GoesOn(Box::new(self)),
        }
    }

    /// What became of the dialling.
    fn dialled(
        (caller, hears): (Waiting, Hears),
        step: places::Step,
        draft: &mut Draft,
        now: Now,
        out: &mut Effects,
    ) -> Step {
        match step {
            places::Step::GoesOn(places) => {
                Step::GoesOn(Box::new(Connecting { caller, hears, places }))
            }
            places::Step::Heard(places, from) => {
                if hears == Hears::Ringback {
                    let to = caller.leg();
                    if let Waiting::Unanswered(leg) = caller {
                        out.act(Action::Progress { leg });
                    }
                    out.act(Action::Forward { from, to });
                }
                Step::GoesOn(Box::new(Connecting { caller, hears: Hears::EarlyMedia, places }))
            }
            places::Step::Answered { leg, dialog } => {
                answered(Side::Called, leg, dialog, draft, now, out);
                Step::Answered { caller: caller.leg(), called: leg }
            }
            places::Step::Over { outcome, cause, leaving: mut legs } => {
                caller.end(cause, out);
                legs.push((Side::Caller, caller.leg()));
                Step::Over(Endings::of(legs, outcome, now))
            }
        }
    }

    /// All legs are told to end.
    fn both(self, outcome: Outcome, cause: Cause, now: Now, out: &mut Effects) -> Step {
        let mut legs = self.places.hang_up(out);
        self.caller.end(cause, out);
        legs.push((Side::Caller, self.caller.leg()));
        Step::Over(Endings::of(legs, outcome, now))
    }
}

/// A party has answered, or is about to be answered: its dialog goes to disk.
pub(super) fn answered(
    side: Side,
    leg: LegId,
    dialog: Vec<u8>,
    draft: &mut Draft,
    now: Now,
    out: &mut Effects,
) {
    let (serial, at_ms) = (draft.intent.serial, now.unix_ms);
    draft.side(side).answered(now);
    out.write(Write::Answered { serial, leg, at_ms, dialog });
    out.event(EventKind::Answered { leg, side });
}
