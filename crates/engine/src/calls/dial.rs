//! A party being dialled, over one trunk after another, until somebody answers or nobody can.
//!
//! ```text
//! Preparing ─INVITE built─▶ Sent ─any response─▶ Trying ─18x─▶ Ringing ─2xx─▶ answered
//!     ▲                      │ silence            │ 5xx, 3xx
//!     └───────trunk──── Choosing ◀────────────────┘                  no trunk: over
//! after a restart:  Resumed ─18x─▶ Ringing
//! ```
//! Only what a trunk says of itself sends a call to the next one: no sign of life, or a 5xx. What a
//! person or the network says of the number (486, 603, 480, 404 …) is the answer.

use std::time::Duration;

use crate::action::{Action, Dialled, LegInput, Redirect, Then, Via};
use crate::calls::{Effects, LOCAL_STEP, unanswered};
use crate::cdr::{Cause, Draft, LegEnd, Outcome};
use crate::events::EventKind;
use crate::route::Route;
use crate::vocabulary::{Deadline, LegId, Now, Side, TrunkName};
use crate::writes::{Attempt, Write};

/// A trunk shows some sign of life within this time (100 Trying is due after 200 ms, RFC 3261
/// §17.2.1), or the call goes on to the next one.
const SILENCE: Duration = Duration::from_secs(5);

/// A timer that fires later than this says that the process stood still, not that the trunk was silent:
/// it has so long again to read what came meanwhile.
const LATE: Duration = Duration::from_millis(20);
const READ_FIRST: Duration = Duration::from_millis(500);

/// How often a call is sent on by 3xx (RFC 3261 §8.1.3.4 leaves the number to us).
const REDIRECTS: u8 = 3;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dial {
    leg: LegId,
    /// Counts INVITEs of the call, over all trunks.
    number: u32,
    called: String,
    route: Route,
    /// The trunks of `route` that were tried, the present one last.
    tried: Vec<TrunkName>,
    redirects: u8,
    /// The ring limit: from the first INVITE on.
    until: Option<Deadline>,
    stage: Stage,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// A port is bound and the INVITE built.
    Preparing {
        until: Deadline,
    },
    /// The INVITE is on its way and nothing at all has come back.
    Sent {
        silent_at: Deadline,
    },
    /// The far side has it.
    Trying,
    /// The stored INVITE was sent again and nothing has come of it yet: whether the far side ever
    /// saw it is not known.
    Resumed,
    Ringing,
    /// The engine names the next trunk, in the same step. `lost`: how the leg ended; `None`: it is
    /// only silent.
    Choosing {
        lost: Option<LegEnd>,
    },
}

/// What became of a step.
#[derive(Debug)]
pub(super) enum Step {
    GoesOn(Dial),
    Answered {
        leg: LegId,
        dialog: Vec<u8>,
    },
    /// The leg is gone.
    Over {
        leg: LegId,
        outcome: Outcome,
        end: LegEnd,
    },
    /// The leg is to be hung up.
    HangUp {
        leg: LegId,
        outcome: Outcome,
        cause: Option<Cause>,
    },
}

impl Dial {
    pub fn start(draft: &mut Draft, trunk: TrunkName, now: Now, out: &mut Effects) -> Dial {
        let order = &draft.intent.order;
        let (called, route) = (order.called.clone(), order.route.clone());
        let mut dial = Dial {
            leg: LegId(0),
            number: 0,
            called,
            route,
            tried: Vec::new(),
            redirects: 0,
            until: None,
            stage: Stage::Trying,
        };
        dial.open(draft, trunk, now, out);
        dial
    }

    /// After a restart: the stored INVITE is sent again.
    pub fn resume(draft: &Draft, found: Attempt, now: Now, out: &mut Effects) -> Dial {
        let Attempt { serial, leg, trunk, number, wire, media, .. } = found;
        out.act(Action::Resume { leg, serial, wire, media });
        let route = draft.intent.order.route.clone();
        // Which trunks were tried before the crash is not known: none is tried again.
        let others = route.trunks().filter(|other| Some(*other) != trunk.as_ref()).cloned();
        let tried = others.chain(trunk.clone()).collect();
        Dial {
            leg,
            number,
            called: draft.intent.order.called.clone(),
            route,
            tried,
            redirects: REDIRECTS,
            until: Some(now.since_start + ring_limit(draft)),
            stage: Stage::Resumed,
        }
    }

    pub fn leg(&self) -> LegId {
        self.leg
    }

    pub fn until(&self) -> Option<Deadline> {
        let own = match self.stage {
            Stage::Preparing { until } => Some(until),
            Stage::Sent { silent_at } => Some(silent_at),
            Stage::Trying | Stage::Resumed | Stage::Ringing | Stage::Choosing { .. } => None,
        };
        [own, self.until].into_iter().flatten().min()
    }

