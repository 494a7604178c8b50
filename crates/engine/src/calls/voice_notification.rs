//! A voice notification (page 003): dial, play a list of clips so many times, hang up.
//!
//! ```text
//! Waiting ─start─▶ Fetching ─clips─▶ Preparing ─INVITE built─▶ Dialling ─▶ Ringing ─answer─▶ Playing
//!                     │                  │                        │           │                │ last round
//!                     └──── fault ───────┴── refusal, limit, cancel ──────────┴────────────────▼
//!                                                                       Over ◀─leg ended── Ending
//! after a restart:  Restoring ─clips─▶ Resumed ─▶ Ringing ─answer─▶ Playing;  otherwise Ending
//! ```
//! If the leg ends by itself the call is over at once, from any state.

use std::mem;
use std::time::Duration;

use crate::action::{Action, Dialled, LegInput, PlayId};
use crate::calls::{CallInput, Effects, LEG_END, LOCAL_STEP, RESUMABLE_MS, unanswered};
use crate::cdr::{Cause, Draft, LegEnd, Outcome};
use crate::events::EventKind;
use crate::intent::{OrderKind, PlayItem};
use crate::vocabulary::{Deadline, LegId, Now};
use crate::writes::{Attempt, Unfinished, Write};

#[derive(Debug)]
pub struct VoiceNotification {
    pub(super) draft: Draft,
    state: State,
}

/// `until` is when the room acts if nothing else happens.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// In the engine, not started.
    Waiting {
        until: Deadline,
    },
    /// The clips are made ready.
    Fetching {
        until: Deadline,
    },
    /// A port is bound and the INVITE built.
    Preparing {
        leg: LegId,
        until: Deadline,
    },
    /// After a restart the clips are made ready again; then the stored INVITE is sent again.
    Restoring {
        found: Box<Attempt>,
        until: Deadline,
    },
    /// The INVITE is on its way and nothing rings yet. `until`: the ring limit.
    Dialling {
        leg: LegId,
        attempt: u32,
        until: Deadline,
    },
    /// The stored INVITE was sent again and nothing has come of it yet: whether the far side ever
    /// saw it is not known. `until`: the ring limit.
    Resumed {
        leg: LegId,
        attempt: u32,
        until: Deadline,
    },
    /// `until`: the ring limit.
    Ringing {
        leg: LegId,
        attempt: u32,
        until: Deadline,
    },
    /// `round` counts from 1. `until`: the longest a call may last.
    Playing {
        leg: LegId,
        round: u8,
        until: Deadline,
    },
    /// The leg was told to end; the outcome stands whatever it still says.
    Ending {
        leg: LegId,
        outcome: Outcome,
        cause: Option<Cause>,
        until: Deadline,
    },
    Over,
}

impl VoiceNotification {
    pub(super) fn new(draft: Draft, now: Now) -> VoiceNotification {
        let state = State::Waiting { until: now.since_start + LOCAL_STEP };
        VoiceNotification { draft, state }
    }

    /// What a restart makes of a call whose INVITE was on disk.
    pub(super) fn recover(found: Unfinished, now: Now, out: &mut Effects) -> VoiceNotification {
        let mut room = VoiceNotification::new(Draft::new(found.intent), now);
        let serial = room.draft.intent.serial;
        let Some(attempt) = found.attempt else {
            room.handle(CallInput::Start, now, out);
            return room;
        };
        room.draft.dialled_ms = Some(attempt.at_ms);
        room.draft.alerting_ms = found.ringing_ms;
        let leg = attempt.leg;
        let until = now.since_start + LEG_END;
        room.state = if let Some((dialog, at_ms)) = found.answered {
            room.draft.alerting_ms.get_or_insert(at_ms);
            room.draft.talking_ms = Some(at_ms);
            // What was said before the crash is in its file.
            room.draft.recorded = room.draft.intent.order.record;
            out.act(Action::HangUpStored { leg, serial, dialog });
            State::Ending { leg, outcome: Outcome::Interrupted, cause: None, until }
        } else if is_young(&attempt, now) {
            out.act(Action::Fetch { serial, playlist: room.playlist().to_vec() });
            State::Restoring { found: Box::new(attempt), until: now.since_start + LOCAL_STEP }
        } else {
            out.act(Action::Abandon { leg, serial, wire: attempt.wire });
            State::Ending { leg, outcome: Outcome::Unknown, cause: None, until }
        };
        room
    }

