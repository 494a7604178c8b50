//! The call record: one per accepted call, written once, with its terminal event.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::intent::Intent;
use crate::vocabulary::{CallKind, Now, TrunkName};

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
            Outcome::Cancelled | Outcome::Interrupted | Outcome::Unknown => "998",
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
    /// No port, descriptor or room in a queue.
    NoResource,
    /// A broken invariant in offhook; the call was given up, others go on.
    Internal,
}

/// One accepted call, from request to end. Times are ms since 1970.
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
}

impl Cdr {
    pub fn kind(&self) -> CallKind {
        self.intent.order.call_kind()
    }

    /// `releaseReason` as the call's interface documents it.
    pub fn release_reason(&self) -> &'static str {
        match self.kind() {
            CallKind::VoiceNotification => self.outcome.voice_notification_reason(self.reached()),
        }
    }

    pub fn progress(&self) -> Progress {
        let Cdr { dialled_ms, alerting_ms, talking_ms, .. } = *self;
        Progress { dialled_ms, alerting_ms, talking_ms }
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

/// The longest string of digits that a record keeps; more are events only.
const DIGITS_KEPT: usize = 128;

/// What is known of a call that is not over yet.
#[derive(Debug, Clone)]
pub struct Draft {
    pub intent: Intent,
    /// The trunk that it is dialled over.
    pub trunk: Option<TrunkName>,
    pub dialled_ms: Option<i64>,
    pub alerting_ms: Option<i64>,
    pub talking_ms: Option<i64>,
    /// The answer, on the monotonic clock.
    answered_at: Option<Duration>,
    pub rounds: u8,
    digits: String,
    pub recorded: bool,
}

/// How far a call has come that is not over. Times are ms since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    pub dialled_ms: Option<i64>,
    pub alerting_ms: Option<i64>,
    pub talking_ms: Option<i64>,
}

/// How a leg ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegEnd {
    pub cause: Cause,
    pub sip_status: Option<u16>,
    pub media: Option<MediaSummary>,
}

impl Draft {
    pub fn new(intent: Intent) -> Draft {
        Draft {
            intent,
            trunk: None,
            dialled_ms: None,
            alerting_ms: None,
            talking_ms: None,
            answered_at: None,
            rounds: 0,
            digits: String::new(),
            recorded: false,
        }
    }

    pub fn answered(&mut self, now: Now) {
        self.talking_ms = Some(now.unix_ms);
        self.answered_at = Some(now.since_start);
    }

    pub fn progress(&self) -> Progress {
        let Draft { dialled_ms, alerting_ms, talking_ms, .. } = *self;
        Progress { dialled_ms, alerting_ms, talking_ms }
    }

    pub fn digit(&mut self, digit: char) {
        if self.digits.len() < DIGITS_KEPT {
            self.digits.push(digit);
        }
    }

    pub fn finish(&self, outcome: Outcome, end: Option<LegEnd>, now: Now) -> Cdr {
        let talked =
            self.answered_at.map_or(Duration::ZERO, |at| now.since_start.saturating_sub(at));
        let (cause, sip_status, media) = match end {
            Some(end) => (Some(end.cause), end.sip_status, end.media),
            None => (None, None, None),
        };
        Cdr {
            intent: self.intent.clone(),
            trunk: self.dialled_ms.and(self.trunk.clone()),
            dialled_ms: self.dialled_ms,
            alerting_ms: self.alerting_ms,
            talking_ms: self.talking_ms,
            // A wall clock that stepped back must not end a call before it began.
            released_ms: now.unix_ms.max(self.talking_ms.unwrap_or(self.intent.created_ms)),
            talk_duration_ms: talked.as_millis() as u64,
            outcome,
            cause,
            sip_status,
            rounds: self.rounds,
            digits: self.digits.clone(),
            recorded: self.recorded,
            media,
        }
    }
}
