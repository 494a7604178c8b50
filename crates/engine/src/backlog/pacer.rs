//! Starts per second and calls at once, for one tenant or one trunk.

use std::time::Duration;

use crate::vocabulary::Pace;

/// Starts may bunch within this time, so that a fast pace needs no timer per call.
const BUNCH: Duration = Duration::from_millis(20);

/// The generic cell rate algorithm: one point in time says when the next start conforms.
#[derive(Debug)]
pub struct Pacer {
    pub pace: Pace,
    running: u32,
    /// Free slots that are kept for a call that waits for several at once.
    kept: u32,
    /// When the starts so far would have been used up at an even pace.
    used_until: Duration,
}

impl Pacer {
    pub fn new(pace: Pace) -> Pacer {
        Pacer { pace, running: 0, kept: 0, used_until: Duration::ZERO }
    }

    pub fn free_slots(&self) -> u32 {
        self.slots_for_kept().saturating_sub(self.kept)
    }

    /// Free for the call that some are kept for.
    pub fn slots_for_kept(&self) -> u32 {
        self.pace.concurrent_calls.saturating_sub(self.running)
    }

    pub fn keep(&mut self, slots: u32) {
        self.kept += slots;
    }

    pub fn keep_none(&mut self) {
        self.kept = 0;
    }

    /// How many may start at `now`, by slots and by rate.
    pub fn may_start(&self, now: Duration) -> u32 {
        let ahead = self.used_until.saturating_sub(now);
        let room = self.tolerance().saturating_sub(ahead);
        let by_rate = (room.as_nanos() / self.interval().as_nanos()) as u32;
        by_rate.min(self.free_slots())
    }

    /// The first moment at which the rate lets one start.
    pub fn next_start(&self) -> Duration {
        (self.used_until + self.interval()).saturating_sub(self.tolerance())
    }

    pub fn start(&mut self, calls: u32, now: Duration) {
        self.running += calls;
        self.used_until = self.used_until.max(now) + self.interval() * calls;
    }

    pub fn release(&mut self, calls: u32) {
        self.running = self.running.saturating_sub(calls);
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.pace.calls_per_second.max(1)
    }

    /// At least one start always fits into it.
    fn tolerance(&self) -> Duration {
        self.interval().max(BUNCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_rate_over_a_second() {
        let mut pacer = Pacer::new(Pace { calls_per_second: 200, concurrent_calls: 10_000 });
        let mut started = 0;
        for ms in 0..1_000 {
            let now = Duration::from_millis(ms);
            let calls = pacer.may_start(now);
            pacer.start(calls, now);
            started += calls;
        }
        assert!((200..=204).contains(&started), "{started} started in a second");
    }

    #[test]
    fn says_when_the_next_one_may_start() {
        let mut pacer = Pacer::new(Pace { calls_per_second: 2, concurrent_calls: 10 });
        let now = Duration::from_secs(5);
        assert_eq!(pacer.may_start(now), 1);
        pacer.start(1, now);
        assert_eq!(pacer.may_start(now), 0);
        assert_eq!(pacer.next_start(), now + Duration::from_millis(500));
        assert_eq!(pacer.may_start(pacer.next_start()), 1);
    }

    #[test]
    fn counts_calls_at_once() {
        let mut pacer = Pacer::new(Pace { calls_per_second: 1_000, concurrent_calls: 2 });
        pacer.start(2, Duration::ZERO);
        assert_eq!(pacer.may_start(Duration::from_secs(9)), 0);
        pacer.release(1);
        assert_eq!(pacer.may_start(Duration::from_secs(9)), 1);
    }
}
