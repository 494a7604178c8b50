//! The server under test: a process, killed and started again on its data.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use sim::Client;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::Fault;
use crate::parties;

const APP_KEY: &str = "chaos";
const APP_SECRET: &str = "a-secret-of-this-run-only";

/// A start with a long backlog takes 2 s (P5); this is a machine that is busy with other things.
const START: Duration = Duration::from_secs(60);

pub struct Server {
    child: Child,
    http: String,
    directory: Option<TempDir>,
    path: PathBuf,
}

impl Server {
    pub async fn start(trunk: SocketAddr, receiver: SocketAddr) -> Result<Server, Fault> {
        let directory = TempDir::new()?;
        let path = directory.path().to_owned();
        std::fs::write(path.join("offhook.toml"), configuration(trunk, receiver))?;
        let (child, http) = launch(&path).await?;
        Ok(Server { child, http, directory: Some(directory), path })
    }

    /// `kill -9`, and a new process at once.
    pub async fn kill_and_restart(&mut self) -> Result<(), Fault> {
        self.child.start_kill()?;
        self.child.wait().await?;
        (self.child, self.http) = launch(&self.path).await?;
        Ok(())
    }

    /// Of the process that runs now: each has a port of its own.
    pub fn client(&self) -> Result<Client, Fault> {
        Ok(Client::new(format!("http://{}", self.http), APP_KEY, APP_SECRET)?)
    }

    /// The data directory, which stays.
    pub fn keep(&mut self) -> &Path {
        if let Some(directory) = self.directory.take() {
            let _stays = directory.keep();
        }
        &self.path
    }
}

async fn launch(directory: &Path) -> Result<(Child, String), Fault> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(directory.join("log"))?;
    let mut child = Command::new(program()?)
        .args(["serve", "--announce"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()?;
    let stdout = child.stdout.take().ok_or("the server's output is not there")?;
    let mut lines = BufReader::new(stdout).lines();
    let line = tokio::time::timeout(START, lines.next_line()).await.map_err(|_| "no start")??;
    let announced: Value = serde_json::from_str(&line.ok_or_else(|| {
        format!("the server ended at its start; see {}", directory.join("log").display())
    })?)?;
    let http = announced["http"].as_str().ok_or("no address was announced")?.to_owned();
    Ok((child, http))
}

/// Cargo puts it one directory above its examples.
fn program() -> Result<PathBuf, Fault> {
    let own = std::env::current_exe()?;
    let directory = own.parent().and_then(Path::parent).ok_or("this program has no directory")?;
    let program = directory.join("offhook");
    if !program.is_file() {
        return Err(format!("{} is missing: run `cargo xtask chaos`", program.display()).into());
    }
    Ok(program)
}

fn configuration(trunk: SocketAddr, receiver: SocketAddr) -> String {
    let (prefix, softphone) = (parties::PREFIX, parties::SOFTPHONE);
    format!(
        r#"
[http]
bind = "127.0.0.1:0"
[sip]
udp = "127.0.0.1:0"
tcp = "127.0.0.1:0"
[admission]
patience_ms = 60000
[media]
bind = "127.0.0.1"
threads = 1
[[trunk]]
name = "carrier"
address = "{trunk}"
codecs = ["PCMA"]
calls_per_second = 1000
concurrent_calls = 20
[[trunk]]
name = "parties"
address = "{trunk}"
codecs = ["PCMA"]
calls_per_second = 1000
concurrent_calls = 60
[[tenant]]
id = 1
name = "chaos"
app_key = "{APP_KEY}"
app_secret = "{APP_SECRET}"
access_codes = ["2222201"]
routes = [{{ prefix = "", trunk = "carrier" }}, {{ prefix = "{prefix}", trunk = "parties" }}]
trust = ["{receiver} private"]
default_callback_url = "http://{receiver}/callbacks"
softphones = [{{ number = "{softphone}", password = "a password of this run" }}]
anonymous_call = {{ enabled = true, code_lifetime_s = 30 }}
calls_per_second = 1000
concurrent_calls = 1000
queue_length = 1000000
"#
    )
}
