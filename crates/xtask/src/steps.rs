//! A run of named steps: each says what it does, how long it took, and the end sums up. All of it goes to standard error, so that
//! standard output is what the tools themselves say.

use std::process::Command;
use std::time::{Duration, Instant};

/// The steps of a run that are over.
pub struct Steps {
    started: Instant,
    done: Vec<Step>,
}

struct Step {
    name: String,
    took: Duration,
    outcome: Outcome,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With what there is to say about it.
    Passed(String),
    /// With what went wrong.
    Failed(String),
    /// With the reason; it does not fail the run, and the summary shows it.
    NotRun(String),
}

impl Default for Steps {
    fn default() -> Self {
        Self { started: Instant::now(), done: Vec::new() }
    }
}

impl Steps {
    /// Runs one step. Says whether the steps that need it can go on.
    pub fn step(&mut self, name: &str, work: impl FnOnce() -> Outcome) -> bool {
        eprintln!("\n==> {name}");
        let started = Instant::now();
        let outcome = work();
        if let Outcome::Failed(fault) = &outcome {
            eprintln!("==> {name}: FAILED: {fault}");
        }
        let passed = !matches!(outcome, Outcome::Failed(_));
        self.done.push(Step { name: name.to_owned(), took: started.elapsed(), outcome });
        passed
    }

    /// A step that is one command whose exit status decides.
    pub fn command(&mut self, name: &str, mut command: Command) -> bool {
        self.step(name, || match command.status() {
            Ok(status) if status.success() => Outcome::Passed(String::new()),
            Ok(status) => Outcome::Failed(status.to_string()),
            Err(fault) => Outcome::Failed(format!("cannot be started: {fault}")),
        })
    }

    /// Prints the summary; true where nothing failed.
    pub fn finish(self) -> bool {
        eprintln!("\n{}", self.summary());
        self.all_passed()
    }

    fn all_passed(&self) -> bool {
        !self.done.iter().any(|step| matches!(step.outcome, Outcome::Failed(_)))
    }

    fn summary(&self) -> String {
        let mut lines = Vec::new();
        for Step { name, took, outcome } in &self.done {
            let (word, detail) = match outcome {
                Outcome::Passed(detail) => ("passed", detail),
                Outcome::Failed(detail) => ("FAILED", detail),
                Outcome::NotRun(detail) => ("not run", detail),
            };
            // The first line is enough here: the whole stands where the step ran.
            let detail = detail.lines().next().unwrap_or_default();
            lines.push(
                format!("{word:<8}{:>7.1} s  {name:<16}{detail}", took.as_secs_f64())
                    .trim_end()
                    .to_owned(),
            );
        }
        let verdict = if self.all_passed() { "passed" } else { "FAILED" };
        lines.push(format!("{verdict:<8}{:>7.1} s  in all", self.started.elapsed().as_secs_f64()));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_step_fails_the_run_and_the_summary_names_it() {
        let mut steps = Steps::default();
        assert!(steps.command("true", Command::new("true")));
        assert!(!steps.command("false", Command::new("false")));
        assert!(steps.step("later", || Outcome::NotRun("no network".to_owned())));
        let summary = steps.summary();
        assert!(
            summary
                .lines()
                .nth(1)
                .is_some_and(|line| line.starts_with("FAILED") && line.contains("false")),
            "{summary}"
        );
        assert!(
            summary
                .lines()
                .nth(2)
                .is_some_and(|line| line.starts_with("not run") && line.ends_with("no network")),
            "{summary}"
        );
        assert!(summary.lines().last().is_some_and(|line| line.starts_with("FAILED")), "{summary}");
        assert!(!steps.finish());
    }

    #[test]
    fn a_step_that_was_not_run_leaves_the_run_passed() {
        let mut steps = Steps::default();
        steps.step("cargo-deny", || Outcome::NotRun("not installed".to_owned()));
        assert!(steps.finish());
    }
}
