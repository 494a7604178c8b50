//! What tenants' ITA calls may still talk: the minutes that were paid for, less those that were talked, less those that
//! are set aside for calls that are not over.
//!
//! A call has a minute set aside when it is accepted, or what is left where that is less; one that talks through it gets
//! the next (the quota of RFC 8506 §5.1). So calls that run at the same time never talk longer than was paid for, a long
//! one takes nobody's place, and one for which nothing is left any more is cut.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::vocabulary::{Now, Serial, TenantId};

/// What a call has set aside at a time.
const SHARE: Duration = Duration::from_secs(60);

/// With less than this nobody is called.
const LEAST: Duration = Duration::from_secs(1);

/// What is used up is said this much later: nothing is due at the moment at which it is decided.
const AT_ONCE: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
pub struct Balances {
    tenants: BTreeMap<TenantId, Balance>,
    /// ITA calls that are not over.
    calls: BTreeMap<Serial, Share>,
    /// When those have talked through their shares who talk.
    ends: BTreeSet<(Duration, Serial)>,
}

#[derive(Debug, Default)]
struct Balance {
    /// `None`: as much as it likes.
    paid: Option<Duration>,
    /// By calls that are over.
    talked: Duration,
    /// The sum of the shares.
    shared: Duration,
}

#[derive(Debug)]
struct Share {
    tenant: TenantId,
    /// From the answer on.
    granted: Duration,
    answered_at: Option<Duration>,
}

impl Balances {
    /// What the tenant has paid for in all, ever.
    pub fn limit(&mut self, tenant: TenantId, minutes: Option<u32>) {
        let paid = minutes.map(|minutes| Duration::from_secs(u64::from(minutes) * 60));
        self.tenants.entry(tenant).or_default().paid = paid;
    }

    /// What the store counted. What is counted here already and is more stands.
    pub fn seed(&mut self, tenant: TenantId, talked: Duration) {
        let balance = self.tenants.entry(tenant).or_default();
        balance.talked = balance.talked.max(talked);
    }

    /// Whether the tenant has minutes left that no other call may need.
    pub fn allows(&self, tenant: TenantId) -> bool {
        self.tenants.get(&tenant).is_none_or(|balance| balance.left() >= LEAST)
    }

    /// Sets aside what a new call, or one that an earlier run accepted, may talk; nothing where nothing is left.
    pub fn begin(&mut self, serial: Serial, tenant: TenantId) {
        if self.calls.contains_key(&serial) {
            return;
        }
        let granted = self.tenants.entry(tenant).or_default().grant();
        let share = Share { tenant, granted, answered_at: None };
        self.calls.insert(serial, share);
    }

    /// Whether a call that was accepted may not be dialled any more.
    pub fn forbids_dialling(&self, serial: Serial) -> bool {
        self.calls.get(&serial).is_some_and(|share| share.granted < LEAST)
    }

    /// The parties of a call talk from now on.
    pub fn answered(&mut self, serial: Serial, now: Now) {
        let Some(share) = self.calls.get_mut(&serial) else { return };
        share.answered_at = Some(now.since_start);
        self.ends.extend(share.ends_at().map(|at| (at, serial)));
    }

    /// A call is over and has talked so long: the rest of its share is given back.
    pub fn over(&mut self, serial: Serial, talked: Duration) {
        let Some(share) = self.calls.remove(&serial) else { return };
        if let Some(ends_at) = share.ends_at() {
            self.ends.remove(&(ends_at, serial));
        }
        let balance = self.tenants.entry(share.tenant).or_default();
        balance.shared = balance.shared.saturating_sub(share.granted);
        balance.talked += talked;
    }

    /// When somebody has talked through its share.
    pub fn wake_at(&self) -> Option<Duration> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// The calls that have talked through their shares and for which nothing is left; each is said once.
    pub fn used_up(&mut self, now: Now) -> Vec<Serial> {
        let mut used_up = Vec::new();
        while let Some((at, serial)) = self.ends.first().copied()
            && at <= now.since_start
        {
            self.ends.pop_first();
            let Some(share) = self.calls.get_mut(&serial) else { continue };
            let talked = now.since_start.saturating_sub(share.answered_at.unwrap_or(at));
            let balance = self.tenants.entry(share.tenant).or_default();
            // After a stall it may have talked through more than one.
            while share.granted <= talked {
                let more = balance.grant();
                if more.is_zero() {
                    break;
                }
                share.granted += more;
            }
            if share.granted <= talked {
                used_up.push(serial);
            } else {
                self.ends.extend(share.ends_at().map(|at| (at, serial)));
            }
        }
        used_up
    }
}

