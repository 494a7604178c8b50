//! `cargo xtask chaos`: builds the server and the program that kills it (`crates/server/examples/chaos`), and runs that. It
//! needs the simulated carrier, which would make this crate slow to build where only tests are run.

use std::process::Command;

use crate::workspace::cargo;

/// Kills of a run inside `cargo xtask test`.
pub const KILLS_IN_TEST: u32 = 20;

/// Passes `arguments` on; true where every promise held.
pub fn run(release: bool, arguments: &[String]) -> bool {
    let mut build = cargo();
    build.args(["build", "--locked", "--package", "server", "--bin", "offhook"]);
    profile(&mut build, release);
    // Cargo says on standard error what it does.
    succeeds(build) && succeeds(command(release, arguments))
}

/// The run alone; the server has to be built.
pub fn command(release: bool, arguments: &[String]) -> Command {
    let mut run = cargo();
    run.args(["run", "--quiet", "--locked", "--package", "server", "--example", "chaos"]);
    profile(&mut run, release);
    run.arg("--").args(arguments);
    run
}

fn profile(command: &mut Command, release: bool) {
    if release {
        command.arg("--release");
    }
}

fn succeeds(mut command: Command) -> bool {
    match command.status() {
        Ok(status) => status.success(),
        Err(fault) => {
            eprintln!("cargo cannot be started: {fault}");
            false
        }
    }
}
