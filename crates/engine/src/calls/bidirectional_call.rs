//! A bidirectional call (page 001): the caller is dialled, then the called party, then they are
//! connected.
//!
//! ```text
//! Waiting ─start─▶ (a trunk for each party) ──────▶ CallingCaller ─answer─▶ Connecting ─answer─▶ Talking
//!    │ │                 │ none free      ▲             │                       │                  │
//!    │ │                 └─▶ Parked ─asks─┘             │ no answer, cancel     │ one fails        │
//!    │ └─softphone─▶ Finding ─places─────────────▶      ▼                       ▼                  ▼
//!    └─ cancel ─▶ Over ◀───────────────────────────────────────── Ending ◀────────────────────────┘
//! ```
//! The called party is dialled only while the caller is up. If one leg ends the other is told to in
//! the same step.

use std::mem;
use std::time::Duration;

use crate::action::{Action, LegInput};
use crate::calls::connecting::{self, Connecting, Waiting, answered};
use crate::calls::endings::Endings;
use crate::calls::places::{self, Places};
use crate::calls::talk::{self, Talk};
use crate::calls::way::{To, Way};
use crate::calls::{CallInput, Effects, LOCAL_STEP, TwoTrunks};
use crate::cdr::{Cause, Draft, Outcome};
use crate::events::EventKind;
use crate::intent::{Caller, OrderKind, Party, Place};
use crate::vocabulary::{BindingId, Deadline, LegId, Now, Side, TrunkName};
use crate::writes::Unfinished;

/// How often a call that waits for trunks asks for them.
const ASK_AGAIN: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub struct BidirectionalCall {
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
    /// No trunk was free for the caller: it holds none and asks again.
    Parked {
        until: Deadline,
    },
    /// Where the caller's softphone is registered is looked up; the called party has `trunk`.
    Finding {
        trunk: TrunkName,
        until: Deadline,
    },
    /// The called party has `trunk`.
    CallingCaller {
        trunk: TrunkName,
        places: Places,
    },
    Connecting(Box<Connecting>),
    Talking(Talk),
    Ending(Endings),
    Over,
}

impl BidirectionalCall {
    pub(super) fn new(draft: Draft, now: Now) -> BidirectionalCall {
        let state = State::Waiting { until: now.since_start + LOCAL_STEP };
        BidirectionalCall { draft, state }
    }

    /// What a restart makes of a call of which a leg was on disk.
    pub(super) fn recover(found: Unfinished, now: Now, out: &mut Effects) -> BidirectionalCall {
        if found.legs.is_empty() {
            return BidirectionalCall::new(Draft::new(found.intent), now);
        }
        let (draft, endings) = Endings::after_restart(found, now, out);
        BidirectionalCall { draft, state: State::Ending(endings) }
    }

    pub(super) fn handle(&mut self, input: CallInput, now: Now, out: &mut Effects) {
        let state = mem::replace(&mut self.state, State::Over);
        self.state = match input {
            CallInput::Start(trunk) => self.start(state, trunk, now, out),
            CallInput::Trunks(trunks) => self.trunks(state, trunks, now, out),
            CallInput::PhoneFound(bindings) => self.phone_found(state, &bindings, now, out),
            CallInput::Leg(leg, input) => self.leg(state, leg, input, now, out),
            CallInput::Trunk(trunk) => self.trunk_chosen(state, trunk, now, out),
            CallInput::Stop(outcome) => self.stop(state, outcome, now, out),
            CallInput::Tick { late }
                if state.until().is_some_and(|until| now.since_start >= until) =>
            {
                self.overdue(state, late, now, out)
            }
            // It plays nothing, and its caller is called.
            CallInput::Tick { .. } | CallInput::Fetched(_) | CallInput::Arrived { .. } => state,
        };
    }

    pub(super) fn wake_at(&self) -> Option<Deadline> {
        self.state.until()
    }

    /// Nothing of it is out and it holds no trunk.
    pub(super) fn is_dormant(&self) -> bool {
        matches!(self.state, State::Parked { .. })
    }

