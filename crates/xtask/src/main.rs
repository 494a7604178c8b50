//! `cargo xtask …`: see USAGE.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use xtask::{hygiene, soak, test_run};

const USAGE: &str = "\
cargo xtask test [--filter TEXT]   install what the tests need (Debian), then format check, lints, all tests
                                   --filter: only the tests whose name contains TEXT, without format check and lints
cargo xtask hygiene [--install]    house rules, licences, and cargo-deny where it is installed
                                   --install: first `cargo install --locked cargo-deny` (takes minutes)
cargo xtask soak [--minutes N] [--cps N] [--json]
                                   half of what the server can do, for N minutes (5); what is left of it afterwards
";

enum Command<'a> {
    Test { filter: Option<String> },
    Soak(&'a [&'a str]),
    Hygiene { install: bool },
    Help,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let passed = match parse(&arguments) {
        Ok(Command::Soak(arguments)) => soak::run(arguments),
        Ok(Command::Test { filter }) => test_run::run(filter.as_deref()),
        Ok(Command::Hygiene { install }) => hygiene::run(install),
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

fn parse<'a>(arguments: &'a [&'a str]) -> Result<Command<'a>, String> {
    match arguments {
        ["test"] => Ok(Command::Test { filter: None }),
        ["test", "--filter"] => Err("--filter wants a part of a test's name".to_owned()),
        ["test", "--filter", text] => Ok(Command::Test { filter: Some((*text).to_owned()) }),
        // What they mean `offhook bench soak` knows.
        ["soak", arguments @ ..] => Ok(Command::Soak(arguments)),
        ["hygiene"] => Ok(Command::Hygiene { install: false }),
        ["hygiene", "--install"] => Ok(Command::Hygiene { install: true }),
        ["help" | "--help" | "-h"] => Ok(Command::Help),
        [] => Err("cargo xtask wants a command".to_owned()),
        [..] => Err(format!("cargo xtask does not know `{}`", arguments.join(" "))),
    }
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
        assert!(matches!(parse(&["hygiene", "--install"]), Ok(Command::Hygiene { install: true })));
        assert!(matches!(parse(&["test", "--filter"]), Err(fault) if fault.contains("--filter")));
        let soak = ["soak", "--minutes", "5"];
        assert!(matches!(parse(&soak), Ok(Command::Soak(["--minutes", "5"]))));
        assert!(matches!(parse(&["soap"]), Err(fault) if fault.contains("soap")));
    }
}
