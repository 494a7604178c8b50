//! `cargo xtask …`: see USAGE.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use xtask::{chaos, hygiene, test_run, world};

const USAGE: &str = "\
cargo xtask test [--filter TEXT]   install what the tests need (Debian), then format check, lints, all tests, 20 kills
                                   --filter: only the tests whose name contains TEXT, and nothing else
cargo xtask chaos [--kills N] [--seed S] [--json] [--release]
                                   kill a server under load N times (default 50) and count what became of each call;
                                   the last line on stdout is JSON, the status 0 only where every promise held
cargo xtask world [--seeds N] [--from N]
                                   the simulated world (T-9): N seeds, 5000 where none are asked for; failing seeds are printed
cargo xtask hygiene [--install]    house rules, licences, and cargo-deny where it is installed
                                   --install: first `cargo install --locked cargo-deny` (takes minutes)
";

enum Command {
    Test { filter: Option<String> },
    World { seeds: u64, from: u64 },
    Hygiene { install: bool },
    Chaos { release: bool, arguments: Vec<String> },
    Help,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let passed = match parse(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(Command::Test { filter }) => test_run::run(filter.as_deref()),
        Ok(Command::World { seeds, from }) => world::run(seeds, from),
        Ok(Command::Hygiene { install }) => hygiene::run(install),
        Ok(Command::Chaos { release, arguments }) => chaos::run(release, &arguments),
        Ok(Command::Help) => {
            print!("{USAGE}");
            true
        }
        Err(fault) => {
            eprint!("{fault}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(arguments: &[&str]) -> Result<Command, String> {
    match arguments {
        ["test"] => Ok(Command::Test { filter: None }),
        ["test", "--filter"] => Err("--filter wants a part of a test's name".to_owned()),
        ["test", "--filter", text] => Ok(Command::Test { filter: Some((*text).to_owned()) }),
        ["world", options @ ..] => world(options),
        ["hygiene"] => Ok(Command::Hygiene { install: false }),
        ["hygiene", "--install"] => Ok(Command::Hygiene { install: true }),
        ["chaos", rest @ ..] => chaos_arguments(rest),
        ["help" | "--help" | "-h"] => Ok(Command::Help),
        [] => Err("cargo xtask wants a command".to_owned()),
        [..] => Err(format!("cargo xtask does not know `{}`", arguments.join(" "))),
    }
}

/// The program that does it parses the numbers; here only what cargo has to know is taken out.
fn chaos_arguments(rest: &[&str]) -> Result<Command, String> {
    let mut arguments = Vec::new();
    let mut release = false;
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        match *word {
            "--release" => release = true,
            "--json" => arguments.push((*word).to_owned()),
            "--kills" | "--seed" => {
                let number = words.next().filter(|number| number.parse::<u64>().is_ok());
                let number = number.ok_or_else(|| format!("{word} wants a number"))?;
                arguments.extend([*word, *number].map(str::to_owned));
            }
            other => return Err(format!("cargo xtask chaos does not know `{other}`")),
        }
    }
    Ok(Command::Chaos { release, arguments })
}

fn world(options: &[&str]) -> Result<Command, String> {
    let (mut seeds, mut from) = (world::NIGHTLY, 1);
    for option in options.chunks(2) {
        let (name, value) = match option {
            [name @ ("--seeds" | "--from"), value] => (*name, value.parse()),
            [..] => return Err(format!("cargo xtask world does not know `{}`", option.join(" "))),
        };
        let value = value.map_err(|_| format!("{name} wants a number"))?;
        if name == "--seeds" { seeds = value } else { from = value }
    }
    Ok(Command::World { seeds, from })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_recognised_and_others_are_refused_by_name() {
        assert!(matches!(parse(&["test"]), Ok(Command::Test { filter: None })));
        assert!(
            matches!(parse(&["test", "--filter", "sip"]), Ok(Command::Test { filter: Some(text) }) if text == "sip")
        );
        assert!(matches!(
            parse(&["world", "--seeds", "7"]),
            Ok(Command::World { seeds: 7, from: 1 })
        ));
        assert!(matches!(parse(&["world", "--seeds"]), Err(fault) if fault.contains("--seeds")));
        assert!(matches!(parse(&["hygiene", "--install"]), Ok(Command::Hygiene { install: true })));
        assert!(matches!(parse(&["test", "--filter"]), Err(fault) if fault.contains("--filter")));
        assert!(matches!(
            parse(&["chaos", "--kills", "3", "--release", "--json"]),
            Ok(Command::Chaos { release: true, arguments }) if arguments == ["--kills", "3", "--json"]
        ));
        assert!(
            matches!(parse(&["chaos", "--kills", "many"]), Err(fault) if fault.contains("--kills"))
        );
        assert!(matches!(parse(&["soak"]), Err(fault) if fault.contains("soak")));
    }
}
