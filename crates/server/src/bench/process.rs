//! What a process costs, as the kernel counts it.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::thread::{CpuSet, sched_setaffinity};
use sim::{Moment, process_cpu_time};

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

/// What a process and this one, the far end, use from its start on.
pub struct Meter {
    pid: u32,
    began: Moment,
    server: Duration,
    far_end: Duration,
}

/// Since the start of its [`Meter`].
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    pub took: Duration,
    /// User and system time of the process, and of this one.
    pub server: Duration,
    pub far_end: Duration,
}

impl Meter {
    pub fn start(pid: u32) -> std::io::Result<Meter> {
        let (server, far_end) = (cpu_time(pid)?, process_cpu_time());
        Ok(Meter { pid, began: Moment::now(), server, far_end })
    }

    pub fn began(&self) -> Moment {
        self.began
    }

    pub fn read(&self) -> std::io::Result<Spent> {
        let took = Moment::now().since(self.began);
        let server = cpu_time(self.pid)? - self.server;
        Ok(Spent { took, server, far_end: process_cpu_time() - self.far_end })
    }
}

impl Spent {
    /// The shares of their cores.
    pub fn server_cpu(&self) -> f64 {
        self.server.as_secs_f64() / self.took.as_secs_f64()
    }

    pub fn far_end_cpu(&self) -> f64 {
        self.far_end.as_secs_f64() / self.took.as_secs_f64()
    }

    pub fn server_ms_per_call(&self, calls: u32) -> f64 {
        self.server.as_secs_f64() * 1000.0 / f64::from(calls.max(1))
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

/// What a process holds of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holdings {
    pub descriptors: u64,
    /// Bound UDP sockets.
    pub udp_sockets: u64,
}

/// Descriptors as `/proc` lists them; sockets by their inodes.
pub fn holdings(pid: u32) -> std::io::Result<Holdings> {
    let mut udp = BTreeSet::new();
    for table in ["udp", "udp6"] {
        // A machine without IPv6 has no such table.
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        let inodes = table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(9));
        udp.extend(inodes.map(|inode| format!("socket:[{inode}]")));
    }
    let mut holdings = Holdings { descriptors: 0, udp_sockets: 0 };
    for descriptor in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        // It may have been closed since it was listed.
        let Ok(target) = std::fs::read_link(descriptor?.path()) else { continue };
        holdings.descriptors += 1;
        holdings.udp_sockets += u64::from(udp.contains(&*target.to_string_lossy()));
    }
    Ok(holdings)
}

/// Resident memory of a process, bytes.
pub fn resident(pid: u32) -> std::io::Result<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    Ok(pages * page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_port_is_seen_until_it_is_given_back() {
        let me = std::process::id();
        let sockets: Vec<_> = (0..50)
            .map(|_| std::net::UdpSocket::bind("127.0.0.1:0").expect("a port is free"))
            .collect();
        // Other tests of this process bind and close meanwhile, though never so many.
        let with = holdings(me).expect("/proc is there");
        drop(sockets);
        let without = holdings(me).expect("/proc is there");
        assert!(with.udp_sockets >= without.udp_sockets + 25, "{with:?} {without:?}");
        assert!(with.descriptors >= without.descriptors + 25, "{with:?} {without:?}");
    }
}