    pub(super) fn handle(&mut self, input: CallInput, now: Now, out: &mut Effects) {
        let state = mem::replace(&mut self.state, State::Over);
        self.state = match input {
            CallInput::Start => self.start(state, now, out),
            CallInput::Fetched(result) => self.fetched(state, result.is_ok(), now, out),
            CallInput::Leg(of, input) if state.leg() == Some(of) => {
                self.leg(state, of, input, now, out)
            }
            // A late message of an earlier attempt meets nobody.
            CallInput::Leg(..) => state,
            CallInput::Cancel => self.stop(state, Outcome::Cancelled, now, out),
            CallInput::Interrupt => self.stop(state, Outcome::Interrupted, now, out),
            CallInput::Tick if state.until().is_some_and(|until| now.since_start >= until) => {
                self.overdue(state, now, out)
            }
            CallInput::Tick => state,
        };
    }

    pub(super) fn wake_at(&self) -> Option<Deadline> {
        self.state.until()
    }

    fn start(&mut self, state: State, now: Now, out: &mut Effects) -> State {
        if !matches!(state, State::Waiting { .. }) {
            return state;
        }
        let serial = self.draft.intent.serial;
        out.act(Action::Fetch { serial, playlist: self.playlist().to_vec() });
        State::Fetching { until: now.since_start + LOCAL_STEP }
    }

    fn fetched(&mut self, state: State, ready: bool, now: Now, out: &mut Effects) -> State {
        let serial = self.draft.intent.serial;
        match (state, ready) {
            (State::Fetching { .. }, true) => {
                let leg = out.new_leg();
                let order = &self.draft.intent.order;
                let to = Dialled {
                    trunk: order.trunk.clone(),
                    called: order.called.clone(),
                    caller_present: order.caller_present.clone(),
                    attempt: 1,
                };
                out.act(Action::Open { leg, serial, to });
                State::Preparing { leg, until: now.since_start + LOCAL_STEP }
            }
            (State::Fetching { .. }, false) => self.over(Outcome::Failed, None, now, out),
            (State::Restoring { found, .. }, true) if is_young(&found, now) => {
                let Attempt { leg, number, wire, media, .. } = *found;
                out.act(Action::Resume { leg, serial, wire, media });
                State::Resumed { leg, attempt: number, until: now.since_start + self.ring_limit() }
            }
            (State::Restoring { found, .. }, _) => {
                let Attempt { leg, wire, .. } = *found;
                out.act(Action::Abandon { leg, serial, wire });
                let until = now.since_start + LEG_END;
                State::Ending { leg, outcome: Outcome::Unknown, cause: None, until }
            }
            (
                state @ (State::Waiting { .. }
                | State::Preparing { .. }
                | State::Dialling { .. }
                | State::Resumed { .. }
                | State::Ringing { .. }
                | State::Playing { .. }
                | State::Ending { .. }
                | State::Over),
                _,
            ) => state,
        }
    }

    /// `input` is about `leg`, which is the call's own.
    fn leg(
        &mut self,
        state: State,
        leg: LegId,
        input: LegInput,
        now: Now,
        out: &mut Effects,
    ) -> State {
        use State::{Dialling, Ending, Playing, Preparing, Resumed, Ringing};
        match (state, input) {
            (state, LegInput::Ended { cause, sip_status, media }) => {
                let end = LegEnd { cause, sip_status, media };
                self.leg_ended(state, leg, end, now, out)
            }

            (Preparing { .. }, LegInput::Prepared { wire, media }) => {
                self.dial(leg, 1, wire, media, now, out);
                Dialling { leg, attempt: 1, until: now.since_start + self.ring_limit() }
            }
            (
                Dialling { attempt, until, .. }
                | Resumed { attempt, until, .. }
                | Ringing { attempt, until, .. },
                LegInput::Challenged { wire, media },
            ) => {
                self.dial(leg, attempt + 1, wire, media, now, out);
                Dialling { leg, attempt: attempt + 1, until }
            }
            (
                Dialling { attempt, until, .. } | Resumed { attempt, until, .. },
                LegInput::Ringing,
            ) => {
                self.draft.alerting_ms = Some(now.unix_ms);
                out.event(EventKind::Ringing { leg });
                Ringing { leg, attempt, until }
            }
            (Dialling { .. } | Resumed { .. } | Ringing { .. }, LegInput::Answered { dialog }) => {
                self.answered(leg, dialog, now, out)
            }

            (state @ Playing { round: 1, .. }, LegInput::PlayStarted) => {
                out.event(EventKind::PlayStarted { leg });
                state
            }
            (Playing { round, until, .. }, LegInput::PlayFinished { play })
                if play == PlayId(round.into()) =>
            {
                self.round_played(leg, round, until, now, out)
            }
            (state @ (Playing { .. } | Ending { .. }), LegInput::Digit(digit)) => {
                self.draft.digit(digit);
                out.event(EventKind::Digit { leg, digit });
                state
            }
            (state @ (Playing { .. } | Ending { .. }), LegInput::RecordingStarted) => {
                self.draft.recorded = true;
                state
            }
            (Playing { .. }, LegInput::RecordingFailed) => {
                self.hang_up(leg, Outcome::RecordingFailed, None, now, out)
            }
            (
                state @ (Dialling { .. } | Resumed { .. } | Ringing { .. } | Playing { .. }),
                LegInput::MediaFailed(cause),
            ) => self.media_failed(&state, leg, cause, now, out),

            // What crosses a decision that has been made changes nothing.
            (
                state,
                LegInput::Prepared { .. }
                | LegInput::Challenged { .. }
                | LegInput::Ringing
                | LegInput::Answered { .. }
                | LegInput::PlayStarted
                | LegInput::PlayFinished { .. }
                | LegInput::Digit(_)
                | LegInput::RecordingStarted
                | LegInput::RecordingFailed
                | LegInput::MediaFailed(_),
            ) => state,
        }
    }

