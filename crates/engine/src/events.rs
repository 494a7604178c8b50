//! The event log: one ordered, durable list per tenant, the one source of what happened.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::cdr::{Cause, Cdr};
use crate::vocabulary::{LegId, Serial, Side, TenantId, TrunkName};

/// One entry; its position is given inside the commit, by tenant and without gaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub tenant: TenantId,
    /// The call that it belongs to, where there is one.
    pub serial: Option<Serial>,
    /// Wall clock, ms since 1970.
    pub at_ms: i64,
    pub kind: EventKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventKind {
    Accepted {
        called: String,
        caller_present: String,
    },
    /// It waits, and for what.
    Queued {
        why: Waiting,
    },
    /// The caller may come with its code until then.
    Expecting {
        until_ms: i64,
    },
    /// The caller's INVITE has come.
    Arrived {
        leg: LegId,
        source: IpAddr,
    },
    /// An attempt is on disk; its INVITE leaves now.
    Dialling {
        leg: LegId,
        #[serde(default, skip_serializing_if = "Side::is_called")]
        side: Side,
        /// `None`: to a softphone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trunk: Option<TrunkName>,
        attempt: u32,
    },
    /// The far side sends the call on, and the tenant's rules allow it.
    Redirected {
        leg: LegId,
        to: String,
    },
    Ringing {
        leg: LegId,
        #[serde(default, skip_serializing_if = "Side::is_called")]
        side: Side,
    },
    Answered {
        leg: LegId,
        #[serde(default, skip_serializing_if = "Side::is_called")]
        side: Side,
    },
    /// The two parties hear each other.
    Bridged {
        caller: LegId,
        called: LegId,
    },
    /// A party has put the other on hold.
    Held {
        leg: LegId,
        side: Side,
    },
    Resumed {
        leg: LegId,
        side: Side,
    },
    PlayStarted {
        leg: LegId,
    },
    Digit {
        leg: LegId,
        #[serde(default, skip_serializing_if = "Side::is_called")]
        side: Side,
        digit: char,
    },
    RoundPlayed {
        leg: LegId,
        round: u8,
    },
    /// From here on the recording holds silence, and keys that are pressed are not written down.
    RecordingPaused {
        leg: LegId,
    },
    RecordingResumed {
        leg: LegId,
    },
    /// It is hung up, since its tenant has no minute left of the day.
    MinutesUsedUp,
    /// It is hung up, since its tenant's ITA calls have talked all that was paid for.
    BalanceUsedUp,
    /// One leg ended; the call may go on.
    LegEnded {
        leg: LegId,
        #[serde(default, skip_serializing_if = "Side::is_called")]
        side: Side,
        cause: Cause,
        sip_status: Option<u16>,
    },
    /// The terminal event: exactly one per accepted call.
    Ended {
        cdr: Box<Cdr>,
    },
    /// The tenant calls numbers that begin like this for the first time: perhaps its key was stolen.
    NewPrefix {
        prefix: String,
    },
    /// An uploaded recording was approved or rejected.
    RecordingReviewed {
        review: RecordingReview,
    },
}

/// The outcome of the review of an upload (contract §5.4b).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingReview {
    pub voice_id: String,
    pub approved: bool,
    pub comment: String,
    pub file_name: String,
}

/// Why a call waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// Others of the same tenant and trunk wait; priority, then age, decides among them.
    BehindOthers {
        waiting: u32,
    },
    TenantRate,
    TenantConcurrency,
    TrunkRate,
    TrunkConcurrency,
    /// The trunk is not registered or out of service.
    TrunkDown,
    /// The server holds as many calls as it may.
    ServerFull,
}

impl EventKind {
    /// The stable name in the database and in `/v1`.
    pub fn name(&self) -> &'static str {
        match self {
            EventKind::Accepted { .. } => "call.accepted",
            EventKind::Queued { .. } => "call.queued",
            EventKind::Expecting { .. } => "call.expecting",
            EventKind::Arrived { .. } => "call.arrived",
            EventKind::Dialling { .. } => "call.dialling",
            EventKind::Redirected { .. } => "call.redirected",
            EventKind::Ringing { .. } => "call.ringing",
            EventKind::Answered { .. } => "call.answered",
            EventKind::Bridged { .. } => "call.bridged",
            EventKind::Held { .. } => "call.held",
            EventKind::Resumed { .. } => "call.resumed",
            EventKind::PlayStarted { .. } => "call.play_started",
            EventKind::Digit { .. } => "call.digit",
            EventKind::RoundPlayed { .. } => "call.round_played",
            EventKind::RecordingPaused { .. } => "call.recording_paused",
            EventKind::RecordingResumed { .. } => "call.recording_resumed",
            EventKind::MinutesUsedUp => "call.minutes_used_up",
            EventKind::BalanceUsedUp => "call.balance_used_up",
            EventKind::LegEnded { .. } => "call.leg_ended",
            EventKind::Ended { .. } => "call.ended",
            EventKind::NewPrefix { .. } => "tenant.new_prefix",
            EventKind::RecordingReviewed { .. } => "recording.reviewed",
        }
    }
}
