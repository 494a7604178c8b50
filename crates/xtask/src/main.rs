//! `cargo xtask …`: see USAGE.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use xtask::{
    chaos, fuzz, guesses, hygiene, long_queue, peers, rubbish, schemathesis, soak, test_run, tls,
    world,
};

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
cargo xtask fuzz [--seconds N] [--target T] [--install]
                                   the fuzz targets (nightly Rust and cargo-fuzz), each for 60 or N seconds
                                   --install: first `cargo install --locked cargo-fuzz`, below target/
cargo xtask rubbish [--scale N]    malformed traffic at a running server, N (10) times what the tests throw, and a flood
                                   (from 5 on 5,000 messages a second)
cargo xtask guesses [--codes N]    guessed passwords, extensions and N (100,000) codes at a running server
cargo xtask tls                    testssl.sh (Debian) scans the HTTPS and SIP listeners; the last line on stdout is JSON
cargo xtask schemathesis [--cases N]
                                   20,000 or N requests made up from /v1/openapi.json (Python and PyPI)
cargo xtask queue [--calls N]      a start and claims with long queues (P5, O-4): 100,000 and 1,000,000 calls, or N
cargo xtask soak [--minutes N] [--cps N] [--json]
                                   half of what the server can do, for N minutes (5); what is left of it afterwards
cargo xtask peers [--to N] [--to-cps N] [--json] …
                                   rtpengine (Debian), rustpbx (crates.io, built here) and sipp measured beside offhook, in turn;
                                   further options as `offhook bench peers --help`
";

enum Command<'a> {
    Test { filter: Option<String> },
    World { seeds: u64, from: u64 },
    Soak(&'a [&'a str]),
    Peers(&'a [&'a str]),
    Hygiene { install: bool },
    Fuzz(fuzz::Plan),
    Rubbish { scale: u32 },
    Guesses { codes: u32 },
    Tls,
    Queue { calls: Option<u32> },
    Schemathesis { cases: u32 },
    Chaos { release: bool, arguments: Vec<String> },
    Help,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let passed = match parse(&arguments) {
        Ok(Command::Soak(arguments)) => soak::run(arguments),
        Ok(Command::Peers(arguments)) => peers::run(arguments),
        Ok(Command::Test { filter }) => test_run::run(filter.as_deref()),
        Ok(Command::World { seeds, from }) => world::run(seeds, from),
        Ok(Command::Hygiene { install }) => hygiene::run(install),
        Ok(Command::Fuzz(plan)) => fuzz::run(&plan),
        Ok(Command::Rubbish { scale }) => rubbish::run(scale),
        Ok(Command::Guesses { codes }) => guesses::run(codes),
        Ok(Command::Tls) => tls::run(),
        Ok(Command::Queue { calls }) => long_queue::run(calls),
        Ok(Command::Schemathesis { cases }) => schemathesis::run(cases),
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

fn parse<'a>(arguments: &'a [&'a str]) -> Result<Command<'a>, String> {
    match arguments {
        ["test"] => Ok(Command::Test { filter: None }),
        ["test", "--filter"] => Err("--filter wants a part of a test's name".to_owned()),
        ["test", "--filter", text] => Ok(Command::Test { filter: Some((*text).to_owned()) }),
        ["world", options @ ..] => world(options),
        // What they mean `offhook bench` knows.
        ["soak", arguments @ ..] => Ok(Command::Soak(arguments)),
        ["peers", arguments @ ..] => Ok(Command::Peers(arguments)),
        ["hygiene"] => Ok(Command::Hygiene { install: false }),
        ["hygiene", "--install"] => Ok(Command::Hygiene { install: true }),
        ["fuzz", options @ ..] => fuzz_plan(options).map(Command::Fuzz),
        ["rubbish"] => Ok(Command::Rubbish { scale: 10 }),
        ["rubbish", "--scale", scale] => {
            count("--scale", scale).map(|scale| Command::Rubbish { scale })
        }
        ["guesses"] => Ok(Command::Guesses { codes: guesses::CODES }),
        ["guesses", "--codes", codes] => {
            count("--codes", codes).map(|codes| Command::Guesses { codes })
        }
        ["tls"] => Ok(Command::Tls),
        ["queue"] => Ok(Command::Queue { calls: None }),
        ["queue", "--calls", calls] => {
            count("--calls", calls).map(|calls| Command::Queue { calls: Some(calls) })
        }
        ["schemathesis"] => Ok(Command::Schemathesis { cases: 20_000 }),
        ["schemathesis", "--cases", cases] => {
            count("--cases", cases).map(|cases| Command::Schemathesis { cases })
        }
        ["chaos", rest @ ..] => chaos_arguments(rest),
        ["help" | "--help" | "-h"] => Ok(Command::Help),
        [] => Err("cargo xtask wants a command".to_owned()),
        [..] => Err(format!("cargo xtask does not know `{}`", arguments.join(" "))),
    }
}

fn fuzz_plan(options: &[&str]) -> Result<fuzz::Plan, String> {
    let mut plan = fuzz::Plan { seconds: 60, target: None, install: false };
    let mut rest = options;
    while let [option, after @ ..] = rest {
        rest = match (*option, after) {
            ("--install", after) => {
                plan.install = true;
                after
            }
            ("--seconds", [seconds, after @ ..]) => {
                plan.seconds = count("--seconds", seconds)?;
                after
            }
            ("--target", [target, after @ ..]) => {
                plan.target = Some((*target).to_owned());
                after
            }
            (other, _) => return Err(format!("cargo xtask fuzz does not know `{other}`")),
        };
    }
    Ok(plan)
}

fn count(option: &str, text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{option} wants a number of 1 or more, not `{text}`"))
}

/// The program that does it parses the numbers; here only what cargo has to know is taken out.
fn chaos_arguments<'a>(rest: &[&'a str]) -> Result<Command<'a>, String> {
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