    fn media_failed(
        &mut self,
        state: &State,
        leg: LegId,
        cause: Cause,
        now: Now,
        out: &mut Effects,
    ) -> State {
        let resumed = matches!(state, State::Resumed { .. });
        let outcome = if resumed { Outcome::Unknown } else { unanswered(cause, false) };
        self.hang_up(leg, outcome, Some(cause), now, out)
    }

    fn leg_ended(
        &mut self,
        state: State,
        leg: LegId,
        end: LegEnd,
        now: Now,
        out: &mut Effects,
    ) -> State {
        let outcome = match state {
            State::Playing { .. } => Outcome::CutShort,
            State::Ending { outcome, .. } => outcome,
            State::Ringing { .. } => unanswered(end.cause, true),
            // Only a final status from the far side says what became of the INVITE.
            State::Resumed { .. } if end.sip_status.is_none() || end.cause == Cause::HungUp => {
                Outcome::Unknown
            }
            State::Resumed { .. } => unanswered(end.cause, false),
            State::Waiting { .. }
            | State::Fetching { .. }
            | State::Preparing { .. }
            | State::Restoring { .. }
            | State::Dialling { .. } => unanswered(end.cause, false),
            State::Over => return State::Over,
        };
        // A cause that was ours to name (no codec in common) says more than "we hung up".
        let cause = match state {
            State::Ending { cause: Some(cause), .. } => cause,
            State::Ending { .. }
            | State::Waiting { .. }
            | State::Fetching { .. }
            | State::Preparing { .. }
            | State::Restoring { .. }
            | State::Dialling { .. }
            | State::Resumed { .. }
            | State::Ringing { .. }
            | State::Playing { .. }
            | State::Over => end.cause,
        };
        out.event(EventKind::LegEnded { leg, cause, sip_status: end.sip_status });
        self.over(outcome, Some(LegEnd { cause, ..end }), now, out)
    }

    fn dial(
        &mut self,
        leg: LegId,
        number: u32,
        wire: Vec<u8>,
        media: Vec<u8>,
        now: Now,
        out: &mut Effects,
    ) {
        let (serial, trunk) = (self.draft.intent.serial, self.draft.intent.order.trunk.clone());
        let at_ms = now.unix_ms;
        self.draft.dialled_ms.get_or_insert(at_ms);
        if number == 1 {
            out.event(EventKind::Dialling { leg, trunk: trunk.clone(), attempt: number });
        }
        out.write(Write::Attempt(Box::new(Attempt {
            serial,
            leg,
            trunk,
            number,
            at_ms,
            wire,
            media,
        })));
        out.after_commit(Action::Dial { leg });
    }

    fn answered(&mut self, leg: LegId, dialog: Vec<u8>, now: Now, out: &mut Effects) -> State {
        let (serial, at_ms) = (self.draft.intent.serial, now.unix_ms);
        self.draft.answered(now);
        out.write(Write::Answered { serial, leg, at_ms, dialog });
        out.event(EventKind::Answered { leg });
        out.after_commit(Action::Acknowledge { leg });
        if self.draft.intent.order.record {
            out.act(Action::Record { leg });
        }
        out.act(Action::Play { leg, play: PlayId(1) });
        let longest = Duration::from_secs(self.draft.intent.order.max_duration_s.into());
        State::Playing { leg, round: 1, until: now.since_start + longest }
    }

