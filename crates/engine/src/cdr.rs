//! The call record: one per accepted call, written once, with its terminal event.

use serde::{Deserialize, Serialize};

use crate::intent::Intent;
use crate::vocabulary::{CallKind, TrunkName};

mod draft;
pub use draft::{Draft, LegDraft, LegEnd, Recording};

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
    /// A rule of the tenant forbids it, or cut it when the minutes of its day were used up.
    Restricted,
    /// The recording that the tenant demands could not be set up.
    RecordingFailed,
    /// Cancelled through `/v1/calls/{serial}/cancel`: while it waited, was dialled or was up.
    Cancelled,
    /// The server stopped while it was up.
    Interrupted,
    /// What became of its INVITE is not known: the server stopped while it was dialling, or the trunk that had begun to
    /// answer was gone.
    Unknown,
    /// The two parties talked, or one waited for the other, and the called party hung up.
    CalledHungUp,
    /// The same; the caller hung up, perhaps before the called party answered.
    CallerHungUp,
    /// The caller's leg could not be set up, or broke.
    CallerFailed,
    /// The called party's leg could not be set up after the caller's, or broke.
    CalledFailed,
    /// The caller did not take the call: it rang until the limit, was busy or declined.
    CallerNoAnswer,
    /// The two talked for as long as a call may last.
    TimeUp,
    /// Nobody came with the code.
    Unused,
}

impl Outcome {
    /// `releaseReason` of the voice notification (contract §5.4, decisions.md "Refusals").
    pub fn voice_notification_reason(self, reached: Reached) -> &'static str {
        match self {
            Outcome::Played => "1",
            Outcome::CutShort => "0",
            Outcome::NoAnswer | Outcome::Refused => "4",
            Outcome::Failed => match reached {
                Reached::Nothing => "6",
                Reached::Ringing => "4",
                // Somebody answered and heard nothing whole: neither "hung up" nor "call again".
                Reached::Answer => "998",
            },
            Outcome::NoResource => "8",
            Outcome::QueueTimeout => "9",
            Outcome::Restricted => "10",
            Outcome::RecordingFailed => "999",
            Outcome::Cancelled
            | Outcome::Interrupted
            | Outcome::Unknown
            | Outcome::CalledHungUp
            | Outcome::CallerHungUp
            | Outcome::CallerFailed
            | Outcome::CalledFailed
            | Outcome::CallerNoAnswer
            | Outcome::TimeUp
            | Outcome::Unused => "998",
        }
    }

    /// `releaseReason` and `reasonCode` of a call of two parties (contract §6); from 8 on as for a
    /// voice notification. `dialled`: an INVITE of it was out.
    pub fn two_party_reason(self, dialled: bool) -> &'static str {
        match self {
            Outcome::CalledHungUp | Outcome::CutShort => "0",
            Outcome::CallerHungUp | Outcome::Played => "1",
            Outcome::CallerFailed => "2",
            Outcome::CalledFailed => "3",
            Outcome::CallerNoAnswer => "4",
            Outcome::NoAnswer | Outcome::Refused => "5",
            // Not "failed to start", which invites to call again, once somebody's phone may have rung.
            Outcome::Failed if dialled => "998",
            Outcome::Failed | Outcome::Unused => "6",
            Outcome::NoResource => "8",
            Outcome::QueueTimeout => "9",
            Outcome::Restricted => "10",
            Outcome::RecordingFailed => "999",
            Outcome::Cancelled | Outcome::Interrupted | Outcome::Unknown | Outcome::TimeUp => "998",
        }
    }
}

/// How far a call got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    Nothing,
    Ringing,
    Answer,
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
    /// The trunk was silent, broke, or said that it cannot serve the call now (5xx).
    TrunkFailed,
    /// The trunk does not take this call: credentials, a number it does not like, its own rules.
    TrunkRefused,
    /// The two sides have no codec or transport in common, or the media could not be set up.
    MediaFailed,
    /// We ended it ourselves.
    HungUp,
    /// Nothing was heard of it for the media time-out.
    MediaTimeout,
    /// No port, descriptor or room in a queue.
    NoResource,
    /// A broken invariant in offhook; the call was given up, others go on.
    Internal,
}

/// One accepted call, from request to end. Times are ms since 1970. What is of one leg is the called
/// party's; the caller's, where a call has one, is in `caller`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cdr {
    pub intent: Intent,
    /// The trunk that it was dialled over last.
    #[serde(default)]
    pub trunk: Option<TrunkName>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<CallerLeg>,
}

/// The caller's leg in the record of a call of two parties.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerLeg {
    /// As ordered, or as it called; of an anonymous caller the number that is shown for it.
    pub number: String,
    /// The trunk that it was dialled over; `None` also where it called us.
    pub trunk: Option<TrunkName>,
    /// The INVITE was on disk and left, or came.
    pub dialled_ms: Option<i64>,
    pub alerting_ms: Option<i64>,
    pub talking_ms: Option<i64>,
    /// `None` where there was no leg.
    pub released_ms: Option<i64>,
    /// Answer to release on the monotonic clock, ms.
    pub talk_duration_ms: u64,
    pub cause: Option<Cause>,
    pub sip_status: Option<u16>,
    pub media: Option<MediaSummary>,
}

impl Cdr {
    pub fn kind(&self) -> CallKind {
        self.intent.order.call_kind()
    }

    /// `releaseReason` as the call's interface documents it.
    pub fn release_reason(&self) -> &'static str {
        match self.kind() {
            CallKind::VoiceNotification => self.outcome.voice_notification_reason(self.reached()),
            CallKind::BidirectionalCall | CallKind::AnonymousCall => {
                let caller = self.caller.as_ref().and_then(|leg| leg.dialled_ms);
                self.outcome.two_party_reason(caller.or(self.dialled_ms).is_some())
            }
        }
    }

    pub fn progress(&self) -> Progress {
        let caller = self.caller.as_ref();
        Progress {
            dialled_ms: self.dialled_ms,
            alerting_ms: self.alerting_ms,
            talking_ms: self.talking_ms,
            caller_alerting_ms: caller.and_then(|leg| leg.alerting_ms),
            caller_talking_ms: caller.and_then(|leg| leg.talking_ms),
        }
    }

    pub fn reached(&self) -> Reached {
        match (self.talking_ms, self.alerting_ms) {
            (Some(_), _) => Reached::Answer,
            (None, Some(_)) => Reached::Ringing,
            (None, None) => Reached::Nothing,
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

/// How far a call has come that is not over. Times are ms since 1970; the called party's but for the
/// last two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    pub dialled_ms: Option<i64>,
    pub alerting_ms: Option<i64>,
    pub talking_ms: Option<i64>,
    pub caller_alerting_ms: Option<i64>,
    pub caller_talking_ms: Option<i64>,
}
