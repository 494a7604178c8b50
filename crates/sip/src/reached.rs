//! Addresses of UDP that have received what was sent to them. Whoever writes another's address into a datagram never
//! sees our answer, and with it the tag in it; whoever acknowledges an answer with that tag is where it says.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

#[derive(Debug, Default)]
pub(crate) struct Reached {
    last: HashMap<SocketAddr, Instant>,
    /// In the order in which they were shown; of one that was shown again only the last counts.
    by_age: VecDeque<(Instant, SocketAddr)>,
}

/// How long it counts: an address, with its port, may be somebody else's later.
const LIFE: Duration = Duration::from_secs(600);
/// Addresses that are remembered; of one more the oldest goes.
const MAX: usize = 20_000;

impl Reached {
    /// It has acknowledged an answer.
    pub fn add(&mut self, addr: SocketAddr, now: Instant) {
        while let Some((at, addr)) = self.by_age.front().copied()
            && (self.by_age.len() >= MAX || now.duration_since(at) >= LIFE)
        {
            self.by_age.pop_front();
            if self.last.get(&addr) == Some(&at) {
                self.last.remove(&addr);
            }
        }
        self.last.insert(addr, now);
        self.by_age.push_back((now, addr));
    }

    pub fn has(&self, addr: SocketAddr, now: Instant) -> bool {
        self.last.get(&addr).is_some_and(|at| now.duration_since(*at) < LIFE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(n: u32) -> SocketAddr {
        (n.to_be_bytes(), 5060).into()
    }

    #[test]
    fn an_address_counts_for_ten_minutes_after_it_was_last_shown() {
        let (mut reached, now) = (Reached::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        reached.add(addr(1), now);
        assert!(reached.has(addr(1), after(599)) && !reached.has(addr(1), after(600)));
        assert!(!reached.has((addr(1).ip(), 5061).into(), now), "another port is another peer");
        reached.add(addr(1), after(500));
        reached.add(addr(2), after(700));
        assert!(reached.has(addr(1), after(1_099)) && !reached.has(addr(1), after(1_100)));
    }

    #[test]
    fn no_more_than_so_many_are_remembered() {
        let (mut reached, now) = (Reached::default(), Instant::now());
        for n in 0..3 * MAX as u32 {
            reached.add(addr(n), now);
        }
        assert!(reached.last.len() <= MAX && reached.by_age.len() <= MAX);
        assert!(reached.has(addr(3 * MAX as u32 - 1), now) && !reached.has(addr(0), now));
    }
}
