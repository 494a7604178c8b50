//! An anonymous call (page 000): a caller comes from outside with a code, once; then the called party
//! is dialled and they are connected. A call to a virtual number (ITA) is the same without a code:
//! it begins with the caller's arrival, and a softphone may be called.
//!
//! ```text
//!                                     ┌▶ Finding ─places─┐
//!                                     │softphone         ▼
//! Expecting ─caller comes─▶ TakingIn ─┴port bound─▶ Connecting ─answer─▶ Answering ─200 built─▶ Talking
//!     │           │            │                      │                    │                     │
//!     │ too late, │ forbidden  └──────────────────────┴────────┬───────────┴─────────────────────┘
//!     │ cancel    │                                            ▼ one ends, fails, cancel
//!     └───────────┴──────────────────▶ Over ◀─────────────── Ending
//! ```
//! The caller gets its 200 when the called party has answered and both dialogs are on disk.

use std::mem;
use std::net::IpAddr;
use std::time::Duration;

use crate::action::{Action, LegInput, Refused};
use crate::calls::connecting::{self, Connecting, Waiting, answered};
use crate::calls::endings::{Endings, leg_over};
use crate::calls::talk::{self, Talk, ended_by, failed};
use crate::calls::way::{To, Way};
use crate::calls::{CallInput, Denied, Effects, LOCAL_STEP};
use crate::cdr::{Cause, Draft, LegEnd, Outcome};
use crate::events::EventKind;
use crate::intent::OrderKind;
use crate::vocabulary::{BindingId, Deadline, LegId, Now, Side, TrunkName};
use crate::writes::Unfinished;

#[derive(Debug)]
pub struct AnonymousCall {
    pub(super) draft: Draft,
    state: State,
}

/// `until` is when the room acts if nothing else happens.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// The caller may come.
    Expecting {
        until: Deadline,
    },
    /// A port is bound for the caller's offer; the called party has `trunk`, or is at a softphone.
    TakingIn {
        caller: LegId,
        trunk: Option<TrunkName>,
        until: Deadline,
    },
    /// Where the called party's softphone is registered is looked up.
    Finding {
        caller: LegId,
        until: Deadline,
    },
    Connecting(Box<Connecting>),
    /// The called party has answered; the 200 for the caller is built.
    Answering {
        caller: LegId,
        called: LegId,
        until: Deadline,
    },
    Talking(Talk),
    Ending(Endings),
    Over,
}

impl AnonymousCall {
    pub(super) fn new(draft: Draft, now: Now) -> AnonymousCall {
        let wait = match &draft.intent.order.kind {
            OrderKind::AnonymousCall(call) => {
                let left_ms = call.valid_until_ms.saturating_sub(now.unix_ms);
                Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
            }
            // The caller is there already.
            OrderKind::BidirectionalCall(_) | OrderKind::VoiceNotification { .. } => LOCAL_STEP,
        };
        AnonymousCall { draft, state: State::Expecting { until: now.since_start + wait } }
    }

    /// What a restart makes of it: a code that nobody used is good again. Who called a virtual number has gone, which
    /// its start says.
    pub(super) fn recover(found: Unfinished, now: Now, out: &mut Effects) -> AnonymousCall {
        if found.legs.is_empty() {
            return AnonymousCall::new(Draft::new(found.intent), now);
        }
        let (draft, endings) = Endings::after_restart(found, now, out);
        AnonymousCall { draft, state: State::Ending(endings) }
    }

    pub(super) fn handle(&mut self, input: CallInput, now: Now, out: &mut Effects) {
        let state = mem::replace(&mut self.state, State::Over);
        self.state = match input {
            CallInput::Arrived { leg, source, way } => {
                self.arrived(state, leg, source, way, now, out)
            }
            CallInput::Start(_) => self.start(state, now, out),
            CallInput::Leg(leg, input) => self.leg(state, leg, input, now, out),
            CallInput::Trunk(trunk) => self.trunk_chosen(state, trunk, now, out),
            CallInput::Stop(outcome) => self.stop(state, outcome, now, out),
            CallInput::Tick { late }
                if state.until().is_some_and(|until| now.since_start >= until) =>
            {
                self.overdue(state, late, now, out)
            }
            CallInput::PhoneFound(bindings) => self.phone_found(state, &bindings, now, out),
            // It plays nothing and calls no caller.
            CallInput::Tick { .. } | CallInput::Fetched(_) | CallInput::Trunks(_) => state,
        };
    }

