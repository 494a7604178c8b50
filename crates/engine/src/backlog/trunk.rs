//! One trunk as the backlog sees it: its pace, and whether it is in service.

use std::time::Duration;

use super::pacer::Pacer;
use crate::vocabulary::Pace;

/// Calls in a row that a trunk leaves without any answer before it is given a rest.
const SILENCES: u32 = 5;

/// The rest of a trunk that says nothing.
const REST: Duration = Duration::from_secs(30);

/// The longest rest that a Retry-After can ask for.
const LONGEST_REST: Duration = Duration::from_secs(3_600);

#[derive(Debug)]
pub struct Trunk {
    pub pacer: Pacer,
    /// What the driver knows: registered, and its probes are answered.
    up: bool,
    health: Health,
}

/// What the calls over it show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    /// `silences`: how many calls in a row it left without any answer.
    Works { silences: u32 },
    /// It asked for a rest, or was silent too often. From `until` on one call may try it.
    Rests { until: Duration },
    /// That one call is out; what becomes of it decides.
    OnTrial,
}

/// What a call showed of its trunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It answered in some way, be it with a refusal.
    Works,
    /// Nothing came back, or it cannot be reached.
    Silent,
    /// 503 with Retry-After (RFC 3261 §21.5.4).
    WantsRest(Duration),
}

impl Trunk {
    pub fn new(pace: Pace, up: bool) -> Trunk {
        Trunk { pacer: Pacer::new(pace), up, health: Health::Works { silences: 0 } }
    }

    pub fn set(&mut self, pace: Pace, up: bool) {
        self.pacer.pace = pace;
        // A trunk that comes back starts with a clean sheet.
        if up && !self.up {
            self.health = Health::Works { silences: 0 };
        }
        self.up = up;
    }

    /// In service, however busy.
    pub fn is_open(&self, now: Duration) -> bool {
        self.up
            && match self.health {
                Health::Works { .. } => true,
                Health::Rests { until } => until <= now,
                Health::OnTrial => false,
            }
    }

    pub fn is_on_trial(&self) -> bool {
        self.up && self.health == Health::OnTrial
    }

    /// How many calls may start: one only, where it has to show that it works again.
    pub fn may_start(&self, now: Duration) -> u32 {
        let most = match self.health {
            Health::Works { .. } => u32::MAX,
            Health::Rests { .. } | Health::OnTrial => 1,
        };
        if self.is_open(now) { self.pacer.may_start(now).min(most) } else { 0 }
    }

    /// When the clock alone lets a call start; `None` where something else is in the way.
    pub fn opens_at(&self) -> Option<Duration> {
        if !self.up || self.pacer.free_slots() == 0 {
            return None;
        }
        match self.health {
            Health::Works { .. } => Some(self.pacer.next_start()),
            Health::Rests { until } => Some(until.max(self.pacer.next_start())),
            Health::OnTrial => None,
        }
    }

    pub fn start(&mut self, calls: u32, now: Duration) {
        self.pacer.start(calls, now);
        if matches!(self.health, Health::Rests { until } if until <= now) {
            self.health = Health::OnTrial;
        }
    }

    pub fn ended(&mut self, now: Duration) {
        self.pacer.release(1);
        // The call on trial may have ended without a word of its trunk: the next one tries.
        if self.health == Health::OnTrial {
            self.health = Health::Rests { until: now };
        }
    }

    /// `Some` where the trunk goes out of service (false) or comes back (true).
    pub fn seen(&mut self, seen: Seen, now: Duration) -> Option<bool> {
        let before = self.health;
        let resting = |until| Health::Rests { until };
        self.health = match (seen, before) {
            (Seen::Works, Health::Works { .. } | Health::OnTrial) => Health::Works { silences: 0 },
            // What was out before the rest began says nothing about now.
            (Seen::Works | Seen::Silent, rests @ Health::Rests { .. }) => rests,
            (Seen::WantsRest(rest), _) => resting(now + rest.min(LONGEST_REST)),
            (Seen::Silent, Health::OnTrial) => resting(now + REST),
            (Seen::Silent, Health::Works { silences }) if silences + 1 >= SILENCES => {
                resting(now + REST)
            }
            (Seen::Silent, Health::Works { silences }) => Health::Works { silences: silences + 1 },
        };
        match (before, self.health) {
            (Health::Works { .. }, Health::Rests { .. }) => Some(false),
            (Health::OnTrial, Health::Works { .. }) => Some(true),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { calls_per_second: 100, concurrent_calls: 100 };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_trunk_that_asks_for_rest_gets_it_and_then_one_call_tries_it() {
        let mut trunk = Trunk::new(PACE, true);
        let rest = Seen::WantsRest(Duration::from_secs(7));
        assert_eq!(trunk.seen(rest, at(10)), Some(false));
        assert_eq!((trunk.may_start(at(16)), trunk.opens_at()), (0, Some(at(17))));
        assert_eq!(trunk.may_start(at(17)), 1);
        trunk.start(1, at(17));
        assert_eq!(trunk.may_start(at(18)), 0, "one is on trial");
        assert_eq!(trunk.seen(Seen::Works, at(18)), Some(true));
        assert!(trunk.may_start(at(19)) > 1);
    }

    #[test]
    fn silence_takes_a_trunk_out_only_after_several_calls_in_a_row() {
        let mut trunk = Trunk::new(PACE, true);
        for _ in 1..SILENCES {
            assert_eq!(trunk.seen(Seen::Silent, at(1)), None);
        }
        assert_eq!(trunk.seen(Seen::Works, at(1)), None);
        for _ in 1..SILENCES {
            assert_eq!(trunk.seen(Seen::Silent, at(2)), None);
        }
        assert_eq!(trunk.seen(Seen::Silent, at(2)), Some(false));
        assert!(!trunk.is_open(at(31)));
        trunk.start(1, at(32));
        assert_eq!(trunk.seen(Seen::Silent, at(40)), None);
        assert!(!trunk.is_open(at(69)) && trunk.is_open(at(70)), "still silent: it rests again");
    }

    #[test]
    fn a_trial_that_says_nothing_is_followed_by_another() {
        let mut trunk = Trunk::new(PACE, true);
        trunk.seen(Seen::WantsRest(at(1)), at(1));
        trunk.start(1, at(2));
        trunk.ended(at(3));
        assert_eq!(trunk.may_start(at(3)), 1);
    }
}
