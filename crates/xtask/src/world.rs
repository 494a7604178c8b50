//! `cargo xtask world`: as many simulated worlds as are asked for (TESTS.md T-9, T-10, T-3), each seed with
//! notifications only and with every kind of call, each tenth one with people who fall silent. The seeds that failed once
//! are run each time.

use crate::workspace::cargo;

/// Seeds of a nightly run.
pub const NIGHTLY: u64 = 5_000;

/// Runs the worlds of `seeds` seeds, the first `from`. The test prints each failing seed with the end of
/// its tape. True where none failed.
pub fn run(seeds: u64, from: u64) -> bool {
    let mut test = cargo();
    test.args(["test", "--locked", "--package", "server", "--lib"]);
    test.args(["--", "--exact", "--nocapture", TEST]);
    test.env("WORLD_SEEDS", seeds.to_string()).env("WORLD_FROM", from.to_string());
    match test.status() {
        Ok(status) => status.success(),
        Err(fault) => {
            eprintln!("cargo cannot be started: {fault}");
            false
        }
    }
}

const TEST: &str = "world::seeds::promises_hold_in_random_worlds_and_each_world_repeats_itself";