    pub(super) fn wake_at(&self) -> Option<Deadline> {
        self.state.until()
    }

    /// Nothing of it is out and it holds no trunk.
    pub(super) fn is_dormant(&self) -> bool {
        matches!(self.state, State::Expecting { .. })
    }

    /// A call to a virtual number that the last run accepted and never dialled: its caller has gone.
    fn start(&mut self, state: State, now: Now, out: &mut Effects) -> State {
        match state {
            State::Expecting { .. } => self.over(Outcome::Interrupted, now, out),
            state @ (State::TakingIn { .. }
            | State::Finding { .. }
            | State::Connecting(_)
            | State::Answering { .. }
            | State::Talking(_)
            | State::Ending(_)
            | State::Over) => state,
        }
    }

    /// `way`: the trunk that the called party may be dialled over, none to a softphone; or why it may not be.
    fn arrived(
        &mut self,
        state: State,
        caller: LegId,
        source: IpAddr,
        way: Result<Option<TrunkName>, Denied>,
        now: Now,
        out: &mut Effects,
    ) -> State {
        let State::Expecting { .. } = state else {
            out.act(Action::Refuse { leg: caller, with: Refused::Unknown });
            return state;
        };
        self.draft.caller.dialled_ms = Some(now.unix_ms);
        out.event(EventKind::Arrived { leg: caller, source });
        let serial = self.draft.intent.serial;
        match way {
            Ok(trunk) => {
                out.act(Action::TakeIn { leg: caller, serial });
                State::TakingIn { caller, trunk, until: now.since_start + LOCAL_STEP }
            }
            Err(Denied::Restricted) => {
                out.act(Action::Refuse { leg: caller, with: Refused::Forbidden });
                self.over(Outcome::Restricted, now, out)
            }
        }
    }

    fn leg(
        &mut self,
        state: State,
        leg: LegId,
        input: LegInput,
        now: Now,
        out: &mut Effects,
    ) -> State {
        let draft = &mut self.draft;
        match state {
            State::TakingIn { caller, .. } | State::Finding { caller, .. } if leg == caller => {
                self.before_dialling(state, caller, input, now, out)
            }
            State::Connecting(connecting) => {
                let step = connecting.leg_input(leg, input, draft, now, out);
                self.connected(step, now, out)
            }
            State::Answering { caller, called, until } => {
                self.answering((caller, called), until, leg, input, now, out)
            }
            State::Talking(talk) => match talk.leg_input(leg, input, draft, now, out) {
                talk::Step::GoesOn(talk) => State::Talking(talk),
                talk::Step::Over(endings) => State::Ending(endings),
            },
            State::Ending(endings) => {
                let outcome = endings.outcome();
                match endings.leg_input(leg, input, draft, now, out) {
                    Some(endings) => State::Ending(endings),
                    None => self.over(outcome, now, out),
                }
            }
            // A late message of an earlier attempt meets nobody.
            state @ (State::Expecting { .. }
            | State::TakingIn { .. }
            | State::Finding { .. }
            | State::Over) => state,
        }
    }