    fn start(&mut self, state: State, trunk: TrunkName, now: Now, out: &mut Effects) -> State {
        if !matches!(state, State::Waiting { .. }) {
            return state;
        }
        match self.caller() {
            Some(Party { place: Place::Trunks(route), .. }) => {
                out.trunks(route.clone());
                state
            }
            Some(Party { place: Place::Softphone, number, .. }) => {
                let number = number.clone();
                out.act(Action::FindPhone { serial: self.draft.intent.serial, number });
                State::Finding { trunk, until: now.since_start + LOCAL_STEP }
            }
            None => self.over(Outcome::Failed, now, out),
        }
    }

    /// A trunk for each party, or none.
    fn trunks(
        &mut self,
        state: State,
        trunks: Option<TwoTrunks>,
        now: Now,
        out: &mut Effects,
    ) -> State {
        match (state, trunks) {
            (State::Waiting { .. } | State::Parked { .. }, Some(trunks)) => {
                let Some(to) = self.to_caller_over(trunks.caller) else {
                    return self.over(Outcome::Failed, now, out);
                };
                let places = Places::start(Side::Caller, vec![to], &mut self.draft, now, out);
                State::CallingCaller { trunk: trunks.called, places }
            }
            (State::Waiting { .. }, None) => {
                out.event(EventKind::Queued { why: crate::events::Waiting::TrunkConcurrency });
                State::Parked { until: now.since_start + ASK_AGAIN }
            }
            (State::Parked { .. }, None) => State::Parked { until: now.since_start + ASK_AGAIN },
            (
                state @ (State::Finding { .. }
                | State::CallingCaller { .. }
                | State::Connecting(_)
                | State::Talking(_)
                | State::Ending(_)
                | State::Over),
                _,
            ) => state,
        }
    }

    fn phone_found(
        &mut self,
        state: State,
        bindings: &[BindingId],
        now: Now,
        out: &mut Effects,
    ) -> State {
        let State::Finding { trunk, .. } = state else { return state };
        let to = |binding: &BindingId| {
            let Party { number, presented, .. } = self.caller()?.clone();
            let (side, way) = (Side::Caller, Way::Softphone(*binding));
            Some(To { side, number, presented, way, beside: None })
        };
        let to: Vec<To> = bindings.iter().filter_map(to).collect();
        if to.is_empty() {
            self.draft.caller.blame(Cause::Unavailable);
            return self.over(Outcome::CallerFailed, now, out);
        }
        let places = Places::start(Side::Caller, to, &mut self.draft, now, out);
        State::CallingCaller { trunk, places }
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
            State::CallingCaller { trunk, places } => {
                let step = places.leg_input(leg, input, draft, now, out);
                self.called_caller(trunk, step, now, out)
            }
            State::Connecting(connecting) => {
                let step = connecting.leg_input(leg, input, draft, now, out);
                self.connected(step, now, out)
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
            state @ (State::Waiting { .. }
            | State::Parked { .. }
            | State::Finding { .. }
            | State::Over) => state,
        }
    }

    /// What became of dialling the caller.
    fn called_caller(
        &mut self,
        trunk: TrunkName,
        step: places::Step,
        now: Now,
        out: &mut Effects,
    ) -> State {
        match step {
            places::Step::GoesOn(places) | places::Step::Heard(places, _) => {
                State::CallingCaller { trunk, places }
            }
            places::Step::Answered { leg, dialog } => {
                answered(Side::Caller, leg, dialog, &mut self.draft, now, out);
                out.after_commit(Action::Acknowledge { leg });
                let caller = Waiting::Answered(leg);
                let to = To::called(&self.draft, Way::over(&self.draft, trunk), Some(leg));
                let connecting = Connecting::start(caller, vec![to], &mut self.draft, now, out);
                State::Connecting(Box::new(connecting))
            }
            places::Step::Over { outcome, leaving, .. } if leaving.is_empty() => {
                self.over(outcome, now, out)
            }
            places::Step::Over { outcome, leaving, .. } => {
                State::Ending(Endings::of(leaving, outcome, now))
            }
        }
    }

