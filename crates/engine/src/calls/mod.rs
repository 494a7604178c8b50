//! One room per kind of call. A room decides what its call does next and says so in [`Effects`].

use std::net::IpAddr;
use std::time::Duration;

use crate::action::{Action, FetchFault, LegInput};
use crate::cdr::{Cause, Cdr, Draft, Outcome};
use crate::events::EventKind;
use crate::intent::{Caller, Intent, OrderKind};
use crate::route::Route;
use crate::vocabulary::{BindingId, Deadline, LegId, Now, Side, TrunkName};
use crate::writes::{Unfinished, Write};

mod anonymous_call;
mod bidirectional_call;
mod connecting;
mod dial;
mod endings;
mod places;
mod talk;
mod voice_notification;
mod way;

use anonymous_call::AnonymousCall;
use bidirectional_call::BidirectionalCall;
use voice_notification::VoiceNotification;

/// What a room hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallInput {
    /// It may start: the backlog let it through, over this trunk.
    Start(TrunkName),
    Fetched(Result<(), FetchFault>),
    Leg(LegId, LegInput),
    /// The answer to [`Effects::trunks`]; `None`: not both are free.
    Trunks(Option<TwoTrunks>),
    PhoneFound(Vec<BindingId>),
    /// Its caller has come, over this leg.
    Arrived {
        leg: LegId,
        source: IpAddr,
        /// The trunk that the called party may be dialled over; `None`: it is at a softphone.
        way: Result<Option<TrunkName>, Denied>,
    },
    /// The answer to [`Effects::next_trunk`]; `None`: there is none.
    Trunk(Option<TrunkName>),
    /// It is ended from outside: a tenant cancels it, the minutes of a day are used up, the server stops.
    Stop(Outcome),
    /// The room's own deadline, so long after it was due.
    Tick {
        late: Duration,
    },
}

/// A slot of a trunk for each party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwoTrunks {
    pub called: TrunkName,
    pub caller: TrunkName,
}

/// Why a caller who came is not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// The tenant has used up its day.
    Restricted,
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
        side: Side,
        route: Route,
        tried: Vec<TrunkName>,
        silent: bool,
    },
    /// `next` is to replace `silent`, which is hung up as soon as the INVITE of `next` has left, or with it.
    Race {
        silent: LegId,
        next: LegId,
    },
    /// The silent leg showed life before that: the call stays with it and its trunk, and `next` is not dialled.
    Stay {
        side: Side,
        trunk: TrunkName,
        next: LegId,
    },
    /// A slot of a trunk for the caller too, or of none at all. Answered by [`CallInput::Trunks`] in the
    /// same step.
    Trunks {
        caller: Route,
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
    fn next_trunk(&mut self, side: Side, route: Route, tried: Vec<TrunkName>, silent: bool) {
        self.list.push(Effect::NextTrunk { side, route, tried, silent });
    }

    fn race(&mut self, silent: LegId, next: LegId) {
        self.list.push(Effect::Race { silent, next });
    }

    fn stay(&mut self, side: Side, trunk: TrunkName, next: LegId) {
        self.list.push(Effect::Stay { side, trunk, next });
    }

    /// A trunk for the caller besides the called party's; where not both are free, none is held.
    fn trunks(&mut self, caller: Route) {
        self.list.push(Effect::Trunks { caller });
    }

    fn over(&mut self, cdr: Cdr) {
        self.list.push(Effect::Over(Box::new(cdr)));
    }
}

/// A call in its room.
#[derive(Debug)]
pub enum Room {
    VoiceNotification(Box<VoiceNotification>),
    BidirectionalCall(Box<BidirectionalCall>),
    /// Also a call to a virtual number: its caller comes by itself too.
    AnonymousCall(Box<AnonymousCall>),
    /// A room whose every step breaks an invariant: shows what that costs the others.
    #[cfg(test)]
    Broken(Box<Draft>),
}

