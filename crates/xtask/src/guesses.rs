//! `cargo xtask guesses`: the tests of `crates/server/tests/server/attackers`, with as many guessed codes as asked for.

use crate::steps::Steps;
use crate::workspace::cargo;

/// What TESTS.md asks for (S-8).
pub const CODES: u32 = 100_000;

/// True where none of them made a call, and no password or extension was found; the figures are printed.
pub fn run(codes: u32) -> bool {
    let mut steps = Steps::default();
    let mut command = cargo();
    command.args(["test", "--locked", "--release", "--package", "server", "--test", "server"]);
    command.args(["attackers::", "--", "--nocapture"]);
    command.env("OFFHOOK_GUESSES", codes.to_string());
    steps.command("guesses", command);
    steps.finish()
}
