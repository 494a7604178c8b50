//! What is known of a call that is not over yet.

use std::time::Duration;

use super::{CallerLeg, Cause, Cdr, MediaSummary, Outcome, Progress};
use crate::intent::Intent;
use crate::vocabulary::{CallKind, LegId, Now, Side, TrunkName};

/// The longest string of digits that a record keeps; more are events only.
const DIGITS_KEPT: usize = 128;

/// The most events of one call that a party causes by what it does as often as it likes (keys, hold); each is
/// written to disk.
const TOLD: u32 = 500;

/// Keys by INFO of one party that are carried across in a second; a person presses fewer, and a tone of
/// RFC 4733 with its pause takes longer.
const KEYS_PER_SECOND: u32 = 20;

#[derive(Debug, Clone)]
pub struct Draft {
    pub intent: Intent,
    pub caller: LegDraft,
    pub called: LegDraft,
    /// INVITEs so far; no two of a call have one number.
    pub attempts: u32,
    pub rounds: u8,
    digits: String,
    pub recording: Recording,
}

/// What is known of the recording of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    None,
    /// An earlier run of the server made it, and it is over.
    Kept,
    /// Of this leg.
    Running(LegId),
    /// The file gets silence, until it is resumed.
    Paused(LegId),
}

/// What is known of a party's leg.
#[derive(Debug, Clone, Default)]
pub struct LegDraft {
    /// The trunk that it is dialled over.
    pub trunk: Option<TrunkName>,
    pub dialled_ms: Option<i64>,
    pub alerting_ms: Option<i64>,
    pub talking_ms: Option<i64>,
    /// The answer, on the monotonic clock.
    answered_at: Option<Duration>,
    /// Why we ended it, where that says more than that we did.
    named: Option<Cause>,
    end: Option<(LegEnd, Now)>,
    /// The leg whose end is the party's, where several were dialled and none answered.
    stands: Option<LegId>,
    /// Events that the party caused so far, up to [`TOLD`].
    told: u32,
    /// A second, by when it began, and the keys that were carried across in it.
    keys: (Duration, u32),
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
            caller: LegDraft::default(),
            called: LegDraft::default(),
            attempts: 0,
            rounds: 0,
            digits: String::new(),
            recording: Recording::None,
        }
    }

    pub fn side(&mut self, side: Side) -> &mut LegDraft {
        match side {
            Side::Caller => &mut self.caller,
            Side::Called => &mut self.called,
        }
    }

    pub fn progress(&self) -> Progress {
        Progress {
            dialled_ms: self.called.dialled_ms,
            alerting_ms: self.called.alerting_ms,
            talking_ms: self.called.talking_ms,
            caller_alerting_ms: self.caller.alerting_ms,
            caller_talking_ms: self.caller.talking_ms,
        }
    }

    /// An INVITE left or came: the call cannot simply wait again.
    pub fn is_dialled(&self) -> bool {
        self.caller.dialled_ms.or(self.called.dialled_ms).is_some()
    }

    /// Every party has answered.
    pub fn is_up(&self) -> bool {
        let caller = match self.intent.order.call_kind() {
            CallKind::VoiceNotification => true,
            CallKind::BidirectionalCall | CallKind::AnonymousCall => {
                self.caller.talking_ms.is_some()
            }
        };
        caller && self.called.talking_ms.is_some()
    }

    /// The number of the next INVITE.
    pub fn next_attempt(&mut self) -> u32 {
        self.attempts += 1;
        self.attempts
    }

    /// A key that the called party pressed.
    pub fn digit(&mut self, digit: char) {
        if self.digits.len() < DIGITS_KEPT {
            self.digits.push(digit);
        }
    }

    /// `end`: how the called party's leg ended, where that was not said before.
    pub fn finish(&self, outcome: Outcome, end: Option<LegEnd>, now: Now) -> Cdr {
        let LegDraft { trunk, dialled_ms, alerting_ms, talking_ms, .. } = self.called.clone();
        let end = end.or_else(|| self.called.known_end());
        let (cause, sip_status, media) = in_parts(end);
        let began = talking_ms.or(self.caller.talking_ms).unwrap_or(self.intent.created_ms);
        Cdr {
            intent: self.intent.clone(),
            trunk: dialled_ms.and(trunk),
            dialled_ms,
            alerting_ms,
            talking_ms,
            // A wall clock that stepped back must not end a call before it began.
            released_ms: now.unix_ms.max(began),
            talk_duration_ms: self.called.talked(now).as_millis() as u64,
            outcome,
            cause,
            sip_status,
            rounds: self.rounds,
            digits: self.digits.clone(),
            recorded: self.recording != Recording::None,
            media,
            caller: self.caller_leg(now),
        }
    }

    fn caller_leg(&self, now: Now) -> Option<CallerLeg> {
        match self.intent.order.call_kind() {
            CallKind::VoiceNotification => return None,
            CallKind::BidirectionalCall | CallKind::AnonymousCall => {}
        }
        let leg = &self.caller;
        let released_ms = leg.end.as_ref().map_or(now, |(_, at)| *at).unix_ms;
        let (cause, sip_status, media) = in_parts(leg.known_end());
        Some(CallerLeg {
            number: self.intent.order.caller_number().to_owned(),
            trunk: leg.dialled_ms.and(leg.trunk.clone()),
            dialled_ms: leg.dialled_ms,
            alerting_ms: leg.alerting_ms,
            talking_ms: leg.talking_ms,
            released_ms: leg
                .dialled_ms
                .map(|dialled| released_ms.max(leg.talking_ms.unwrap_or(dialled))),
            talk_duration_ms: leg.talked(now).as_millis() as u64,
            cause,
            sip_status,
            media,
        })
    }
}

