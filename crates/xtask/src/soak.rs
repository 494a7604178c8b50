//! `cargo xtask soak`: builds the product as it is shipped and lets it measure itself.

use std::process::Stdio;

use crate::workspace::{cargo, root, target};

/// Builds `offhook` with optimisation and runs `offhook bench soak`, whose last line on standard output is the result. True where
/// nothing failed and nothing leaked.
pub fn run(arguments: &[&str]) -> bool {
    let mut build = cargo();
    build.args(["build", "--locked", "--release", "--package", "server"]).stdout(Stdio::null());
    if !build.status().is_ok_and(|status| status.success()) {
        eprintln!("soak: the server does not build");
        return false;
    }
    let mut soak = std::process::Command::new(target().join("release/offhook"));
    soak.current_dir(root()).args(["bench", "soak"]).args(arguments);
    match soak.status() {
        Ok(status) => status.success(),
        Err(fault) => {
            eprintln!("soak: {} cannot be started: {fault}", soak.get_program().display());
            false
        }
    }
}
