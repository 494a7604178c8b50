//! The call record: one per accepted call, written once, with its terminal event.

use serde::{Deserialize, Serialize};

use crate::intent::Intent;
use crate::vocabulary::CallKind;

/// How a call ended, in words that do not depend on the interface that asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything was played, the last round to its end.
    Played,
    /// The called party hung up (or the line broke) before the end of the playlist.
    CutShort,
    /// It rang until the ring limit, or the network said that nobody answers.
    NoAnswer,
    /// The called party was busy or declined after ringing.
    Refused,
    /// It failed before it rang: no route, trunk dead, number unknown, media not agreed.
    Failed,
    /// Nothing was free for it: ports, descriptors or the server itself.
    NoResource,
    /// It waited in the queue for as long as it may.
    QueueTimeout,
    /// A rule of the tenant forbids it.
    Restricted,
    /// The recording that the tenant demands could not be set up.
    RecordingFailed,
    /// Cancelled through `/v1/calls/{serial}/cancel` before it was answered.
    Cancelled,
    /// The server stopped while it was up.
    Interrupted,
    /// The server stopped while it was dialling and what became of it is not known.
    Unknown,
}

impl Outcome {
    /// `releaseReason` of the voice notification (contract §5.4, decisions.md "Refusals").
    pub fn voice_notification_reason(self, rang: bool) -> &'static str {
        match self {
            Outcome::Played => "1",
            Outcome::CutShort => "0",
            Outcome::NoAnswer | Outcome::Refused => "4",
            Outcome::Failed | Outcome::Cancelled if rang => "4",
            Outcome::Failed | Outcome::Cancelled => "6",
            Outcome::NoResource => "8",
            Outcome::QueueTimeout => "9",
            Outcome::Restricted => "10",
            Outcome::RecordingFailed => "999",
            Outcome::Interrupted | Outcome::Unknown => "998",
        }
    }
}

/// Why a leg ended, as the engine sees it; `sip` hides the protocol's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A party hung up a call that was up.
    Released,
    Busy,
    Declined,
    NoAnswer,
    /// The number does not exist or has no route.
    NotFound,
    /// The party's phone cannot be reached now.
    Unavailable,
    /// The trunk refused, was silent or broke.
    TrunkFailed,
    /// The two sides have no codec or transport in common, or the media could not be set up.
    MediaFailed,
    /// We ended it ourselves.
    HungUp,
    /// No port, descriptor or room in a queue.
    NoResource,
    /// A broken invariant in offhook; the call was given up, others go on.
    Internal,
}

/// One accepted call, from request to end. Times are ms since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cdr {
    pub intent: Intent,
    /// The INVITE was on disk and left.
    pub dialled_ms: Option<i64>,
    pub alerting_ms: Option<i64>,
    pub talking_ms: Option<i64>,
    pub released_ms: i64,
    /// Answer to release on the monotonic clock, ms; 0 where it was never answered.
    pub talk_duration_ms: u64,
    pub outcome: Outcome,
    /// Why the leg ended, where one was dialled.
    pub cause: Option<Cause>,
    /// The status line's code that ended the leg, where there was one.
    pub sip_status: Option<u16>,
    /// Whole rounds of the playlist that were played.
    pub rounds: u8,
    /// DTMF digits that the called party pressed, in order.
    pub digits: String,
    /// A recording of the call exists.
    pub recorded: bool,
    pub media: Option<MediaSummary>,
}

impl Cdr {
    pub fn kind(&self) -> CallKind {
        self.intent.order.call_kind()
    }

    /// `releaseReason` as the call's interface documents it.
    pub fn release_reason(&self) -> &'static str {
        match self.kind() {
            CallKind::VoiceNotification => {
                self.outcome.voice_notification_reason(self.alerting_ms.is_some())
            }
        }
    }
}

/// What crossed the wire on a leg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaSummary {
    pub codec: String,
    pub packets_sent: u64,
    pub packets_received: u64,
    pub packets_lost: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1), microseconds.
    pub jitter_us: u32,
    /// Our own packets that left more than 5 ms off their tick.
    pub late_packets: u64,
    /// Estimated MOS of what we received, hundredths (E-model); `None` without packets.
    pub mos_x100: Option<u16>,
}
