//! When a callback is tried again. Pure: time and randomness are arguments.
//!
//! The first try goes out at once; after each failure the next one waits 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h
//! and 24 h (75 h 35 min 5 s in all), each ±10 %. After the tenth failure the callback is a dead letter.
use std::time::Duration;

/// Tries in all, the first included.
#[cfg(test)]
pub const MAX_ATTEMPTS: u32 = WAITS.len() as u32 + 1;

/// The longest wait that a receiver can ask for with `Retry-After`: the longest step of the schedule itself.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * HOUR);

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const WAITS: [u64; 9] =
    [5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
const JITTER: f64 = 0.1;

/// How one try ended, as far as the schedule cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver sent an HTTP status, and perhaps `Retry-After`.
    Answered { status: u16, retry_after: Option<Duration> },
    /// No complete answer: refused by policy, not resolved, not connected, timed out, reset.
    Unanswered,
}

/// What follows a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Delivered,
    /// Try again at this Unix time in milliseconds.
    RetryAt(i64),
    Dead(DeadReason),
}

/// Why a callback became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadReason {
    /// The receiver answered 410 Gone.
    Gone,
    /// All tries of the schedule have failed.
    Exhausted,
}

/// Decides what follows try number `attempt` (the first is 1), which ended at `failed_at_ms` (Unix milliseconds).
/// `jitter` is a random number in −1..=1; what lies outside is clamped. `Retry-After` can only postpone a try, by at
/// most [`LONGEST_RETRY_AFTER`], and is never undercut by the jitter.
pub fn next(attempt: u32, failed_at_ms: i64, outcome: Outcome, jitter: f64) -> Next {
    let asked = match outcome {
        Outcome::Answered { status: 200..=299, .. } => return Next::Delivered,
        Outcome::Answered { status: 410, .. } => return Next::Dead(DeadReason::Gone),
        Outcome::Answered { retry_after, .. } => retry_after,
        Outcome::Unanswered => None,
    };
    let Some(&wait) = WAITS.get(attempt.saturating_sub(1) as usize) else {
        return Next::Dead(DeadReason::Exhausted);
    };
    let jitter = if jitter.is_nan() { 0.0 } else { jitter.clamp(-1.0, 1.0) };
    let planned_ms = (wait as f64 * 1000.0 * (1.0 + JITTER * jitter)).round() as i64;
    let asked_ms = asked.unwrap_or_default().min(LONGEST_RETRY_AFTER).as_millis() as i64;
    Next::RetryAt(failed_at_ms.saturating_add(planned_ms.max(asked_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: i64 = 1_793_000_000_000;
    const FAILED: Outcome = Outcome::Answered { status: 500, retry_after: None };

    #[test]
    fn ten_tries_over_seventy_five_hours() {
        let mut at = T0;
        let mut waits = Vec::new();
        for attempt in 1..MAX_ATTEMPTS {
            let Next::RetryAt(then) = next(attempt, at, FAILED, 0.0) else {
                panic!("try {attempt} is not the last")
            };
            waits.push((then - at) / 1000);
            at = then;
        }
        assert_eq!(waits, [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]);
        assert_eq!((at - T0) / 1000, 75 * 3600 + 35 * 60 + 5);
        assert_eq!(next(MAX_ATTEMPTS, at, FAILED, 0.0), Next::Dead(DeadReason::Exhausted));
        assert_eq!(MAX_ATTEMPTS, 10);
    }

    #[test]
    fn jitter_moves_a_try_by_a_tenth_at_most() {
        for attempt in 1..MAX_ATTEMPTS {
            let Next::RetryAt(exact) = next(attempt, 0, FAILED, 0.0) else { panic!() };
            for (jitter, factor) in
                [(-1.0, 0.9), (-0.5, 0.95), (1.0, 1.1), (7.0, 1.1), (-7.0, 0.9), (f64::NAN, 1.0)]
            {
                let Next::RetryAt(moved) = next(attempt, 0, FAILED, jitter) else { panic!() };
                assert_eq!(
                    moved,
                    (exact as f64 * factor).round() as i64,
                    "try {attempt}, jitter {jitter}"
                );
            }
        }
    }

    #[test]
    fn statuses() {
        let after = |status| next(1, T0, Outcome::Answered { status, retry_after: None }, 0.0);
        for status in [200, 201, 204, 299] {
            assert_eq!(after(status), Next::Delivered, "{status}");
        }
        for status in [100, 301, 302, 307, 400, 401, 404, 409, 429, 500, 503] {
            assert_eq!(after(status), Next::RetryAt(T0 + 5000), "{status}");
        }
        assert_eq!(after(410), Next::Dead(DeadReason::Gone));
        assert_eq!(next(1, T0, Outcome::Unanswered, 0.0), Next::RetryAt(T0 + 5000));
    }

    #[test]
    fn retry_after_postpones_and_is_bounded() {
        let after = |attempt, seconds, jitter| {
            let retry_after = Some(Duration::from_secs(seconds));
            next(attempt, T0, Outcome::Answered { status: 429, retry_after }, jitter)
        };
        assert_eq!(after(1, 120, -1.0), Next::RetryAt(T0 + 120_000), "never sooner than asked");
        assert_eq!(
            after(4, 120, 0.0),
            Next::RetryAt(T0 + 7_200_000),
            "never sooner than the schedule"
        );
        assert_eq!(after(1, u64::MAX, 0.0), Next::RetryAt(T0 + 86_400_000), "a day at most");
        assert_eq!(after(MAX_ATTEMPTS, 60, 0.0), Next::Dead(DeadReason::Exhausted));
        let retry_after = Some(Duration::from_secs(60));
        assert_eq!(
            next(1, T0, Outcome::Answered { status: 410, retry_after }, 0.0),
            Next::Dead(DeadReason::Gone)
        );
    }

    #[test]
    fn an_absurd_attempt_number_or_time_does_not_overflow() {
        assert_eq!(next(u32::MAX, T0, FAILED, 0.0), Next::Dead(DeadReason::Exhausted));
        assert_eq!(next(1, i64::MAX, FAILED, 1.0), Next::RetryAt(i64::MAX));
        assert_eq!(next(0, 0, FAILED, 0.0), Next::RetryAt(5000));
    }
}