    /// What became of dialling the called party.
    fn connected(&mut self, step: connecting::Step, now: Now, out: &mut Effects) -> State {
        match step {
            connecting::Step::GoesOn(connecting) => State::Connecting(connecting),
            connecting::Step::Answered { caller, called } => {
                out.after_commit(Action::Acknowledge { leg: called });
                State::Talking(Talk::begin(caller, called, &self.draft, now, out))
            }
            connecting::Step::Over(endings) => State::Ending(endings),
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
            State::CallingCaller { trunk, places } => {
                let step = places.trunk_chosen(next, &mut self.draft, now, out);
                self.called_caller(trunk, step, now, out)
            }
            State::Connecting(connecting) => {
                let step = connecting.trunk_chosen(next, &mut self.draft, now, out);
                self.connected(step, now, out)
            }
            state @ (State::Waiting { .. }
            | State::Parked { .. }
            | State::Finding { .. }
            | State::Talking(_)
            | State::Ending(_)
            | State::Over) => state,
        }
    }

    /// Ended from outside.
    fn stop(&mut self, state: State, outcome: Outcome, now: Now, out: &mut Effects) -> State {
        match state {
            State::Waiting { .. } | State::Parked { .. } | State::Finding { .. } => {
                self.over(outcome, now, out)
            }
            State::CallingCaller { places, .. } => {
                State::Ending(Endings::of(places.hang_up(out), outcome, now))
            }
            State::Connecting(connecting) => {
                let step = connecting.stop(outcome, now, out);
                self.connected(step, now, out)
            }
            State::Talking(talk) => State::Ending(talk.stop(outcome, now, out)),
            state @ (State::Ending(_) | State::Over) => state,
        }
    }

    /// The state's own deadline has come.
    fn overdue(&mut self, state: State, late: Duration, now: Now, out: &mut Effects) -> State {
        match state {
            State::Waiting { .. } | State::Finding { .. } => self.over(Outcome::Failed, now, out),
            State::Parked { .. } => self.ask_again(now, out),
            State::CallingCaller { trunk, places } => {
                let step = places.overdue(late, &mut self.draft, now, out);
                self.called_caller(trunk, step, now, out)
            }
            State::Connecting(connecting) => {
                let step = connecting.overdue(late, &mut self.draft, now, out);
                self.connected(step, now, out)
            }
            State::Talking(_) => self.stop(state, Outcome::TimeUp, now, out),
            State::Ending(endings) => self.over(endings.outcome(), now, out),
            State::Over => State::Over,
        }
    }

    fn ask_again(&mut self, now: Now, out: &mut Effects) -> State {
        if now.unix_ms >= self.draft.intent.queue_deadline_ms {
            return self.over(Outcome::QueueTimeout, now, out);
        }
        if let Some(Party { place: Place::Trunks(route), .. }) = self.caller() {
            out.trunks(route.clone());
        }
        State::Parked { until: now.since_start + ASK_AGAIN }
    }

    fn over(&mut self, outcome: Outcome, now: Now, out: &mut Effects) -> State {
        out.over(self.draft.finish(outcome, None, now));
        State::Over
    }

    fn to_caller_over(&self, first: TrunkName) -> Option<To> {
        let Party { number, place, presented } = self.caller()?.clone();
        let Place::Trunks(route) = place else { return None };
        let way = Way::Trunks { route, first };
        Some(To { side: Side::Caller, number, presented, way, beside: None })
    }

    /// The caller, where the order names one to be called.
    fn caller(&self) -> Option<&Party> {
        match &self.draft.intent.order.kind {
            OrderKind::BidirectionalCall(call) => match &call.caller {
                Caller::Dialled(party) => Some(party),
                Caller::Inbound { .. } => None,
            },
            OrderKind::VoiceNotification { .. } | OrderKind::AnonymousCall(_) => None,
        }
    }
}

impl State {
    fn until(&self) -> Option<Deadline> {
        match self {
            State::Waiting { until } | State::Parked { until } | State::Finding { until, .. } => {
                Some(*until)
            }
            State::CallingCaller { places, .. } => places.until(),
            State::Connecting(connecting) => connecting.until(),
            State::Talking(talk) => Some(talk.until()),
            State::Ending(endings) => Some(endings.until()),
            State::Over => None,
        }
    }
}
