//! The workspace as cargo sees it: where it is, its packages, its lock file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use thiserror::Error;

/// The folder of the root Cargo.toml.
pub fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.ancestors().nth(2).expect("xtask stands in ROOT/crates/xtask").to_owned()
}

/// Where cargo builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into)
}

/// The server as it is shipped, built anew where it is not as it should be.
pub fn built_release() -> Result<PathBuf, WorkspaceError> {
    let mut build = cargo();
    build.args(["build", "--locked", "--release", "--package", "server"]).stdout(Stdio::null());
    match build.status() {
        Ok(status) if status.success() => Ok(target().join("release/offhook")),
        Ok(_) => Err(WorkspaceError::Build),
        Err(fault) => Err(WorkspaceError::Start("cargo build", fault)),
    }
}

/// Which packages to ask cargo for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The crates of this workspace.
    Members,
    /// The crates of this workspace and everything that they are built from on this machine.
    Everything,
}

#[derive(Debug, Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub license: Option<String>,
    /// `None` for a crate of this workspace.
    pub source: Option<String>,
    pub dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
pub struct Dependency {
    /// The package's own name, also where it is renamed.
    pub name: String,
    /// `Some` where it is a folder, as crates of this workspace are to each other.
    pub path: Option<PathBuf>,
}

#[derive(Debug, Error)]
pub enum WorkspaceError {
    #[error("cannot start `{0}`: {1}")]
    Start(&'static str, std::io::Error),
    #[error("`{0}` failed; what it said:\n{1}")]
    Failed(&'static str, String),
    #[error("the server does not build; what cargo said stands above")]
    Build,
    #[error("cargo answered something that is not package metadata: {0}")]
    Metadata(#[from] serde_json::Error),
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, std::io::Error),
    #[error("{0} is not what it should be: {1}")]
    Toml(PathBuf, Box<toml::de::Error>),
}

/// The packages that cargo knows, read without changing Cargo.lock. Offline once the crates are on this machine.
pub fn packages(scope: Scope) -> Result<Vec<Package>, WorkspaceError> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    let mut cargo = cargo();
    cargo.args(["metadata", "--locked", "--format-version", "1"]);
    match scope {
        Scope::Members => cargo.args(["--no-deps", "--offline"]),
        // Without the filter cargo would fetch what only other systems build.
        Scope::Everything => cargo.args(["--filter-platform", &host()?]),
    };
    let json = output(cargo, "cargo metadata")?;
    Ok(serde_json::from_slice::<Metadata>(&json)?.packages)
}

/// A package as Cargo.lock pins it, for any system and any feature.
#[derive(Debug, Deserialize)]
pub struct Locked {
    pub name: String,
    pub source: Option<String>,
}

pub fn locked() -> Result<Vec<Locked>, WorkspaceError> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Locked>,
    }
    Ok(read_toml::<Lock>(&root().join("Cargo.lock"))?.package)
}

pub fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, WorkspaceError> {
    let text =
        std::fs::read_to_string(path).map_err(|e| WorkspaceError::Read(path.to_owned(), e))?;
    toml::from_str(&text).map_err(|e| WorkspaceError::Toml(path.to_owned(), Box::new(e)))
}

/// The cargo that started us, in the workspace, without the variables that describe xtask itself:
/// build scripts that watch them (ring's) would otherwise run again on each change between `cargo` and `cargo xtask`.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

/// The names of the crates of this workspace.
pub fn member_names(packages: &[Package]) -> BTreeSet<&str> {
    packages.iter().filter(|p| p.source.is_none()).map(|p| p.name.as_str()).collect()
}

fn host() -> Result<String, WorkspaceError> {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.arg("-vV");
    let text = output(rustc, "rustc -vV")?;
    let text = String::from_utf8_lossy(&text);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| WorkspaceError::Failed("rustc -vV", text.clone().into_owned()))
}

fn output(mut command: Command, name: &'static str) -> Result<Vec<u8>, WorkspaceError> {
    let output = command.output().map_err(|e| WorkspaceError::Start(name, e))?;
    if !output.status.success() {
        return Err(WorkspaceError::Failed(
            name,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ));
    }
    Ok(output.stdout)
}
