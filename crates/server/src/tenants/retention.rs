//! How long what a tenant's calls leave behind is kept.

use serde::{Deserialize, Serialize};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// A hundred years; more is 0.
const MOST_DAYS: u32 = 36_500;

/// `retention`: lifetimes in days, 0 is for ever. What is absent takes `[defaults]`' or ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Call records; default 365. Timelines and recordings go with them at the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_days: Option<u32>,
    /// The event log; default 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_days: Option<u32>,
    /// SIP messages and media notes of calls; default 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timelines_days: Option<u32>,
    /// Recordings of calls; default 90.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recordings_days: Option<u32>,
    /// Callbacks that were delivered or given up, with each attempt; default 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callbacks_days: Option<u32>,
}

/// What is older than these, in ms since 1970, goes; `None` is kept for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizons {
    pub records: Option<i64>,
    pub events: Option<i64>,
    pub timelines: Option<i64>,
    pub recordings: Option<i64>,
    pub callbacks: Option<i64>,
}

impl Retention {
    pub fn is_default(&self) -> bool {
        *self == Retention::default()
    }

    /// The horizons at `now_ms`, where `defaults` say what this does not.
    pub fn horizons(&self, defaults: &Retention, now_ms: i64) -> Horizons {
        let horizon = |own: Option<u32>, default: Option<u32>, ours: u32| {
            let days = own.or(default).unwrap_or(ours);
            (days > 0).then(|| now_ms - i64::from(days) * DAY_MS)
        };
        let records = horizon(self.records_days, defaults.records_days, 365);
        let recordings = horizon(self.recordings_days, defaults.recordings_days, 90);
        Horizons {
            records,
            events: horizon(self.events_days, defaults.events_days, 30),
            timelines: horizon(self.timelines_days, defaults.timelines_days, 30),
            // Without its record nobody could ask for a recording.
            recordings: recordings.max(records),
            callbacks: horizon(self.callbacks_days, defaults.callbacks_days, 30),
        }
    }

    /// The key at fault and what to write.
    pub fn check(&self) -> Result<(), (String, String)> {
        let all = [
            ("records_days", self.records_days),
            ("events_days", self.events_days),
            ("timelines_days", self.timelines_days),
            ("recordings_days", self.recordings_days),
            ("callbacks_days", self.callbacks_days),
        ];
        for (name, days) in all {
            if let Some(days) = days
                && days > MOST_DAYS
            {
                let what = format!("is {days}, must be 0 (for ever) to {MOST_DAYS}");
                return Err((format!("retention.{name}"), what));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_248_000_000;

    #[test]
    fn a_tenant_then_the_defaults_then_ours_decide() {
        let defaults =
            Retention { events_days: Some(7), records_days: Some(10), ..Retention::default() };
        let own =
            Retention { records_days: Some(0), callbacks_days: Some(1), ..Retention::default() };
        let horizons = own.horizons(&defaults, NOW);
        assert_eq!(horizons.records, None, "for ever");
        assert_eq!(horizons.events, Some(NOW - 7 * DAY_MS));
        assert_eq!(horizons.timelines, Some(NOW - 30 * DAY_MS));
        assert_eq!(horizons.recordings, Some(NOW - 90 * DAY_MS));
        assert_eq!(horizons.callbacks, Some(NOW - DAY_MS));
    }

    #[test]
    fn a_recording_goes_with_its_record_at_the_latest() {
        let short =
            Retention { records_days: Some(5), recordings_days: Some(0), ..Retention::default() };
        let horizons = short.horizons(&Retention::default(), NOW);
        assert_eq!(horizons.recordings, Some(NOW - 5 * DAY_MS));
    }

    #[test]
    fn a_lifetime_of_centuries_is_refused() {
        let wrong = Retention { timelines_days: Some(40_000), ..Retention::default() };
        let (key, what) = wrong.check().unwrap_err();
        assert_eq!(key, "retention.timelines_days");
        assert!(what.contains("for ever"), "{what}");
    }
}
