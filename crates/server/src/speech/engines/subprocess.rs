//! Runs a program with text on its standard input and takes what it writes, bounded in size; whoever stops waiting
//! kills it with all its children.
use super::{MAX_OUTPUT, SpeechError};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{ffi::OsStr, path::Path, process::Stdio};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

/// How much of the standard error stream goes into the error, in bytes.
const MAX_STDERR: u64 = 500;
/// Nothing else of our environment is the program's business: it holds secrets.
const ENVIRONMENT: [&str; 6] = ["PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH"];

/// The program's standard output, once it has exited with success.
pub(super) async fn run<A: AsRef<OsStr>>(
    program: &Path,
    arguments: &[A],
    input: &str,
) -> Result<Vec<u8>, SpeechError> {
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let not_run = |error: std::io::Error| SpeechError::NotRun {
        program: name.clone(),
        reason: error.to_string(),
    };
    let inherited =
        ENVIRONMENT.iter().filter_map(|name| std::env::var_os(name).map(|value| (name, value)));
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(inherited)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(not_run)?;
    let group = KillGroup::of(&child);
    let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = streams else {
        return Err(SpeechError::NotRun {
            program: name,
            reason: "its streams are missing".into(),
        });
    };
    let feed = async move {
        // A program that does not read its input (because it takes an argument) closes it: no fault of ours.
        let _closed = stdin.write_all(input.as_bytes()).await;
    };
    let (output, stderr, ()) = tokio::join!(read_output(stdout), read_stderr(stderr), feed);
    let output = output.map_err(not_run)?.ok_or(SpeechError::TooLong)?;
    let status = child.wait().await.map_err(not_run)?;
    group.disarm();
    if status.success() {
        Ok(output)
    } else {
        Err(SpeechError::Failed { program: name, status: status.to_string(), stderr })
    }
}

/// None if there is more than may be. The stream is dropped then, so that a program which ignores that it is not heard
/// does not hold up the other streams: the caller leaves, and the group is killed.
async fn read_output(stdout: impl AsyncRead + Unpin) -> std::io::Result<Option<Vec<u8>>> {
    let mut output = Vec::new();
    stdout.take(MAX_OUTPUT as u64 + 1).read_to_end(&mut output).await?;
    Ok((output.len() <= MAX_OUTPUT).then_some(output))
}

/// The first bytes, for the error; the rest is read so that the program does not block on a full pipe.
async fn read_stderr(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let _cut = (&mut stderr).take(MAX_STDERR).read_to_end(&mut kept).await;
    let _cut = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&kept).trim().to_owned()
}

/// Kills the program's process group when dropped: a wrapper script must not leave its engine running.
struct KillGroup(Option<Pid>);

impl KillGroup {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    /// The program was waited for; its number may be another's from now on.
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for KillGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended just now: then there is nobody to kill.
            let _gone = kill_process_group(group, Signal::KILL);
        }
    }
}