    /// What the caller's leg says before anybody is dialled.
    fn before_dialling(
        &mut self,
        state: State,
        caller: LegId,
        input: LegInput,
        now: Now,
        out: &mut Effects,
    ) -> State {
        match input {
            LegInput::TakenIn => {
                let State::TakingIn { trunk, .. } = state else { return state };
                self.draft.caller.alerting_ms = Some(now.unix_ms);
                match trunk.map(|trunk| Way::over(&self.draft, trunk)) {
                    Some(way) => self.connect(caller, vec![way], now, out),
                    None => self.find(caller, now, out),
                }
            }
            LegInput::Ended { cause, sip_status, media, .. } => {
                let end = LegEnd { cause, sip_status, media };
                leg_over(Side::Caller, caller, end, &mut self.draft, now, out);
                self.over(ended_by(Side::Caller, cause), now, out)
            }
            LegInput::MediaFailed(cause) => self.turn_away(Side::Caller, caller, cause, now, out),
            // What crosses a decision that has been made changes nothing.
            LegInput::Prepared { .. }
            | LegInput::Challenged { .. }
            | LegInput::Retried { .. }
            | LegInput::Trying
            | LegInput::Ringing
            | LegInput::EarlyMedia
            | LegInput::Answered { .. }
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
            | LegInput::RecordingFailed => state,
        }
    }

    fn find(&mut self, caller: LegId, now: Now, out: &mut Effects) -> State {
        let intent = &self.draft.intent;
        let (serial, number) = (intent.serial, intent.order.called.clone());
        out.act(Action::FindPhone { serial, number });
        State::Finding { caller, until: now.since_start + LOCAL_STEP }
    }

    fn phone_found(
        &mut self,
        state: State,
        bindings: &[BindingId],
        now: Now,
        out: &mut Effects,
    ) -> State {
        let State::Finding { caller, .. } = state else { return state };
        if bindings.is_empty() {
            return self.turn_away(Side::Called, caller, Cause::Unavailable, now, out);
        }
        let ways = bindings.iter().map(|binding| Way::Softphone(*binding)).collect();
        self.connect(caller, ways, now, out)
    }

    /// The called party is dialled, each way at once.
    fn connect(&mut self, caller: LegId, ways: Vec<Way>, now: Now, out: &mut Effects) -> State {
        let draft = &mut self.draft;
        let to = ways.into_iter().map(|way| To::called(draft, way, Some(caller))).collect();
        let connecting = Connecting::start(Waiting::Unanswered(caller), to, draft, now, out);
        State::Connecting(Box::new(connecting))
    }

    /// The leg of `side` cannot be set up; nobody was dialled.
    fn turn_away(
        &mut self,
        side: Side,
        caller: LegId,
        cause: Cause,
        now: Now,
        out: &mut Effects,
    ) -> State {
        self.draft.side(side).blame(cause);
        out.act(Action::Refuse { leg: caller, with: Refused::Ended(cause) });
        let legs = vec![(Side::Caller, caller)];
        State::Ending(Endings::of(legs, failed(side), now))
    }

    /// What became of dialling the called party.
    fn connected(&mut self, step: connecting::Step, now: Now, out: &mut Effects) -> State {
        match step {
            connecting::Step::GoesOn(connecting) => State::Connecting(connecting),
            connecting::Step::Answered { caller, called } => {
                out.act(Action::Answer { leg: caller });
                State::Answering { caller, called, until: now.since_start + LOCAL_STEP }
            }
            connecting::Step::Over(endings) => State::Ending(endings),
        }
    }

