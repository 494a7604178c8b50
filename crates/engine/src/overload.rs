//! Whether the server itself can take one more request now.
//!
//! What a tenant or a trunk may not do yet waits on disk, in the backlog. This is about the machine: a
//! request that it has no time for is refused before any work is done for it, so that its time goes
//! to the calls that are up and to the requests that it takes.
//!
//! ```text
//!   ┌──────┐   a stage is slow for a whole PERIOD   ┌──────────┐
//!   │ Calm │ ─────────────────────────────────────▶ │ Shedding │
//!   └──────┘ ◀───────────────────────────────────── └──────────┘
//!        hardly anybody was refused for QUIET, or it was idle
//! ```
//! A stage is slow that takes longer than the disk needs anyway and the server's patience. A burst that
//! is worked off within a period is let in whole: a queue that stays is what tells overload from it
//! (as in CoDel, RFC 8289). While shedding no more is under way in a stage than the server lately
//! finished within the same time (Little's law), so that who is let in is served in about that time,
//! on a small machine and on a large one; and no more in a second than a little above what it has shown
//! on average that it can do, because a call costs most when it is long through both stages ([`pace`]).

mod pace;

use std::collections::VecDeque;
use std::time::Duration;

use pace::Pace;

/// How long a stage must be slow without a break.
const PERIOD: Duration = Duration::from_millis(50);

/// And how often at the least: a hiccup is no queue.
const SLOW_STEPS: u32 = 8;

/// Slow steps that are farther apart say nothing of what was between them.
const APART: Duration = Duration::from_millis(500);

/// Shedding ends when nobody was refused for so long, or hardly anybody.
const QUIET: Duration = Duration::from_secs(1);

/// Hardly anybody: fewer than one in so many.
const ONE_IN: u32 = 20;

/// Shedding ends too when nothing was under way for this share of so long: what one stall of the machine left behind is
/// worked off. Where most were refused it takes more: with a multiple of what it can do on offer a server is without a
/// request too between two commits, since those that it lets in go through them together.
const IDLE: f64 = 0.15;
const IDLE_ALTHOUGH_MOST_WERE_REFUSED: f64 = 0.5;
const LOOKED_AT: Duration = Duration::from_millis(250);

/// Under way in a stage at the most, even while calm: a small machine works it off in little more than a second.
const MOST: u32 = 512;

/// Under way in a stage at the least while shedding: what is under way shows what can be done.
const LEAST: u32 = 3;

/// What was finished is remembered in pieces of this length, so many of them.
const PIECE: Duration = Duration::from_millis(100);
const PIECES: usize = 10;

/// The quickest commit within one to two of these is what the disk needs anyway. A commit that waits
/// for the processor is overload and no property of the disk.
const DISK_REMEMBERED: Duration = Duration::from_secs(5);

/// A disk may be slow; a commit that takes longer than this is in trouble, and patience ends.
const DISK_MOST: Duration = Duration::from_millis(250);

/// The process says so often that it runs, whatever comes in.
pub const BEAT: Duration = Duration::from_millis(50);

/// It did not run where that is overdue by so much. What it did not see says nothing: neither that nobody was
/// refused, nor that nothing can be finished.
const STOOD_STILL: Duration = Duration::from_millis(200);

/// The two ways that a request goes here. Clips that must be spoken first lie between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// From the request to its reply.
    Accepting,
    /// From the wish for a port to the INVITE on its way.
    Dialling,
}

/// Times are since the start of the process.
#[derive(Debug)]
pub struct Overload {
    state: State,
    accepting: Flow,
    dialling: Flow,
    idle: Idle,
    pace: Pace,
    disk: Quickest,
    /// The last one. `None`: nobody beats.
    beat: Option<Duration>,
    /// How often shedding began.
    sheddings: u64,
    /// What a stage may take besides the disk.
    patience: Duration,
}

#[derive(Debug)]
enum State {
    Calm,
    Shedding(Shedding),
}

/// Counted since `since`, for QUIET.
#[derive(Debug)]
struct Shedding {
    refused_at: Duration,
    since: Duration,
    asked: u32,
    refused: u32,
}

impl Shedding {
    fn begin(now: Duration) -> Shedding {
        Shedding { refused_at: now, since: now, asked: 0, refused: 0 }
    }