impl Room {
    pub fn new(intent: Intent, now: Now) -> Room {
        let draft = Draft::new(intent);
        match RoomKind::of(&draft.intent.order.kind) {
            RoomKind::VoiceNotification => {
                Room::VoiceNotification(Box::new(VoiceNotification::new(draft, now)))
            }
            RoomKind::BidirectionalCall => {
                Room::BidirectionalCall(Box::new(BidirectionalCall::new(draft, now)))
            }
            RoomKind::AnonymousCall => {
                Room::AnonymousCall(Box::new(AnonymousCall::new(draft, now)))
            }
        }
    }

    /// The room of a call that the last run left behind.
    pub fn recover(found: Unfinished, now: Now, out: &mut Effects) -> Room {
        match RoomKind::of(&found.intent.order.kind) {
            RoomKind::VoiceNotification => {
                Room::VoiceNotification(Box::new(VoiceNotification::recover(found, now, out)))
            }
            RoomKind::BidirectionalCall => {
                Room::BidirectionalCall(Box::new(BidirectionalCall::recover(found, now, out)))
            }
            RoomKind::AnonymousCall => {
                Room::AnonymousCall(Box::new(AnonymousCall::recover(found, now, out)))
            }
        }
    }

    pub fn handle(&mut self, input: CallInput, now: Now, out: &mut Effects) {
        match self {
            Room::VoiceNotification(room) => room.handle(input, now, out),
            Room::BidirectionalCall(room) => room.handle(input, now, out),
            Room::AnonymousCall(room) => room.handle(input, now, out),
            #[cfg(test)]
            Room::Broken(_) => panic!("a broken invariant, for the test"),
        }
    }

    /// `None` only once the call is over.
    pub fn wake_at(&self) -> Option<Deadline> {
        match self {
            Room::VoiceNotification(room) => room.wake_at(),
            Room::BidirectionalCall(room) => room.wake_at(),
            Room::AnonymousCall(room) => room.wake_at(),
            #[cfg(test)]
            Room::Broken(_) => Some(Duration::MAX),
        }
    }

    /// It waits for its caller or for trunks: nothing of it is out, and a start finds it again.
    pub fn is_dormant(&self) -> bool {
        match self {
            Room::VoiceNotification(_) => false,
            Room::BidirectionalCall(room) => room.is_dormant(),
            Room::AnonymousCall(room) => room.is_dormant(),
            #[cfg(test)]
            Room::Broken(_) => false,
        }
    }

    pub fn draft(&self) -> &Draft {
        match self {
            Room::VoiceNotification(room) => &room.draft,
            Room::BidirectionalCall(room) => &room.draft,
            Room::AnonymousCall(room) => &room.draft,
            #[cfg(test)]
            Room::Broken(draft) => draft,
        }
    }

    pub fn draft_mut(&mut self) -> &mut Draft {
        match self {
            Room::VoiceNotification(room) => &mut room.draft,
            Room::BidirectionalCall(room) => &mut room.draft,
            Room::AnonymousCall(room) => &mut room.draft,
            #[cfg(test)]
            Room::Broken(draft) => draft,
        }
    }
}

/// Which room makes a call.
enum RoomKind {
    VoiceNotification,
    BidirectionalCall,
    AnonymousCall,
}

impl RoomKind {
    fn of(kind: &OrderKind) -> RoomKind {
        match kind {
            OrderKind::VoiceNotification { .. } => RoomKind::VoiceNotification,
            OrderKind::BidirectionalCall(call) => match call.caller {
                Caller::Dialled(_) => RoomKind::BidirectionalCall,
                Caller::Inbound { .. } => RoomKind::AnonymousCall,
            },
            OrderKind::AnonymousCall(_) => RoomKind::AnonymousCall,
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

/// The outcome of dialling one party, for a call of two.
fn of_party(side: Side, outcome: Outcome) -> Outcome {
    match (side, outcome) {
        (Side::Caller, Outcome::NoAnswer | Outcome::Refused) => Outcome::CallerNoAnswer,
        (Side::Caller, Outcome::Failed) => Outcome::CallerFailed,
        (Side::Called, Outcome::Failed) => Outcome::CalledFailed,
        (Side::Caller | Side::Called, outcome) => outcome,
    }
}
