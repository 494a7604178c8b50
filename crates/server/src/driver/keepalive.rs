//! Whether a trunk is alive, by OPTIONS (RFC 3261 §11): one that does not answer twice is taken out of
//! service, asked more often, and put back at its first answer.

use std::time::Duration;

/// Questions in a row without an answer that take a trunk out.
const FAILURES: u32 = 2;

/// How often a trunk that is out is asked, where its own interval is not shorter.
const PROBE_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Keepalive {
    every: Duration,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// It is asked again at `next`.
    Waits { next: Duration, failures: u32 },
    /// A question is out.
    Asked { failures: u32 },
}

impl Keepalive {
    /// The first question goes out at once.
    pub fn new(every: Duration, now: Duration) -> Keepalive {
        Keepalive { every, state: State::Waits { next: now, failures: 0 } }
    }

    pub fn wake_at(&self) -> Option<Duration> {
        match self.state {
            State::Waits { next, .. } => Some(next),
            State::Asked { .. } => None,
        }
    }

    /// Whether it is to be asked now; its answer is due then.
    pub fn ask(&mut self, now: Duration) -> bool {
        match self.state {
            State::Waits { next, failures } if next <= now => {
                self.state = State::Asked { failures };
                true
            }
            State::Waits { .. } | State::Asked { .. } => false,
        }
    }

    /// The trunk's state after this answer: alive or not.
    pub fn heard(&mut self, answered: bool, now: Duration) -> bool {
        let (State::Asked { failures } | State::Waits { failures, .. }) = self.state;
        let failures = if answered { 0 } else { failures + 1 };
        let next = if failures == 0 { self.every } else { self.every.min(PROBE_EVERY) };
        self.state = State::Waits { next: now + next, failures };
        failures < FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_silences_take_it_out_and_one_answer_puts_it_back() {
        let at = Duration::from_secs;
        let mut trunk = Keepalive::new(at(30), at(1));
        assert!(trunk.ask(at(1)));
        assert!(!trunk.ask(at(2)), "one question at a time");
        assert!(trunk.heard(true, at(2)));
        assert_eq!(trunk.wake_at(), Some(at(32)));
        assert!(!trunk.ask(at(31)));
        assert!(trunk.ask(at(32)));
        assert!(trunk.heard(false, at(37)), "once may be chance");
        assert_eq!(trunk.wake_at(), Some(at(42)), "it is asked again soon");
        assert!(trunk.ask(at(42)));
        assert!(!trunk.heard(false, at(47)));
        assert!(trunk.ask(at(52)));
        assert!(trunk.heard(true, at(52)));
    }
}
