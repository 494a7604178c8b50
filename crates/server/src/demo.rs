//! `offhook demo`: a server, a simulated carrier, calls of each kind from request to callback, and what
//! the phones heard.

mod heard;
mod notification;
mod two_legs;
mod watch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use engine::vocabulary::TenantId;
use serde::Serialize;
use sim::{CallReport, CallbackReceiver, Client};
use tempfile::TempDir;

use crate::config::{Config, Secret, SoftphoneInFile, TenantInFile};
use crate::serve::{self, Running, ServeError};
use crate::tenants::{Anonymous, PrefixRoute, TenantSettings};

const TENANT: TenantId = TenantId(1);
const APP_KEY: &str = "demo";
const CALLED: &str = "8899";
const ACCESS_CODE: &str = "2222201";
const SOFTPHONE: &str = "66666666";
const SOFTPHONE_PASSWORD: &str = "a password of the demo";

/// Nothing in the demo takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub struct Arguments {
    /// One line of JSON on stdout at the end, and nothing else there.
    #[arg(long)]
    json: bool,
    /// Where the audio that the phone heard is left.
    #[arg(long, default_value = "offhook-demo")]
    directory: PathBuf,
    /// Only these calls.
    #[arg(long, value_enum)]
    only: Option<Only>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Only {
    /// Two voice notifications: a recording, and a text that is spoken.
    VoiceNotification,
    /// A bidirectional call: a softphone that registers here and a phone of the carrier.
    TwoLeg,
    /// An anonymous call: an application with its code and a phone of the carrier.
    Anonymous,
}

/// The last line of `--json`.
#[derive(Debug, Serialize)]
struct Summary {
    ok: bool,
    calls: Vec<Call>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Call {
    Notification(notification::Call),
    TwoLegs(two_legs::Call),
}

impl Call {
    fn is_right(&self) -> bool {
        match self {
            Call::Notification(call) => call.is_right(),
            Call::TwoLegs(call) => call.is_right(),
        }
    }
}

/// The stage: everything real, on loopback, on free ports.
struct Stage {
    running: Running,
    receiver: CallbackReceiver,
    client: Client,
    directory: PathBuf,
    json: bool,
    _data: TempDir,
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, ServeError> {
    let wants = |what| arguments.only.is_none_or(|only| only == what);
    let stage = Stage::set(&arguments).await?;
    stage.say(&stage.greeting());
    let mut calls = Vec::new();
    if wants(Only::VoiceNotification) {
        calls.extend(notification::calls(&stage).await?.into_iter().map(Call::Notification));
    }
    if wants(Only::TwoLeg) {
        calls.push(Call::TwoLegs(two_legs::bidirectional_call(&stage).await?));
    }
    if wants(Only::Anonymous) {
        calls.push(Call::TwoLegs(two_legs::anonymous_call(&stage).await?));
    }
    let summary = Summary { ok: calls.iter().all(Call::is_right), calls };
    stage.finish(&summary).await?;
    Ok(if summary.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Stage {
    async fn set(arguments: &Arguments) -> Result<Stage, ServeError> {
        std::fs::create_dir_all(&arguments.directory)?;
        let data = tempfile::tempdir()?;
        let receiver = CallbackReceiver::start(([127, 0, 0, 1], 0).into()).await?;
        let app_secret = crate::access::random_hex::<16>()?;
        let config = config(data.path(), &receiver, &app_secret)?;
        let running = serve::start(config).await?;
        let client = Client::new(format!("http://{}", running.http), APP_KEY, &app_secret)?;
        let (directory, json) = (arguments.directory.clone(), arguments.json);
        Ok(Stage { running, receiver, client, directory, json, _data: data })
    }

    fn greeting(&self) -> String {
        let carrier = self.running.carriers.values().next().map(sim::Carrier::udp_address);
        format!(
            "offhook demo. Everything is real and stays on this machine:\n  \
             server     http://{}\n  carrier    sip:{}  (simulated)\n  callbacks  {}",
            self.running.http,
            carrier.map(|address| address.to_string()).unwrap_or_default(),
            self.receiver.url(),
        )
    }

    /// Where phones find the server.
    fn sip_address(&self) -> Result<SocketAddr, ServeError> {
        let mut listeners = self.running.sip.iter();
        let udp = listeners.find(|(transport, _)| *transport == sip::Transport::Udp);
        Ok(udp.ok_or("no SIP listener over UDP")?.1)
    }

    /// What the carrier saw of the call.
    async fn report(&self, serial: &str) -> Result<CallReport, ServeError> {
        let carrier = self.running.carriers.values().next().ok_or("there is no carrier")?;
        let ended = carrier.call_ended(|call| call.call_id.starts_with(serial));
        Ok(tokio::time::timeout(PATIENCE, ended).await?)
    }

    async fn finish(self, summary: &Summary) -> Result<(), ServeError> {
        let verdict = if summary.ok { "All of it is right." } else { "Something is wrong." };
        self.say(&format!(
            "\n{verdict} What the phone heard lies in {}/.",
            self.directory.display()
        ));
        if self.json {
            println!("{}", serde_json::to_string(summary)?);
        }
        self.running.drain(std::future::ready(())).await?;
        self.receiver.shut_down().await;
        Ok(())
    }

    fn say(&self, text: &str) {
        if self.json {
            eprintln!("{text}");
        } else {
            println!("{text}");
        }
    }
}

/// One tenant, one simulated trunk, free ports.
fn config(data: &Path, receiver: &CallbackReceiver, secret: &str) -> Result<Config, ServeError> {
    let mut config = Config { data_directory: data.to_owned(), ..Config::default() };
    config.http.bind.set_port(0);
    let trust = format!("{} private", receiver.address()).parse()?;
    let sim = config.trunks[0].name.clone();
    config.tenants.push(TenantInFile {
        id: TENANT.0,
        name: "demo".into(),
        app_key: APP_KEY.into(),
        app_secret: Secret::from(secret),
        access_codes: vec![ACCESS_CODE.into()],
        callback_shared_key: None,
        suspended: false,
        softphones: vec![SoftphoneInFile {
            number: SOFTPHONE.into(),
            password: Secret::from(SOFTPHONE_PASSWORD),
            remark: String::new(),
            suspended: false,
        }],
        settings: TenantSettings {
            routes: vec![PrefixRoute { prefix: String::new(), route: sim.into() }],
            trust: crate::callbacks::trust::TrustList(vec![trust]),
            record: true,
            anonymous_call: Anonymous { enabled: true, ..Anonymous::default() },
            ..TenantSettings::default()
        },
    });
    Ok(config)
}