    /// Whether it is over; else a new count begins where one is complete.
    fn ends(&mut self, now: Duration) -> bool {
        if now > self.refused_at + QUIET {
            return true;
        }
        if now <= self.since + QUIET {
            return false;
        }
        let hardly_anybody = self.refused * ONE_IN < self.asked;
        (self.since, self.asked, self.refused) = (now, 0, 0);
        hardly_anybody
    }
}

/// One stage.
#[derive(Debug)]
struct Flow {
    under_way: u32,
    slow: Option<Slow>,
    /// Finished in the piece that is running, and in those before.
    running: u32,
    began: Duration,
    finished: VecDeque<u32>,
}

/// How long nothing was under way, and what became of the requests while shedding.
#[derive(Debug, Default)]
struct Idle {
    /// Counted from then on, without what goes on since `since`.
    from: Duration,
    counted: Duration,
    since: Option<Duration>,
    let_in: u32,
    refused: u32,
}

/// Slow without a break so far.
#[derive(Debug)]
struct Slow {
    since: Duration,
    last: Duration,
    steps: u32,
}

/// The least of what was noticed lately.
#[derive(Debug, Default)]
struct Quickest {
    began: Duration,
    running: Option<Duration>,
    before: Option<Duration>,
}

impl Default for Flow {
    fn default() -> Flow {
        let finished = VecDeque::from(vec![0; PIECES]);
        Flow { under_way: 0, slow: None, running: 0, began: Duration::ZERO, finished }
    }
}

impl Overload {
    pub fn new(patience: Duration) -> Overload {
        Overload {
            state: State::Calm,
            accepting: Flow::default(),
            dialling: Flow::default(),
            idle: Idle::default(),
            pace: Pace::default(),
            disk: Quickest::default(),
            beat: None,
            sheddings: 0,
            patience,
        }
    }

    /// To be called every [`BEAT`], so that a standstill of the process is told from one of the requests.
    pub fn beat(&mut self, now: Duration) {
        self.skip_standstill(now);
        self.beat = Some(now);
        self.end_shedding(now);
    }

    /// A request is here: whether it is let in. What is let in must [`leave`](Self::leave).
    pub fn enter(&mut self, now: Duration) -> bool {
        self.skip_standstill(now);
        self.end_shedding(now);
        let within = self.within();
        let fits = |flow: &mut Flow, state: &State| match state {
            State::Calm => flow.under_way < MOST,
            State::Shedding(_) => flow.under_way < flow.limit(within, now),
        };
        let fits = fits(&mut self.accepting, &self.state) && fits(&mut self.dialling, &self.state);
        let let_in = fits && (!self.is_shedding() || self.pace.takes(now));
        if let State::Shedding(shedding) = &mut self.state {
            shedding.asked += 1;
            if let_in {
                self.idle.let_in += 1;
            } else {
                self.idle.refused += 1;
                shedding.refused += 1;
                shedding.refused_at = now;
            }
        }
        if let_in {
            self.begin(Stage::Accepting, now);
        }
        let_in
    }

    /// A call begins with a stage.
    pub fn begin(&mut self, stage: Stage, now: Duration) {
        self.skip_standstill(now);
        self.idle.ends(now);
        self.flow(stage).under_way += 1;
    }

    /// It is through with it, or gone, after `took`.
    pub fn leave(&mut self, stage: Stage, took: Duration, now: Duration) {
        self.skip_standstill(now);
        let slow = took > self.within();
        let overloaded = self.flow(stage).leave(slow, now);
        // What was quicker than any commit was no call.
        if stage == Stage::Accepting && took >= self.disk.least() {
            self.pace.finished(self.is_shedding(), now);
        }
        if self.accepting.under_way + self.dialling.under_way == 0 {
            self.idle.begins(now);
        }
        if overloaded && matches!(self.state, State::Calm) {
            self.state = State::Shedding(Shedding::begin(now));
            self.sheddings += 1;
            self.idle.count_anew(now);
        }
    }

    /// A commit took so long.
    pub fn committed(&mut self, took: Duration, now: Duration) {
        self.disk.notice(took, now);
    }

    /// Whether requests are refused now.
    pub fn is_shedding(&self) -> bool {
        matches!(self.state, State::Shedding(_))
    }

    /// How often that began.
    pub fn sheddings(&self) -> u64 {
        self.sheddings
    }

