//! `cargo xtask soak`: builds the product as it is shipped and lets it measure itself.

use crate::workspace::{built_release, root};

/// Builds `offhook` with optimisation and runs `offhook bench soak`, whose last line on standard output is the result. True where
/// nothing failed and nothing leaked.
pub fn run(arguments: &[&str]) -> bool {
    let offhook = match built_release() {
        Ok(offhook) => offhook,
        Err(fault) => {
            eprintln!("soak: {fault}");
            return false;
        }
    };
    let mut soak = std::process::Command::new(offhook);
    soak.current_dir(root()).args(["bench", "soak"]).args(arguments);
    match soak.status() {
        Ok(status) => status.success(),
        Err(fault) => {
            eprintln!("soak: {} cannot be started: {fault}", soak.get_program().display());
            false
        }
    }
}