    /// `input` is about this leg.
    pub fn leg_input(
        mut self,
        input: LegInput,
        draft: &mut Draft,
        now: Now,
        out: &mut Effects,
    ) -> Step {
        match (&self.stage, input) {
            (_, LegInput::Ended { cause, sip_status, media, then }) => {
                self.ended(LegEnd { cause, sip_status, media }, then, out)
            }
            (Stage::Preparing { .. }, LegInput::Prepared { wire, media }) => {
                let (leg, trunk, attempt) = (self.leg, Some(self.trunk()), self.number);
                out.event(EventKind::Dialling { leg, side: Side::Called, trunk, attempt });
                self.send(draft, wire, media, now, out);
                self.stage = Stage::Sent { silent_at: now.since_start + SILENCE };
                Step::GoesOn(self)
            }
            (
                Stage::Sent { .. } | Stage::Trying | Stage::Resumed | Stage::Ringing,
                LegInput::Challenged { wire, media },
            ) => self.send_again(Stage::Trying, draft, (wire, media), now, out),
            (
                Stage::Sent { .. } | Stage::Trying | Stage::Resumed | Stage::Ringing,
                LegInput::Retried { wire, media },
            ) => {
                let stage = Stage::Sent { silent_at: now.since_start + SILENCE };
                self.send_again(stage, draft, (wire, media), now, out)
            }
            (Stage::Sent { .. }, LegInput::Trying) => {
                self.stage = Stage::Trying;
                Step::GoesOn(self)
            }
            (Stage::Sent { .. } | Stage::Trying | Stage::Resumed, LegInput::Ringing) => {
                draft.called.alerting_ms = Some(now.unix_ms);
                out.event(EventKind::Ringing { leg: self.leg, side: Side::Called });
                self.stage = Stage::Ringing;
                Step::GoesOn(self)
            }
            (
                Stage::Sent { .. } | Stage::Trying | Stage::Resumed | Stage::Ringing,
                LegInput::Answered { dialog },
            ) => Step::Answered { leg: self.leg, dialog },
            (
                Stage::Sent { .. } | Stage::Trying | Stage::Resumed | Stage::Ringing,
                LegInput::MediaFailed(cause),
            ) => {
                let resumed = self.stage == Stage::Resumed;
                let outcome = if resumed { Outcome::Unknown } else { unanswered(cause, false) };
                Step::HangUp { leg: self.leg, outcome, cause: Some(cause) }
            }
            // What crosses a decision that has been made changes nothing.
            (
                _,
                LegInput::Prepared { .. }
                | LegInput::Challenged { .. }
                | LegInput::Retried { .. }
                | LegInput::Trying
                | LegInput::Ringing
                | LegInput::EarlyMedia
                | LegInput::Answered { .. }
                | LegInput::TakenIn
                | LegInput::Answering { .. }
                | LegInput::Held(_)
                | LegInput::Quiet
                | LegInput::PlayStarted
                | LegInput::PlayFinished { .. }
                | LegInput::Digit(_)
                | LegInput::InfoDigit(_)
                | LegInput::RecordingStarted
                | LegInput::RecordingFailed
                | LegInput::MediaFailed(_),
            ) => Step::GoesOn(self),
        }
    }

    /// A new INVITE of the same leg.
    fn send_again(
        mut self,
        stage: Stage,
        draft: &mut Draft,
        (wire, media): (Vec<u8>, Vec<u8>),
        now: Now,
        out: &mut Effects,
    ) -> Step {
        self.number += 1;
        self.send(draft, wire, media, now, out);
        self.stage = stage;
        Step::GoesOn(self)
    }

    /// The engine's answer to [`Effects::next_trunk`].
    pub fn trunk_chosen(
        mut self,
        trunk: Option<TrunkName>,
        draft: &mut Draft,
        now: Now,
        out: &mut Effects,
    ) -> Step {
        match (self.stage, trunk) {
            (Stage::Choosing { lost }, Some(trunk)) => {
                let (cause, sip_status) = match &lost {
                    Some(end) => (end.cause, end.sip_status),
                    None => {
                        out.act(Action::HangUp { leg: self.leg });
                        (Cause::TrunkFailed, None)
                    }
                };
                out.event(EventKind::LegEnded {
                    leg: self.leg,
                    side: Side::Called,
                    cause,
                    sip_status,
                });
                self.stage = Stage::Trying;
                self.open(draft, trunk, now, out);
                Step::GoesOn(self)
            }
            (Stage::Choosing { lost: Some(end) }, None) => {
                Step::Over { leg: self.leg, outcome: unanswered(end.cause, false), end }
            }
            // Nowhere else to go: the silent trunk has the rest of the time.
            (Stage::Choosing { lost: None }, None) => {
                self.stage = Stage::Trying;
                Step::GoesOn(self)
            }
            (
                stage @ (Stage::Preparing { .. }
                | Stage::Sent { .. }
                | Stage::Trying
                | Stage::Resumed
                | Stage::Ringing),
                _,
            ) => {
                self.stage = stage;
                Step::GoesOn(self)
            }
        }
    }

