//! The worlds that are run: those that failed once, and as many more as are asked for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::World;
use super::cast::Charter;

/// One seed a line; one of a world with every kind of call has `every` before it. What follows a `#` says what it found.
const FAILED_ONCE: &str = include_str!("seeds_that_failed.txt");

/// Seeds of every test run, of each charter; `WORLD_SEEDS=n` (`cargo xtask world --seeds n`) runs more.
const SEEDS: u64 = 200;

#[test]
fn promises_hold_in_random_worlds_and_each_world_repeats_itself() {
    let asked = std::env::var("WORLD_SEEDS").ok();
    let seeds = asked.map_or(SEEDS, |text| text.parse().expect("WORLD_SEEDS is a number"));
    let from = std::env::var("WORLD_FROM").ok();
    let from = from.map_or(1, |text| text.parse().expect("WORLD_FROM is a number"));
    let both = |seed| [(Charter::EveryKind, seed), (Charter::Notifications, seed)];
    let seeds: Vec<(Charter, u64)> =
        failed_once().chain((from..from + seeds).flat_map(both)).collect();
    let next = AtomicU64::new(0);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let failed = thread::scope(|scope| {
        let work = || {
            let mut failed = Vec::new();
            while let Some((charter, seed)) =
                seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize)
            {
                failed.extend(fault_of(*charter, *seed).map(|fault| (*charter, *seed, fault)));
            }
            failed
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join().expect("it catches panics"));
        joined.flatten().collect::<Vec<_>>()
    });
    for (charter, seed, fault) in &failed {
        println!("failing seed {seed} ({charter:?}): {fault}");
    }
    let seeds = seeds.len();
    println!("{} of {seeds} worlds failed", failed.len());
    assert!(
        failed.is_empty(),
        "add the failing seeds to seeds_that_failed.txt, with what they found"
    );
}

/// What went wrong in this world, where something did; the end of its tape is printed.
fn fault_of(charter: Charter, seed: u64) -> Option<String> {
    let (first, fault) = lived(charter, seed);
    if fault.is_some() {
        return fault;
    }
    println!("sum {seed} {first:x}");
    let (second, _) = lived(charter, seed);
    (first != second).then(|| "the same seed gave another world".to_owned())
}

fn lived(charter: Charter, seed: u64) -> (u64, Option<String>) {
    let mut world = World::new(charter, seed);
    let panic = catch_unwind(AssertUnwindSafe(|| world.run())).err();
    let fault = panic.map(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        println!("--- seed {seed} ({charter:?})\n{}", world.last_lines());
        text.unwrap_or_default()
    });
    (world.sum(), fault)
}

fn failed_once() -> impl Iterator<Item = (Charter, u64)> {
    let seeds = FAILED_ONCE.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    seeds.filter(|seed| !seed.is_empty()).map(|seed| {
        let (charter, seed) = match seed.strip_prefix("every ") {
            Some(seed) => (Charter::EveryKind, seed),
            None => (Charter::Notifications, seed),
        };
        (charter, seed.trim().parse().expect("a seed is a number"))
    })
}
