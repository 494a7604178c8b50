//! The disk: takes its time, does one thing after the other, and tells only what is on it. A crash
//! loses what it was not through with.

use std::collections::VecDeque;
use std::time::Duration;

use engine::action::{BatchNumber, ClaimId};
use engine::writes::Write;
use store::{Batch, Claim, Store, Submitted};

use super::courier::Courier;
use super::nature::{Nature, at_once};
use crate::driver::Happening;

pub struct Disk {
    store: Store,
    asked: VecDeque<Asked>,
    /// When it was at one thing for long, since somebody looked.
    slow: Vec<(Duration, Duration)>,
}

/// What it does within this time delays nobody by a second.
const QUICK: Duration = Duration::from_millis(300);

enum Asked {
    Commit { batch: BatchNumber, rings: bool, submitted: Submitted },
    Claim { claim: ClaimId, what: Claim },
}

impl Disk {
    pub fn new(store: Store) -> Disk {
        Disk { store, asked: VecDeque::new(), slow: Vec::new() }
    }

    /// When the disk is through with it, where it is free now.
    pub fn commit(
        &mut self,
        batch: BatchNumber,
        writes: Batch,
        nature: &mut Nature,
    ) -> Option<Duration> {
        let rings = writes.writes.iter().any(|write| matches!(write, Write::Event { .. }));
        let submitted = self.store.submit(writes);
        self.ask(Asked::Commit { batch, rings, submitted }, nature)
    }

    pub fn claim(&mut self, claim: ClaimId, what: Claim, nature: &mut Nature) -> Option<Duration> {
        self.ask(Asked::Claim { claim, what }, nature)
    }

    /// The disk is through with the first thing; when that is heard, and what.
    pub fn answer(&mut self, courier: &mut Courier, nature: &mut Nature) -> (Duration, Happening) {
        let happening = match self.asked.pop_front().expect("something was asked") {
            Asked::Commit { batch, rings, submitted } => {
                let Store::Memory(memory) = &self.store else { panic!("this world has no disk") };
                memory.commit();
                let failure = at_once(submitted).err().map(|error| error.to_string());
                nature.say(format_args!("batch {} is on disk: {failure:?}", batch.0));
                if rings && failure.is_none() {
                    courier.look_at(nature.now);
                }
                Happening::Committed { batch, failure }
            }
            Asked::Claim { claim, what } => {
                let calls = at_once(self.store.claim(what.clone()));
                nature.say(format_args!("claimed by {what:?}: {:?}", calls.as_ref().map(Vec::len)));
                Happening::Claimed { claim, calls: calls.map_err(|error| error.to_string()) }
            }
        };
        (nature.in_ms(0, 2), happening)
    }

    /// When it is through with the next thing, which it begins at `from`.
    pub fn takes_next(&mut self, from: Duration, nature: &mut Nature) -> Option<Duration> {
        (!self.asked.is_empty()).then(|| self.is_through(from, nature))
    }

    /// When it took so long that it may have held somebody up.
    pub fn was_slow(&mut self) -> Vec<(Duration, Duration)> {
        std::mem::take(&mut self.slow)
    }

    fn ask(&mut self, asked: Asked, nature: &mut Nature) -> Option<Duration> {
        self.asked.push_back(asked);
        (self.asked.len() == 1).then(|| self.is_through(nature.now, nature))
    }

    fn is_through(&mut self, from: Duration, nature: &mut Nature) -> Duration {
        let until = from + latency(nature);
        if until > from + QUICK {
            self.slow.push((from, until));
        }
        until
    }
}

fn latency(nature: &mut Nature) -> Duration {
    let slowest = if nature.dice.percent(3) { 2_500 } else { 8 };
    Duration::from_millis(1 + nature.dice.below(slowest))
}