    fn round_played(
        &mut self,
        leg: LegId,
        round: u8,
        until: Deadline,
        now: Now,
        out: &mut Effects,
    ) -> State {
        self.draft.rounds = round;
        out.event(EventKind::RoundPlayed { leg, round });
        if round >= self.play_times() {
            return self.hang_up(leg, Outcome::Played, None, now, out);
        }
        let round = round + 1;
        out.act(Action::Play { leg, play: PlayId(round.into()) });
        State::Playing { leg, round, until }
    }

    /// Cancelled from outside, or the server stops.
    fn stop(&mut self, state: State, outcome: Outcome, now: Now, out: &mut Effects) -> State {
        match state {
            State::Waiting { .. } | State::Fetching { .. } => self.over(outcome, None, now, out),
            State::Preparing { leg, .. }
            | State::Dialling { leg, .. }
            | State::Ringing { leg, .. }
            | State::Playing { leg, .. } => self.hang_up(leg, outcome, None, now, out),
            State::Resumed { leg, .. } => self.hang_up(leg, Outcome::Unknown, None, now, out),
            State::Restoring { found, .. } => {
                let Attempt { leg, wire, serial, .. } = *found;
                out.act(Action::Abandon { leg, serial, wire });
                let until = now.since_start + LEG_END;
                State::Ending { leg, outcome: Outcome::Unknown, cause: None, until }
            }
            state @ (State::Ending { .. } | State::Over) => state,
        }
    }

    /// The state's own deadline has come.
    fn overdue(&mut self, state: State, now: Now, out: &mut Effects) -> State {
        match state {
            State::Waiting { .. } | State::Fetching { .. } => {
                self.over(Outcome::Failed, None, now, out)
            }
            State::Preparing { leg, .. } => {
                self.hang_up(leg, Outcome::Failed, Some(Cause::Internal), now, out)
            }
            State::Restoring { .. } => self.stop(state, Outcome::Unknown, now, out),
            State::Dialling { leg, .. } => {
                self.hang_up(leg, Outcome::Failed, Some(Cause::NoAnswer), now, out)
            }
            State::Resumed { leg, .. } => self.hang_up(leg, Outcome::Unknown, None, now, out),
            State::Ringing { leg, .. } => {
                self.hang_up(leg, Outcome::NoAnswer, Some(Cause::NoAnswer), now, out)
            }
            State::Playing { leg, .. } => self.hang_up(leg, Outcome::CutShort, None, now, out),
            State::Ending { outcome, cause, .. } => {
                let end = cause.map(|cause| LegEnd { cause, sip_status: None, media: None });
                self.over(outcome, end, now, out)
            }
            State::Over => State::Over,
        }
    }

    fn hang_up(
        &mut self,
        leg: LegId,
        outcome: Outcome,
        cause: Option<Cause>,
        now: Now,
        out: &mut Effects,
    ) -> State {
        out.act(Action::HangUp { leg });
        State::Ending { leg, outcome, cause, until: now.since_start + LEG_END }
    }

    fn over(
        &mut self,
        outcome: Outcome,
        end: Option<LegEnd>,
        now: Now,
        out: &mut Effects,
    ) -> State {
        out.over(self.draft.finish(outcome, end, now));
        State::Over
    }

    fn playlist(&self) -> &[PlayItem] {
        match &self.draft.intent.order.kind {
            OrderKind::VoiceNotification { playlist, .. } => playlist,
        }
    }

    fn play_times(&self) -> u8 {
        match self.draft.intent.order.kind {
            OrderKind::VoiceNotification { play_times, .. } => play_times,
        }
    }

    fn ring_limit(&self) -> Duration {
        Duration::from_secs(self.draft.intent.order.ring_limit_s.into())
    }
}

impl State {
    fn leg(&self) -> Option<LegId> {
        match self {
            State::Preparing { leg, .. }
            | State::Dialling { leg, .. }
            | State::Resumed { leg, .. }
            | State::Ringing { leg, .. }
            | State::Playing { leg, .. }
            | State::Ending { leg, .. } => Some(*leg),
            State::Restoring { found, .. } => Some(found.leg),
            State::Waiting { .. } | State::Fetching { .. } | State::Over => None,
        }
    }

    fn until(&self) -> Option<Deadline> {
        match self {
            State::Waiting { until }
            | State::Fetching { until }
            | State::Preparing { until, .. }
            | State::Restoring { until, .. }
            | State::Dialling { until, .. }
            | State::Resumed { until, .. }
            | State::Ringing { until, .. }
            | State::Playing { until, .. }
            | State::Ending { until, .. } => Some(*until),
            State::Over => None,
        }
    }
}

/// Whether the same bytes would still be a retransmission to the far side.
fn is_young(attempt: &Attempt, now: Now) -> bool {
    (0..RESUMABLE_MS).contains(&(now.unix_ms - attempt.at_ms))
}
