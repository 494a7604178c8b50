//! Addresses of UDP that have received what was sent to them. Whoever writes another's address into a datagram never
//! sees our answer, and with it the tag in it; whoever acknowledges an answer with that tag is where it says.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    time::{Duration, Instant},
};

#[derive(Debug, Default)]
pub(crate) struct Reached {
    last: HashMap<SocketAddr, Instant>,
    /// When each of them was last shown.
    by_age: BTreeSet<(Instant, SocketAddr)>,
}

/// How long it counts: an address, with its port, may be somebody else's later.
const LIFE: Duration = Duration::from_secs(600);
/// Addresses that are remembered; of one more the oldest goes.
const MAX: usize = 20_000;

impl Reached {
    /// It has acknowledged an answer.
    pub fn add(&mut self, addr: SocketAddr, now: Instant) {
        if let Some(before) = self.last.insert(addr, now) {
            self.by_age.remove(&(before, addr));
        }
        self.by_age.insert((now, addr));
        while let Some((at, oldest)) = self.by_age.first().copied()
            && (self.by_age.len() > MAX || now.duration_since(at) >= LIFE)
        {
            self.by_age.pop_first();
            self.last.remove(&oldest);
        }
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
    fn an_acknowledgement_that_is_sent_again_and_again_takes_no_other_addresss_place() {
        let (mut reached, now) = (Reached::default(), Instant::now());
        reached.add(addr(1), now);
        for n in 0..2 * MAX as u64 {
            reached.add(addr(2), now + Duration::from_micros(n));
        }
        assert!(reached.has(addr(1), now) && reached.has(addr(2), now));
        assert_eq!((reached.last.len(), reached.by_age.len()), (2, 2));
    }

    #[test]
    fn no_more_than_so_many_are_remembered() {
        let (mut reached, now) = (Reached::default(), Instant::now());
        for n in 0..3 * MAX as u32 {
            reached.add(addr(n), now);
        }
        assert_eq!((reached.last.len(), reached.by_age.len()), (MAX, MAX));
        assert!(reached.has(addr(3 * MAX as u32 - 1), now) && !reached.has(addr(0), now));
    }
}
