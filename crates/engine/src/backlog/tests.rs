use super::*;
use crate::vocabulary::DailyLimits;

const T1: TenantId = TenantId(1);
const T2: TenantId = TenantId(2);

fn pace(calls_per_second: u32, concurrent_calls: u32) -> Pace {
    Pace { calls_per_second, concurrent_calls }
}

fn limits(pace: Pace) -> TenantLimits {
    TenantLimits {
        pace,
        queue_length: 10,
        refuse_duplicates: false,
        daily: DailyLimits::default(),
        ita_minutes: None,
    }
}

fn backlog(tenant: Pace, trunk: Pace) -> Backlog {
    let mut backlog = Backlog::new(1_000);
    backlog.limit_tenant(T1, limits(tenant));
    backlog.limit_tenant(T2, limits(tenant));
    backlog.set_trunk("carrier".into(), trunk, true);
    backlog
}

fn admit(backlog: &mut Backlog, tenant: TenantId, now: Duration) -> Result<Admission, QueueFull> {
    backlog.admit(tenant, &"carrier".into(), None, 10, now)
}

#[test]
fn says_what_a_call_waits_for() {
    let now = Duration::from_secs(1);
    let mut by_rate = backlog(pace(1, 10), pace(100, 100));
    assert_eq!(admit(&mut by_rate, T1, now), Ok(Admission::Start("carrier".into())));
    assert_eq!(admit(&mut by_rate, T1, now), Ok(Admission::Wait(Waiting::TenantRate)));
    let later = now + Duration::from_secs(1);
    let behind = Waiting::BehindOthers { waiting: 1 };
    assert_eq!(admit(&mut by_rate, T1, later), Ok(Admission::Wait(behind)));

    let mut by_slots = backlog(pace(100, 10), pace(100, 1));
    assert_eq!(admit(&mut by_slots, T1, now), Ok(Admission::Start("carrier".into())));
    assert_eq!(admit(&mut by_slots, T2, now), Ok(Admission::Wait(Waiting::TrunkConcurrency)));

    let mut down = backlog(pace(100, 10), pace(100, 10));
    down.set_trunk("carrier".into(), pace(100, 10), false);
    assert_eq!(admit(&mut down, T1, now), Ok(Admission::Wait(Waiting::TrunkDown)));
    assert_eq!(down.wake_at(now), None);
}

#[test]
fn a_full_queue_refuses_and_says_when_to_come_back() {
    let now = Duration::from_secs(1);
    let mut backlog = backlog(pace(2, 1), pace(100, 100));
    assert_eq!(admit(&mut backlog, T1, now), Ok(Admission::Start("carrier".into())));
    for _ in 0..10 {
        assert!(matches!(admit(&mut backlog, T1, now), Ok(Admission::Wait(_))));
    }
    assert_eq!(admit(&mut backlog, T1, now), Err(QueueFull { retry_after_s: 5 }));
}

#[test]
fn claims_what_the_clock_allows_and_gives_back_what_was_not_there() {
    let mut backlog = backlog(pace(100, 3), pace(100, 100));
    let now = Duration::from_secs(1);
    backlog.add_waiting(T1, "carrier".into(), 5);
    let claims = backlog.claims(now, u32::MAX);
    let (claim, Claim::Ready { limit, .. }) = claims[0].clone() else { panic!("{claims:?}") };
    assert_eq!(limit, 2, "two fit into one bunch at 100 a second");
    assert!(backlog.claims(now, u32::MAX).is_empty(), "one claim at a time");
    backlog.claimed(claim, 1, now);
    assert!(backlog.nothing_waits(), "the store had no more");
    assert_eq!(backlog.running, 1);
}

#[test]
fn tenants_on_one_trunk_take_turns() {
    let mut backlog = backlog(pace(1_000, 1_000), pace(50, 1));
    for tenant in [T1, T2] {
        backlog.add_waiting(tenant, "carrier".into(), 100);
    }
    let mut served = Vec::new();
    for step in 1..=6u32 {
        let now = Duration::from_secs(1) * step;
        for (claim, what) in backlog.claims(now, u32::MAX) {
            let Claim::Ready { tenant, .. } = what else { panic!("{what:?}") };
            served.push(tenant);
            backlog.claimed(claim, 1, now);
            backlog.ended(tenant, Some(&"carrier".into()), now);
        }
    }
    assert_eq!(served, [T1, T2, T1, T2, T1, T2]);
}
