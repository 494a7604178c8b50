//! `cargo xtask rubbish`: the tests of `crates/server/tests/server/rubbish`, with more of it.

use crate::steps::Steps;
use crate::workspace::cargo;

/// Throws `scale` times what `cargo xtask test` throws. True where everything held.
pub fn run(scale: u32) -> bool {
    let mut steps = Steps::default();
    let mut command = cargo();
    command.args(["test", "--locked", "--release", "--package", "server", "--test", "server"]);
    command.args(["rubbish::", "--", "--nocapture"]);
    command.env("OFFHOOK_RUBBISH_SCALE", scale.to_string());
    steps.command("rubbish", command);
    steps.finish()
}
