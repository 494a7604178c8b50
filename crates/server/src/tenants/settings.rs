//! What a tenant's calls may do. Stored as JSON in the store, written as TOML in `[[tenant]]`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use engine::route::Route;
use engine::vocabulary::{DailyLimits, Pace, TenantLimits, TrunkName};
use serde::{Deserialize, Serialize};
use time::UtcOffset;

use super::Retention;
use crate::callbacks::trust::{TrustList, parse_callback_url};
use crate::config::{Defaults, Fraud};

use super::routes::PrefixRoute;
use super::two_legs::{Anonymous, Bidirectional, Ita, check_service_address};

/// A tenant's settings; what is absent takes the process's default (`[defaults]`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantSettings {
    /// Whether the voice notification interfaces are on; off: HTTP 401. Default true.
    pub voice_notification: bool,
    /// Which bidirectional call it has; default `aicc`.
    pub bidirectional_call: Bidirectional,
    #[serde(skip_serializing_if = "Ita::is_default")]
    pub ita: Ita,
    #[serde(skip_serializing_if = "Anonymous::is_default")]
    pub anonymous_call: Anonymous,
    /// Where its phones and apps find the server, `ip:port`; default the SIP listener's public address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sip_service_address: Option<String>,
    /// What `getCalledInfo` says of a number: the number that stands behind it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub called_marks: BTreeMap<String, String>,
    /// Which trunks carry which numbers: the longest prefix wins; a number without one is refused.
    pub routes: Vec<PrefixRoute>,
    /// Follow a carrier that sends a call on (3xx) to a number that these settings let the tenant call.
    pub redirects: bool,
    /// Where callbacks may go: `ip:port`, or a domain name; ` private` after it where it is one.
    pub trust: TrustList,
    /// Where release callbacks go when a request names no `callBackUrl`; needs its entry in `trust`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_callback_url: Option<String>,
    /// Where it is told that the two parties of a call are connected; needs its entry in `trust`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_callback_url: Option<String>,
    /// How callbacks are signed where a shared key is set; default `hmac_sha256`.
    pub signature: SignatureKind,
    /// The zone of its days and of the times in callbacks: `UTC` (default) or an offset such as `+08:00`.
    pub time_zone: TimeZone,
    /// Calls started per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls_per_second: Option<u32>,
    /// Calls dialling or up at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_calls: Option<u32>,
    /// Calls accepted in a day of `time_zone`; the next is refused (return code 3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls_per_day: Option<u32>,
    /// Minutes talked in a day; the next call is refused, one that waits ends with `releaseReason` 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minutes_per_day: Option<u32>,
    /// Lets it call the ranges of `[fraud] premium_prefixes`, where it has a route.
    pub premium: bool,
    /// Calls that may wait; the next is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_length: Option<u32>,
    /// Seconds a call may wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_timeout_s: Option<u32>,
    /// Seconds a called party may ring, 1 to 600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring_limit_s: Option<u32>,
    /// Seconds from answer to hang-up at the most, 1 to 86400.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_duration_s: Option<u32>,
    /// Refuse a call while one with the same caller and called is unfinished (return code 1).
    pub refuse_duplicates: bool,
    /// How long what its calls leave behind is kept.
    #[serde(skip_serializing_if = "Retention::is_default")]
    pub retention: Retention,
    /// Record every call.
    pub record: bool,
    /// Let `callerPresent` be any 11 to 14 digits, besides the tenant's own access codes.
    pub caller_transparency: bool,
    /// A trial tenant may call only these numbers (return code 16); absent: no trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial_numbers: Option<Vec<String>>,
    /// The agent-side numbers of a trial tenant's bidirectional calls (return code 16), of which it may make ten a day
    /// (21); absent: those it may call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial_agents: Option<Vec<String>>,
    /// Who approves uploaded recordings; default `automatic`.
    pub review: Review,
    /// The speech engine per language (`en`, `zh`), by its name in `[speech]`.
    pub speech: BTreeMap<String, String>,
}

