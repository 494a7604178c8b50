//! `cargo xtask test`: everything that must hold before a change is shared, in one profile, with plain cargo.

use std::io::{self, Read, Write};
use std::process::Stdio;

use crate::chaos;
use crate::debian;
use crate::schemathesis;
use crate::steps::{Outcome, Steps};
use crate::workspace::cargo;

/// Runs all steps, or with a filter only the tests whose name contains it. True where everything passed.
pub fn run(filter: Option<&str>) -> bool {
    let mut steps = Steps::default();
    let ready = steps.step("packages", packages);
    if filter.is_none() {
        let mut format = cargo();
        format.args(["fmt", "--all", "--check"]);
        steps.command("format", format);
        let mut format = cargo();
        format.args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]);
        steps.command("format of fuzz", format);
        let mut lints = cargo();
        lints.args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]);
        steps.command("lints", lints);
    }
    if ready {
        let passed = steps.step("tests", || tests(filter));
        if passed && filter.is_none() {
            steps.step("schemathesis", || schemathesis::attempt(schemathesis::FEW));
            let kills = ["--kills".to_owned(), chaos::KILLS_IN_TEST.to_string()];
            steps.command("chaos", chaos::command(false, &kills));
        }
    } else {
        steps.step("tests", || Outcome::NotRun("packages are missing".to_owned()));
    }
    steps.finish()
}

fn packages() -> Outcome {
    let missing = debian::missing();
    for need in &missing {
        eprintln!("missing: {} ({})", need.package, need.purpose);
    }
    match debian::install(&missing) {
        Ok(()) if missing.is_empty() => Outcome::Passed("nothing was missing".to_owned()),
        Ok(()) => Outcome::Passed(format!("installed {}", missing.len())),
        Err(fault) => Outcome::Failed(fault.to_string()),
    }
}

fn tests(filter: Option<&str>) -> Outcome {
    let mut command = cargo();
    command.args(["test", "--locked", "--workspace", "--no-fail-fast"]);
    if let Some(filter) = filter {
        command.args(["--", filter]);
    }
    let mut child = match command.stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(fault) => return Outcome::Failed(format!("cargo cannot be started: {fault}")),
    };
    let output = child.stdout.take().expect("it is piped, two lines above");
    let tally = copy_and_count(output, io::stdout().lock());
    let status = child.wait();
    match (status, tally) {
        (Ok(status), Ok(tally)) => tally.verdict(status.success(), filter),
        (Err(fault), _) | (_, Err(fault)) => {
            Outcome::Failed(format!("cargo's output was lost: {fault}"))
        }
    }
}

/// The sum of cargo's `test result:` lines.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    /// Takes a line of libtest: `test result: ok. 3 passed; 0 failed; 1 ignored; …`. Other lines say nothing to it.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) =
            line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for count in counts.split("; ") {
            let Some((number, what)) = count.split_once(' ') else { continue };
            let number = number.parse::<u64>().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    fn verdict(&self, cargo_succeeded: bool, filter: Option<&str>) -> Outcome {
        let Self { passed, failed, ignored } = self;
        if !cargo_succeeded || *failed > 0 {
            return Outcome::Failed(format!(
                "{passed} passed, {failed} failed; no count means that it did not build"
            ));
        }
        if *ignored > 0 {
            return Outcome::Failed(format!(
                "{ignored} ignored: a test that does not run proves nothing; make it run, or delete it"
            ));
        }
        match filter {
            Some(filter) if *passed == 0 => {
                Outcome::Failed(format!("no test's name contains `{filter}`"))
            }
            Some(_) | None => Outcome::Passed(format!("{passed} tests")),
        }
    }
}

/// Hands on what cargo says as it comes, so that a slow test is seen waiting, and counts on the way.
fn copy_and_count(mut from: impl Read, mut to: impl Write) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let mut line = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let length = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => length,
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => continue,
            Err(fault) => return Err(fault),
        };
        to.write_all(&chunk[..length])?;
        to.flush()?;
        for byte in &chunk[..length] {
            if *byte == b'\n' {
                tally.add(&String::from_utf8_lossy(&line));
                line.clear();
            } else {
                line.push(*byte);
            }
        }
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_BINARIES: &str = "\
running 2 tests
test a ... ok
test b ... ok

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

running 1 test
test c ... ok
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 4 filtered out; finished in 1.20s
";

    #[test]
    fn what_cargo_says_is_handed_on_unchanged_and_summed() {
        let mut copy = Vec::new();
        let tally =
            copy_and_count(TWO_BINARIES.as_bytes(), &mut copy).expect("memory is read and written");
        assert_eq!(copy, TWO_BINARIES.as_bytes());
        assert_eq!(tally, Tally { passed: 3, failed: 0, ignored: 0 });
        assert_eq!(tally.verdict(true, None), Outcome::Passed("3 tests".to_owned()));
    }

    #[test]
    fn failed_ignored_and_absent_tests_fail_the_run() {
        let tally = |passed, failed, ignored| Tally { passed, failed, ignored };
        assert!(matches!(tally(3, 1, 0).verdict(false, None), Outcome::Failed(_)));
        assert!(
            matches!(tally(3, 0, 0).verdict(false, None), Outcome::Failed(_)),
            "a crate that does not build"
        );
        assert!(
            matches!(tally(3, 0, 1).verdict(true, None), Outcome::Failed(fault) if fault.starts_with("1 ignored"))
        );
        assert!(
            matches!(tally(0, 0, 0).verdict(true, Some("tpyo")), Outcome::Failed(fault) if fault.contains("tpyo"))
        );
        assert!(matches!(tally(1, 0, 0).verdict(true, Some("storm")), Outcome::Passed(_)));
    }

    #[test]
    fn a_failed_binary_is_counted_too() {
        let mut tally = Tally::default();
        tally.add("test result: FAILED. 4 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s");
        assert_eq!(tally, Tally { passed: 4, failed: 2, ignored: 1 });
    }
}
