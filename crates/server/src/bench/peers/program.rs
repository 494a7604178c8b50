//! A foreign program that is measured: pinned to the core that our own server gets in its turn.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::super::process;
use crate::serve::ServeError;

/// Killed when dropped; what it wrote goes with it.
pub struct Program {
    child: Child,
    folder: TempDir,
}

impl Program {
    /// Runs in a folder of its own, which may hold files for it, on `core`. All that it says goes to a file there.
    pub fn start(
        program: &Path,
        arguments: &[String],
        core: usize,
        folder: TempDir,
    ) -> Result<Program, ServeError> {
        let said = File::create(folder.path().join("said"))?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder.path()).stdin(Stdio::null());
        command.stdout(said.try_clone()?).stderr(said);
        // What our own log says is no setting of theirs.
        command.env_remove("RUST_LOG");
        // What a thread starts runs on the thread's core.
        let spawning = std::thread::spawn(move || {
            process::pin(core);
            command.spawn()
        });
        let child = spawning.join().map_err(|_| "the thread that starts a peer panicked")?;
        let child =
            child.map_err(|fault| format!("{} does not start: {fault}", program.display()))?;
        Ok(Program { child, folder })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Whether it has ended; then its processor time can no longer be read.
    pub fn ended(&mut self) -> std::io::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// The last lines of what it said, for an error.
    pub fn last_words(&self) -> String {
        let said = std::fs::read(self.folder.path().join("said")).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        let lines: Vec<&str> = said.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
