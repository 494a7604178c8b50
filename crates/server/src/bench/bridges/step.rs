//! One step of a ladder: so many calls of two parties are up together, and what was heard of them is judged.

use std::time::Duration;

use serde::Serialize;
use sim::{Moment, RtpReport, process_cpu_time};

use super::super::far_end::Memory;
use super::super::{BUSY, LimitedBy, process};

/// How long the calls of a step are up together, and how long their set-up is spread.
pub const UP: Duration = Duration::from_secs(10);
pub const SET_UP: Duration = Duration::from_secs(8);

/// The share of packets that may be missing or late.
const MISSING: f64 = 0.01;

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Step {
    pub transcoded: bool,
    pub calls: u32,
    pub failed: u32,
    /// Of the packets that each side should have heard.
    pub missing_ratio: f64,
    pub late_packets_ratio: f64,
    /// Shares of their cores while all of them are up.
    pub server_cpu: f64,
    pub far_end_cpu: f64,
    pub bytes_per_call: u64,
}

/// What the calls cost while they are up together.
pub struct Cost {
    server_cpu: f64,
    far_end_cpu: f64,
    bytes: u64,
}

impl Cost {
    /// Of the process `pid` and of this one. Waits for [`UP`]. The memory was `idle` before the first call, and is watched
    /// since then.
    pub async fn measure(pid: u32, idle: u64, memory: Memory) -> std::io::Result<Cost> {
        let all_up = Moment::now();
        let (server, far) = (process::cpu_time(pid)?, process_cpu_time());
        tokio::time::sleep(UP).await;
        let took = Moment::now().since(all_up).as_secs_f64();
        let server_cpu = (process::cpu_time(pid)? - server).as_secs_f64() / took;
        let far_end_cpu = (process_cpu_time() - far).as_secs_f64() / took;
        Ok(Cost { server_cpu, far_end_cpu, bytes: memory.highest().saturating_sub(idle) })
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
        for stream in streams {
            heard += stream.packets;
            lost += stream.lost;
            late += stream.late_packets;
        }
        Step {
            transcoded,
            calls,
            failed: calls.saturating_sub(good),
            missing_ratio: lost as f64 / (heard + lost).max(1) as f64,
            late_packets_ratio: late as f64 / heard.max(1) as f64,
            server_cpu: cost.server_cpu,
            far_end_cpu: cost.far_end_cpu,
            bytes_per_call: cost.bytes / u64::from(calls.max(1)),
        }
    }

    pub fn holds(&self) -> bool {
        let whole = self.missing_ratio < MISSING && self.late_packets_ratio < MISSING;
        self.failed == 0 && whole && self.server_cpu < BUSY
    }
}

/// Packets that a phone of a whole call has heard at the least.
pub fn least_packets() -> u64 {
    UP.as_millis() as u64 / 20 * 9 / 10
}

/// The highest step that held, and what kept the next one from it.
pub fn highest(steps: &[Step]) -> (u32, LimitedBy) {
    let held = steps.iter().filter(|step| step.holds()).map(|step| step.calls).max();
    let broken = steps.last().filter(|step| !step.holds());
    let limited_by =
        broken.map_or(LimitedBy::Rate, |step| LimitedBy::judge(step.server_cpu, step.far_end_cpu));
    (held.unwrap_or(0), limited_by)
}