impl Default for TenantSettings {
    fn default() -> Self {
        TenantSettings {
            voice_notification: true,
            bidirectional_call: Bidirectional::default(),
            ita: Ita::default(),
            anonymous_call: Anonymous::default(),
            sip_service_address: None,
            called_marks: BTreeMap::new(),
            routes: Vec::new(),
            redirects: false,
            trust: TrustList::default(),
            default_callback_url: None,
            connection_callback_url: None,
            signature: SignatureKind::HmacSha256,
            time_zone: TimeZone(UtcOffset::UTC),
            calls_per_second: None,
            concurrent_calls: None,
            calls_per_day: None,
            minutes_per_day: None,
            premium: false,
            queue_length: None,
            queue_timeout_s: None,
            ring_limit_s: None,
            max_duration_s: None,
            refuse_duplicates: false,
            retention: Retention::default(),
            record: false,
            caller_transparency: false,
            trial_numbers: None,
            trial_agents: None,
            review: Review::Automatic,
            speech: BTreeMap::new(),
        }
    }
}

/// Contract §5.5 leaves open which of the two the original uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureKind {
    HmacSha256,
    Sha256,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Review {
    /// An upload that can be decoded is approved at once.
    Automatic,
    /// Somebody approves or rejects it through `/v1/recordings/{voice_id}`.
    Manual,
}

/// A fixed offset from UTC, minutes exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeZone(pub UtcOffset);

impl TryFrom<String> for TimeZone {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "UTC" {
            return Ok(TimeZone(UtcOffset::UTC));
        }
        let refused =
            || format!("`{text}` is no time zone: write \"UTC\" or an offset such as \"+08:00\"");
        let (sign, rest) = match text.split_at_checked(1) {
            Some(("+", rest)) => (1, rest),
            Some(("-", rest)) => (-1, rest),
            _ => return Err(refused()),
        };
        let (hours, minutes) = rest.split_once(':').ok_or_else(refused)?;
        let two_digits = |part: &str| {
            let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse::<i8>().ok()).flatten()
        };
        match (two_digits(hours), two_digits(minutes)) {
            (Some(hours @ 0..=14), Some(minutes @ 0..=59)) => {
                UtcOffset::from_hms(sign * hours, sign * minutes, 0)
                    .map(TimeZone)
                    .map_err(|_| refused())
            }
            _ => Err(refused()),
        }
    }
}

impl From<TimeZone> for String {
    fn from(zone: TimeZone) -> String {
        zone.to_string()
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == UtcOffset::UTC {
            return f.write_str("UTC");
        }
        let minutes = self.0.whole_minutes();
        let sign = if minutes < 0 { '-' } else { '+' };
        write!(f, "{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
    }
}

/// Why a tenant may not call a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barred {
    /// It is on trial, and the number is none of its list.
    Trial,
    /// The number is in a range of `[fraud] premium_prefixes`.
    Premium,
    NoRoute,
}

/// The longest number, in characters (pages 000, 001 and 003).
const MAX_NUMBER: usize = 32;

/// The form of a number that can be called, whoever names it: digits, with `+` before them where it is international.
pub fn is_callable(number: &str) -> bool {
    let digits = number.strip_prefix('+').unwrap_or(number);
    number.len() <= MAX_NUMBER
        && !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
}

impl TenantSettings {
    /// The trunks for a number: those of the longest prefix. `None`: the number cannot be dialled.
    pub fn route(&self, called: &str) -> Option<Route> {
        let fitting = self.routes.iter().filter(|route| called.starts_with(&route.prefix));
        fitting.max_by_key(|route| route.prefix.len()).map(|route| route.route.clone())
    }

    /// The one rule of what a tenant may call, whoever names the number.
    pub fn may_call(&self, called: &str, fraud: &Fraud) -> Result<Route, Barred> {
        let on_trial = self.trial_numbers.as_ref();
        if on_trial.is_some_and(|list| !list.iter().any(|number| number == called)) {
            return Err(Barred::Trial);
        }
        self.may_reach(called, fraud)
    }

    /// The same for the manager's side of a call, where a list of its own says whom a trial rings.
    pub fn may_be_agent(&self, number: &str, fraud: &Fraud) -> Result<Route, Barred> {
        match self.is_trial_agent(number) {
            Some(true) => self.may_reach(number, fraud),
            Some(false) => Err(Barred::Trial),
            None => self.may_call(number, fraud),
        }
    }

