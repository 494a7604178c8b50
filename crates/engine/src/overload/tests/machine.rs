//! One processor and one disk in virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

use super::super::{BEAT, Overload, Stage};

/// The first request.
const BEGINS_US: u64 = 1_000_000;

#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// How long calls are up.
    pub hold_ms: u64,
    pub fsync_us: u64,
    /// 1.0: the costs below.
    pub slowness: f64,
    /// Share of the processor that the audio of a call takes, with that slowness.
    pub audio: f64,
    /// From when to when nothing of the process runs.
    pub standstill_ms: (u64, u64),
    /// Somebody else has the processor so often (0: never), for so long.
    pub stolen_ms: (u64, u64),
}

/// On a usual machine that never stands still.
pub const USUAL: Machine = Machine {
    hold_ms: 1_000,
    fsync_us: 1_000,
    slowness: 1.0,
    audio: 0.0004,
    standstill_ms: (0, 0),
    stolen_ms: (0, 0),
};

/// What became of the requests.
#[derive(Default)]
pub struct Run {
    pub dialled_ms: Vec<f64>,
    /// The same from the fourth second on: before, the server has to notice, and works off what
    /// it let in until then.
    pub settled_ms: Vec<f64>,
    pub refused_ms: Vec<f64>,
    pub most_under_way: u32,
}

/// A piece of work on the processor, of a request by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Job {
    Arrive(usize),
    Refuse(usize),
    Accept(usize),
    Commit(u64),
    Dial(usize),
    Answered(usize),
    End(usize),
    CallBack(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    Ready(Job),
    Done(Job),
    Synced(u64),
}

struct World {
    machine: Machine,
    overload: Overload,
    beat_us: u64,
    now_us: u64,
    happens: BinaryHeap<Reverse<(u64, u64, Happens)>>,
    order: u64,
    queue: VecDeque<Job>,
    works: bool,
    /// For the next commit, and in the one that is under way.
    written: Vec<Option<Job>>,
    committing: BTreeMap<u64, (Vec<Option<Job>>, u64)>,
    last_commit: u64,
    up: u32,
    sent_us: Vec<u64>,
    entered_us: Vec<u64>,
    random: u64,
    run: Run,
}

impl Run {
    pub fn p99(values: &[f64]) -> f64 {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() * 99 / 100).copied().unwrap_or(0.0)
    }
}

impl Machine {
    /// Requests at a steady rate, in bunches of a millisecond, for so many seconds; the last calls end.
    pub fn run(self, per_second: f64, seconds: u32) -> Run {
        let requests = (per_second * f64::from(seconds)) as usize;
        let at = |request: usize| BEGINS_US + (request as f64 / per_second * 1e3) as u64 * 1_000;
        let sent_us: Vec<u64> = (0..requests).map(at).collect();
        let mut world = World {
            machine: self,
            overload: Overload::new(Duration::from_millis(8)),
            beat_us: 0,
            now_us: 0,
            happens: BinaryHeap::new(),
            order: 0,
            queue: VecDeque::new(),
            works: false,
            written: Vec::new(),
            committing: BTreeMap::new(),
            last_commit: 0,
            up: 0,
            entered_us: vec![0; requests],
            random: 0x9E37_79B9_7F4A_7C15,
            run: Run::default(),
            sent_us: sent_us.clone(),
        };
        for (request, at) in sent_us.into_iter().enumerate() {
            world.later(at, Happens::Ready(Job::Arrive(request)));
        }
        world.go_on();
        world.run
    }
}

impl World {
    fn go_on(&mut self) {
        while let Some(Reverse((now, _, happens))) = self.happens.pop() {
            self.now_us = now;
            match happens {
                Happens::Ready(job) => self.queue.push_back(job),
                Happens::Done(job) => {
                    self.works = false;
                    self.done(job);
                }
                Happens::Synced(commit) => self.synced(commit),
            }
            self.beat();
            self.commit();
            self.work();
        }
    }

    fn beat(&mut self) {
        if self.stands_still_for().is_none() && self.now_us >= self.beat_us {
            self.overload.beat(Duration::from_micros(self.now_us));
            self.beat_us = self.now_us + BEAT.as_micros() as u64;
        }
    }