impl Recording {
    /// Of a call that the last run left behind.
    pub fn found(recorded: bool) -> Recording {
        if recorded { Recording::Kept } else { Recording::None }
    }
}

impl LegDraft {
    pub fn answered(&mut self, now: Now) {
        self.talking_ms = Some(now.unix_ms);
        self.answered_at = Some(now.since_start);
    }

    /// Counts an event that the party caused; `false`: it has caused enough, and this one is not logged.
    pub fn may_tell(&mut self) -> bool {
        let may = self.told < TOLD;
        self.told += u32::from(may);
        may
    }

    /// Counts a key that is carried across; `false`: too many came in this second.
    pub fn may_send_digit(&mut self, now: Now) -> bool {
        let (began, sent) = self.keys;
        if now.since_start >= began + Duration::from_secs(1) {
            self.keys = (now.since_start, 1);
            return true;
        }
        self.keys = (began, sent + 1);
        sent < KEYS_PER_SECOND
    }

    /// Its leg is told to end for this reason.
    pub fn blame(&mut self, cause: Cause) {
        self.named.get_or_insert(cause);
    }

    /// Nobody answered: what became of `leg` stands for the party, whatever its other legs say later.
    pub fn stands(&mut self, leg: LegId, cause: Cause, end: Option<(LegEnd, Now)>) {
        self.blame(cause);
        self.stands = Some(leg);
        self.end = end;
    }

    /// A leg of it is over; the cause that stands. One that was ours to name (no codec in common) says more
    /// than "we hung up".
    pub fn ended(&mut self, leg: LegId, end: LegEnd, now: Now) -> Cause {
        if self.stands.is_some_and(|stands| stands != leg) {
            return end.cause;
        }
        let cause = self.named.unwrap_or(end.cause);
        self.end = Some((LegEnd { cause, ..end }, now));
        cause
    }

    fn known_end(&self) -> Option<LegEnd> {
        let named = || self.named.map(|cause| LegEnd { cause, sip_status: None, media: None });
        self.end.as_ref().map(|(end, _)| end.clone()).or_else(named)
    }

    /// Until its leg ended, or until now.
    fn talked(&self, now: Now) -> Duration {
        let until = self.end.as_ref().map_or(now, |(_, at)| *at).since_start;
        self.answered_at.map_or(Duration::ZERO, |at| until.saturating_sub(at))
    }
}

fn in_parts(end: Option<LegEnd>) -> (Option<Cause>, Option<u16>, Option<MediaSummary>) {
    match end {
        Some(end) => (Some(end.cause), end.sip_status, end.media),
        None => (None, None, None),
    }
}