    /// Whether a trial tenant's list of agent-side numbers has it; `None`: there is no list.
    pub fn is_trial_agent(&self, number: &str) -> Option<bool> {
        let list = self.trial_agents.as_ref()?;
        Some(list.iter().any(|listed| listed == number))
    }

    pub fn is_on_trial(&self) -> bool {
        self.trial_numbers.is_some() || self.trial_agents.is_some()
    }

    fn may_reach(&self, called: &str, fraud: &Fraud) -> Result<Route, Barred> {
        if fraud.is_premium(called) && !self.premium {
            return Err(Barred::Premium);
        }
        self.route(called).ok_or(Barred::NoRoute)
    }

    /// Where a carrier may send a call on to: only where the tenant could have called itself.
    pub fn redirect(&self, called: &str, fraud: &Fraud) -> Option<Route> {
        let wanted = self.redirects && is_callable(called);
        if wanted { self.may_call(called, fraud).ok() } else { None }
    }

    pub fn limits(&self, defaults: &Defaults) -> TenantLimits {
        TenantLimits {
            pace: Pace {
                calls_per_second: self.calls_per_second.unwrap_or(defaults.calls_per_second),
                concurrent_calls: self.concurrent_calls.unwrap_or(defaults.concurrent_calls),
            },
            queue_length: self.queue_length.unwrap_or(defaults.queue_length),
            refuse_duplicates: self.refuse_duplicates,
            daily: DailyLimits {
                calls: self.calls_per_day.or(defaults.calls_per_day),
                minutes: self.minutes_per_day.or(defaults.minutes_per_day),
                utc_offset_s: self.time_zone.0.whole_seconds(),
            },
            ita_minutes: self.ita.balance_minutes,
        }
    }

    pub fn queue_timeout(&self, defaults: &Defaults) -> Duration {
        Duration::from_secs(self.queue_timeout_s.unwrap_or(defaults.queue_timeout_s).into())
    }

    /// What serde cannot see: ranges, digits, trunks that exist. The key at fault and what to write.
    pub fn check(&self, is_trunk: impl Fn(&TrunkName) -> bool) -> Result<(), (String, String)> {
        for (index, route) in self.routes.iter().enumerate() {
            let plain = route.prefix.strip_prefix('+').unwrap_or(&route.prefix);
            if route.prefix.len() > 32 || !plain.bytes().all(|b| b.is_ascii_digit()) {
                return Err((
                    format!("routes[{index}].prefix"),
                    format!("`{}` is not at most 32 digits", route.prefix),
                ));
            }
            if let Some(unknown) = route.route.trunks().find(|trunk| !is_trunk(trunk)) {
                return Err((
                    format!("routes[{index}].trunk"),
                    format!("no [[trunk]] is named `{unknown}`"),
                ));
            }
            if self.routes[..index].iter().any(|other| other.prefix == route.prefix) {
                return Err((
                    format!("routes[{index}].prefix"),
                    format!("`{}` stands twice", route.prefix),
                ));
            }
        }
        let ranges = [
            ("calls_per_second", self.calls_per_second, 1, 100_000),
            ("concurrent_calls", self.concurrent_calls, 1, 1_000_000),
            ("queue_length", self.queue_length, 0, 10_000_000),
            ("queue_timeout_s", self.queue_timeout_s, 1, 604_800),
            ("ring_limit_s", self.ring_limit_s, 1, 600),
            ("max_duration_s", self.max_duration_s, 1, 86_400),
        ];
        for (name, value, least, most) in ranges {
            if let Some(value) = value
                && !(least..=most).contains(&value)
            {
                return Err((name.into(), format!("is {value}, must be {least} to {most}")));
            }
        }
        self.retention.check()?;
        self.check_two_legs()?;
        let urls = [
            ("default_callback_url", &self.default_callback_url),
            ("connection_callback_url", &self.connection_callback_url),
        ];
        for (key, url) in urls {
            let Some(url) = url else { continue };
            let refused = |what: String| (key.to_owned(), what);
            let url = parse_callback_url(url).map_err(|error| refused(error.to_string()))?;
            self.trust.permits(&url).map_err(|error| refused(error.to_string()))?;
        }
        Ok(())
    }

