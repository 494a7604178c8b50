//! How many requests a second the server has shown that it can do.
//!
//! What a call costs comes late: its audio and its end. Whoever lets in as many as can be accepted at the moment has them
//! all to play a second later, lets in hardly any until they are over, and begins again. So while shedding no more are
//! let in than a little above what was finished on average over a while.

use std::collections::VecDeque;
use std::time::Duration;

/// The average is over this.
const PIECE: Duration = Duration::from_millis(100);
const PIECES: usize = 30;

/// So much above what was shown: to find out whether more can be done.
const GROWTH: f64 = 1.2;

/// While shedding, what was shown earlier is halved in 5 s: what is finished then is what can be done.
const KEPT: f64 = 0.986;

/// Fewer a second are never aimed at.
const LEAST: f64 = 30.0;

/// What was not made use of is made good for so long, so that those who come in bunches are not taken for few.
const SAVED: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Pace {
    /// In the piece that is running, and in those before.
    running: u32,
    began: Duration,
    finished: VecDeque<u32>,
    /// Pieces in which something was finished: before there are [`PIECES`] nothing was shown.
    loaded: u32,
    /// Per second: the best average in calm weather, and lately while shedding.
    shown: f64,
    /// Requests that may be let in, as of `counted`.
    credit: f64,
    counted: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            running: 0,
            began: Duration::ZERO,
            finished: VecDeque::from(vec![0; PIECES]),
            loaded: 0,
            shown: 0.0,
            credit: 0.0,
            counted: Duration::ZERO,
        }
    }
}

impl Pace {
    pub(super) fn finished(&mut self, is_shedding: bool, now: Duration) {
        self.turn(is_shedding, now);
        self.running += 1;
    }

    /// While shedding: whether one more is within the pace; it is counted then.
    pub(super) fn takes(&mut self, now: Duration) -> bool {
        self.turn(true, now);
        if self.loaded < PIECES as u32 {
            return true;
        }
        let rate = (GROWTH * self.shown).max(LEAST);
        let passed = now.saturating_sub(self.counted);
        self.counted = now;
        let most = 1.0 + rate * SAVED.as_secs_f64();
        self.credit = (self.credit + rate * passed.as_secs_f64()).min(most);
        if self.credit < 1.0 {
            return false;
        }
        self.credit -= 1.0;
        true
    }

    pub(super) fn skip(&mut self, stood: Duration) {
        self.began += stood;
        self.counted += stood;
    }

    fn turn(&mut self, is_shedding: bool, now: Duration) {
        let kept = if is_shedding { KEPT } else { 1.0 };
        let pieces = (now.saturating_sub(self.began).as_nanos() / PIECE.as_nanos()) as u32;
        for _ in 0..pieces.min(PIECES as u32) {
            self.loaded = (self.loaded + u32::from(self.running > 0)).min(PIECES as u32);
            self.finished.pop_front();
            self.finished.push_back(std::mem::take(&mut self.running));
            let finished: u32 = self.finished.iter().sum();
            let average = f64::from(finished) / (PIECE * PIECES as u32).as_secs_f64();
            self.shown = (self.shown * kept).max(average);
        }
        self.began += PIECE * pieces;
    }
}
