//! What a tenant has used up of its day: calls that were accepted and minutes that were talked.
//!
//! A day is the tenant's own ([`DailyLimits::day_start_ms`]). A call counts on the day on which it was accepted, its
//! talk on the day on which it was answered. Calls that are up count as far as they have come, so that many long ones
//! cannot pass the limit unseen; those that are up when it is reached go on to their end.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::request::Quota;
use crate::vocabulary::{DailyLimits, Now, TenantId};

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct Quotas(BTreeMap<TenantId, Usage>);

#[derive(Debug, Default)]
struct Usage {
    limits: DailyLimits,
    /// When the day that is counted began, ms since 1970.
    day_start_ms: i64,
    calls: u32,
    /// Of calls that are over.
    talked: Duration,
    /// Calls that are up.
    talking: u32,
    /// The sum of their answers, on the monotonic clock.
    answered_at: Duration,
}

/// What a day has used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    pub calls: u32,
    pub talked: Duration,
}

impl Quotas {
    pub fn limit(&mut self, tenant: TenantId, limits: DailyLimits) {
        self.0.entry(tenant).or_default().limits = limits;
    }

    /// What the store counted of today. What is counted here already and is more stands.
    pub fn seed(&mut self, tenant: TenantId, used: Used, now: Now) {
        let usage = self.today(tenant, now);
        usage.calls = usage.calls.max(used.calls);
        usage.talked = usage.talked.max(used.talked);
    }

    /// Which limit is reached and when the day is over, in seconds from 1.
    pub fn reached(&mut self, tenant: TenantId, now: Now) -> Option<(Quota, u32)> {
        let usage = self.today(tenant, now);
        let quota = if usage.limits.calls.is_some_and(|limit| usage.calls >= limit) {
            Quota::Calls
        } else if usage.minutes_are_used_up(now) {
            Quota::Minutes
        } else {
            return None;
        };
        Some((quota, usage.seconds_left(now)))
    }

    /// Whether calls that were accepted may not be dialled any more today.
    pub fn forbids_dialling(&mut self, tenant: TenantId, now: Now) -> bool {
        self.today(tenant, now).minutes_are_used_up(now)
    }

    pub fn accepted(&mut self, tenant: TenantId, now: Now) {
        let usage = self.today(tenant, now);
        usage.calls = usage.calls.saturating_add(1);
    }

    pub fn answered(&mut self, tenant: TenantId, now: Now) {
        let usage = self.today(tenant, now);
        usage.talking += 1;
        usage.answered_at += now.since_start;
    }

    /// A call is over that was [`answered`](Self::answered) at `at`.
    pub fn hung_up(&mut self, tenant: TenantId, at: Now, now: Now) {
        let usage = self.today(tenant, now);
        // It was answered on a day that is not counted any more.
        if at.unix_ms < usage.day_start_ms {
            return;
        }
        usage.talking = usage.talking.saturating_sub(1);
        usage.answered_at = usage.answered_at.saturating_sub(at.since_start);
        usage.talked += now.since_start.saturating_sub(at.since_start);
    }

    /// The usage of the day of `now`; a new day begins with nothing. A clock that steps back over midnight begins no
    /// new day: it must not give the limit a second time.
    fn today(&mut self, tenant: TenantId, now: Now) -> &mut Usage {
        let usage = self.0.entry(tenant).or_default();
        let day_start_ms = usage.limits.day_start_ms(now.unix_ms);
        if day_start_ms > usage.day_start_ms {
            *usage = Usage { limits: usage.limits, day_start_ms, ..Usage::default() };
        }
        usage
    }
}

impl Usage {
    fn minutes_are_used_up(&self, now: Now) -> bool {
        let live = (now.since_start * self.talking).saturating_sub(self.answered_at);
        self.limits.minutes.is_some_and(|limit| self.talked + live >= MINUTE * limit)
    }

    fn seconds_left(&self, now: Now) -> u32 {
        let left_ms = self.day_start_ms + DailyLimits::DAY_MS - now.unix_ms;
        u32::try_from(left_ms.max(0) / 1000 + 1).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: TenantId = TenantId(1);
    const HOUR_MS: i64 = 3_600_000;
    /// 2026-11-21 00:00 UTC.
    const MIDNIGHT: i64 = 1_795_219_200_000;

    fn at(unix_ms: i64) -> Now {
        let since_start =
            Duration::from_millis((unix_ms - MIDNIGHT + 2 * DailyLimits::DAY_MS) as u64);
        Now { since_start, unix_ms }
    }

    fn quotas(calls: Option<u32>, minutes: Option<u32>, utc_offset_s: i32) -> Quotas {
        let mut quotas = Quotas::default();
        quotas.limit(T, DailyLimits { calls, minutes, utc_offset_s });
        quotas
    }

    #[test]
    fn the_day_ends_at_midnight_where_the_tenant_is() {
        for (offset_h, begins_h) in [(0, 0), (8, 16), (-3, 3)] {
            let mut quotas = quotas(Some(2), None, offset_h * 3600);
            let begins = MIDNIGHT + begins_h * HOUR_MS;
            let last_second = at(begins - 1000);
            quotas.accepted(T, last_second);
            assert_eq!(quotas.reached(T, last_second), None);
            quotas.accepted(T, last_second);
            assert_eq!(quotas.reached(T, last_second), Some((Quota::Calls, 2)));
            assert_eq!(quotas.reached(T, at(begins)), None, "a new day at {offset_h} h");
        }
    }

    #[test]
    fn calls_that_are_up_count_as_far_as_they_have_come() {
        let mut quotas = quotas(None, Some(10), 0);
        let begun = at(MIDNIGHT + HOUR_MS);
        for _ in 0..4 {
            quotas.answered(T, begun);
        }
        assert_eq!(quotas.reached(T, begun.later(MINUTE * 2)), None);
        let later = begun.later(Duration::from_secs(150));
        assert!(matches!(quotas.reached(T, later), Some((Quota::Minutes, _))));
        assert!(quotas.forbids_dialling(T, later));
        for _ in 0..4 {
            quotas.hung_up(T, begun, later);
        }
        let much_later = later.later(MINUTE * 60);
        assert!(quotas.forbids_dialling(T, much_later), "what was talked stays talked");
        assert_eq!(quotas.0[&T].talked, MINUTE * 10);
    }

    #[test]
    fn a_call_that_began_yesterday_does_not_count_today() {
        let mut quotas = quotas(None, Some(1), 0);
        let begun = at(MIDNIGHT - 1000);
        quotas.answered(T, begun);
        let today = begun.later(MINUTE * 5);
        assert_eq!(quotas.reached(T, today), None);
        quotas.hung_up(T, begun, today);
        assert_eq!((quotas.0[&T].talked, quotas.0[&T].talking), (Duration::ZERO, 0));
    }

    #[test]
    fn a_restart_does_not_reset_the_day_and_a_clock_that_steps_back_does_not_either() {
        let mut quotas = quotas(Some(5), None, 0);
        let now = at(MIDNIGHT + 1000);
        quotas.accepted(T, now);
        quotas.seed(T, Used { calls: 5, talked: Duration::ZERO }, now);
        assert!(matches!(quotas.reached(T, now), Some((Quota::Calls, _))));
        let before_midnight = Now { unix_ms: MIDNIGHT - 1000, ..now };
        assert!(matches!(quotas.reached(T, before_midnight), Some((Quota::Calls, _))));
    }
}
