//! Calls that are asked for, answered, played a second and hung up: at higher and higher rates, until one fails.

use serde::Serialize;
use sim::CallReport;

use super::super::far_end::{FarEnd, Memory};
use super::super::ladder::{Ladder, Rung, beside, highest, limited_by};
use super::super::notifications::accepted;
use super::super::overload::{P99_MS, PLAYS, WHOLE};
use super::super::process::Meter;
use super::super::requests::{NOTIFY, Requests};
use super::super::witnesses::{Quantiles, Witnesses};
use super::super::{LimitedBy, process};
use crate::serve::ServeError;

/// Calls per second, each rate for some seconds.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    pub ladder: Ladder,
    pub seconds: u32,
}

/// What one rate came to.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Rate {
    pub calls_per_second: u32,
    pub calls: u32,
    /// Not answered, not played whole or not hung up by the server.
    pub failed: u32,
    /// From the request to the arrival of its INVITE.
    pub invite_ms: Quantiles,
    pub cpu_ms_per_call: f64,
    /// Shares of their cores.
    pub server_cpu: f64,
    pub far_end_cpu: f64,
    pub rss_idle_bytes: u64,
    pub rss_peak_bytes: u64,
}

impl Rung for Rate {
    fn load(&self) -> u32 {
        self.calls_per_second
    }

    fn holds(&self) -> bool {
        self.failed == 0 && self.invite_ms.p99 < P99_MS
    }
}

/// A ladder of rates.
#[derive(Debug, Clone, Serialize)]
pub struct Calling {
    /// The highest without a failed call and with 99 of 100 INVITEs within 100 ms.
    pub calls_per_second: u32,
    /// At that rate.
    pub cpu_ms_per_call: f64,
    pub rss_peak_bytes: u64,
    pub limited_by: LimitedBy,
    pub rates: Vec<Rate>,
}

impl Calling {
    pub fn of(rates: Vec<Rate>) -> Calling {
        let held = highest(&rates);
        let limited_by = limited_by(&rates, |rate| (rate.server_cpu, rate.far_end_cpu));
        Calling {
            calls_per_second: held.map_or(0, |rate| rate.calls_per_second),
            cpu_ms_per_call: held.map_or(0.0, |rate| rate.cpu_ms_per_call),
            rss_peak_bytes: held.map_or(0, |rate| rate.rss_peak_bytes),
            limited_by,
            rates,
        }
    }

    /// The highest rate at which both held, and the CPU per call of each there.
    pub fn beside(&self, other: &Calling) -> Option<(f64, f64)> {
        beside(&self.rates, &other.rates, |rate| rate.cpu_ms_per_call)
    }
}

/// What is looked at while a rate is offered.
pub struct Watch {
    idle: u64,
    memory: Memory,
    meter: Meter,
}

impl Watch {
    pub fn start(pid: u32) -> std::io::Result<Watch> {
        Ok(Watch {
            idle: process::resident(pid)?,
            memory: Memory::watch(pid),
            meter: Meter::start(pid)?,
        })
    }

    /// Of `calls`, of which `good` were good.
    pub fn end(
        self,
        calls_per_second: u32,
        (calls, good): (u32, u32),
        invite_ms: Quantiles,
    ) -> std::io::Result<Rate> {
        let spent = self.meter.read()?;
        Ok(Rate {
            calls_per_second,
            calls,
            failed: calls.saturating_sub(good),
            invite_ms,
            cpu_ms_per_call: spent.server_ms_per_call(calls),
            server_cpu: spent.server_cpu(),
            far_end_cpu: spent.far_end_cpu(),
            rss_idle_bytes: self.idle,
            rss_peak_bytes: self.memory.highest(),
        })
    }
}

/// Ours: voice notifications, each accepted on disk, recorded and called back.
pub async fn offhook(rates: Rates) -> Result<Calling, ServeError> {
    let far_end = FarEnd::start().await?;
    let wanted = far_end.notification(PLAYS).await?.to_json();
    let requests = Requests::new(&far_end, NOTIFY, &wanted).await?;
    // Nothing is measured that happens once.
    let warm_up = accepted(requests.offer(20.0, 20).await).len() as u64;
    far_end.called_back(warm_up).await;
    let ours = rates.ladder.climb(async |calls_per_second| {
        far_end.clear().await;
        let calls = calls_per_second * rates.seconds;
        let watch = Watch::start(far_end.server.pid())?;
        let sent = accepted(requests.offer(calls_per_second.into(), calls).await);
        far_end.called_back(sent.len() as u64).await;
        let judged = Witnesses::hear_without_history(&far_end).await.judge(&sent, WHOLE);
        Ok(watch.end(calls_per_second, (calls, judged.good), judged.invite_ms)?)
    });
    Ok(Calling::of(ours.await?))
}

/// Whether a peer's call was answered, played its second but for what a slow start cuts off, and hung up.
pub fn is_played(report: &CallReport) -> bool {
    let ended = report.ended_by == sim::EndedBy::Caller && report.answered_at.is_some();
    ended && report.invites == 1 && report.rtp.packets >= WHOLE * 9 / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(calls_per_second: u32, failed: u32, late_ms: f64, cpu_ms_per_call: f64) -> Rate {
        Rate {
            calls_per_second,
            calls: 100,
            failed,
            invite_ms: Quantiles { p50: 1.0, p99: late_ms },
            cpu_ms_per_call,
            server_cpu: 0.95,
            far_end_cpu: 0.2,
            rss_idle_bytes: 1,
            rss_peak_bytes: 2,
        }
    }

    #[tokio::test]
    async fn a_ladder_ends_with_the_first_rate_that_fails_or_is_late() {
        let ladder = Ladder { from: 50, step: 50, to: 500 };
        let climb = async |measure: fn(u32) -> Rate| {
            let rates = ladder.climb(async |cps| Ok(measure(cps))).await;
            Calling::of(rates.expect("nothing errs"))
        };
        let calling = climb(|cps| rate(cps, u32::from(cps == 150), 3.0, 2.0)).await;
        assert_eq!((calling.calls_per_second, calling.rates.len()), (100, 3));
        assert_eq!(calling.limited_by, LimitedBy::Server);
        let late = climb(|cps| rate(cps, 0, f64::from(cps), 2.0)).await;
        assert_eq!(late.calls_per_second, 50);
        let never = climb(|cps| rate(cps, 0, 3.0, 2.0)).await;
        assert_eq!((never.calls_per_second, never.limited_by), (500, LimitedBy::Rate));
    }

    #[test]
    fn two_are_compared_where_both_held() {
        let of = |cpu: f64, failing: u32| {
            let failed = |cps: u32| u32::from(cps >= failing);
            Calling::of([50, 100, 150].map(|cps| rate(cps, failed(cps), 3.0, cpu)).into())
        };
        assert_eq!(of(2.0, 150).beside(&of(5.0, 100)), Some((2.0, 5.0)));
        assert_eq!(of(2.0, 150).beside(&of(5.0, 50)), None);
    }
}
