//! `offhook demo`: a server, a simulated carrier, two calls from request to callback, and what the
//! called phone heard.

mod heard;
mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use engine::vocabulary::{Serial, TenantId};
use serde::Serialize;
use serde_json::Value;
use sim::client::{Entry, Template, VoiceNotification};
use sim::{CallReport, CallbackReceiver, Client};
use tempfile::TempDir;

use crate::config::{Config, Secret, TenantInFile};
use crate::serve::{self, Running, ServeError};
use crate::tenants::{PrefixRoute, TenantSettings};

const TENANT: TenantId = TenantId(1);
const APP_KEY: &str = "demo";
const CALLED: &str = "8899";
const ACCESS_CODE: &str = "2222201";

/// What the uploaded recording says; the engine inside the binary speaks it.
const RECORDED: &str = "This is a recording. Your order has left our house.";
/// What the template says.
const TEMPLATE: &str = "Your code is ${NUM_4}. It is good until ${TIME} on ${DATE}.";
const PARAMETERS: [&str; 3] = ["4821", "18:30", "2026/12/24"];

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

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Only {
    /// The two voice notifications, which is all that there is yet.
    VoiceNotification,
}

/// The last line of `--json`.
#[derive(Debug, Serialize)]
struct Summary {
    ok: bool,
    calls: Vec<Call>,
}

/// What became of one call, as three witnesses saw it: the record, the phone, the callback receiver.
#[derive(Debug, Serialize)]
struct Call {
    kind: &'static str,
    serial: String,
    outcome: String,
    rounds: u64,
    /// One id per clip that the phone heard, else `unknown`.
    recognised: Vec<String>,
    callbacks: Callbacks,
    /// From the request's first byte to the arrival of the INVITE at the carrier.
    invite_ms: f64,
    #[serde(skip)]
    expected: Vec<String>,
    #[serde(skip)]
    audio: PathBuf,
}

#[derive(Debug, Serialize)]
struct Callbacks {
    delivered: u64,
    attempts: u64,
}

impl Call {
    fn is_right(&self) -> bool {
        self.outcome == "played"
            && self.recognised == self.expected
            && self.callbacks.delivered == 1
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
    match arguments.only {
        Some(Only::VoiceNotification) | None => {}
    }
    let stage = Stage::set(&arguments).await?;
    stage.say(&stage.greeting());
    let recording = stage.upload().await?;
    let template = stage.create_template().await?;
    let plan = [
        ("a recording", Entry::recording(&recording), recording.clone()),
        (
            "a template, spoken with its values",
            Entry::template(&template, PARAMETERS),
            template.clone(),
        ),
    ];
    let mut placed = Vec::new();
    for (what, entry, id) in plan {
        stage.say(&format!("\nA voice notification to {CALLED}: {what}."));
        placed.push(stage.notify(vec![entry], vec![id]).await?);
    }
    let calls = stage.recognise(placed).await?;
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

    /// Speaks a text, uploads it as a recording, and gives its id.
    async fn upload(&self) -> Result<String, ServeError> {
        let speech = heard::speak(&self.running.app, RECORDED).await?;
        Ok(self.client.upload_recording(&sim::client::Recording::wav(speech)).await?)
    }

    async fn create_template(&self) -> Result<String, ServeError> {
        let template = Template { name: "code".into(), text: TEMPLATE.into() };
        Ok(self.client.create_voice_template(&template).await?)
    }

    /// One call, told while it happens.
    async fn notify(
        &self,
        playlist: Vec<Entry>,
        expected: Vec<String>,
    ) -> Result<(Call, CallReport), ServeError> {
        let mut wanted = VoiceNotification::new(CALLED, playlist);
        wanted.caller_present = Some(ACCESS_CODE.into());
        wanted.call_back_url = Some(self.receiver.url());
        let after = watch::last_position(&self.client).await?;
        let reply = self.client.create_voice_notification(wanted.to_json(), None).await?;
        let serial = reply.call_serial_no()?;
        self.say(&format!("  accepted: {}", reply.body));
        watch::until_ended(&self.client, &serial, after, |line| self.say(line)).await?;

        let report = self.report(&serial).await?;
        let delivered = self.receiver.callbacks().received(|callback| {
            callback.field("callSerialNo").as_deref() == Some(serial.as_str())
        });
        let callback = tokio::time::timeout(PATIENCE, delivered).await?;
        self.say(&format!("  callback: {}", String::from_utf8_lossy(&callback.body)));
        let (record, callbacks) = watch::settled(&self.client, &serial).await?;
        let call = Call {
            kind: "voice_notification",
            outcome: outcome(&record["end"]["outcome"]).to_owned(),
            rounds: record["end"]["rounds"].as_u64().unwrap_or(0),
            recognised: Vec::new(),
            callbacks,
            invite_ms: report.invite_at.since(reply.sent_at).as_secs_f64() * 1000.0,
            expected,
            audio: self.keep(&serial, &report)?,
            serial,
        };
        Ok((call, report))
    }

    /// Matches what each phone heard against the clips of all calls, and many that none played.
    async fn recognise(&self, placed: Vec<(Call, CallReport)>) -> Result<Vec<Call>, ServeError> {
        let app = &self.running.app;
        let mut library = heard::Library::default();
        for (call, _) in &placed {
            library.add_clips_of(app, TENANT, serial_number(&call.serial)?).await?;
        }
        let recogniser = library.recogniser();
        let mut calls = Vec::new();
        self.say("");
        for (mut call, report) in placed {
            call.recognised = heard::recognise(&recogniser, &report)?;
            let heard = call.recognised.join(", ");
            self.say(&format!(
                "In call {} the phone heard {heard}: {}",
                call.serial,
                call.audio.display()
            ));
            calls.push(call);
        }
        Ok(calls)
    }

    /// What the carrier saw of the call.
    async fn report(&self, serial: &str) -> Result<CallReport, ServeError> {
        let carrier = self.running.carriers.values().next().ok_or("there is no carrier")?;
        let ended = carrier.call_ended(|call| call.call_id.starts_with(serial));
        Ok(tokio::time::timeout(PATIENCE, ended).await?)
    }

    fn keep(&self, serial: &str, report: &CallReport) -> Result<PathBuf, ServeError> {
        let path = self.directory.join(format!("{serial}.wav"));
        let heard = report.heard.as_ref().ok_or("the phone kept no audio")?;
        std::fs::write(&path, heard.to_wav())?;
        Ok(path)
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
        softphones: Vec::new(),
        settings: TenantSettings {
            routes: vec![PrefixRoute { prefix: String::new(), route: sim.into() }],
            trust: crate::callbacks::trust::TrustList(vec![trust]),
            record: true,
            ..TenantSettings::default()
        },
    });
    Ok(config)
}

/// The outcome in the words of the summary.
fn outcome(outcome: &Value) -> &str {
    match outcome.as_str() {
        Some(known @ ("played" | "cut_short" | "no_answer" | "refused" | "unknown")) => known,
        Some("interrupted") => "unknown",
        Some(_) | None => "failed",
    }
}

fn serial_number(text: &str) -> Result<Serial, ServeError> {
    Ok(Serial(text.parse()?))
}
