//! `cargo xtask fuzz`: the targets of `fuzz/`, each for so many seconds. Needs a nightly toolchain and cargo-fuzz; what they
//! found is in `fuzz/corpus`, which `cargo test` replays without either.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::steps::{Outcome, Steps};
use crate::workspace::{self, WorkspaceError, cargo};

/// What to run, and for how long.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    pub seconds: u32,
    /// `None`: all of them, one after the other.
    pub target: Option<String>,
    /// Bring cargo-fuzz first.
    pub install: bool,
}

/// Runs the plan. True where every target ran and none found anything.
pub fn run(plan: &Plan) -> bool {
    let mut steps = Steps::default();
    if plan.install && !has_cargo_fuzz() {
        let mut command = cargo();
        command.args(["install", "--locked", "cargo-fuzz", "--root"]).arg(tools());
        steps.command("install", command);
    }
    let targets = match targets() {
        Ok(targets) => targets,
        Err(fault) => {
            steps.step("targets", || Outcome::Failed(fault.to_string()));
            return steps.finish();
        }
    };
    let wanted: Vec<&String> = targets
        .iter()
        .filter(|target| plan.target.as_ref().is_none_or(|wanted| wanted == *target))
        .collect();
    let able = steps.step("tools", || match missing() {
        Some(how) => Outcome::Failed(how.to_owned()),
        None if wanted.is_empty() => {
            Outcome::Failed(format!("no such target; there are {}", targets.join(", ")))
        }
        None => Outcome::Passed(format!("{} targets", wanted.len())),
    });
    if able {
        for target in wanted {
            steps.step(target, || fuzz(target, plan.seconds));
        }
    }
    steps.finish()
}

/// The names of the targets, as fuzz/Cargo.toml has them.
pub fn targets() -> Result<Vec<String>, WorkspaceError> {
    #[derive(Deserialize)]
    struct Manifest {
        bin: Vec<Bin>,
    }
    #[derive(Deserialize)]
    struct Bin {
        name: String,
    }
    let manifest: Manifest = workspace::read_toml(&workspace::root().join("fuzz/Cargo.toml"))?;
    Ok(manifest.bin.into_iter().map(|bin| bin.name).collect())
}

fn fuzz(target: &str, seconds: u32) -> Outcome {
    // New inputs go below target/; the repository's are read only.
    let found = workspace::root().join("target/fuzz").join(target);
    if let Err(fault) = std::fs::create_dir_all(&found) {
        return Outcome::Failed(format!("{}: {fault}", found.display()));
    }
    let mut command = nightly_cargo();
    command.args(["fuzz", "run", target]).arg(&found).arg(format!("corpus/{target}"));
    command.args(["--", "-timeout=20", "-rss_limit_mb=3072", "-print_final_stats=1"]);
    command.arg(format!("-max_total_time={seconds}"));
    match command.status() {
        Ok(status) if status.success() => Outcome::Passed(format!("{seconds} s")),
        Ok(_) => Outcome::Failed(format!(
            "found something: mend it, then keep the input of fuzz/artifacts/{target} in fuzz/corpus/{target}"
        )),
        Err(fault) => Outcome::Failed(format!("rustup cannot be started: {fault}")),
    }
}

fn missing() -> Option<&'static str> {
    let mut nightly = Command::new("rustup");
    if !succeeds(nightly.args(["run", "nightly", "rustc", "--version"])) {
        return Some(
            "libFuzzer needs a nightly compiler: `rustup toolchain install nightly --profile minimal`",
        );
    }
    (!has_cargo_fuzz()).then_some("cargo-fuzz is not installed: `cargo xtask fuzz --install`")
}

fn has_cargo_fuzz() -> bool {
    succeeds(nightly_cargo().args(["fuzz", "--version"]))
}

/// The nightly cargo in `fuzz/`, with our own tools on its path.
fn nightly_cargo() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo"]).current_dir(workspace::root().join("fuzz"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [tools().join("bin")].into_iter().chain(std::env::split_paths(&path));
    if let Ok(path) = std::env::join_paths(folders) {
        command.env("PATH", path);
    }
    command.env_remove("CARGO").env_remove("RUSTC");
    command
}

fn tools() -> PathBuf {
    workspace::root().join("target/tools")
}

fn succeeds(command: &mut Command) -> bool {
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_its_file_its_corpus_and_its_replay() {
        let root = workspace::root();
        let replays = ["crates/sip/tests/behaviour", "crates/media/tests", "crates/server/tests"]
            .map(|folder| root.join(folder).join("fuzz_corpus.rs"))
            .map(|file| std::fs::read_to_string(file).expect("each crate replays"));
        let targets = targets().expect("fuzz/Cargo.toml is read");
        assert!(targets.len() >= 13, "{targets:?}");
        for target in targets {
            assert!(root.join(format!("fuzz/fuzz_targets/{target}.rs")).is_file(), "{target}");
            assert!(root.join(format!("fuzz/corpus/{target}")).is_dir(), "{target}");
            let call = format!("replay(\"{target}\"");
            assert!(replays.iter().any(|text| text.contains(&call)), "{target} is not replayed");
        }
    }
}
