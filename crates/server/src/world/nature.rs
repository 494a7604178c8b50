//! What nobody in the world can influence: time, chance, and the tape on which everything stands.

use std::collections::VecDeque;
use std::fmt::{Arguments, Write as _};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use engine::vocabulary::Now;

/// 2026-11-21T00:00:00Z.
const BEGIN_MS: i64 = 1_795_219_200_000;

pub struct Nature {
    /// Since the world began.
    pub now: Duration,
    /// Stands for the beginning where an `Instant` is asked for.
    base: Instant,
    /// How far the wall clock has been moved.
    moved_ms: i64,
    was_moved: bool,
    pub dice: Dice,
    pub tape: Tape,
}

impl Nature {
    pub fn new(seed: u64) -> Nature {
        Nature {
            now: Duration::ZERO,
            base: Instant::now(),
            moved_ms: 0,
            was_moved: false,
            dice: Dice::new(seed),
            tape: Tape::default(),
        }
    }

    pub fn instant(&self) -> Instant {
        self.base + self.now
    }

    /// When an `Instant` is, in the world's own time.
    pub fn since_begin(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.base)
    }

    /// The wall clock, ms since 1970.
    pub fn wall_ms(&self) -> i64 {
        BEGIN_MS + self.now.as_millis() as i64 + self.moved_ms
    }

    /// The clocks of a process that was started at `started`.
    pub fn clock(&self, started: Duration) -> Now {
        Now { since_start: self.now.saturating_sub(started), unix_ms: self.wall_ms() }
    }

    pub fn move_wall_clock(&mut self, by_ms: i64) {
        self.moved_ms += by_ms;
        self.was_moved = true;
    }

    /// Whether it ever was: then no time in a row means what it says.
    pub fn wall_clock_was_moved(&self) -> bool {
        self.was_moved
    }

    pub fn say(&mut self, what: Arguments) {
        let now = self.now;
        self.tape.write(now, what);
    }

    /// From `low` up to and including `high` ms from now.
    pub fn in_ms(&mut self, low: u64, high: u64) -> Duration {
        self.now + Duration::from_millis(low + self.dice.below(high - low + 1))
    }
}

/// splitmix64: the same numbers everywhere.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// −1 to 1.
    pub fn jitter(&mut self) -> f64 {
        self.below(2_001) as f64 / 1_000.0 - 1.0
    }
}

/// Lines that a failing world prints.
const KEPT: usize = 250;

/// Everything that happened, as a sum over all of it and the last lines in words.
pub struct Tape {
    sum: u64,
    last: VecDeque<String>,
    /// A line that nobody needs any more, for the next one.
    spare: String,
}

impl Default for Tape {
    fn default() -> Self {
        Tape { sum: 0xCBF2_9CE4_8422_2325, last: VecDeque::new(), spare: String::new() }
    }
}

impl Tape {
    /// Whether trunks live is asked for hours after everything else: that is in the sum only.
    fn write(&mut self, at: Duration, what: Arguments) {
        let mut line = std::mem::take(&mut self.spare);
        line.clear();
        write!(line, "{:>12.3} {what}", at.as_secs_f64()).expect("a String takes every write");
        self.add(line.as_bytes());
        if line.ends_with(" OPTIONS") {
            self.spare = line;
            return;
        }
        if self.last.len() == KEPT {
            self.spare = self.last.pop_front().expect("it is full");
        }
        self.last.push_back(line);
    }

    /// FNV-1a.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.sum = (self.sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
        }
    }

    pub fn sum(&self) -> u64 {
        self.sum
    }

    pub fn last_lines(&self) -> String {
        self.last.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// What a future of the store in memory says: it waits for nothing, at most it lets others have a turn.
pub fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    for _ in 0..100 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
    panic!("the store in memory waits for nothing")
}
