//! `cargo xtask hygiene`: the house rules without building anything, and cargo-deny with the advisories of the day.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use crate::licences::Policy;
use crate::steps::{Outcome, Steps};
use crate::workspace::{self, Scope, WorkspaceError, cargo};
use crate::{arrows, rooms, tidy};

/// Runs all checks; with `install` it brings cargo-deny first. True where nothing failed.
pub fn run(install: bool) -> bool {
    let mut steps = Steps::default();
    steps.step("arrows", || {
        outcome(workspace::packages(Scope::Members).map(|packages| arrows::check(&packages)))
    });
    steps.step("tidy", || {
        outcome(
            tidy::check(&workspace::root())
                .map(|all| all.iter().map(ToString::to_string).collect()),
        )
    });
    steps.step("rooms", || outcome(Ok::<_, WorkspaceError>(rooms::check(&workspace::root()))));
    steps.step("licences", || outcome(licences()));

    if install && !has_cargo_deny() {
        let mut command = cargo();
        command.args(["install", "--locked", "cargo-deny"]);
        steps.command("install", command);
    }
    if has_cargo_deny() {
        let deny = |checks: &[&str]| {
            let mut command = cargo();
            command.args(["deny", "--locked", "check"]).args(checks);
            command
        };
        steps.command("cargo-deny", deny(&["licenses", "bans", "sources"]));
        // Apart from the others, because it fetches the advisory database and fails without the network.
        steps.command("advisories", deny(&["advisories"]));
    } else {
        let how = "cargo-deny is not installed: `cargo xtask hygiene --install`, or `cargo install --locked cargo-deny`";
        steps.step("advisories", || Outcome::NotRun(how.to_owned()));
    }
    steps.finish()
}

/// Prints how many packages stand under which licence, and returns what the policy refuses.
fn licences() -> Result<Vec<String>, WorkspaceError> {
    let policy = Policy::read(&workspace::root())?;
    let packages = workspace::packages(Scope::Everything)?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for package in &packages {
        *counts.entry(package.license.as_deref().unwrap_or("none stated")).or_default() += 1;
    }
    for (licence, count) in counts {
        eprintln!("{count:>5}  {licence}");
    }
    let mut findings = policy.check_licences(&packages);
    findings.extend(policy.check_lock(&workspace::locked()?));
    Ok(findings)
}

fn outcome<E: std::error::Error>(findings: Result<Vec<String>, E>) -> Outcome {
    match findings {
        Ok(findings) if findings.is_empty() => Outcome::Passed(String::new()),
        Ok(findings) => {
            for finding in &findings {
                eprintln!("{finding}");
            }
            Outcome::Failed(format!("{} to mend", findings.len()))
        }
        Err(fault) => Outcome::Failed(fault.to_string()),
    }
}

fn has_cargo_deny() -> bool {
    let mut probe: Command = cargo();
    probe.args(["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}
