//! The worlds that are run: those that failed once, and as many more as are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::cast::Charter;
use super::{World, reach};
use crate::log::message;

/// One seed a line; before that of a world with every kind of call stands `every`, of one of silence `silence`. What
/// follows a `#` says what it found.
const FAILED_ONCE: &str = include_str!("seeds_that_failed.txt");

/// Seeds of every test run: of each a world of notifications and one with every kind of call, of each tenth one of silence.
/// `WORLD_SEEDS=n` (`cargo xtask world --seeds n`) runs n.
const SEEDS: u64 = 70;
const SILENCE_EVERY: u64 = 10;

#[test]
fn promises_hold_in_random_worlds_and_each_world_repeats_itself() {
    let asked = std::env::var("WORLD_SEEDS").ok();
    let seeds = asked.map_or(SEEDS, |text| text.parse().expect("WORLD_SEEDS is a number"));
    let from = std::env::var("WORLD_FROM").ok();
    let from = from.map_or(1, |text| text.parse().expect("WORLD_FROM is a number"));
    let worlds: Vec<(Charter, u64)> =
        failed_once().chain((from..from + seeds).flat_map(worlds_of)).collect();
    let next = AtomicU64::new(0);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let found = thread::scope(|scope| {
        let work = || {
            let mut found = Found::default();
            while let Some((charter, seed)) =
                worlds.get(next.fetch_add(1, Ordering::Relaxed) as usize)
            {
                found.add(*charter, *seed);
            }
            found
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join().expect("it catches panics"));
        joined.reduce(Found::and).unwrap_or_default()
    });
    for (charter, seed, fault) in &found.failed {
        println!("failing seed {seed} ({charter:?}): {fault}");
    }
    println!("{} of {} worlds failed", found.failed.len(), worlds.len());
    assert!(
        found.failed.is_empty(),
        "add the failing seeds to seeds_that_failed.txt, with what they found"
    );
    let seen = |what| found.reached.get(what).copied().unwrap_or(0);
    for what in reach::ALL {
        println!("{:>5} worlds: {what}", seen(what));
    }
    let missing: Vec<&str> = reach::ALL.into_iter().filter(|what| seen(what) == 0).collect();
    assert!(seeds < reach::WORLDS || missing.is_empty(), "no world has seen this: {missing:?}");
}

/// What a run of worlds found.
#[derive(Default)]
struct Found {
    failed: Vec<(Charter, u64, String)>,
    /// Of each thing, the worlds that saw it.
    reached: BTreeMap<&'static str, u32>,
}

impl Found {
    /// Each world is lived twice (T-10).
    fn add(&mut self, charter: Charter, seed: u64) {
        let first = lived(charter, seed);
        let fault = first.fault.or_else(|| {
            let second = lived(charter, seed);
            (first.sum != second.sum).then(|| "the same seed gave another world".to_owned())
        });
        self.failed.extend(fault.map(|fault| (charter, seed, fault)));
        for what in first.reached {
            *self.reached.entry(what).or_default() += 1;
        }
    }

    fn and(mut self, other: Found) -> Found {
        self.failed.extend(other.failed);
        for (what, worlds) in other.reached {
            *self.reached.entry(what).or_default() += worlds;
        }
        self
    }
}

struct Lived {
    sum: u64,
    /// What went wrong, where something did; the end of its tape is printed.
    fault: Option<String>,
    reached: BTreeSet<&'static str>,
}

fn lived(charter: Charter, seed: u64) -> Lived {
    let mut world = World::new(charter, seed);
    let panic = catch_unwind(AssertUnwindSafe(|| world.run())).err();
    let fault = panic.map(|panic| {
        println!("--- seed {seed} ({charter:?})\n{}", world.last_lines());
        message(&*panic).to_owned()
    });
    let reached = if fault.is_none() { world.reached() } else { BTreeSet::new() };
    Lived { sum: world.sum(), fault, reached }
}

fn failed_once() -> impl Iterator<Item = (Charter, u64)> {
    let seeds = FAILED_ONCE.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    seeds.filter(|seed| !seed.is_empty()).map(|seed| {
        let (charter, seed) = match seed.split_once(' ') {
            Some(("every", seed)) => (Charter::EveryKind, seed),
            Some(("silence", seed)) => (Charter::Silence, seed),
            Some((other, _)) => panic!("no kind of world: {other}"),
            None => (Charter::Notifications, seed),
        };
        (charter, seed.trim().parse().expect("a seed is a number"))
    })
}

fn worlds_of(seed: u64) -> impl Iterator<Item = (Charter, u64)> {
    let silence = seed.is_multiple_of(SILENCE_EVERY).then_some(Charter::Silence);
    let every_time = [Charter::EveryKind, Charter::Notifications];
    every_time.into_iter().chain(silence).map(move |charter| (charter, seed))
}
