//! What a process costs, as the kernel counts it.

use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::thread::{CpuSet, sched_setaffinity};

/// This thread and all that it starts later run on `core` only. On a machine with one core nothing
/// is pinned.
pub fn pin(core: usize) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if core >= cores {
        return;
    }
    let mut set = CpuSet::new();
    set.set(core);
    if let Err(error) = sched_setaffinity(None, &set) {
        tracing::warn!(core, %error, "not pinned: figures are less exact");
    }
}

/// User and system time of a process so far.
pub fn cpu_time(pid: u32) -> std::io::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in parentheses, which may hold anything.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(ticks * 1000 / clock_ticks_per_second()))
}

/// Resident memory of a process, bytes.
pub fn resident(pid: u32) -> std::io::Result<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    Ok(pages * page_size() as u64)
}