    pub fn under_way(&self, stage: Stage) -> u32 {
        match stage {
            Stage::Accepting => self.accepting.under_way,
            Stage::Dialling => self.dialling.under_way,
        }
    }

    /// How long a stage may take. It may have to let one commit pass before its own, and the quickest
    /// one is quicker than most.
    fn within(&self) -> Duration {
        self.patience + 3 * self.disk.least().min(DISK_MOST)
    }

    /// The time that the process did not run has not passed for what is counted here.
    fn skip_standstill(&mut self, now: Duration) {
        let Some(beat) = &mut self.beat else { return };
        let stood = now.saturating_sub(*beat);
        if stood < BEAT + STOOD_STILL {
            return;
        }
        *beat = now;
        self.accepting.began += stood;
        self.dialling.began += stood;
        self.idle.skip(stood);
        self.pace.skip(stood);
        if let State::Shedding(shedding) = &mut self.state {
            shedding.refused_at += stood;
            shedding.since += stood;
        }
    }

    fn end_shedding(&mut self, now: Duration) {
        let State::Shedding(shedding) = &mut self.state else { return };
        if self.idle.is_enough(now) || shedding.ends(now) {
            self.state = State::Calm;
            (self.accepting.slow, self.dialling.slow) = (None, None);
        }
    }

    fn flow(&mut self, stage: Stage) -> &mut Flow {
        match stage {
            Stage::Accepting => &mut self.accepting,
            Stage::Dialling => &mut self.dialling,
        }
    }
}

impl Idle {
    fn begins(&mut self, now: Duration) {
        self.since = Some(now);
    }

    fn ends(&mut self, now: Duration) {
        if let Some(since) = self.since.take() {
            self.counted += now.saturating_sub(since);
        }
    }

    fn count_anew(&mut self, now: Duration) {
        let since = self.since.map(|_| now);
        *self = Idle { from: now, since, ..Idle::default() };
    }

    /// Whether there was enough of it; then, and where not, the next count begins.
    fn is_enough(&mut self, now: Duration) -> bool {
        let took = now.saturating_sub(self.from);
        if took < LOOKED_AT {
            return false;
        }
        let going_on = self.since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        let few_refused = self.refused <= self.let_in;
        let share = if few_refused { IDLE } else { IDLE_ALTHOUGH_MOST_WERE_REFUSED };
        let enough = self.counted + going_on > took.mul_f64(share);
        self.count_anew(now);
        enough
    }

    fn skip(&mut self, stood: Duration) {
        self.from += stood;
        self.since = self.since.map(|since| since + stood);
    }
}

impl Flow {
    /// True where it has been slow for a whole period.
    fn leave(&mut self, slow: bool, now: Duration) -> bool {
        self.turn(now);
        self.under_way = self.under_way.saturating_sub(1);
        self.running += 1;
        let unbroken = self.slow.take().filter(|before| now <= before.last + APART);
        if !slow {
            return false;
        }
        let (since, steps) = unbroken.map_or((now, 0), |before| (before.since, before.steps));
        self.slow = Some(Slow { since, last: now, steps: steps + 1 });
        now >= since + PERIOD && steps + 1 >= SLOW_STEPS
    }

    fn limit(&mut self, within: Duration, now: Duration) -> u32 {
        self.turn(now);
        let finished: u32 = self.finished.iter().sum();
        let remembered = PIECE * PIECES as u32;
        let limit = f64::from(finished) * within.as_secs_f64() / remembered.as_secs_f64();
        (limit.ceil() as u32).clamp(LEAST, MOST)
    }

    fn turn(&mut self, now: Duration) {
        let pieces = (now.saturating_sub(self.began).as_nanos() / PIECE.as_nanos()) as usize;
        for _ in 0..pieces.min(PIECES) {
            self.finished.pop_front();
            self.finished.push_back(std::mem::take(&mut self.running));
        }
        self.began += PIECE * pieces as u32;
    }
}

impl Quickest {
    fn notice(&mut self, took: Duration, now: Duration) {
        if now >= self.began + DISK_REMEMBERED {
            self.before = self.running.take();
            self.began = now;
        }
        self.running = Some(self.running.map_or(took, |least| least.min(took)));
    }

    fn least(&self) -> Duration {
        self.running.into_iter().chain(self.before).min().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
