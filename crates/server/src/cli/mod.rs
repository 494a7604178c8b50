//! The client commands: they speak `/v1` to a running server and never open its database.

mod client;
mod show;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

pub use client::{Client, ClientError};

/// Where the server is and who asks.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// The server's address.
    #[arg(long, env = "OFFHOOK_URL", default_value = "http://127.0.0.1:8088", global = true)]
    pub url: String,
    /// An API key of the tenant, a Bearer token, or the operator's key.
    #[arg(long, env = "OFFHOOK_API_KEY", hide_env_values = true, global = true)]
    pub api_key: Option<String>,
    /// Print the server's JSON as it came.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Calls: list, show, follow, cancel.
    #[command(subcommand)]
    Calls(Calls),
    /// Softphones: the numbers that a tenant's people register as.
    #[command(subcommand)]
    Softphones(Softphones),
    /// Callbacks: what became of them, and trying again.
    #[command(subcommand)]
    Callbacks(Callbacks),
    /// Tenants and their settings.
    #[command(subcommand)]
    Tenants(Tenants),
}

#[derive(Debug, Clone, Subcommand)]
pub enum Calls {
    /// The calls that are over, oldest first.
    List {
        #[arg(long, default_value_t = 0)]
        offset: u32,
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// One call, whatever its state.
    Show { serial: u64 },
    /// Everything that happened to a call.
    Timeline { serial: u64 },
    /// Drop a call that waits, hang up one that is live.
    Cancel { serial: u64 },
    /// Keep what is said from now on out of the call's recording.
    Pause { serial: u64 },
    /// Record the call again.
    Resume { serial: u64 },
    /// Call two parties, one after the other, and connect them.
    Connect {
        /// Who is called first: a softphone or a number.
        caller: String,
        called: String,
    },
    /// Ask for a code: who dials it over SIP, once, is connected with the number.
    Code { called: String },
}

#[derive(Debug, Clone, Subcommand)]
pub enum Softphones {
    /// The tenant's softphones.
    List,
    /// Make a softphone or change one; what is not given stays, a new one is given a password.
    Put {
        number: String,
        /// 8 characters or more; read from standard input where it is `-`.
        #[arg(long)]
        password: Option<String>,
        #[arg(long)]
        remark: Option<String>,
        /// Whether it may neither register nor take calls.
        #[arg(long)]
        suspended: Option<bool>,
    },
    /// Remove one.
    Remove { number: String },
}

#[derive(Debug, Clone, Subcommand)]
pub enum Callbacks {
    /// The callbacks of a call, with each try.
    List { serial: u64 },
    /// Those that were given up.
    Dead {
        #[arg(long, default_value_t = 0)]
        offset: u32,
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Deliver again, by the position of the event in the log.
    Replay { position: u64 },
}

#[derive(Debug, Clone, Subcommand)]
pub enum Tenants {
    /// All tenants; needs the operator's key.
    List,
    /// The tenant whose key asks.
    Show,
    /// Make a tenant or replace its settings; needs the operator's key.
    Put {
        /// The number of its VDN.
        id: u32,
        /// JSON: `name`, `access_codes`, `settings` as in `[[tenant]]`; `-` is the standard input.
        file: PathBuf,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{path}: {source}")]
    Input { path: PathBuf, source: io::Error },
    #[error("the output could not be written: {0}")]
    Output(#[from] io::Error),
}

/// Performs one command and prints what the server said.
pub async fn run(
    command: Command,
    connection: &Connection,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let client = Client::new(&connection.url, connection.api_key.as_deref())?;
    let (reply, print): (Value, show::Printer) = match command {
        Command::Calls(Calls::List { offset, limit }) => {
            let path = format!("/v1/calls?offset={offset}&limit={limit}");
            (client.read(&path).await?, show::calls)
        }
        Command::Calls(Calls::Show { serial }) => {
            (client.read(&format!("/v1/calls/{serial}")).await?, show::document)
        }
        Command::Calls(Calls::Timeline { serial }) => {
            (client.read(&format!("/v1/calls/{serial}/timeline")).await?, show::timeline)
        }
        Command::Calls(Calls::Cancel { serial }) => {
            (client.act(&format!("/v1/calls/{serial}/cancel")).await?, show::done)
        }
        Command::Calls(Calls::Pause { serial }) => {
            (client.act(&format!("/v1/calls/{serial}/recording/pause")).await?, show::done)
        }
        Command::Calls(Calls::Resume { serial }) => {
            (client.act(&format!("/v1/calls/{serial}/recording/resume")).await?, show::done)
        }
        Command::Calls(Calls::Connect { caller, called }) => {
            let body = json!({"caller": caller, "called": called});
            (client.create("/v1/bidirectional_calls", &body).await?, show::document)
        }
        Command::Calls(Calls::Code { called }) => {
            let body = json!({"called": called});
            (client.create("/v1/anonymous_calls", &body).await?, show::document)
        }
        Command::Softphones(command) => softphones(&client, command).await?,
        Command::Callbacks(Callbacks::List { serial }) => {
            (client.read(&format!("/v1/calls/{serial}/callbacks")).await?, show::callbacks)
        }
        Command::Callbacks(Callbacks::Dead { offset, limit }) => {
            let path = format!("/v1/callbacks/dead?offset={offset}&limit={limit}");
            (client.read(&path).await?, show::callbacks)
        }
        Command::Callbacks(Callbacks::Replay { position }) => {
            (client.act(&format!("/v1/callbacks/{position}/replay")).await?, show::done)
        }
        Command::Tenants(Tenants::List) => (client.read("/v1/tenants").await?, show::document),
        Command::Tenants(Tenants::Show) => (client.read("/v1/tenant").await?, show::document),
        Command::Tenants(Tenants::Put { id, file }) => {
            let body = input(&file)?;
            (client.put(&format!("/v1/tenants/{id}"), body).await?, show::document)
        }
    };
    let print = if connection.json { show::document } else { print };
    print(&reply, out)?;
    Ok(())
}

async fn softphones(
    client: &Client,
    command: Softphones,
) -> Result<(Value, show::Printer), CliError> {
    Ok(match command {
        Softphones::List => (client.read("/v1/softphones").await?, show::softphones),
        Softphones::Put { number, password, remark, suspended } => {
            let password = match password.as_deref() {
                Some("-") => Some(input(Path::new("-"))?.trim_end_matches(['\r', '\n']).to_owned()),
                Some(_) | None => password,
            };
            let fields = [
                ("password", password.map(Value::from)),
                ("remark", remark.map(Value::from)),
                ("suspended", suspended.map(Value::from)),
            ];
            let given = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
            let body: BTreeMap<&str, Value> = given.collect();
            let body = serde_json::to_string(&body).expect("texts and flags are JSON");
            let path = format!("/v1/softphones/{}", segment(&number));
            (client.put(&path, body).await?, show::document)
        }
        Softphones::Remove { number } => {
            let path = format!("/v1/softphones/{}", segment(&number));
            (client.remove(&path).await?, show::done)
        }
    })
}

/// A word of the command line as one segment of a path.
fn segment(word: &str) -> String {
    url::form_urlencoded::byte_serialize(word.as_bytes()).collect()
}

fn input(path: &Path) -> Result<String, CliError> {
    let text = match path.to_str() {
        Some("-") => io::read_to_string(io::stdin()),
        Some(_) | None => std::fs::read_to_string(path),
    };
    text.map_err(|source| CliError::Input { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests;
