//! Ports of closed legs: they stay bound and are emptied, so that the next call cannot hear the last one's far side.
//!
//! Pure: time is an argument, and what a port is does not matter.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A port on which a packet came in less than this ago is never given to a call.
const STRAY: Duration = Duration::from_secs(2);

/// Ports at rest, the longest resting first.
pub(crate) struct PortPool<P> {
    quarantine: Duration,
    resting: VecDeque<Resting<P>>,
    next_drained: usize,
}

struct Resting<P> {
    port: P,
    since: Instant,
    /// When it was closed, or last heard a packet.
    quiet_since: Instant,
}

/// How badly a port is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// There are others: only a port whose quarantine is over.
    Ordinary,
    /// There are no others: any port that is quiet.
    Urgent,
}

impl<P> PortPool<P> {
    pub(crate) fn new(quarantine: Duration) -> Self {
        PortPool { quarantine, resting: VecDeque::new(), next_drained: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.resting.len()
    }

    /// The leg on this port has ended.
    pub(crate) fn release(&mut self, port: P, now: Instant) {
        self.resting.push_back(Resting { port, since: now, quiet_since: now });
    }

    /// The port that rests longest, if it has rested enough. `drain` empties a port and says when the last packet in
    /// it came; it is asked once more before a port is given away.
    pub(crate) fn take(
        &mut self,
        need: Need,
        now: Instant,
        mut drain: impl FnMut(&mut P) -> Option<Instant>,
    ) -> Option<P> {
        let rest = match need {
            Need::Ordinary => self.quarantine.max(STRAY),
            Need::Urgent => STRAY,
        };
        for index in 0..self.resting.len() {
            let resting = &mut self.resting[index];
            if now.saturating_duration_since(resting.since) < rest {
                return None;
            }
            resting.drain(&mut drain);
            if now.saturating_duration_since(resting.quiet_since) >= STRAY {
                return self.resting.remove(index).map(|resting| resting.port);
            }
        }
        None
    }

    /// Takes the first port that `wanted` accepts, rested or not: after a restart a call comes back to its own port.
    pub(crate) fn take_named(&mut self, wanted: impl Fn(&P) -> bool) -> Option<P> {
        let index = self.resting.iter().position(|resting| wanted(&resting.port))?;
        self.resting.remove(index).map(|resting| resting.port)
    }

    /// Empties the next `count` ports in turn.
    pub(crate) fn drain(&mut self, count: usize, mut drain: impl FnMut(&mut P) -> Option<Instant>) {
        for _ in 0..count.min(self.resting.len()) {
            self.next_drained = (self.next_drained + 1) % self.resting.len();
            self.resting[self.next_drained].drain(&mut drain);
        }
    }

    /// Gives up ports whose quarantine is over, down to `keep` at rest, and hands them to `close`.
    pub(crate) fn retire(&mut self, keep: usize, now: Instant, mut close: impl FnMut(P)) {
        while self.resting.len() > keep
            && self.resting.front().is_some_and(|resting| {
                now.saturating_duration_since(resting.since) >= self.quarantine.max(STRAY)
            })
        {
            if let Some(resting) = self.resting.pop_front() {
                close(resting.port);
            }
        }
        // A half minute's calls have rested here under load: their room goes with them.
        let needed = 2 * self.resting.len().max(keep);
        if self.resting.capacity() > 2 * needed {
            self.resting.shrink_to(needed);
        }
    }
}

impl<P> Resting<P> {
    fn drain(&mut self, drain: &mut impl FnMut(&mut P) -> Option<Instant>) {
        if let Some(at) = drain(&mut self.port) {
            self.quiet_since = self.quiet_since.max(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn quiet(_: &mut u16) -> Option<Instant> {
        None
    }

    #[test]
    fn the_oldest_comes_back_first_and_only_after_its_quarantine() {
        let t = Instant::now();
        let mut pool = PortPool::new(30 * S);
        pool.release(10, t);
        pool.release(20, t + S);
        assert_eq!(pool.take(Need::Ordinary, t + 29 * S, quiet), None);
        assert_eq!(pool.take(Need::Ordinary, t + 30 * S, quiet), Some(10));
        assert_eq!(pool.take(Need::Ordinary, t + 30 * S, quiet), None);
        assert_eq!(pool.take(Need::Ordinary, t + 31 * S, quiet), Some(20));
    }

    #[test]
    fn where_ports_run_short_two_quiet_seconds_are_enough_and_never_less() {
        let t = Instant::now();
        let mut pool = PortPool::new(30 * S);
        pool.release(10, t);
        assert_eq!(pool.take(Need::Urgent, t + S, quiet), None);
        assert_eq!(pool.take(Need::Urgent, t + 2 * S, quiet), Some(10));
    }

    #[test]
    fn a_port_that_still_hears_its_last_far_side_is_passed_over() {
        let t = Instant::now();
        let mut pool = PortPool::new(30 * S);
        pool.release(10, t);
        pool.release(20, t);
        let heard = t + 29 * S;
        let mut stray = |port: &mut u16| (*port == 10).then_some(heard);
        pool.drain(2, &mut stray);
        assert_eq!(pool.take(Need::Ordinary, t + 30 * S, quiet), Some(20));
        assert_eq!(pool.take(Need::Urgent, t + 30 * S, quiet), None);
        assert_eq!(pool.take(Need::Ordinary, heard + 2 * S, quiet), Some(10));
    }

    #[test]
    fn what_waits_in_a_port_is_found_before_it_is_given_away() {
        let t = Instant::now();
        let mut pool = PortPool::new(2 * S);
        pool.release(10, t);
        assert_eq!(pool.take(Need::Ordinary, t + 5 * S, |_| Some(t + 4 * S)), None);
        assert_eq!(pool.take(Need::Ordinary, t + 6 * S, quiet), Some(10));
    }

    #[test]
    fn a_quarantine_shorter_than_two_seconds_is_two_seconds() {
        let t = Instant::now();
        let mut pool = PortPool::new(Duration::ZERO);
        pool.release(10, t);
        assert_eq!(pool.take(Need::Ordinary, t + S, quiet), None);
    }

    #[test]
    fn idle_ports_are_given_up_after_the_load() {
        let t = Instant::now();
        let mut pool = PortPool::new(30 * S);
        (0..10).for_each(|port| pool.release(port, t));
        pool.release(99, t + 20 * S);
        let mut closed = Vec::new();
        pool.retire(4, t + 29 * S, |port| closed.push(port));
        assert_eq!(closed, [0u16; 0]);
        pool.retire(4, t + 30 * S, |port| closed.push(port));
        assert_eq!(closed, [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(pool.len(), 4);
        assert_eq!(pool.take_named(|&port| port == 99), Some(99));
    }

    #[test]
    fn the_room_of_ports_that_were_given_up_is_given_up_too() {
        let t = Instant::now();
        let mut pool = PortPool::new(30 * S);
        (0..9_000u16).for_each(|port| pool.release(port, t));
        pool.retire(32, t + 30 * S, drop);
        assert_eq!(pool.len(), 32);
        assert!(pool.resting.capacity() <= 128, "{}", pool.resting.capacity());
        assert_eq!(pool.take(Need::Ordinary, t + 31 * S, quiet), Some(8_968));
    }

    #[test]
    fn draining_goes_round() {
        let t = Instant::now();
        let mut pool = PortPool::new(30 * S);
        (0..3u16).for_each(|port| pool.release(port, t));
        let mut drained = Vec::new();
        for _ in 0..3 {
            pool.drain(1, |port| {
                drained.push(*port);
                None
            });
        }
        drained.sort();
        assert_eq!(drained, [0, 1, 2]);
    }
}
