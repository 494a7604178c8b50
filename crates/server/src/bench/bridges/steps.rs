//! More and more calls of two parties at the same time; of each step it is judged what was heard.

use std::time::Duration;

use serde::Serialize;
use sim::RtpReport;

use super::super::far_end::Memory;
use super::super::ladder::{Rung, beside, highest, limited_by};
use super::super::process::{Meter, Spent};
use super::super::witnesses::Quantiles;
use super::super::{BUSY, LimitedBy};

/// How long the calls of a step are up together, and how long their set-up is spread.
pub const UP: Duration = Duration::from_secs(10);
pub const SET_UP: Duration = Duration::from_secs(8);

/// The share of packets that may be missing or late.
const MISSING: f64 = 0.01;

/// What one server makes of the ladder, with both sides PCMA.
#[derive(Debug, Serialize)]
pub struct Relaying {
    /// Calls at the same time with 99 of 100 packets there and in time.
    pub relayed_concurrent: u32,
    /// What it adds to a packet's way, at half of the first step's load.
    pub added_delay_ms: Quantiles,
    pub limited_by: LimitedBy,
    pub steps: Vec<Step>,
}

impl Relaying {
    pub fn of(steps: Vec<Step>, added_delay_ms: Quantiles) -> Relaying {
        let (relayed_concurrent, limited_by) = concurrent(&steps);
        Relaying { relayed_concurrent, added_delay_ms, limited_by, steps }
    }

    /// The shares of a core that this one and the other used at the highest step that both held.
    pub fn beside(&self, other: &Relaying) -> Option<(f64, f64)> {
        beside(&self.steps, &other.steps, |step| step.server_cpu)
    }
}

/// What came of one step.
#[derive(Debug, Serialize)]
pub struct Step {
    pub transcoded: bool,
    pub calls: u32,
    pub failed: u32,
    /// Of the packets that each side should have heard.
    pub missing_ratio: f64,
    /// Of those that came. Where they are passed on as they come, those that the far end itself sent late are taken off.
    pub late_packets_ratio: f64,
    /// Of the packets that the far end sent.
    pub sent_late_ratio: f64,
    /// Shares of their cores while all of them are up.
    pub server_cpu: f64,
    pub far_end_cpu: f64,
    pub bytes_per_call: u64,
}

/// What the calls cost while they are up together.
pub struct Cost {
    spent: Spent,
    bytes: u64,
}

impl Cost {
    /// Of the process `pid` and of this one. Waits for [`UP`]. The memory was `idle` before the first call, and is watched
    /// since then.
    pub async fn measure(pid: u32, idle: u64, memory: Memory) -> std::io::Result<Cost> {
        let all_up = Meter::start(pid)?;
        tokio::time::sleep(UP).await;
        let spent = all_up.read()?;
        Ok(Cost { spent, bytes: memory.highest().saturating_sub(idle) })
    }
}

impl Step {
    /// Of `calls`, of which `good` were whole.
    pub fn judge<'a>(
        transcoded: bool,
        calls: u32,
        good: u32,
        streams: impl Iterator<Item = &'a RtpReport>,
        cost: &Cost,
    ) -> Step {
        let (mut heard, mut lost, mut late) = (0, 0, 0);
        let (mut sent, mut sent_late) = (0, 0);
        for stream in streams {
            heard += stream.packets;
            lost += stream.lost;
            late += stream.late_packets;
            sent += stream.packets_sent;
            sent_late += stream.packets_sent_late;
        }
        // What is encoded anew leaves at the server's own ticks, whenever it came.
        let passed_on_late = if transcoded { late } else { late.saturating_sub(sent_late) };
        Step {
            transcoded,
            calls,
            failed: calls.saturating_sub(good),
            missing_ratio: lost as f64 / (heard + lost).max(1) as f64,
            late_packets_ratio: passed_on_late as f64 / heard.max(1) as f64,
            sent_late_ratio: sent_late as f64 / sent.max(1) as f64,
            server_cpu: cost.spent.server_cpu(),
            far_end_cpu: cost.spent.far_end_cpu(),
            bytes_per_call: cost.bytes / u64::from(calls.max(1)),
        }
    }
}

impl Rung for Step {
    fn load(&self) -> u32 {
        self.calls
    }

    fn holds(&self) -> bool {
        let whole = self.missing_ratio < MISSING && self.late_packets_ratio < MISSING;
        self.failed == 0 && whole && self.server_cpu < BUSY
    }
}

/// Packets that a phone of a whole call has heard at the least.
pub fn least_packets() -> u64 {
    UP.as_millis() as u64 / 20 * 9 / 10
}

/// The calls of the highest step that held, and what kept the next one from it.
pub fn concurrent(steps: &[Step]) -> (u32, LimitedBy) {
    let limited_by = limited_by(steps, |step| (step.server_cpu, step.far_end_cpu));
    (highest(steps).map_or(0, |step| step.calls), limited_by)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::ladder::Ladder;

    fn step(calls: u32, late_packets_ratio: f64, server_cpu: f64) -> Step {
        Step {
            transcoded: false,
            calls,
            failed: 0,
            missing_ratio: 0.0,
            late_packets_ratio,
            sent_late_ratio: 0.0,
            server_cpu,
            far_end_cpu: 0.5,
            bytes_per_call: 1,
        }
    }

    #[tokio::test]
    async fn the_ladder_ends_with_the_first_step_that_is_late() {
        let ladder = Ladder { from: 100, step: 100, to: 1_000 };
        let late = async |calls: u32| Ok(step(calls, f64::from(calls) / 30_000.0, 0.95));
        let steps = ladder.climb(late).await.expect("nothing errs");
        // 300 of 30,000 are the hundredth that is too much; a busy core ends it before.
        assert_eq!(steps.len(), 1);
        assert_eq!(concurrent(&steps), (0, LimitedBy::Server));
        let late = async |calls: u32| Ok(step(calls, f64::from(calls) / 30_000.0, 0.5));
        let steps = ladder.climb(late).await.expect("nothing errs");
        assert_eq!((steps.len(), concurrent(&steps)), (3, (200, LimitedBy::Rate)));
    }

    #[test]
    fn two_servers_are_compared_at_the_highest_step_that_both_held() {
        let delay = Quantiles { p50: 0.1, p99: 0.2 };
        let of = |cpu: f64, late_from: u32| {
            let late = |calls: u32| if calls >= late_from { 0.5 } else { 0.0 };
            let steps = [100, 200, 300].map(|calls| step(calls, late(calls), cpu));
            Relaying::of(steps.into(), delay)
        };
        assert_eq!(of(0.2, 400).beside(&of(0.6, 300)), Some((0.2, 0.6)));
        assert_eq!(of(0.2, 400).beside(&of(0.6, 100)), None);
    }
}