    /// What the legs say while the 200 is built. What is neither the 200 nor an end changes nothing.
    fn answering(
        &mut self,
        (caller, called): (LegId, LegId),
        until: Deadline,
        leg: LegId,
        input: LegInput,
        now: Now,
        out: &mut Effects,
    ) -> State {
        let side = if leg == caller { Side::Caller } else { Side::Called };
        let other = if leg == caller { (Side::Called, called) } else { (Side::Caller, caller) };
        match input {
            LegInput::Answering { dialog } if leg == caller => {
                answered(Side::Caller, caller, dialog, &mut self.draft, now, out);
                out.after_commit(Action::Acknowledge { leg: called });
                out.after_commit(Action::SendAnswer { leg: caller });
                State::Talking(Talk::begin(caller, called, &self.draft, now, out))
            }
            LegInput::Ended { cause, sip_status, media, .. } if leg == caller || leg == called => {
                let end = LegEnd { cause, sip_status, media };
                leg_over(side, leg, end, &mut self.draft, now, out);
                match side {
                    Side::Caller => out.act(Action::HangUp { leg: called }),
                    Side::Called => Waiting::Unanswered(caller).end(cause, out),
                }
                State::Ending(Endings::of(vec![other], ended_by(side, cause), now))
            }
            LegInput::MediaFailed(cause) if leg == caller || leg == called => {
                self.draft.side(side).blame(cause);
                out.act(Action::HangUp { leg: called });
                Waiting::Unanswered(caller).end(cause, out);
                let both = vec![(Side::Caller, caller), (Side::Called, called)];
                State::Ending(Endings::of(both, failed(side), now))
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
            | LegInput::MediaFailed(_)
            | LegInput::Ended { .. } => State::Answering { caller, called, until },
        }
    }

    fn trunk_chosen(
        &mut self,
        state: State,
        next: Option<TrunkName>,
        now: Now,
        out: &mut Effects,
    ) -> State {
        match state {
            State::Connecting(connecting) => {
                let step = connecting.trunk_chosen(next, &mut self.draft, now, out);
                self.connected(step, now, out)
            }
            state @ (State::Expecting { .. }
            | State::TakingIn { .. }
            | State::Finding { .. }
            | State::Answering { .. }
            | State::Talking(_)
            | State::Ending(_)
            | State::Over) => state,
        }
    }

    /// Ended from outside.
    fn stop(&mut self, state: State, outcome: Outcome, now: Now, out: &mut Effects) -> State {
        match state {
            State::Expecting { .. } => self.over(outcome, now, out),
            State::TakingIn { caller, .. } | State::Finding { caller, .. } => {
                let legs = vec![(Side::Caller, caller)];
                State::Ending(Endings::hang_up(legs, outcome, now, out))
            }
            State::Connecting(connecting) => {
                let step = connecting.stop(outcome, now, out);
                self.connected(step, now, out)
            }
            State::Answering { caller, called, .. } => {
                let both = vec![(Side::Caller, caller), (Side::Called, called)];
                State::Ending(Endings::hang_up(both, outcome, now, out))
            }
            State::Talking(talk) => State::Ending(talk.stop(outcome, now, out)),
            state @ (State::Ending(_) | State::Over) => state,
        }
    }

    /// The state's own deadline has come.
    fn overdue(&mut self, state: State, late: Duration, now: Now, out: &mut Effects) -> State {
        match state {
            State::Expecting { .. } => self.over(Outcome::Unused, now, out),
            State::TakingIn { caller, .. } => {
                self.turn_away(Side::Caller, caller, Cause::Internal, now, out)
            }
            State::Finding { caller, .. } => {
                self.turn_away(Side::Called, caller, Cause::Internal, now, out)
            }
            State::Connecting(connecting) => {
                let step = connecting.overdue(late, &mut self.draft, now, out);
                self.connected(step, now, out)
            }
            State::Answering { .. } => self.stop(state, failed(Side::Caller), now, out),
            State::Talking(_) => self.stop(state, Outcome::TimeUp, now, out),
            State::Ending(endings) => self.over(endings.outcome(), now, out),
            State::Over => State::Over,
        }
    }

    fn over(&mut self, outcome: Outcome, now: Now, out: &mut Effects) -> State {
        out.over(self.draft.finish(outcome, None, now));
        State::Over
    }
}

impl State {
    fn until(&self) -> Option<Deadline> {
        match self {
            State::Expecting { until }
            | State::TakingIn { until, .. }
            | State::Finding { until, .. }
            | State::Answering { until, .. } => Some(*until),
            State::Connecting(connecting) => connecting.until(),
            State::Talking(talk) => Some(talk.until()),
            State::Ending(endings) => Some(endings.until()),
            State::Over => None,
        }
    }
}
