//! The nouns that every floor shares: who, which call, which leg, when.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The moment an input is handled. Timers run on `since_start` (monotonic); rows carry `unix_ms`.
///
/// The two are separate arguments because a wall clock steps: a call's durations come from the
/// monotonic one and cannot become negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Time since the process started.
    pub since_start: Duration,
    /// Wall clock, milliseconds since 1970-01-01 UTC.
    pub unix_ms: i64,
}

impl Now {
    /// The same world `by` later; both clocks move.
    #[must_use]
    pub fn later(self, by: Duration) -> Now {
        Now { since_start: self.since_start + by, unix_ms: self.unix_ms + by.as_millis() as i64 }
    }
}

/// A point on the monotonic clock at which something is due.
pub type Deadline = Duration;

/// A tenant: one VDN of the pages, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TenantId(pub u32);

/// The serial number of an accepted call (`callSerialNo` of the pages), 63 bits, never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Serial(pub u64);

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One dial attempt or one inbound INVITE; never reused, so a late message of an earlier attempt
/// meets nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LegId(pub u64);

/// The name of a trunk in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrunkName(pub Arc<str>);

impl From<&str> for TrunkName {
    fn from(name: &str) -> Self {
        TrunkName(name.into())
    }
}

impl fmt::Display for TrunkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One place where a softphone is registered: the driver's own number, good until it restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindingId(pub u64);

/// A party of a call: who called or was called first, and who is connected with them. The only leg
/// of a voice notification is the called party's.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Caller,
    #[default]
    Called,
}

impl Side {
    /// The name in the API and the database.
    pub fn name(self) -> &'static str {
        match self {
            Side::Caller => "caller",
            Side::Called => "called",
        }
    }

    pub(crate) fn is_called(&self) -> bool {
        *self == Side::Called
    }
}

/// What a call of a tenant waits for or is limited by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    VoiceNotification,
    /// Two parties that are called one after the other and connected (page 001); also a call to a
    /// virtual number that connects them (ITA).
    BidirectionalCall,
    /// A party that comes by a code and is connected (page 000).
    AnonymousCall,
}

impl CallKind {
    /// The name in the API, the database and the logs.
    pub fn name(self) -> &'static str {
        match self {
            CallKind::VoiceNotification => "voice_notification",
            CallKind::BidirectionalCall => "bidirectional_call",
            CallKind::AnonymousCall => "anonymous_call",
        }
    }
}

/// 1 (first) to 9 (last), the default; page 003, `priority`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Priority(u8);

impl Priority {
    pub const LAST: Priority = Priority(9);

    /// `None` outside 1 to 9.
    pub fn new(value: u8) -> Option<Priority> {
        (1..=9).contains(&value).then_some(Priority(value))
    }

    pub fn value(self) -> u8 {
        self.0
    }
}

/// How fast and how many: calls of one tenant, or calls over one trunk. What is over a limit waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// Calls started per second.
    pub calls_per_second: u32,
    /// Calls that are dialling or up at the same time.
    pub concurrent_calls: u32,
}

/// What a tenant's calls may do; each value is the tenant's setting or the process's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantLimits {
    #[serde(flatten)]
    pub pace: Pace,
    /// Calls that may wait; the next one is refused.
    pub queue_length: u32,
    /// Refuse a call whose kind, caller and called equal an unfinished one's (return code 1).
    pub refuse_duplicates: bool,
    pub daily: DailyLimits,
    /// Minutes that its ITA calls may talk in all, ever; `None`: as much as they like.
    #[serde(default)]
    pub ita_minutes: Option<u32>,
}

/// What a tenant may use up in a day; `None`: as much as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DailyLimits {
    /// Calls accepted.
    pub calls: Option<u32>,
    /// Minutes talked, in all.
    pub minutes: Option<u32>,
    /// Where the day begins: the tenant's zone, seconds east of UTC.
    pub utc_offset_s: i32,
}

impl DailyLimits {
    pub const DAY_MS: i64 = 86_400_000;

    /// The tenant's last midnight, ms since 1970.
    pub fn day_start_ms(&self, unix_ms: i64) -> i64 {
        let offset_ms = i64::from(self.utc_offset_s) * 1000;
        (unix_ms + offset_ms).div_euclid(Self::DAY_MS) * Self::DAY_MS - offset_ms
    }
}
