//! A party being dialled, over one trunk after another or at one place of its softphone, until
//! somebody answers or nobody can.
//!
//! ```text
//! Preparing ─INVITE built─▶ Sent ─any response─▶ Trying ─18x─▶ Ringing ─2xx─▶ answered
//!     ▲                      │ silence            │ 5xx, 3xx
//!     └───────trunk──── Choosing ◀────────────────┘                  no trunk: over
//! after a restart:  Resumed ─18x─▶ Ringing
//! ```
//! A silent leg is hung up when the INVITE of the next one has left. If it shows life before that, the call stays with it.
//! Only what a trunk says of itself sends a call to the next one: no sign of life, or a 5xx. What a
//! person or the network says of the number (486, 603, 480, 404 …) is the answer.

use std::time::Duration;

use crate::action::{Action, Dialled, LegInput, Redirect, Then, Via};
use crate::calls::way::{To, Way};
use crate::calls::{Effects, LOCAL_STEP, unanswered};
use crate::cdr::{Cause, Draft, LegEnd, Outcome};
use crate::events::EventKind;
use crate::route::Route;
use crate::vocabulary::{BindingId, Deadline, LegId, Now, Side, TrunkName};
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
    side: Side,
    /// Of the last INVITE.
    attempt: u32,
    number: String,
    presented: String,
    ways: Ways,
    beside: Option<LegId>,
    ring_limit: Duration,
    /// The ring limit: from the first INVITE on.
    until: Option<Deadline>,
    stage: Stage,
    /// The leg that this one is to replace, until the INVITE has left.
    silent: Option<Silent>,
}

/// A leg whose trunk shows no sign of life.
#[derive(Debug, PartialEq, Eq)]
struct Silent {
    leg: LegId,
    trunk: TrunkName,
}