    /// Microseconds from now.
    fn stands_still_for(&self) -> Option<u64> {
        let (from, until) = self.machine.standstill_ms;
        let stands = (from * 1_000..until * 1_000).contains(&self.now_us);
        stands.then(|| until * 1_000 - self.now_us).or_else(|| self.stolen_for())
    }

    fn stolen_for(&self) -> Option<u64> {
        let (every, lasts) = self.machine.stolen_ms;
        let since = self.now_us.checked_rem(every * 1_000)?;
        (lasts * 1_000).checked_sub(since).filter(|left| *left > 0)
    }

    fn done(&mut self, job: Job) {
        let now = Duration::from_micros(self.now_us);
        match job {
            // One task: what follows comes at once.
            Job::Arrive(request) if self.overload.enter(now) => {
                self.entered_us[request] = self.now_us;
                self.queue.push_front(Job::Accept(request));
                let under_way = self.overload.under_way(Stage::Accepting);
                self.run.most_under_way = self.run.most_under_way.max(under_way);
            }
            Job::Arrive(request) => self.queue.push_front(Job::Refuse(request)),
            Job::Refuse(request) => self.run.refused_ms.push(self.since(self.sent_us[request])),
            Job::Accept(request) => self.written.push(Some(Job::Dial(request))),
            Job::Commit(commit) => {
                self.later(self.now_us + self.machine.fsync_us, Happens::Synced(commit));
            }
            Job::Dial(request) => {
                let took = Duration::from_micros(self.now_us - self.entered_us[request]);
                self.overload.leave(Stage::Accepting, took, now);
                let after_ms = self.since(self.sent_us[request]);
                self.run.dialled_ms.push(after_ms);
                if self.sent_us[request] >= BEGINS_US + 3_000_000 {
                    self.run.settled_ms.push(after_ms);
                }
                self.up += 1;
                self.later(self.now_us + 2_000, Happens::Ready(Job::Answered(request)));
            }
            Job::Answered(request) => {
                self.written.push(None);
                let ends = self.now_us + self.machine.hold_ms * 1_000;
                self.later(ends, Happens::Ready(Job::End(request)));
            }
            Job::End(request) => {
                self.up -= 1;
                self.written.push(Some(Job::CallBack(request)));
            }
            Job::CallBack(_) => {}
        }
    }

    /// The disk is free: all that was written goes together.
    fn commit(&mut self) {
        if self.committing.is_empty() && !self.written.is_empty() {
            self.last_commit += 1;
            let written = std::mem::take(&mut self.written);
            self.committing.insert(self.last_commit, (written, self.now_us));
            self.queue.push_back(Job::Commit(self.last_commit));
        }
    }

    fn synced(&mut self, commit: u64) {
        let Some((written, since)) = self.committing.remove(&commit) else { return };
        let now = Duration::from_micros(self.now_us);
        self.overload.committed(Duration::from_micros(self.now_us - since), now);
        self.queue.extend(written.into_iter().flatten());
    }

    /// The processor takes the next piece, first come first served. Audio goes before all of it.
    fn work(&mut self) {
        if self.works {
            return;
        }
        let Some(job) = self.queue.pop_front() else { return };
        let cost_us = match job {
            Job::Arrive(_) => 60,
            Job::Refuse(_) => 30,
            Job::Accept(_) => 450,
            Job::Commit(commit) => 200 + 150 * self.committing[&commit].0.len() as u64,
            Job::Dial(_) => 200,
            Job::Answered(_) | Job::CallBack(_) => 300,
            Job::End(_) => 350,
        };
        let left_by_audio =
            (1.0 - f64::from(self.up) * self.machine.audio * self.machine.slowness).max(0.05);
        let varies = 0.7 + 0.6 * self.chance();
        let mut took = cost_us as f64 * self.machine.slowness * varies / left_by_audio;
        // Somebody else has the processor now and then.
        if self.chance() < 0.0005 {
            took += 8_000.0;
        }
        self.works = true;
        took += self.stands_still_for().unwrap_or_default() as f64;
        self.later(self.now_us + took as u64 + 1, Happens::Done(job));
    }

    fn later(&mut self, at_us: u64, happens: Happens) {
        self.order += 1;
        self.happens.push(Reverse((at_us, self.order, happens)));
    }

    fn since(&self, earlier_us: u64) -> f64 {
        (self.now_us - earlier_us) as f64 / 1_000.0
    }

    /// 0 to 1, the same in each run.
    fn chance(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1u64 << 53) as f64
    }
}
