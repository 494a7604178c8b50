//! One room per kind of call. A room decides what its call does next and says so in [`Effects`].

use std::time::Duration;

use crate::action::{Action, FetchFault, LegInput};
use crate::cdr::{Cause, Cdr, Draft, Outcome};
use crate::events::EventKind;
use crate::intent::{Intent, OrderKind};
use crate::route::Route;
use crate::vocabulary::{Deadline, LegId, Now, TrunkName};
use crate::writes::{Unfinished, Write};

mod dial;
mod voice_notification;

use voice_notification::VoiceNotification;

/// What a room hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallInput {
    /// It may start: the backlog let it through, over this trunk.
    Start(TrunkName),
    Fetched(Result<(), FetchFault>),
    Leg(LegId, LegInput),
    /// The answer to [`Effects::next_trunk`]; `None`: there is none.
    Trunk(Option<TrunkName>),
    Cancel,
    /// The server stops.
    Interrupt,
    /// The room's own deadline, so long after it was due.
    Tick {
        late: Duration,
    },
}

/// What a room wants, in order.
#[derive(Debug)]
pub struct Effects {
    pub(crate) list: Vec<Effect>,
    next_leg: u64,
}

#[derive(Debug)]
pub(crate) enum Effect {
    Write(Write),
    Event(EventKind),
    Act(Action),
    AfterCommit(Action),
    /// A trunk failed the call: which one is next? Answered by [`CallInput::Trunk`] in the same step.
    NextTrunk {
        route: Route,
        tried: Vec<TrunkName>,
        silent: bool,
    },
    /// The room is done.
    Over(Box<Cdr>),
}

impl Effects {
    pub(crate) fn new(next_leg: u64) -> Effects {
        Effects { list: Vec::new(), next_leg }
    }

    /// A leg number that was never given before.
    fn new_leg(&mut self) -> LegId {
        self.next_leg += 1;
        LegId(self.next_leg)
    }

    pub(crate) fn last_leg(&self) -> u64 {
        self.next_leg
    }

    fn write(&mut self, write: Write) {
        self.list.push(Effect::Write(write));
    }

    fn event(&mut self, kind: EventKind) {
        self.list.push(Effect::Event(kind));
    }

    fn act(&mut self, action: Action) {
        self.list.push(Effect::Act(action));
    }

    fn after_commit(&mut self, action: Action) {
        self.list.push(Effect::AfterCommit(action));
    }

    /// `silent`: the last of `tried` showed no sign of life.
    fn next_trunk(&mut self, route: Route, tried: Vec<TrunkName>, silent: bool) {
        self.list.push(Effect::NextTrunk { route, tried, silent });
    }

    fn over(&mut self, cdr: Cdr) {
        self.list.push(Effect::Over(Box::new(cdr)));
    }
}

/// A call in its room.
#[derive(Debug)]
pub enum Room {
    VoiceNotification(Box<VoiceNotification>),
    /// A room whose every step breaks an invariant: shows what that costs the others.
    #[cfg(test)]
    Broken(Box<Draft>),
}

impl Room {
    pub fn new(intent: Intent, now: Now) -> Room {
        let draft = Draft::new(intent);
        match draft.intent.order.kind {
            OrderKind::VoiceNotification { .. } => {
                Room::VoiceNotification(Box::new(VoiceNotification::new(draft, now)))
            }
            OrderKind::BidirectionalCall(_) | OrderKind::AnonymousCall(_) => {
                unreachable!("no order of these kinds is accepted yet")
            }
        }
    }

    /// The room of a call that the last run left behind, in a state that only ends it.
    pub fn recover(unfinished: Unfinished, now: Now, out: &mut Effects) -> Room {
        match unfinished.intent.order.kind {
            OrderKind::VoiceNotification { .. } => {
                Room::VoiceNotification(Box::new(VoiceNotification::recover(unfinished, now, out)))
            }
            OrderKind::BidirectionalCall(_) | OrderKind::AnonymousCall(_) => {
                unreachable!("no order of these kinds is accepted yet")
            }
        }
    }

    pub fn handle(&mut self, input: CallInput, now: Now, out: &mut Effects) {
        match self {
            Room::VoiceNotification(room) => room.handle(input, now, out),
            #[cfg(test)]
            Room::Broken(_) => panic!("a broken invariant, for the test"),
        }
    }

    /// `None` only once the call is over.
    pub fn wake_at(&self) -> Option<Deadline> {
        match self {
            Room::VoiceNotification(room) => room.wake_at(),
            #[cfg(test)]
            Room::Broken(_) => Some(Duration::MAX),
        }
    }

    pub fn draft(&self) -> &Draft {
        match self {
            Room::VoiceNotification(room) => &room.draft,
            #[cfg(test)]
            Room::Broken(draft) => draft,
        }
    }
}

/// A step that only the machine takes part in (a port, an INVITE in memory, a clip from the cache)
/// is given this long; a speech engine is the slowest of them.
const LOCAL_STEP: Duration = Duration::from_secs(30);

/// After this a leg that was told to end is taken as ended: longer than SIP's 64·T1 (32 s).
const LEG_END: Duration = Duration::from_secs(40);

/// An INVITE younger than this may be sent again: to the far side it is a retransmission as long as its
/// transaction lives, which is 64·T1 (32 s, RFC 3261 §17.2.1) after its answer at the least. `sip` takes
/// 3.5 s for it, and a datagram may be 2 s late.
const RESUMABLE_MS: i64 = 25_000;

/// What the end of a leg means before anyone answered.
fn unanswered(cause: Cause, rang: bool) -> Outcome {
    match cause {
        Cause::Busy | Cause::Declined => Outcome::Refused,
        Cause::NoAnswer => Outcome::NoAnswer,
        Cause::Unavailable | Cause::Released if rang => Outcome::NoAnswer,
        Cause::NoResource => Outcome::NoResource,
        Cause::NotFound
        | Cause::Unavailable
        | Cause::Released
        | Cause::TrunkFailed
        | Cause::TrunkRefused
        | Cause::MediaFailed
        | Cause::MediaTimeout
        | Cause::HungUp
        | Cause::Internal => Outcome::Failed,
    }
}
