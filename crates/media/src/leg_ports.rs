//! The ports of one media thread: bound for legs, resting after them.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Instant;

use crate::batch::Batch;
use crate::config::Config;
use crate::event::MediaFault;
use crate::ports::{Need, PortPool};
use crate::socket::{self, Pair};

/// Resting pairs kept after their quarantine, so that a steady load binds nothing new.
const SPARE: usize = 32;
/// Every resting pair is emptied once per so many 20 ms steps: once per second.
const DRAIN_STEPS: usize = 50;
/// Pairs that rest on all threads together while there are plenty. Beyond, the system searches ever longer for ports that
/// are free: with 7,000 at rest that took three quarters of the processor at 300 calls/s. In a configured range we search.
const PLENTY: usize = 4_096;
/// Ports of the range tried for one leg; others on this machine may hold some.
const ATTEMPTS: usize = 64;

/// Binds, hands out and takes back pairs of ports.
pub(crate) struct LegPorts {
    ip: IpAddr,
    capacity: usize,
    /// This thread's share of [`PLENTY`], where the system chooses the ports.
    plenty: usize,
    /// Pairs bound by us, in use or resting.
    bound: HashSet<u16>,
    resting: PortPool<Pair>,
    range: Option<Range>,
}

/// The thread's share of the configured range.
struct Range {
    ports: Vec<u16>,
    next: usize,
}

impl LegPorts {
    /// The ports of thread `index`, for `capacity` legs at most.
    pub(crate) fn new(config: &Config, index: usize, capacity: usize) -> Self {
        let range = config.port_range.as_ref().map(|range| {
            let even = (*range.start()..*range.end()).filter(|port| port.is_multiple_of(2));
            Range { ports: even.skip(index).step_by(config.threads).collect(), next: 0 }
        });
        let plenty = (PLENTY / config.threads.max(1)).max(SPARE);
        LegPorts {
            ip: config.bind,
            plenty: range.as_ref().map_or(plenty, |_| usize::MAX),
            capacity: range.as_ref().map_or(capacity, |range| capacity.min(range.ports.len())),
            bound: HashSet::new(),
            resting: PortPool::new(config.quarantine),
            range,
        }
    }

    /// A pair for a new leg: one that has rested, else a new one, else one that is at least quiet. Where many rest, being
    /// quiet is enough.
    pub(crate) fn acquire(&mut self, now: Instant, batch: &mut Batch) -> Result<Pair, MediaFault> {
        let need = if self.resting.len() < self.plenty { Need::Ordinary } else { Need::Urgent };
        if let Some(pair) = self.resting.take(need, now, |pair| socket::discard(pair, batch)) {
            return Ok(pair);
        }
        if self.bound.len() < self.capacity
            && let Some(pair) = self.bind_new()
        {
            self.bound.insert(pair.port);
            return Ok(pair);
        }
        self.resting
            .take(Need::Urgent, now, |pair| socket::discard(pair, batch))
            .ok_or(MediaFault::NoPort)
    }

    /// This very pair, for a leg that comes back after a restart.
    pub(crate) fn acquire_named(&mut self, port: u16) -> Result<Pair, MediaFault> {
        if let Some(pair) = self.resting.take_named(|pair| pair.port == port) {
            return Ok(pair);
        }
        let pair = Pair::bind(self.ip, port)
            .map_err(|error| MediaFault::Bind { port, reason: error.to_string() })?;
        self.bound.insert(port);
        Ok(pair)
    }

    pub(crate) fn release(&mut self, pair: Pair, now: Instant) {
        self.resting.release(pair, now);
    }

    /// A pair was lost with the panic of its leg: the sockets are closed, the ports may be bound again.
    pub(crate) fn forget(&mut self, port: u16) {
        self.bound.remove(&port);
    }

    /// To be called every 20 ms: empties some of the resting pairs, gives up those that nobody needs.
    pub(crate) fn step(&mut self, now: Instant, batch: &mut Batch) {
        let count = self.resting.len().div_ceil(DRAIN_STEPS);
        self.resting.drain(count, |pair| socket::discard(pair, batch));
        let bound = &mut self.bound;
        self.resting.retire(SPARE, now, |pair| {
            bound.remove(&pair.port);
        });
    }

    pub(crate) fn has_resting(&self) -> bool {
        self.resting.len() > 0
    }

    fn bind_new(&mut self) -> Option<Pair> {
        let Some(range) = &mut self.range else { return Pair::bind_any(self.ip).ok() };
        let free = range.ports.len().saturating_sub(self.bound.len()).min(ATTEMPTS);
        let mut tried = 0;
        while tried < free {
            let port = range.ports[range.next];
            range.next = (range.next + 1) % range.ports.len();
            if self.bound.contains(&port) {
                continue;
            }
            tried += 1;
            if let Ok(pair) = Pair::bind(self.ip, port) {
                return Some(pair);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn where_many_rest_a_quiet_pair_is_taken_before_a_new_one_is_bound() {
        for (plenty, bound) in [(3, 3), (4, 4)] {
            let mut ports = LegPorts::new(&Config::default(), 0, 100);
            ports.plenty = plenty;
            let (mut batch, begin) = (Batch::new(), Instant::now());
            let pairs: Vec<Pair> =
                (0..3).map(|_| ports.acquire(begin, &mut batch).expect("a pair")).collect();
            pairs.into_iter().for_each(|pair| ports.release(pair, begin));
            ports.acquire(begin + Duration::from_secs(3), &mut batch).expect("a pair");
            assert_eq!(ports.bound.len(), bound, "{plenty} are plenty");
        }
    }
}
