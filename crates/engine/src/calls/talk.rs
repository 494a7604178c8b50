//! Two parties who hear each other, until one of them ends it.
//!
//! ```text
//! up ─one hangs up, breaks, says nothing─▶ the other is told to end in the same step
//!  └─ time up, cancel, recording lost ───▶ both are
//! ```

use std::time::Duration;

use crate::action::{Action, LegInput};
use crate::calls::Effects;
use crate::calls::endings::{Endings, leg_over};
use crate::cdr::{Cause, Draft, LegEnd, Outcome, Recording};
use crate::events::EventKind;
use crate::vocabulary::{Deadline, LegId, Now, Side};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Talk {
    caller: LegId,
    called: LegId,
    /// The longest a call may last.
    until: Deadline,
}

/// What became of a step.
#[derive(Debug)]
pub(super) enum Step {
    GoesOn(Talk),
    Over(Endings),
}

impl Talk {
    /// Both have answered.
    pub fn begin(caller: LegId, called: LegId, draft: &Draft, now: Now, out: &mut Effects) -> Talk {
        let order = &draft.intent.order;
        out.act(Action::Bridge { leg: caller, with: called });
        if order.record {
            out.act(Action::Record { leg: caller });
        }
        out.act(Action::Watch { leg: caller });
        out.act(Action::Watch { leg: called });
        out.event(EventKind::Bridged { caller, called });
        let longest = Duration::from_secs(order.max_duration_s.into());
        Talk { caller, called, until: now.since_start + longest }
    }

    pub fn until(&self) -> Deadline {
        self.until
    }

    pub fn leg_input(
        self,
        leg: LegId,
        input: LegInput,
        draft: &mut Draft,
        now: Now,
        out: &mut Effects,
    ) -> Step {
        let (side, other) = if leg == self.caller {
            (Side::Caller, (Side::Called, self.called))
        } else if leg == self.called {
            (Side::Called, (Side::Caller, self.caller))
        } else {
            // A late message of an earlier attempt meets nobody.
            return Step::GoesOn(self);
        };
        match input {
            LegInput::Ended { cause, sip_status, media, .. } => {
                leg_over(side, leg, LegEnd { cause, sip_status, media }, draft, now, out);
                Step::Over(Endings::hang_up(vec![other], ended_by(side, cause), now, out))
            }
            LegInput::Quiet => self.broken(side, Cause::MediaTimeout, draft, now, out),
            LegInput::MediaFailed(cause) => self.broken(side, cause, draft, now, out),
            LegInput::RecordingFailed => Step::Over(self.stop(Outcome::RecordingFailed, now, out)),
            LegInput::RecordingStarted => {
                draft.recording = Recording::Running(leg);
                Step::GoesOn(self)
            }
            LegInput::Digit(digit) => {
                pressed(side, leg, digit, draft, out);
                Step::GoesOn(self)
            }
            LegInput::InfoDigit(digit) => {
                pressed(side, leg, digit, draft, out);
                if draft.side(side).may_send_digit(now) {
                    out.act(Action::SendDigit { leg: other.1, digit });
                }
                Step::GoesOn(self)
            }
            LegInput::Held(on) => {
                held(on, side, leg, draft, out);
                Step::GoesOn(self)
            }
            LegInput::Prepared { .. }
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
            | LegInput::PlayFinished { .. } => Step::GoesOn(self),
        }
    }

    /// Cancelled, the time is up, or the server stops.
    pub fn stop(self, outcome: Outcome, now: Now, out: &mut Effects) -> Endings {
        let both = vec![(Side::Caller, self.caller), (Side::Called, self.called)];
        Endings::hang_up(both, outcome, now, out)
    }

    /// The line of one party broke.
    fn broken(
        self,
        side: Side,
        cause: Cause,
        draft: &mut Draft,
        now: Now,
        out: &mut Effects,
    ) -> Step {
        draft.side(side).blame(cause);
        Step::Over(self.stop(ended_by(side, cause), now, out))
    }
}

/// What the end of one party's leg means for the call, once that leg was up.
pub(super) fn ended_by(side: Side, cause: Cause) -> Outcome {
    match (side, cause) {
        (Side::Caller, Cause::Released) => Outcome::CallerHungUp,
        (Side::Called, Cause::Released) => Outcome::CalledHungUp,
        (
            side,
            Cause::Busy
            | Cause::Declined
            | Cause::NoAnswer
            | Cause::NotFound
            | Cause::Unavailable
            | Cause::TrunkFailed
            | Cause::TrunkRefused
            | Cause::MediaFailed
            | Cause::MediaTimeout
            | Cause::HungUp
            | Cause::NoResource
            | Cause::Internal,
        ) => failed(side),
    }
}

/// A party's leg could not be set up, or broke.
pub(super) fn failed(side: Side) -> Outcome {
    match side {
        Side::Caller => Outcome::CallerFailed,
        Side::Called => Outcome::CalledFailed,
    }
}

/// A key was pressed. The record keeps those of the called party. What must not be recorded is not written down either.
pub(super) fn pressed(side: Side, leg: LegId, digit: char, draft: &mut Draft, out: &mut Effects) {
    if matches!(draft.recording, Recording::Paused(_)) {
        return;
    }
    if side == Side::Called {
        draft.digit(digit);
    }
    if draft.side(side).may_tell() {
        out.event(EventKind::Digit { leg, side, digit });
    }
}

/// A party put the other on hold, or took it back.
pub(super) fn held(on: bool, side: Side, leg: LegId, draft: &mut Draft, out: &mut Effects) {
    if draft.side(side).may_tell() {
        let kind =
            if on { EventKind::Held { leg, side } } else { EventKind::Resumed { leg, side } };
        out.event(kind);
    }
}
