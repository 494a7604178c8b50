//! A voice notification (page 003): dial, play a list of clips so many times, hang up.
//!
//! ```text
//! Waiting ─start─▶ Fetching ─clips─▶ Dialling ─answer─▶ Playing
//!                     │                  │                  │ last round
//!                     └─ fault           └─ limit, cancel ──┴─▶ Ending ─leg ended─▶ Over
//! after a restart:  Restoring ─clips─▶ Dialling;  otherwise Ending
//! ```
//! If the leg ends by itself the call is over at once, from any state; while it is dialled its trunks
//! have a say in that ([`Dial`]).

use std::mem;
use std::time::Duration;

use crate::action::{Action, LegInput, PlayId};
use crate::calls::dial::{Dial, Step};
use crate::calls::talk::pressed;
use crate::calls::way::{To, Way};
use crate::calls::{CallInput, Effects, LEG_END, LOCAL_STEP, RESUMABLE_MS, unanswered};
use crate::cdr::{Cause, Draft, LegEnd, Outcome, Recording};
use crate::events::EventKind;
use crate::intent::{OrderKind, PlayItem};
use crate::vocabulary::{Deadline, LegId, Now, Side, TrunkName};
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
    /// The clips are made ready; then it is dialled over `trunk`.
    Fetching {
        trunk: TrunkName,
        until: Deadline,
    },
    /// After a restart the clips are made ready again; then the stored INVITE is sent again.
    Restoring {
        found: Box<Attempt>,
        until: Deadline,
    },
    Dialling(Box<Dial>),
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
        let mut legs = found.legs;
        // Without an attempt it was never dialled: the store gives such calls back to the queue.
        let last = legs.pop().and_then(|leg| Some((leg.attempt?, leg.answered)));
        for Attempt { leg, wire, .. } in legs.into_iter().filter_map(|leg| leg.attempt) {
            out.act(Action::Abandon { leg, serial, wire });
        }
        let Some((attempt, answered)) = last else {
            return room;
        };
        room.draft.attempts = attempt.number;
        room.draft.called.trunk.clone_from(&attempt.trunk);
        room.draft.called.dialled_ms = Some(attempt.at_ms);
        room.draft.called.alerting_ms = found.ringing_ms;
        room.draft.recording = Recording::found(found.recorded);
        let leg = attempt.leg;
        let until = now.since_start + LEG_END;
        room.state = if let Some((dialog, at_ms)) = answered {
            room.draft.called.alerting_ms.get_or_insert(at_ms);
            room.draft.called.talking_ms = Some(at_ms);
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
            CallInput::Start(trunk) => self.start(state, trunk, now, out),
            CallInput::Fetched(result) => self.fetched(state, result.is_ok(), now, out),
            CallInput::Leg(of, input) if state.leg() == Some(of) => {
                self.leg(state, of, input, now, out)
            }
            // A late message of an earlier attempt meets nobody.
            CallInput::Leg(..) => state,
            CallInput::Trunk(trunk) => self.trunk_chosen(state, trunk, now, out),
            // Nothing of this was asked for.
            CallInput::Trunks(_) | CallInput::PhoneFound(_) | CallInput::Arrived { .. } => state,
            CallInput::Stop(outcome) => self.stop(state, outcome, now, out),
            CallInput::Tick { late }
                if state.until().is_some_and(|until| now.since_start >= until) =>
            {
                self.overdue(state, late, now, out)
            }
            CallInput::Tick { .. } => state,
        };
    }

    pub(super) fn wake_at(&self) -> Option<Deadline> {
        self.state.until()
    }

    fn start(&mut self, state: State, trunk: TrunkName, now: Now, out: &mut Effects) -> State {
        if !matches!(state, State::Waiting { .. }) {
            return state;
        }
        let serial = self.draft.intent.serial;
        out.act(Action::Fetch { serial, playlist: self.playlist().to_vec() });
        State::Fetching { trunk, until: now.since_start + LOCAL_STEP }
    }

    fn fetched(&mut self, state: State, ready: bool, now: Now, out: &mut Effects) -> State {
        match (state, ready) {
            (State::Fetching { trunk, .. }, true) => {
                let to = To::called(&self.draft, Way::over(&self.draft, trunk), None);
                State::Dialling(Box::new(Dial::start(to, &mut self.draft, now, out)))
            }
            (State::Fetching { .. }, false) => self.over(Outcome::Failed, None, now, out),
            (State::Restoring { found, .. }, true) if is_young(&found, now) => {
                let Some(route) = self.draft.intent.order.place.route().cloned() else {
                    return self.abandon(*found, now, out);
                };
                State::Dialling(Box::new(Dial::resume(&self.draft, route, *found, now, out)))
            }
            (State::Restoring { found, .. }, _) => self.abandon(*found, now, out),
            (
                state @ (State::Waiting { .. }
                | State::Dialling(_)
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
        use State::{Ending, Playing};
        match (state, input) {
            (State::Dialling(dial), input) => {
                let step = dial.leg_input(input, &mut self.draft, now, out);
                self.dialled(step, now, out)
            }
            (state, LegInput::Ended { cause, sip_status, media, .. }) => {
                self.leg_ended(state, leg, LegEnd { cause, sip_status, media }, now, out)
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
            (
                state @ (Playing { .. } | Ending { .. }),
                LegInput::Digit(digit) | LegInput::InfoDigit(digit),
            ) => {
                pressed(Side::Called, leg, digit, &mut self.draft, out);
                state
            }
            (state @ (Playing { .. } | Ending { .. }), LegInput::RecordingStarted) => {
                self.draft.recording = Recording::Running(leg);
                state
            }
            (Playing { .. }, LegInput::RecordingFailed) => {
                self.hang_up(leg, Outcome::RecordingFailed, None, now, out)
            }
            (Playing { .. }, LegInput::MediaFailed(cause)) => {
                self.hang_up(leg, unanswered(cause, false), Some(cause), now, out)
            }

            // What crosses a decision that has been made changes nothing.
            (
                state,
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
                | LegInput::Earlier { .. }
                | LegInput::PlayStarted
                | LegInput::PlayFinished { .. }
                | LegInput::Digit(_)
                | LegInput::InfoDigit(_)
                | LegInput::RecordingStarted
                | LegInput::RecordingFailed
                | LegInput::MediaFailed(_),
            ) => state,
        }
    }

    /// What became of the dialling.
    fn dialled(&mut self, step: Step, now: Now, out: &mut Effects) -> State {
        match step {
            Step::GoesOn(dial) | Step::Heard(dial) => State::Dialling(Box::new(dial)),
            Step::Answered { leg, dialog } => self.answered(leg, dialog, now, out),
            Step::Over { leg, outcome, end } => self.leg_over(leg, outcome, end, now, out),
            Step::HangUp { leg, outcome, cause } => self.hang_up(leg, outcome, cause, now, out),
        }
    }

    fn trunk_chosen(
        &mut self,
        state: State,
        trunk: Option<TrunkName>,
        now: Now,
        out: &mut Effects,
    ) -> State {
        match state {
            State::Dialling(dial) => {
                let step = dial.trunk_chosen(trunk, &mut self.draft, now, out);
                self.dialled(step, now, out)
            }
            state @ (State::Waiting { .. }
            | State::Fetching { .. }
            | State::Restoring { .. }
            | State::Playing { .. }
            | State::Ending { .. }
            | State::Over) => state,
        }
    }

    fn leg_ended(
        &mut self,
        state: State,
        leg: LegId,
        end: LegEnd,
        now: Now,
        out: &mut Effects,
    ) -> State {
        // A cause that was ours to name (no codec in common) says more than "we hung up".
        let (outcome, cause) = match state {
            State::Playing { .. } => (Outcome::CutShort, end.cause),
            State::Ending { outcome, cause, .. } => (outcome, cause.unwrap_or(end.cause)),
            State::Waiting { .. }
            | State::Fetching { .. }
            | State::Restoring { .. }
            | State::Dialling(_) => (unanswered(end.cause, false), end.cause),
            State::Over => return State::Over,
        };
        self.leg_over(leg, outcome, LegEnd { cause, ..end }, now, out)
    }

    fn leg_over(
        &mut self,
        leg: LegId,
        outcome: Outcome,
        end: LegEnd,
        now: Now,
        out: &mut Effects,
    ) -> State {
        let (cause, sip_status) = (end.cause, end.sip_status);
        out.event(EventKind::LegEnded { leg, side: Side::Called, cause, sip_status });
        self.over(outcome, Some(end), now, out)
    }

    fn answered(&mut self, leg: LegId, dialog: Vec<u8>, now: Now, out: &mut Effects) -> State {
        let (serial, at_ms) = (self.draft.intent.serial, now.unix_ms);
        self.draft.called.answered(now);
        out.write(Write::Answered { serial, leg, at_ms, dialog });
        out.event(EventKind::Answered { leg, side: Side::Called });
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

    /// Ended from outside.
    fn stop(&mut self, state: State, outcome: Outcome, now: Now, out: &mut Effects) -> State {
        match state {
            State::Waiting { .. } | State::Fetching { .. } => self.over(outcome, None, now, out),
            State::Dialling(dial) => self.dialled(dial.stop(outcome), now, out),
            State::Playing { leg, .. } => self.hang_up(leg, outcome, None, now, out),
            State::Restoring { found, .. } => self.abandon(*found, now, out),
            state @ (State::Ending { .. } | State::Over) => state,
        }
    }

    /// The state's own deadline has come.
    fn overdue(&mut self, state: State, late: Duration, now: Now, out: &mut Effects) -> State {
        match state {
            State::Waiting { .. } | State::Fetching { .. } => {
                self.over(Outcome::Failed, None, now, out)
            }
            State::Restoring { found, .. } => self.abandon(*found, now, out),
            State::Dialling(dial) => self.dialled(dial.overdue(late, now, out), now, out),
            State::Playing { leg, .. } => self.hang_up(leg, Outcome::CutShort, None, now, out),
            State::Ending { outcome, cause, .. } => {
                let end = cause.map(|cause| LegEnd { cause, sip_status: None, media: None });
                self.over(outcome, end, now, out)
            }
            State::Over => State::Over,
        }
    }

    /// The stored INVITE is taken back; what became of it stays unknown.
    fn abandon(&mut self, found: Attempt, now: Now, out: &mut Effects) -> State {
        let Attempt { leg, wire, serial, .. } = found;
        out.act(Action::Abandon { leg, serial, wire });
        let until = now.since_start + LEG_END;
        State::Ending { leg, outcome: Outcome::Unknown, cause: None, until }
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
            OrderKind::BidirectionalCall(_) | OrderKind::AnonymousCall(_) => &[],
        }
    }

    fn play_times(&self) -> u8 {
        match self.draft.intent.order.kind {
            OrderKind::VoiceNotification { play_times, .. } => play_times,
            OrderKind::BidirectionalCall(_) | OrderKind::AnonymousCall(_) => 0,
        }
    }
}

impl State {
    fn leg(&self) -> Option<LegId> {
        match self {
            State::Dialling(dial) => Some(dial.leg()),
            State::Playing { leg, .. } | State::Ending { leg, .. } => Some(*leg),
            State::Restoring { found, .. } => Some(found.leg),
            State::Waiting { .. } | State::Fetching { .. } | State::Over => None,
        }
    }

    fn until(&self) -> Option<Deadline> {
        match self {
            State::Waiting { until }
            | State::Fetching { until, .. }
            | State::Restoring { until, .. }
            | State::Playing { until, .. }
            | State::Ending { until, .. } => Some(*until),
            State::Dialling(dial) => dial.until(),
            State::Over => None,
        }
    }
}

/// Whether the same bytes would still be a retransmission to the far side.
fn is_young(attempt: &Attempt, now: Now) -> bool {
    (0..RESUMABLE_MS).contains(&(now.unix_ms - attempt.at_ms))
}
