//! When something was wrong with the world: the line, the server, a connection. What is promised within a
//! second is promised where nothing is.

use std::time::Duration;

/// What was sent when it was wrong arrives within this time, and what nobody answers is given up.
const AFTERMATH: Duration = Duration::from_secs(36);

#[derive(Default)]
pub struct Trouble {
    /// From when to when, in order.
    times: Vec<(Duration, Duration)>,
    slow: Vec<(Duration, Duration)>,
}

impl Trouble {
    /// How the world is from now on.
    pub fn sees(&mut self, fine: bool, now: Duration) {
        if !fine {
            self.expect(now);
        }
    }

    /// Something goes wrong now.
    pub fn expect(&mut self, now: Duration) {
        match self.times.last_mut() {
            Some((_, until)) if *until >= now => *until = (*until).max(now + AFTERMATH),
            _ => self.times.push((now, now + AFTERMATH)),
        }
    }

    /// Something is slow for so long, and nothing after it.
    pub fn lasts(&mut self, from: Duration, until: Duration) {
        self.slow.push((from, until));
    }

    /// Whether nothing was wrong in all of this time.
    pub fn is_none(&self, from: Duration, until: Duration) -> bool {
        let mut times = self.times.iter().chain(&self.slow);
        times.all(|(begins, ends)| *ends < from || *begins > until)
    }

    /// When the trouble is over that there is at `at`; then, where there is none.
    pub fn over(&self, at: Duration) -> Duration {
        let mut over = at;
        for (begins, ends) in &self.times {
            if *begins <= over && *ends >= over {
                over = *ends;
            }
        }
        over
    }
}