impl Share {
    /// When it has talked through it: its place in `Balances::ends`, until that was said.
    fn ends_at(&self) -> Option<Duration> {
        Some(self.answered_at? + self.granted.max(AT_ONCE))
    }
}

impl Balance {
    fn left(&self) -> Duration {
        self.paid.map_or(Duration::MAX, |paid| paid.saturating_sub(self.talked + self.shared))
    }

    fn grant(&mut self) -> Duration {
        let granted = self.left().min(SHARE);
        self.shared += granted;
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: TenantId = TenantId(1);
    const A: Serial = Serial(1);
    const B: Serial = Serial(2);

    fn at(s: u64) -> Now {
        Now { since_start: Duration::from_secs(s), unix_ms: 0 }
    }

    fn paid(minutes: Option<u32>) -> Balances {
        let mut balances = Balances::default();
        balances.limit(T, minutes);
        balances
    }

    #[test]
    fn the_last_minute_is_one_calls_until_it_is_over() {
        let mut balances = paid(Some(1));
        assert!(balances.allows(T));
        balances.begin(A, T);
        assert!(!balances.allows(T), "it is set aside");
        assert!(balances.allows(TenantId(2)), "another's is another's");
        balances.answered(A, at(100));
        assert_eq!(balances.wake_at(), Some(Duration::from_secs(160)));
        balances.over(A, Duration::from_secs(20));
        assert_eq!((balances.wake_at(), balances.allows(T)), (None, true));
        balances.begin(B, T);
        balances.answered(B, at(200));
        assert!(balances.used_up(at(239)).is_empty());
        assert_eq!(balances.used_up(at(240)), [B], "40 s were left");
        assert!(balances.used_up(at(241)).is_empty(), "it is said once");
    }

    #[test]
    fn a_long_call_gets_minute_after_minute_and_none_that_is_anothers() {
        let mut balances = paid(Some(3));
        balances.begin(A, T);
        balances.begin(B, T);
        balances.answered(A, at(0));
        assert!(balances.used_up(at(60)).is_empty(), "it gets the third minute");
        assert!(!balances.allows(T));
        assert_eq!(balances.used_up(at(120)), [A], "the other one's minute is not for it");
        balances.over(A, Duration::from_secs(120));
        balances.answered(B, at(130));
        assert!(balances.used_up(at(189)).is_empty());
        assert_eq!(balances.used_up(at(190)), [B]);
    }

    #[test]
    fn a_balance_that_is_loaded_up_is_there_at_once_and_a_stall_gives_nothing_away() {
        let mut balances = paid(Some(1));
        balances.begin(A, T);
        balances.answered(A, at(0));
        balances.limit(T, Some(5));
        assert!(balances.used_up(at(60)).is_empty());
        assert!(balances.used_up(at(200)).is_empty(), "three minutes later in one step");
        assert_eq!(balances.wake_at(), Some(Duration::from_secs(240)));
        balances.limit(T, None);
        assert!(balances.used_up(at(100_000)).is_empty(), "as much as it likes");
    }

    #[test]
    fn what_was_talked_before_the_start_counts_and_a_call_without_a_share_is_not_dialled() {
        let mut balances = paid(Some(1));
        balances.seed(T, Duration::from_millis(59_500));
        assert!(!balances.allows(T), "half a second is no call");
        balances.begin(A, T);
        assert!(balances.forbids_dialling(A) && !balances.forbids_dialling(B));
        balances.over(A, Duration::ZERO);
        balances.seed(T, Duration::from_secs(1));
        assert!(!balances.allows(T), "the greater one stands");
        balances.limit(T, Some(2));
        balances.begin(A, T);
        balances.begin(A, T);
        assert!(!balances.forbids_dialling(A));
        balances.over(A, Duration::ZERO);
        assert_eq!(balances.tenants[&T].shared, Duration::ZERO, "twice is once");
    }
}
