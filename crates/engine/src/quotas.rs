//! What a tenant has used up of its day: calls that were accepted and minutes that were talked.
//!
//! A day is the tenant's own ([`DailyLimits::day_start_ms`]). A call counts on the day on which it was accepted, its
//! talk on the day on which it was answered. Calls that are up count as far as they have come, so that many long ones
//! cannot pass the limit; those that are up and count today are cut when it is reached.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::request::Quota;
use crate::vocabulary::{DailyLimits, Now, TenantId};

const MINUTE: Duration = Duration::from_secs(60);

/// What is past its end is said this much later: nothing is due at the moment at which it is decided.
const AT_ONCE: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
pub struct Quotas {
    tenants: BTreeMap<TenantId, Usage>,
    /// When the minutes of those run out who are talking, if they go on.
    ends: BTreeSet<(Duration, TenantId)>,
}

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
    /// Its place in `Quotas::ends`.
    ends_at: Option<Duration>,
}

/// What a day has used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    pub calls: u32,
    pub talked: Duration,
}

impl Quotas {
    pub fn limit(&mut self, tenant: TenantId, limits: DailyLimits, now: Now) {
        let usage = self.tenants.entry(tenant).or_default();
        if usage.limits != limits {
            usage.limits = limits;
            self.watch(tenant, now);
        }
    }

    /// What the store counted of today. What is counted here already and is more stands.
    pub fn seed(&mut self, tenant: TenantId, used: Used, now: Now) {
        let usage = self.today(tenant, now);
        usage.calls = usage.calls.max(used.calls);
        usage.talked = usage.talked.max(used.talked);
        self.watch(tenant, now);
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
        self.watch(tenant, now);
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
        self.watch(tenant, now);
    }

    /// Whether a call that was [`answered`](Self::answered) at `at` uses minutes of the day that is counted.
    pub fn counts_today(&self, tenant: TenantId, at: Now) -> bool {
        self.tenants.get(&tenant).is_some_and(|usage| at.unix_ms >= usage.day_start_ms)
    }

    /// When somebody's minutes run out.
    pub fn wake_at(&self) -> Option<Duration> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// Whose minutes have run out; each is said once, and again when another of its calls is answered or ends.
    pub fn used_up(&mut self, now: Now) -> Vec<TenantId> {
        let mut used_up = Vec::new();
        while let Some((at, tenant)) = self.ends.first().copied()
            && at <= now.since_start
        {
            self.ends.pop_first();
            let usage = self.today(tenant, now);
            usage.ends_at = None;
            if usage.talking > 0 && usage.minutes_are_used_up(now) {
                used_up.push(tenant);
            }
        }
        used_up
    }

    fn watch(&mut self, tenant: TenantId, now: Now) {
        let Some(usage) = self.tenants.get_mut(&tenant) else { return };
        let ends_at = usage.runs_out_at().map(|at| at.max(now.since_start + AT_ONCE));
        let before = std::mem::replace(&mut usage.ends_at, ends_at);
        if let Some(before) = before {
            self.ends.remove(&(before, tenant));
        }
        if let Some(ends_at) = ends_at {
            self.ends.insert((ends_at, tenant));
        }
    }

    /// The usage of the day of `now`; a new day begins with nothing. A clock that steps back over midnight begins no
    /// new day: it must not give the limit a second time.
    fn today(&mut self, tenant: TenantId, now: Now) -> &mut Usage {
        let usage = self.tenants.entry(tenant).or_default();
        let day_start_ms = usage.limits.day_start_ms(now.unix_ms);
        if day_start_ms > usage.day_start_ms {
            let Usage { limits, ends_at, .. } = *usage;
            *usage = Usage { limits, day_start_ms, ends_at, ..Usage::default() };
        }
        usage
    }
}

impl Usage {
    fn minutes_are_used_up(&self, now: Now) -> bool {
        let live = (now.since_start * self.talking).saturating_sub(self.answered_at);
        self.limits.minutes.is_some_and(|limit| self.talked + live >= MINUTE * limit)
    }

    /// When `minutes_are_used_up`, as long as nobody begins or ends to talk.
    fn runs_out_at(&self) -> Option<Duration> {
        let limit = MINUTE * self.limits.minutes.filter(|_| self.talking > 0)?;
        Some((limit.saturating_sub(self.talked) + self.answered_at) / self.talking + AT_ONCE)
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
        quotas.limit(T, DailyLimits { calls, minutes, utc_offset_s }, at(MIDNIGHT));
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
        assert_eq!(quotas.tenants[&T].talked, MINUTE * 10);
    }

    #[test]
    fn the_end_of_the_minutes_is_known_beforehand_and_said_once() {
        let mut quotas = quotas(None, Some(10), 0);
        let begun = at(MIDNIGHT + HOUR_MS);
        assert_eq!(quotas.wake_at(), None);
        quotas.answered(T, begun);
        quotas.answered(T, begun);
        let end = begun.later(MINUTE * 5 + AT_ONCE);
        assert_eq!(quotas.wake_at(), Some(end.since_start));
        assert!(quotas.used_up(begun.later(MINUTE * 4)).is_empty());
        quotas.hung_up(T, begun, begun.later(MINUTE * 4));
        let end = begun.later(MINUTE * 6 + AT_ONCE);
        assert_eq!(quotas.wake_at(), Some(end.since_start), "one talks alone from then on");
        assert_eq!(quotas.used_up(end), [T]);
        assert_eq!((quotas.used_up(end), quotas.wake_at()), (vec![], None));
        quotas.answered(T, end);
        assert_eq!(quotas.wake_at(), Some(end.since_start + AT_ONCE), "it rang when the day ended");
        quotas.hung_up(T, end, end);
        quotas.hung_up(T, begun, end);
        assert_eq!(quotas.wake_at(), None);
    }

    #[test]
    fn a_call_that_began_yesterday_does_not_count_today() {
        let mut quotas = quotas(None, Some(1), 0);
        let begun = at(MIDNIGHT - 1000);
        quotas.answered(T, begun);
        let today = begun.later(MINUTE * 5);
        assert_eq!(quotas.reached(T, today), None);
        quotas.hung_up(T, begun, today);
        assert_eq!((quotas.tenants[&T].talked, quotas.tenants[&T].talking), (Duration::ZERO, 0));
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
