//! The foreign programs that judge offhook in its tests: what is missing, and how Debian brings it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use thiserror::Error;

/// A Debian package, how to see that it is there, and what the tests want of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Need {
    pub package: &'static str,
    present: Probe,
    pub purpose: &'static str,
}

#[derive(Debug, PartialEq, Eq)]
enum Probe {
    /// A program on the PATH; who installed it does not matter.
    Program(&'static str),
    /// A module that python3 can load.
    PythonModule(&'static str),
    /// A program that Debian keeps off the PATH, in a folder of its version.
    Postgres(&'static str),
    /// A file format that sox lists.
    SoxFormat(&'static str),
}

pub const SIPP: Need = need("sip-tester", Probe::Program("sipp"), "SIP dialogs judged by sipp");

/// Not of the tests: `cargo xtask peers` alone wants it.
pub const RTPENGINE: Need =
    need("rtpengine-daemon", Probe::Program("rtpengine"), "a relay that is measured beside ours");

const NEEDS: &[Need] = &[
    SIPP,
    need("baresip-core", Probe::Program("baresip"), "a foreign phone that hears a recording"),
    need("sox", Probe::Program("sox"), "audio files of every usual kind"),
    need("libsox-fmt-mp3", Probe::SoxFormat("mp3"), "MP3 uploads"),
    need("espeak-ng", Probe::Program("espeak-ng"), "speech by a subprocess"),
    need("ffmpeg", Probe::Program("ffmpeg"), "G.722 and WAV judged by a foreign codec"),
    need("opus-tools", Probe::Program("opusenc"), "Opus judged by libopus"),
    need("python3-venv", Probe::PythonModule("ensurepip"), "requests made up by schemathesis"),
    need("postgresql", Probe::Postgres("initdb"), "the store and the server on PostgreSQL"),
    need("strace", Probe::Program("strace"), "that the disk was reached before the wire"),
];

/// What `cargo xtask tls` needs besides.
const FOR_TLS: &[Need] = &[
    need("testssl.sh", Probe::Program("testssl"), "our TLS judged by testssl.sh"),
    need("openssl", Probe::Program("openssl"), "a certificate for that"),
];

const fn need(package: &'static str, present: Probe, purpose: &'static str) -> Need {
    Need { package, present, purpose }
}

#[derive(Debug, Error)]
pub enum InstallError {
    #[error("the tests need Debian packages, and only root may install them; run:\n\n    {0}\n")]
    NotRoot(String),
    #[error("the tests need these programs, and this system has no apt-get to install them:\n{0}")]
    NotDebian(String),
    #[error("`{0}` failed; what it said stands above")]
    Failed(String),
    #[error("cannot start apt-get: {0}")]
    Start(#[from] std::io::Error),
    #[error("installed, and still not found:\n{0}")]
    StillMissing(String),
}

/// What the tests need and this machine lacks.
pub fn missing() -> Vec<&'static Need> {
    NEEDS.iter().filter(|need| !need.present.holds()).collect()
}

/// What [`crate::tls`] needs and this machine lacks.
pub fn missing_for_tls() -> Vec<&'static Need> {
    FOR_TLS.iter().filter(|need| !need.present.holds()).collect()
}

/// Brings what is missing, as root on Debian; elsewhere the error says what to run.
pub fn install(missing: &[&Need]) -> Result<(), InstallError> {
    if missing.is_empty() {
        return Ok(());
    }
    if !on_path("apt-get") {
        return Err(InstallError::NotDebian(list(missing)));
    }
    if !is_root() {
        let command =
            format!("sudo apt-get update && sudo apt-get {}", install_arguments(missing).join(" "));
        return Err(InstallError::NotRoot(command));
    }
    apt_get(&["update"])?;
    apt_get(&install_arguments(missing))?;
    let left: Vec<&Need> = missing.iter().copied().filter(|need| !need.present.holds()).collect();
    if left.is_empty() { Ok(()) } else { Err(InstallError::StillMissing(list(&left))) }
}

fn install_arguments<'a>(missing: &[&'a Need]) -> Vec<&'a str> {
    // Recommended packages would bring a desktop: baresip recommends GTK.
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(missing.iter().map(|need| need.package));
    arguments
}

fn apt_get(arguments: &[&str]) -> Result<(), InstallError> {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    // Another apt-get may be at work, and mirrors have bad minutes.
    command
        .args(["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3", "--quiet=2"])
        .args(arguments);
    // Our own standard output carries the tests' result lines only.
    command.stdout(std::io::stderr());
    if command.status()?.success() {
        Ok(())
    } else {
        Err(InstallError::Failed(format!("apt-get {}", arguments.join(" "))))
    }
}

fn list(needs: &[&Need]) -> String {
    let lines: Vec<String> =
        needs.iter().map(|need| format!("    {:<16}{}", need.package, need.purpose)).collect();
    lines.join("\n")
}

impl Need {
    /// Where it is, where it is a program on the PATH.
    pub fn program(&self) -> Option<PathBuf> {
        match self.present {
            Probe::Program(name) => found(name),
            Probe::PythonModule(_) | Probe::Postgres(_) | Probe::SoxFormat(_) => None,
        }
    }
}

impl Probe {
    fn holds(&self) -> bool {
        match self {
            Self::Program(name) => on_path(name),
            Self::PythonModule(name) => python_loads(name),
            Self::Postgres(name) => {
                let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
                versions.flatten().any(|version| version.path().join("bin").join(name).is_file())
            }
            Self::SoxFormat(format) => sox_lists(format),
        }
    }
}

fn on_path(program: &str) -> bool {
    found(program).is_some()
}

fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn python_loads(module: &str) -> bool {
    let mut python = Command::new("python3");
    python.args(["-c", &format!("import {module}")]);
    python.output().is_ok_and(|output| output.status.success())
}

fn sox_lists(format: &str) -> bool {
    let Ok(help) = Command::new("sox").arg("--help").output() else { return false };
    let text = String::from_utf8_lossy(&help.stdout);
    let formats = text.lines().find_map(|line| line.strip_prefix("AUDIO FILE FORMATS:"));
    formats.is_some_and(|formats| formats.split_whitespace().any(|each| each == format))
}

/// The owner of this process's entry in /proc is the user that it runs as.
fn is_root() -> bool {
    Path::new("/proc/self").metadata().is_ok_and(|entry| entry.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_on_the_path_only() {
        assert!(Probe::Program("sh").holds());
        assert!(!Probe::Program("no-such-program-of-ours").holds());
        let shell = need("dash", Probe::Program("sh"), "").program().expect("there is one");
        assert!(shell.ends_with("sh") && shell.is_absolute(), "{}", shell.display());
        assert_eq!(need("python3-venv", Probe::PythonModule("ensurepip"), "").program(), None);
    }

    #[test]
    fn a_user_who_is_not_root_reads_the_whole_command() {
        let needs = [&NEEDS[0], &NEEDS[1]];
        let command =
            InstallError::NotRoot(format!("apt-get {}", install_arguments(&needs).join(" ")))
                .to_string();
        assert!(
            command
                .contains("apt-get install --yes --no-install-recommends sip-tester baresip-core"),
            "{command}"
        );
    }
}