    fn check_two_legs(&self) -> Result<(), (String, String)> {
        self.ita.check()?;
        self.anonymous_call.check()?;
        let address = self.sip_service_address.as_deref();
        address.map_or(Ok(()), check_service_address)?;
        let marks = self.called_marks.iter().flat_map(|(mark, number)| [mark, number]);
        for number in marks.chain(self.trial_agents.iter().flatten()) {
            if number.is_empty() || number.len() > 32 {
                let what = format!("`{number}` is not 1 to 32 characters");
                return Err(("called_marks and trial_agents".into(), what));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(value: serde_json::Value) -> Result<TenantSettings, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn the_longest_prefix_is_the_route() {
        let settings = settings(json!({"routes": [
            {"prefix": "", "trunk": "any"}, {"prefix": "86", "trunk": "china"},
            {"prefix": "8613", "trunk": "mobile"}, {"prefix": "+44", "trunk": "uk"}
        ]}))
        .unwrap();
        for (number, trunk) in [
            ("8613800", "mobile"),
            ("8613", "mobile"),
            ("861", "china"),
            ("1", "any"),
            ("+441", "uk"),
            ("441", "any"),
        ] {
            assert_eq!(settings.route(number), Some(Route::from(trunk)), "{number}");
        }
        assert_eq!(TenantSettings::default().route("1"), None);
    }

    #[test]
    fn a_carrier_sends_a_call_on_only_to_what_the_tenant_could_have_ordered() {
        let mut own = settings(json!({"routes": [{"prefix": "", "trunk": "any"}]})).unwrap();
        let longest = "8".repeat(32);
        let fraud = Fraud::default();
        assert_eq!(own.redirect("8899", &fraud), None, "it does not want to be sent on");
        own.redirects = true;
        for (number, goes) in [
            ("8899", true),
            ("+8613800", true),
            (&*longest, true),
            (&*format!("8{longest}"), false),
            (&*format!("+{longest}"), false),
            ("", false),
            ("+", false),
            ("88-99", false),
            ("anonymous", false),
        ] {
            assert_eq!(own.redirect(number, &fraud).is_some(), goes, "{number}");
        }
    }

    #[test]
    fn settings_survive_the_store() {
        for text in [
            json!({}),
            json!({"trial_numbers": [], "time_zone": "-03:30", "signature": "sha256",
                   "trust": ["a.example"], "queue_timeout_s": 5, "speech": {"zh": "espeak"}}),
        ] {
            let settings = settings(text).unwrap();
            let stored = serde_json::to_value(&settings).unwrap();
            assert_eq!(serde_json::from_value::<TenantSettings>(stored).unwrap(), settings);
        }
        assert!(settings(json!({"recrod": true})).is_err());
    }

    #[test]
    fn time_zones() {
        for (text, minutes) in
            [("UTC", 0), ("+00:00", 0), ("+08:00", 480), ("-03:30", -210), ("+14:00", 840)]
        {
            let zone = TimeZone::try_from(text.to_owned()).unwrap();
            assert_eq!(zone.0.whole_minutes(), minutes, "{text}");
            assert_eq!(TimeZone::try_from(zone.to_string()), Ok(zone));
        }
        for wrong in ["", "+8", "+8:00", "08:00", "+15:00", "+08:60", "+-8:00", "CET", "é8:00"] {
            assert!(TimeZone::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_absent_is_the_process_default() {
        let defaults = Defaults::default();
        let own = settings(json!({"queue_length": 7, "calls_per_second": 2})).unwrap();
        let limits = own.limits(&defaults);
        assert_eq!(limits.daily, DailyLimits::default(), "a day has no limit");
        assert_eq!((limits.queue_length, limits.pace.calls_per_second), (7, 2));
        assert_eq!(limits.pace.concurrent_calls, defaults.concurrent_calls);
        assert_eq!(own.queue_timeout(&defaults), Duration::from_secs(3600));
    }
}
