//! `cargo xtask queue`: the tests of long queues (P5, O-4) at full size.

use crate::steps::Steps;
use crate::workspace::cargo;

/// What TESTS.md asks for: P5 of a start, O-4 of claims.
pub const AT_A_START: u32 = 100_000;
pub const IN_THE_STORE: u32 = 1_000_000;

/// True where a start and claims are as quick with so many queued calls as without; the figures are printed.
pub fn run(calls: Option<u32>) -> bool {
    let mut steps = Steps::default();
    for (package, test, name, full) in [
        ("server", "server", "long_queue::", AT_A_START),
        ("store", "suite", "long_queue::sqlite", IN_THE_STORE),
    ] {
        let mut command = cargo();
        command.args(["test", "--locked", "--release", "--package", package, "--test", test]);
        command.args([name, "--", "--nocapture"]);
        command.env("QUEUED_CALLS", calls.unwrap_or(full).to_string());
        steps.command(package, command);
    }
    steps.finish()
}
