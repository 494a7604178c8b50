//! The worlds that are run: those that failed once, and as many more as are asked for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::World;

/// One seed a line; what follows a `#` says what it found.
const FAILED_ONCE: &str = include_str!("seeds_that_failed.txt");

/// Seeds of every test run; `WORLD_SEEDS=n` (`cargo xtask world --seeds n`) runs more.
const SEEDS: u64 = 200;

#[test]
fn promises_hold_in_random_worlds_and_each_world_repeats_itself() {
    let asked = std::env::var("WORLD_SEEDS").ok();
    let seeds = asked.map_or(SEEDS, |text| text.parse().expect("WORLD_SEEDS is a number"));
    let from = std::env::var("WORLD_FROM").ok();
    let from = from.map_or(1, |text| text.parse().expect("WORLD_FROM is a number"));
    let seeds: Vec<u64> = failed_once().chain(from..from + seeds).collect();
    let next = AtomicU64::new(0);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let failed = thread::scope(|scope| {
        let work = || {
            let mut failed = Vec::new();
            while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                failed.extend(fault_of(*seed).map(|fault| (*seed, fault)));
            }
            failed
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join().expect("it catches panics"));
        joined.flatten().collect::<Vec<_>>()
    });
    for (seed, fault) in &failed {
        println!("failing seed {seed}: {fault}");
    }
    let seeds = seeds.len();
    println!("{} of {seeds} worlds failed", failed.len());
    assert!(
        failed.is_empty(),
        "add the failing seeds to seeds_that_failed.txt, with what they found"
    );
}

/// What went wrong in this world, where something did; the end of its tape is printed.
fn fault_of(seed: u64) -> Option<String> {
    let (first, fault) = lived(seed);
    if fault.is_some() {
        return fault;
    }
    let (second, _) = lived(seed);
    (first != second).then(|| "the same seed gave another world".to_owned())
}

fn lived(seed: u64) -> (u64, Option<String>) {
    let mut world = World::new(seed);
    let panic = catch_unwind(AssertUnwindSafe(|| world.run())).err();
    let fault = panic.map(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        println!("--- seed {seed}\n{}", world.last_lines());
        text.unwrap_or_default()
    });
    (world.sum(), fault)
}

fn failed_once() -> impl Iterator<Item = u64> {
    let seeds = FAILED_ONCE.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    seeds.filter(|seed| !seed.is_empty()).map(|seed| seed.parse().expect("a seed is a number"))
}
