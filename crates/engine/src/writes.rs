//! What the engine wants on disk. The driver adds these to the store's current batch.

use crate::cdr::Cdr;
use crate::events::Event;
use crate::intent::{Idempotency, Intent};
use crate::vocabulary::{LegId, Serial, Side, TrunkName};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// A call was accepted. `started`: it is dialled at once and never waits in the backlog.
    Accepted { intent: Box<Intent>, idempotency: Option<Idempotency>, started: bool },
    /// An INVITE with its port and bytes; on disk before its first byte leaves.
    Attempt(Box<Attempt>),
    /// The INVITE of this attempt never leaves: the leg before it showed life in time.
    Withdrawn { serial: Serial, leg: LegId },
    /// The 2xx's dialog; on disk before the ACK leaves, or before our own 2xx to a caller.
    Answered { serial: Serial, leg: LegId, at_ms: i64, dialog: Vec<u8> },
    /// A tenant cancelled a call that had been started, and it is not over yet: whatever a restart finds of it, it is
    /// not dialled.
    Cancelled { serial: Serial },
    /// `callback`: the address that this event is delivered to, at least once.
    Event { event: Event, callback: Option<String> },
    /// The call is over: its record. Removes the intent, its attempts and its place in the backlog.
    /// The terminal event is a write of its own in the same batch.
    Ended(Box<Cdr>),
}

/// One dial attempt as it stands on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub serial: Serial,
    pub leg: LegId,
    pub side: Side,
    /// `None`: to a softphone.
    pub trunk: Option<TrunkName>,
    /// 1 for the first INVITE of the call; each INVITE with credentials, each next trunk and each
    /// party counts.
    pub number: u32,
    pub at_ms: i64,
    /// The INVITE as `sip` stores it: bytes, addresses, branch. Opaque here.
    pub wire: Vec<u8>,
    /// What `media` needs to open the same leg again: port and session description. Opaque here.
    pub media: Vec<u8>,
}

/// A call found on disk at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    pub intent: Intent,
    /// When the called party rang, where the event log says so.
    pub ringing_ms: Option<i64>,
    /// A recording of it was begun.
    pub recorded: bool,
    /// Its tenant was told that it ends: [`Write::Cancelled`].
    pub cancelled: bool,
    /// By the numbers of their attempts, a leg that came from outside first. What became of the
    /// earlier legs of a side, over trunks that failed it, is not known either. None: it was
    /// never dialled, and waits for its caller.
    pub legs: Vec<FoundLeg>,
}

/// A leg found on disk at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLeg {
    pub leg: LegId,
    /// Its last attempt; `None`: it came from outside.
    pub attempt: Option<Attempt>,
    /// The dialog of the 2xx and when it came or was about to leave, where it was answered.
    pub answered: Option<(Vec<u8>, i64)>,
}

impl FoundLeg {
    /// Nobody but a caller comes from outside.
    pub fn side(&self) -> Side {
        self.attempt.as_ref().map_or(Side::Caller, |attempt| attempt.side)
    }
}
