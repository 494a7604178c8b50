//! `cargo xtask peers`: brings the foreign programs that do what offhook does, builds offhook as it is shipped, and has it
//! measure them beside itself (`offhook bench peers`). What cannot be brought is named in the result, with the reason.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::debian::{self, Need};
use crate::workspace::{built_release, cargo, root, target};

/// Pinned: the figures are compared with those of this version.
const RUSTPBX: &str = "0.5.0";

/// How cargo is told to build it: as its own release profile does, but for link-time optimisation, which takes longer than
/// everything else together.
const PROFILE: [&str; 2] = ["profile.release.lto=false", "profile.release.debug=0"];

/// Said in its row: its makers' own build may be a little faster.
const BUILT: &str = "from crates.io, its release profile without link-time optimisation";

/// Passes `arguments` on, whose meaning `offhook bench peers` knows. The last line on standard output is the result. True
/// where what is installed was measured.
pub fn run(arguments: &[&str]) -> bool {
    let peers = [
        ("rtpengine", from_debian(&debian::RTPENGINE)),
        ("rustpbx", from_the_registry()),
        ("sipp", from_debian(&debian::SIPP)),
    ];
    let offhook = built_release().map_err(|fault| fault.to_string());
    let measured = offhook.and_then(|offhook| measure(&offhook, &peers, arguments));
    match measured {
        Ok(figures) => {
            println!("{figures}");
            true
        }
        Err(fault) => {
            eprintln!("peers: {fault}");
            false
        }
    }
}

/// Where each peer is, or why it is not here.
type Peer = (&'static str, Result<PathBuf, String>);

fn measure(offhook: &Path, peers: &[Peer], arguments: &[&str]) -> Result<Value, String> {
    let mut bench = Command::new(offhook);
    bench.current_dir(root()).args(["bench", "peers", "--json"]);
    for (name, program) in peers {
        if let Ok(program) = program {
            bench.arg(format!("--{name}")).arg(program);
        }
    }
    bench.args(arguments.iter().filter(|argument| **argument != "--json"));
    let output = bench.stderr(Stdio::inherit()).output();
    let output = output.map_err(|fault| format!("{}: {fault}", offhook.display()))?;
    if !output.status.success() {
        return Err(format!("`offhook bench peers` failed: {}", output.status));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().next_back().unwrap_or_default();
    let figures = serde_json::from_str(line).map_err(|fault| format!("{fault}: {line}"))?;
    Ok(with_origins(figures, peers))
}

/// What is not measured says why; what was built here says how.
fn with_origins(mut figures: Value, peers: &[Peer]) -> Value {
    for (name, program) in peers {
        if let Err(why) = program {
            figures[*name] = format!("not installed: {why}").into();
        }
    }
    if let Some(measured) = figures.get_mut("rustpbx").and_then(Value::as_object_mut) {
        measured.insert("built".to_owned(), format!("{RUSTPBX} {BUILT}").into());
    }
    figures
}

/// Installed where it is missing; a service that Debian starts with it is stopped.
fn from_debian(need: &'static Need) -> Result<PathBuf, String> {
    if need.program().is_none() {
        debian::install(&[need]).map_err(|fault| fault.to_string())?;
        stop_service(need.package);
    }
    need.program().ok_or_else(|| format!("{} brings no such program", need.package))
}

/// By systemd, or where that does not run by the service's own script. Where nothing was started there is nothing to stop.
fn stop_service(name: &str) {
    let quiet = |command: &mut Command| {
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    if !quiet(Command::new("systemctl").args(["disable", "--now", name])) {
        quiet(Command::new(format!("/etc/init.d/{name}")).arg("stop"));
    }
}

/// Built once, below `target/`, which takes a quarter of an hour. It wants a C compiler.
fn from_the_registry() -> Result<PathBuf, String> {
    let folder = target().join("peers");
    let program = folder.join("bin/rustpbx");
    if program.is_file() {
        return Ok(program);
    }
    eprintln!("peers: rustpbx {RUSTPBX} is built, which takes a quarter of an hour");
    let build = folder.join("build");
    let mut install = cargo();
    install.args(["install", "rustpbx", "--version", RUSTPBX, "--locked", "--bin", "rustpbx"]);
    install.arg("--root").arg(&folder).arg("--target-dir").arg(&build);
    for setting in PROFILE {
        install.args(["--config", setting]);
    }
    // Not the settings of this workspace.
    install.current_dir(std::env::temp_dir()).stdout(Stdio::null());
    match install.status() {
        Ok(status) if status.success() && program.is_file() => {
            // Gigabytes that nobody needs any more; what cannot be removed is only in the way.
            std::fs::remove_dir_all(build).ok();
            Ok(program)
        }
        Ok(status) => Err(format!("`cargo install rustpbx --version {RUSTPBX}`: {status}")),
        Err(fault) => Err(format!("cargo cannot be started: {fault}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_installed_says_why_in_the_result() {
        let peers: [Peer; 2] = [
            ("rustpbx", Err("the registry is away".to_owned())),
            ("sipp", Ok(PathBuf::from("/usr/bin/sipp"))),
        ];
        let figures = json!({ "rtpengine": {}, "rustpbx": null, "sipp": { "rates": [] } });
        let figures = with_origins(figures, &peers);
        assert_eq!(figures["rustpbx"], "not installed: the registry is away");
        assert_eq!(figures["sipp"], json!({ "rates": [] }));
    }

    #[test]
    fn a_row_of_what_was_built_here_says_how() {
        let figures = with_origins(json!({ "rustpbx": { "ratio": 2.0 } }), &[]);
        assert_eq!(figures["rustpbx"]["ratio"], 2.0);
        let built = figures["rustpbx"]["built"].as_str().expect("it says how");
        assert!(built.starts_with(RUSTPBX), "{built}");
        // One that failed says nothing else.
        let failed = with_origins(json!({ "rustpbx": "not measured: it is away" }), &[]);
        assert_eq!(failed["rustpbx"], "not measured: it is away");
    }

    #[test]
    fn a_bench_that_fails_or_says_no_json_is_an_error() {
        // Two programs in the place of offhook: one fails, the other repeats its arguments.
        let fault = measure(Path::new("/bin/false"), &[], &[]).expect_err("it fails");
        assert!(fault.contains("offhook bench peers"), "{fault}");
        let fault = measure(Path::new("/bin/echo"), &[], &[]).expect_err("no JSON");
        assert!(fault.contains("bench peers --json"), "{fault}");
    }
}