fn world<'a>(options: &[&str]) -> Result<Command<'a>, String> {
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
        assert!(matches!(
            parse(&["fuzz", "--target", "sdp", "--seconds", "5"]),
            Ok(Command::Fuzz(fuzz::Plan { seconds: 5, target: Some(target), install: false })) if target == "sdp"
        ));
        assert!(
            matches!(parse(&["fuzz", "--seconds", "none"]), Err(fault) if fault.contains("none"))
        );
        assert!(matches!(parse(&["rubbish", "--scale", "3"]), Ok(Command::Rubbish { scale: 3 })));
        assert!(matches!(parse(&["guesses"]), Ok(Command::Guesses { codes: 100_000 })));
        assert!(parse(&["guesses", "--codes", "0"]).is_err());
        assert!(matches!(parse(&["tls"]), Ok(Command::Tls)));
        assert!(matches!(parse(&["queue"]), Ok(Command::Queue { calls: None })));
        assert!(parse(&["queue", "--calls", "0"]).is_err());
        assert!(parse(&["schemathesis", "--cases", "0"]).is_err());
        assert!(matches!(parse(&["test", "--filter"]), Err(fault) if fault.contains("--filter")));
        assert!(matches!(
            parse(&["chaos", "--kills", "3", "--release", "--json"]),
            Ok(Command::Chaos { release: true, arguments }) if arguments == ["--kills", "3", "--json"]
        ));
        assert!(
            matches!(parse(&["chaos", "--kills", "many"]), Err(fault) if fault.contains("--kills"))
        );
        let soak = ["soak", "--minutes", "5"];
        assert!(matches!(parse(&soak), Ok(Command::Soak(["--minutes", "5"]))));
        let peers = ["peers", "--to", "600"];
        assert!(matches!(parse(&peers), Ok(Command::Peers(["--to", "600"]))));
        assert!(matches!(parse(&["soap"]), Err(fault) if fault.contains("soap")));
    }
}