#[derive(Debug, PartialEq, Eq)]
enum Ways {
    Trunks {
        route: Route,
        /// Those of `route` that were tried, the present one last.
        tried: Vec<TrunkName>,
        redirects: u8,
    },
    Softphone(BindingId),
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// A port is bound and the INVITE built.
    Preparing {
        until: Deadline,
    },
    /// The INVITE is on its way and nothing at all has come back. `silent_at`: when the next trunk is asked for; `None`:
    /// there is none, or this one has just asked for credentials.
    Sent {
        silent_at: Option<Deadline>,
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
    /// It goes on, and what the party sends before its answer can be heard.
    Heard(Dial),
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
    pub fn start(to: To, draft: &mut Draft, now: Now, out: &mut Effects) -> Dial {
        let To { side, number, presented, way, beside } = to;
        let (ways, via) = match way {
            Way::Trunks { route, first } => {
                (Ways::Trunks { route, tried: Vec::new(), redirects: 0 }, Via::Trunk(first))
            }
            Way::Softphone(binding) => (Ways::Softphone(binding), Via::Softphone(binding)),
        };
        let ring_limit = ring_limit(draft);
        let mut dial = Dial {
            leg: LegId(0),
            side,
            attempt: 0,
            number,
            presented,
            ways,
            beside,
            ring_limit,
            until: None,
            stage: Stage::Trying,
            silent: None,
        };
        dial.open(draft, via, now, out);
        dial
    }

    /// After a restart: the stored INVITE is sent again.
    pub fn resume(
        draft: &Draft,
        route: Route,
        found: Attempt,
        now: Now,
        out: &mut Effects,
    ) -> Dial {
        let Attempt { serial, leg, side, trunk, number: attempt, wire, media, .. } = found;
        out.act(Action::Resume { leg, serial, wire, media });
        let order = &draft.intent.order;
        // Which trunks were tried before the crash is not known: none is tried again.
        let others = route.trunks().filter(|other| Some(*other) != trunk.as_ref()).cloned();
        let tried = others.chain(trunk.clone()).collect();
        Dial {
            leg,
            side,
            attempt,
            number: order.called.clone(),
            presented: order.caller_present.clone(),
            ways: Ways::Trunks { route, tried, redirects: REDIRECTS },
            beside: None,
            ring_limit: ring_limit(draft),
            until: Some(now.since_start + ring_limit(draft)),
            stage: Stage::Resumed,
            silent: None,
        }
    }

    pub fn leg(&self) -> LegId {
        self.leg
    }

    /// It waits for [`Dial::trunk_chosen`].
    pub fn chooses(&self) -> bool {
        matches!(self.stage, Stage::Choosing { .. })
    }

    pub fn until(&self) -> Option<Deadline> {
        let own = match self.stage {
            Stage::Preparing { until } => Some(until),
            Stage::Sent { silent_at } => silent_at,
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
                self.ended(LegEnd { cause, sip_status, media }, then, draft, out)
            }
            (_, LegInput::Earlier { leg, input }) => self.earlier(leg, *input, draft, now, out),
            (Stage::Sent { .. }, LegInput::Left) => self.left(now, out),
            (Stage::Preparing { .. }, LegInput::Prepared { wire, media }) => {
                self.prepared(draft, (wire, media), now, out)
            }
            (
                Stage::Sent { .. } | Stage::Trying | Stage::Resumed | Stage::Ringing,
                LegInput::Challenged { wire, media },
            ) => self.send_again(None, draft, (wire, media), now, out),
            (
                Stage::Sent { .. } | Stage::Trying | Stage::Resumed | Stage::Ringing,
                LegInput::Retried { wire, media },
            ) => {
                let silent_at = Some(now.since_start + SILENCE);
                self.send_again(silent_at, draft, (wire, media), now, out)
            }
            (Stage::Sent { .. }, LegInput::Trying) => {
                self.stage = Stage::Trying;
                Step::GoesOn(self)
            }
            (Stage::Sent { .. } | Stage::Trying | Stage::Resumed, LegInput::Ringing) => {
                self.rings(draft, now, out);
                Step::GoesOn(self)
            }
            (
                Stage::Sent { .. } | Stage::Trying | Stage::Resumed | Stage::Ringing,
                LegInput::EarlyMedia,
            ) => {
                self.rings(draft, now, out);
                Step::Heard(self)
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
                | LegInput::Left
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

    fn prepared(
        mut self,
        draft: &mut Draft,
        (wire, media): (Vec<u8>, Vec<u8>),
        now: Now,
        out: &mut Effects,
    ) -> Step {
        let Dial { leg, side, attempt, .. } = self;
        out.event(EventKind::Dialling { leg, side, trunk: self.trunk(), attempt });
        self.send(draft, wire, media, now, out);
        self.stage = Stage::Sent { silent_at: Some(now.since_start + SILENCE) };
        Step::GoesOn(self)
    }

    fn rings(&mut self, draft: &mut Draft, now: Now, out: &mut Effects) {
        if self.stage != Stage::Ringing {
            draft.side(self.side).alerting_ms.get_or_insert(now.unix_ms);
            out.event(EventKind::Ringing { leg: self.leg, side: self.side });
            self.stage = Stage::Ringing;
        }
    }

    /// A new INVITE of the same leg, to which nothing has come back.
    fn send_again(
        mut self,
        silent_at: Option<Deadline>,
        draft: &mut Draft,
        (wire, media): (Vec<u8>, Vec<u8>),
        now: Now,
        out: &mut Effects,
    ) -> Step {
        self.attempt = draft.next_attempt();
        self.send(draft, wire, media, now, out);
        self.stage = Stage::Sent { silent_at };
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
        let present = self.trunk();
        match (self.stage, trunk) {
            (Stage::Choosing { lost: Some(LegEnd { cause, sip_status, .. }) }, Some(trunk)) => {
                let Dial { leg, side, .. } = self;
                out.event(EventKind::LegEnded { leg, side, cause, sip_status });
                self.stage = Stage::Trying;
                self.open(draft, Via::Trunk(trunk), now, out);
                Step::GoesOn(self)
            }
            (Stage::Choosing { lost: None }, Some(trunk)) => {
                let silent = present.map(|trunk| Silent { leg: self.leg, trunk });
                self.stage = Stage::Trying;
                self.open(draft, Via::Trunk(trunk), now, out);
                if let Some(silent) = &silent {
                    out.race(silent.leg, self.leg);
                }
                self.silent = silent;
                Step::GoesOn(self)
            }
            (Stage::Choosing { lost: Some(end) }, None) => {
                Step::Over { leg: self.leg, outcome: unanswered(end.cause, false), end }
            }
            // Nowhere else to go: the silent trunk has the rest of the time.
            (Stage::Choosing { lost: None }, None) => {
                self.stage = Stage::Sent { silent_at: None };
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
                if self.silent.is_some() {
                    // It has not left yet: the disk is slow.
                    self.stage = Stage::Sent { silent_at: Some(now.since_start + SILENCE) };
                    return Step::GoesOn(self);
                }
                if late <= LATE {
                    return self.silent(out);
                }
                // We stood still: what came meanwhile has not been read yet, and may be the answer.
                self.stage = Stage::Sent { silent_at: Some(now.since_start + late + READ_FIRST) };
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

    fn ended(mut self, end: LegEnd, then: Then, draft: &mut Draft, out: &mut Effects) -> Step {
        if let Some(silent) = self.silent.take() {
            return self.back_to(silent, end, draft, out);
        }
        let rang = self.stage == Stage::Ringing;
        if !self.is_known(&end) {
            return Step::Over { leg: self.leg, outcome: Outcome::Unknown, end };
        }
        let leg = self.leg;
        let over = |end: LegEnd| Step::Over { leg, outcome: unanswered(end.cause, rang), end };
        match (then, &mut self.ways) {
            (
                Then::Redirect(Redirect { called, route: to }),
                Ways::Trunks { route, tried, redirects },
            ) if *redirects < REDIRECTS && !rang => {
                out.event(EventKind::Redirected { leg: self.leg, to: called.clone() });
                *redirects += 1;
                // Another number: each of its trunks may be tried, also the one that sent the call on.
                tried.clear();
                *route = to;
                self.number = called;
                self.ask(Some(end), out)
            }
            (Then::Nothing | Then::Rest(_), Ways::Trunks { .. })
                if end.cause == Cause::TrunkFailed && !rang =>
            {
                self.ask(Some(end), out)
            }
            // Nobody is on the other end of a phone's connection.
            (_, Ways::Softphone(_)) if end.cause == Cause::TrunkFailed => {
                over(LegEnd { cause: Cause::Unavailable, ..end })
            }
            (_, Ways::Trunks { .. } | Ways::Softphone(_)) => over(end),
        }
    }

    /// Whether the end says what became of the INVITE. Of one that was sent again only a final status does. Of one that
    /// a trunk had taken a broken connection does not: the phone may ring.
    fn is_known(&self, end: &LegEnd) -> bool {
        let is_final = end.sip_status.is_some();
        match (&self.stage, &self.ways) {
            (Stage::Resumed, _) => is_final && end.cause != Cause::HungUp,
            (Stage::Trying, Ways::Trunks { .. }) => is_final || end.cause != Cause::TrunkFailed,
            (Stage::Trying, Ways::Softphone(_))
            | (
                Stage::Preparing { .. }
                | Stage::Sent { .. }
                | Stage::Ringing
                | Stage::Choosing { .. },
                _,
            ) => true,
        }
    }

    /// The INVITE has left: whatever the silent leg says from now on comes too late.
    fn left(mut self, now: Now, out: &mut Effects) -> Step {
        if let Some(Silent { leg, .. }) = self.silent.take() {
            let (side, cause) = (self.side, Cause::TrunkFailed);
            out.event(EventKind::LegEnded { leg, side, cause, sip_status: None });
            out.act(Action::HangUp { leg });
            self.stage = Stage::Sent { silent_at: Some(now.since_start + SILENCE) };
        }
        Step::GoesOn(self)
    }

    /// What the silent leg says while this one has not left. Where it is more than that its trunk is gone, it lives.
    fn earlier(
        mut self,
        leg: LegId,
        input: LegInput,
        draft: &mut Draft,
        now: Now,
        out: &mut Effects,
    ) -> Step {
        let Some(silent) = self.silent.take_if(|silent| silent.leg == leg) else {
            return Step::GoesOn(self);
        };
        if let LegInput::Ended { cause: cause @ Cause::TrunkFailed, sip_status, .. } = input {
            out.event(EventKind::LegEnded { leg, side: self.side, cause, sip_status });
            return Step::GoesOn(self);
        }
        let next = self.leg;
        self.stay_with(silent, draft, out);
        out.act(Action::HangUp { leg: next });
        if let Ways::Trunks { tried, .. } = &mut self.ways {
            tried.pop();
        }
        self.stage = Stage::Sent { silent_at: Some(now.since_start + SILENCE) };
        self.leg_input(input, draft, now, out)
    }

    /// The leg that was to replace a silent one failed before it left: the silent trunk has the rest of the time.
    fn back_to(
        mut self,
        silent: Silent,
        end: LegEnd,
        draft: &mut Draft,
        out: &mut Effects,
    ) -> Step {
        let LegEnd { cause, sip_status, .. } = end;
        let (leg, side) = (self.leg, self.side);
        self.stay_with(silent, draft, out);
        out.event(EventKind::LegEnded { leg, side, cause, sip_status });
        self.stage = Stage::Trying;
        Step::GoesOn(self)
    }

    fn stay_with(&mut self, silent: Silent, draft: &mut Draft, out: &mut Effects) {
        let Silent { leg, trunk } = silent;
        out.stay(self.side, trunk.clone(), self.leg);
        if let Stage::Sent { .. } = self.stage {
            out.write(Write::Withdrawn { serial: draft.intent.serial, leg: self.leg });
        }
        draft.side(self.side).trunk = Some(trunk);
        self.leg = leg;
    }

    /// Nothing at all has come back.
    fn silent(self, out: &mut Effects) -> Step {
        match self.ways {
            Ways::Trunks { .. } => self.ask(None, out),
            Ways::Softphone(_) => {
                let cause = Some(Cause::Unavailable);
                Step::HangUp { leg: self.leg, outcome: Outcome::Failed, cause }
            }
        }
    }

    fn ask(mut self, lost: Option<LegEnd>, out: &mut Effects) -> Step {
        if let Ways::Trunks { route, tried, .. } = &self.ways {
            out.next_trunk(self.side, route.clone(), tried.clone(), lost.is_none());
        }
        self.stage = Stage::Choosing { lost };
        Step::GoesOn(self)
    }

    fn open(&mut self, draft: &mut Draft, via: Via, now: Now, out: &mut Effects) {
        self.leg = out.new_leg();
        self.attempt = draft.next_attempt();
        if let (Ways::Trunks { tried, .. }, Via::Trunk(trunk)) = (&mut self.ways, &via) {
            tried.push(trunk.clone());
        }
        draft.side(self.side).trunk = via.trunk().cloned();
        let to = Dialled {
            via,
            called: self.number.clone(),
            caller_present: self.presented.clone(),
            attempt: self.attempt,
            beside: self.beside,
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
        let (serial, at_ms) = (draft.intent.serial, now.unix_ms);
        let Dial { leg, side, attempt: number, .. } = *self;
        draft.side(side).dialled_ms.get_or_insert(at_ms);
        self.until.get_or_insert(now.since_start + self.ring_limit);
        let trunk = self.trunk();
        let attempt = Attempt { serial, leg, side, trunk, number, at_ms, wire, media };
        out.write(Write::Attempt(Box::new(attempt)));
        out.after_commit(Action::Dial { leg });
    }

    /// `None`: to a softphone.
    fn trunk(&self) -> Option<TrunkName> {
        match &self.ways {
            Ways::Trunks { tried, .. } => tried.last().cloned(),
            Ways::Softphone(_) => None,
        }
    }
}

fn ring_limit(draft: &Draft) -> Duration {
    Duration::from_secs(draft.intent.order.ring_limit_s.into())
}
