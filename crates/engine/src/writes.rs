//! What the engine wants on disk. The driver adds these to the store's current batch.

use crate::cdr::Cdr;
use crate::events::Event;
use crate::intent::{Idempotency, Intent};
use crate::vocabulary::{LegId, Serial, TrunkName};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// A call was accepted. `started`: it is dialled at once and never waits in the backlog.
    Accepted { intent: Box<Intent>, idempotency: Option<Idempotency>, started: bool },
    /// An INVITE with its port and bytes; on disk before its first byte leaves.
    Attempt(Box<Attempt>),
    /// The 2xx's dialog; on disk before the ACK leaves.
    Answered { serial: Serial, leg: LegId, at_ms: i64, dialog: Vec<u8> },
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
    pub trunk: TrunkName,
    /// 1 for the first INVITE of the call; each INVITE with credentials and each next trunk counts.
    pub number: u32,
    pub at_ms: i64,
    /// The INVITE as `sip` stores it: bytes, addresses, branch. Opaque here.
    pub wire: Vec<u8>,
    /// What `media` needs to open the same leg again: port and session description. Opaque here.
    pub media: Vec<u8>,
}

/// A call found on disk at start, with the last of its attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    pub intent: Intent,
    /// When it rang, where the event log says so.
    pub ringing_ms: Option<i64>,
    /// A recording of it was begun.
    pub recorded: bool,
    /// The last attempt, where the call was dialled.
    pub attempt: Option<Attempt>,
    /// The last attempt of each earlier leg, over trunks that failed it: what became of it there is
    /// not known either.
    pub earlier: Vec<Attempt>,
    /// The dialog of the 2xx and when it came, where it was answered.
    pub answered: Option<(Vec<u8>, i64)>,
}