    /// A deadline of [`Dial::until`] has come, `late` ago.
    pub fn overdue(mut self, late: Duration, now: Now, out: &mut Effects) -> Step {
        let leg = self.leg;
        let failed = |cause| Step::HangUp { leg, outcome: Outcome::Failed, cause: Some(cause) };
        match self.stage {
            Stage::Preparing { until } if until <= now.since_start => failed(Cause::Internal),
            Stage::Sent { .. } if self.until.is_none_or(|until| now.since_start < until) => {
                if late <= LATE {
                    return self.ask(None, out);
                }
                // We stood still: what came meanwhile has not been read yet, and may be the answer.
                self.stage = Stage::Sent { silent_at: now.since_start + late + READ_FIRST };
                Step::GoesOn(self)
            }
            Stage::Preparing { .. }
            | Stage::Sent { .. }
            | Stage::Trying
            | Stage::Choosing { .. } => failed(Cause::NoAnswer),
            Stage::Resumed => Step::HangUp { leg, outcome: Outcome::Unknown, cause: None },
            Stage::Ringing => {
                let cause = Some(Cause::NoAnswer);
                Step::HangUp { leg, outcome: Outcome::NoAnswer, cause }
            }
        }
    }

    /// Cancelled, or the server stops. What was sent again after a crash stays unknown.
    pub fn stop(self, outcome: Outcome) -> Step {
        let outcome = if self.stage == Stage::Resumed { Outcome::Unknown } else { outcome };
        Step::HangUp { leg: self.leg, outcome, cause: None }
    }

    fn ended(mut self, end: LegEnd, then: Then, out: &mut Effects) -> Step {
        let rang = self.stage == Stage::Ringing;
        let resumed = self.stage == Stage::Resumed;
        // Only a final status from the far side says what became of an INVITE that was sent again.
        if resumed && (end.sip_status.is_none() || end.cause == Cause::HungUp) {
            return Step::Over { leg: self.leg, outcome: Outcome::Unknown, end };
        }
        match then {
            Then::Redirect(Redirect { called, route }) if self.redirects < REDIRECTS && !rang => {
                out.event(EventKind::Redirected { leg: self.leg, to: called.clone() });
                self.redirects += 1;
                (self.called, self.route) = (called, route);
                self.ask_afresh(end, out)
            }
            Then::Nothing | Then::Rest(_) if end.cause == Cause::TrunkFailed && !rang => {
                self.ask(Some(end), out)
            }
            Then::Nothing | Then::Rest(_) | Then::Redirect(_) => {
                Step::Over { leg: self.leg, outcome: unanswered(end.cause, rang), end }
            }
        }
    }

    fn ask(mut self, lost: Option<LegEnd>, out: &mut Effects) -> Step {
        out.next_trunk(self.route.clone(), self.tried.clone(), lost.is_none());
        self.stage = Stage::Choosing { lost };
        Step::GoesOn(self)
    }

    /// Another number: each of its trunks may be tried, also the one that sent the call on.
    fn ask_afresh(mut self, end: LegEnd, out: &mut Effects) -> Step {
        self.tried.clear();
        self.ask(Some(end), out)
    }

    fn open(&mut self, draft: &mut Draft, trunk: TrunkName, now: Now, out: &mut Effects) {
        self.leg = out.new_leg();
        self.number += 1;
        self.tried.push(trunk.clone());
        draft.called.trunk = Some(trunk.clone());
        let to = Dialled {
            via: Via::Trunk(trunk),
            called: self.called.clone(),
            caller_present: draft.intent.order.caller_present.clone(),
            attempt: self.number,
            beside: None,
        };
        out.act(Action::Open { leg: self.leg, serial: draft.intent.serial, to });
        self.stage = Stage::Preparing { until: now.since_start + LOCAL_STEP };
    }

    /// The INVITE leaves after its attempt is on disk.
    fn send(
        &mut self,
        draft: &mut Draft,
        wire: Vec<u8>,
        media: Vec<u8>,
        now: Now,
        out: &mut Effects,
    ) {
        let (serial, leg, number) = (draft.intent.serial, self.leg, self.number);
        let (trunk, at_ms) = (Some(self.trunk()), now.unix_ms);
        draft.called.dialled_ms.get_or_insert(at_ms);
        self.until.get_or_insert(now.since_start + ring_limit(draft));
        let attempt =
            Attempt { serial, leg, side: Side::Called, trunk, number, at_ms, wire, media };
        out.write(Write::Attempt(Box::new(attempt)));
        out.after_commit(Action::Dial { leg });
    }

    fn trunk(&self) -> TrunkName {
        self.tried.last().cloned().expect("a leg is opened over a trunk")
    }
}

fn ring_limit(draft: &Draft) -> Duration {
    Duration::from_secs(draft.intent.order.ring_limit_s.into())
}
