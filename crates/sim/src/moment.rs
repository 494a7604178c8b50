//! Points in time that two processes on one machine can compare.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A point in time: nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share. Serialised as that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment {
    ns: u64,
}

impl Moment {
    pub fn now() -> Moment {
        Moment { ns: clock_ns(ClockId::Monotonic) }
    }

    /// The same point as an [`Instant`] of this process has it.
    pub fn of(instant: Instant) -> Moment {
        let (base, base_ns) = *anchor();
        let ns = match instant.checked_duration_since(base) {
            Some(after) => base_ns + nanos(after),
            None => base_ns.saturating_sub(nanos(base - instant)),
        };
        Moment { ns }
    }

    pub fn monotonic_ns(self) -> u64 {
        self.ns
    }

    /// Milliseconds since 1970 by the present wall clock.
    pub fn unix_ms(self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let behind = i128::from(Moment::now().ns) - i128::from(self.ns);
        let ms = (now.as_nanos() as i128 - behind) / 1_000_000;
        i64::try_from(ms).unwrap_or(i64::MAX)
    }

    /// How long after `earlier` this was; zero where it was before.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.ns.saturating_sub(earlier.ns))
    }
}

/// CPU time that this process has used so far, all threads, user and system.
pub fn process_cpu_time() -> Duration {
    Duration::from_nanos(clock_ns(ClockId::ProcessCPUTime))
}

/// One point on both clocks. On Linux an [`Instant`] is CLOCK_MONOTONIC, so they never drift apart.
fn anchor() -> &'static (Instant, u64) {
    static ANCHOR: OnceLock<(Instant, u64)> = OnceLock::new();
    ANCHOR.get_or_init(|| (Instant::now(), clock_ns(ClockId::Monotonic)))
}

fn clock_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    // Both clocks start at zero with the machine or the process: never negative.
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_keeps_its_place_between_two_moments() {
        let before = Moment::now();
        let instant = Instant::now();
        let after = Moment::now();
        let converted = Moment::of(instant);
        // The anchor is two clock readings, not one: allow what lies between them.
        let slack = Duration::from_millis(5);
        assert!(converted.since(after) < slack && before.since(converted) < slack);
        assert!(after.unix_ms() >= before.unix_ms());
        let later = Moment::of(instant + Duration::from_secs(2));
        assert_eq!(later.since(converted), Duration::from_secs(2));
    }
}
