//! A server of its own process, a carrier and a callback receiver of this one.

pub mod authority;
pub mod baresip;
pub mod names;
pub mod strace;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use sim::client::{Entry, Recording, VoiceNotification};
use sim::{CallbackReceiver, Carrier, CarrierConfig, Client};
use tempfile::TempDir;

pub const APP_KEY: &str = "90000000000000000000000000000003";
pub const APP_SECRET: &str = "a-secret-of-the-test-tenant";

/// Nothing here takes longer unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(60);

const RELOADED: &str = "certificates were read again";

/// A server with its data; killed when dropped.
pub struct Server {
    child: Child,
    /// What runs it reads here, if anything does.
    stdin: Option<ChildStdin>,
    /// Ends when the process does.
    stdout: Option<BufReader<ChildStdout>>,
    pub http: SocketAddr,
    pub https: Option<SocketAddr>,
    pub sip_udp: SocketAddr,
    pub sip_tcp: SocketAddr,
    pub sip_tls: Option<SocketAddr>,
    directory: TempDir,
}

/// How a server process is started.
#[derive(Clone, Default)]
pub struct Launch {
    /// Where it dies: a name of `store::crash_points::ALL`, or `name:n`.
    pub crash_point: Option<String>,
    /// A command that runs it: `strace …`.
    pub under: Vec<String>,
    /// `RUST_LOG`; empty: the default.
    pub log: String,
}

/// What a test puts around a server.
pub struct World {
    pub server: Server,
    pub carrier: Carrier,
    pub callbacks: CallbackReceiver,
    pub client: Client,
    /// A recording of a tone, one second long.
    pub voice_id: String,
}

/// Lines of the configuration that a test changes.
#[derive(Clone, Default)]
pub struct Setting {
    /// In the trunk's table.
    pub trunk: String,
    /// In place of the carrier's address in it.
    pub address: Option<String>,
    /// Where SIP and RTP are bound; without it 127.0.0.1.
    pub bind: Option<IpAddr>,
    /// In the table of SIP's listeners.
    pub sip: String,
    /// In the table of RTP.
    pub media: String,
    /// In the tenant's table.
    pub tenant: String,
    /// Before all tables.
    pub top: String,
    /// Of the first process.
    pub launch: Launch,
    /// In place of the tenant's one route, which sends every number over the trunk.
    pub routes: Option<String>,
    /// The tenant's calls are called back at `/callbackTest`, also those whose request cannot say where.
    pub calls_back: bool,
    /// Further tables.
    pub more: String,
    /// Of `[admission]`; without it a minute: a test machine that is slow is not overloaded.
    pub patience_ms: Option<u32>,
}

impl World {
    pub async fn start() -> World {
        World::with(Setting::default(), CarrierConfig::default()).await
    }

    pub async fn with(setting: Setting, carrier: CarrierConfig) -> World {
        let carrier = Carrier::start(carrier).await.expect("a carrier starts");
        let address = carrier.udp_address();
        World::around(setting, carrier, address).await
    }

    pub async fn over_tcp(setting: Setting, carrier: CarrierConfig) -> World {
        let carrier = Carrier::start(carrier).await.expect("a carrier starts");
        let address = carrier.tcp_address().expect("it listens on TCP");
        World::around(setting, carrier, address).await
    }

    /// Around a carrier that is reached at `trunk`.
    pub async fn around(setting: Setting, carrier: Carrier, trunk: SocketAddr) -> World {
        let callbacks = CallbackReceiver::start("127.0.0.1:0".parse().expect("an address"))
            .await
            .expect("a receiver starts");
        let config = config(&setting, trunk, callbacks.address());
        let server = Server::launch(&config, &setting.launch);
        let client = server.client();
        let voice_id = client.upload_recording(&Recording::wav(tone(440.0, 1.0))).await;
        let voice_id = voice_id.expect("an upload is taken");
        World { server, carrier, callbacks, client, voice_id }
    }

    /// A notification of the one-second tone, with a callback.
    pub fn notification(&self, called: &str) -> VoiceNotification {
        let entries = vec![Entry::recording(&self.voice_id)];
        let mut wanted = VoiceNotification::new(called, entries);
        wanted.caller_present = Some("2222201".into());
        wanted.call_back_url = Some(format!("http://{}/callbackTest", self.callbacks.address()));
        wanted
    }

    /// Places a call and gives its serial number.
    pub async fn call(&self, called: &str) -> String {
        self.client.notify(&self.notification(called)).await.expect("a call is accepted")
    }

    /// The fields of the call's release callback.
    pub async fn released(&self, serial: &str) -> Value {
        let of_call =
            |callback: &sim::Callback| callback.field("callSerialNo").as_deref() == Some(serial);
        let received = self.callbacks.callbacks().received(of_call);
        let callback = tokio::time::timeout(PATIENCE, received).await;
        callback.expect("a release callback comes").json().expect("it is JSON")
    }

    /// Waits until an event of this name is in the log of the call.
    pub async fn reaches(&self, serial: &str, what: &str) {
        let reached = async {
            let mut after = 0;
            loop {
                let path = format!("/v1/events?after={after}&wait=10");
                let reply = self.client.v1(reqwest::Method::GET, &path).await.expect("a reply");
                let page: Value = reply.parse().expect("JSON");
                let events = page["events"].as_array().expect("events");
                if events.iter().any(|event| event["type"] == what && event["serial"] == serial) {
                    return;
                }
                after = page["last"].as_u64().expect("a position");
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.expect("the call gets there");
    }

    /// The call as `/v1/calls/{serial}` has it.
    pub async fn record(&self, serial: &str) -> Value {
        let path = format!("/v1/calls/{serial}");
        let reply = self.client.v1(reqwest::Method::GET, &path).await.expect("a reply");
        reply.parse().expect("JSON")
    }
}

impl Server {
    pub fn start(config: &str) -> Server {
        Server::launch(config, &Launch::default())
    }

    pub fn launch(config: &str, launch: &Launch) -> Server {
        let directory = TempDir::new().expect("a directory");
        std::fs::write(directory.path().join("offhook.toml"), config).expect("a file");
        Server::run_in(directory, launch)
    }

    fn run_in(directory: TempDir, launch: &Launch) -> Server {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(directory.path().join("log"))
            .expect("a log");
        let mut child = command(launch)
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        stdout.read_line(&mut line).expect("a line");
        let announced: Value = serde_json::from_str(&line).unwrap_or_else(|error| {
            let log = std::fs::read_to_string(directory.path().join("log")).unwrap_or_default();
            panic!("no announcement ({error}); the log says:\n{log}")
        });
        let announced = |name: &str| announced[name].as_str().and_then(|text| text.parse().ok());
        let address = |name: &str| announced(name).expect("an address");
        Server {
            http: address("http"),
            https: announced("https"),
            sip_udp: address("sip_udp"),
            sip_tcp: address("sip_tcp"),
            sip_tls: announced("sip_tls"),
            stdin: child.stdin.take(),
            stdout: Some(stdout),
            child,
            directory,
        }
    }

    /// `kill -9`, and a new process on the same data.
    pub fn kill_and_restart(mut self) -> Server {
        self.kill();
        self.restart(&Launch::default())
    }

    /// The same; between the two `change` has the directory of `offhook.toml` for itself.
    pub async fn kill_change_and_restart(mut self, change: impl AsyncFnOnce(&Path)) -> Server {
        self.kill();
        change(self.directory.path()).await;
        self.restart(&Launch::default())
    }

    pub fn kill(&mut self) {
        self.signal("KILL");
        self.child.wait().expect("it ends");
    }

    /// A new process on the data of this one, which has ended.
    pub fn restart(mut self, launch: &Launch) -> Server {
        let directory =
            std::mem::replace(&mut self.directory, TempDir::new().expect("a directory"));
        Server::run_in(directory, launch)
    }

    /// As [`restart`](Self::restart), for a process that dies before it takes calls.
    /// `None` where it lives on for too long.
    pub async fn dies_at_start(&self, launch: &Launch) -> Option<ExitStatus> {
        let mut command = tokio::process::Command::from(command(launch));
        let log = std::fs::File::options().append(true).open(self.directory.path().join("log"));
        command.current_dir(self.directory.path()).stdout(Stdio::null());
        command.stderr(log.expect("a log"));
        let mut child = command.kill_on_drop(true).spawn().expect("the server starts");
        let ended = tokio::time::timeout(PATIENCE, child.wait()).await.ok()?;
        Some(ended.expect("it is a child"))
    }

    /// Makes it read its certificates again, and waits until it has.
    pub async fn reload_certificates(&self) {
        let said = self.log().matches(RELOADED).count();
        self.signal("HUP");
        let reloaded = async {
            let mut look = tokio::time::interval(Duration::from_millis(50));
            while self.log().matches(RELOADED).count() == said {
                look.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, reloaded).await.expect("it reads them");
    }

    /// Waits for the process to end by itself; panics with its log where it does not.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut stdout = self.stdout.take().expect("waited for once");
        let end = tokio::task::spawn_blocking(move || stdout.read_to_end(&mut Vec::new()));
        let end = tokio::time::timeout(PATIENCE, end).await;
        assert!(end.is_ok(), "it does not end; its log says:\n{}", self.log());
        self.child.wait().expect("it ends")
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("offhook-data")
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Of the server itself, also where a command runs it.
    pub fn pid(&self) -> u32 {
        let own = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
        let children = children.unwrap_or_default();
        children.split_whitespace().next().and_then(|pid| pid.parse().ok()).unwrap_or(own)
    }

    /// `kill`, with a signal's name.
    pub fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let killed = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(killed.expect("kill runs").success());
    }

    pub fn client(&self) -> Client {
        Client::new(format!("http://{}", self.http), APP_KEY, APP_SECRET).expect("a client")
    }

    /// Waits until the log says so.
    pub async fn logs(&self, what: &str) {
        let said = async {
            // The log is a file: nothing tells of a new line.
            let mut look = tokio::time::interval(Duration::from_millis(50));
            while !self.log().contains(what) {
                look.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, said).await.expect("the log says it");
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    pub fn recording(&self, wire_name: &str) -> PathBuf {
        let below = wire_name.strip_prefix("Y:/").expect("a wire name");
        self.directory.path().join("offhook-data/recordings").join(below)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself. What runs it would leave it behind.
        if self.pid() != self.child.id() {
            let _ = Command::new("kill").args(["-s", "KILL", &self.pid().to_string()]).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(launch: &Launch) -> Command {
    let mut words = launch.under.iter().map(String::as_str);
    let mut command = match words.next() {
        Some(program) => {
            let mut command = Command::new(program);
            command.args(words).arg(env!("CARGO_BIN_EXE_offhook"));
            command
        }
        None => Command::new(env!("CARGO_BIN_EXE_offhook")),
    };
    command.args(["serve", "--announce"]);
    command.env("RUST_LOG", if launch.log.is_empty() { "info" } else { &launch.log });
    if let Some(place) = &launch.crash_point {
        command.env("OFFHOOK_CRASH_POINT", place);
    }
    command
}

/// For what `sim::Client` has no words for; follows no redirect.
pub fn http() -> reqwest::Client {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    client.build().expect("a client")
}

pub fn config(setting: &Setting, trunk: SocketAddr, callbacks: SocketAddr) -> String {
    let Setting { trunk: in_trunk, sip, media, tenant, top, more, .. } = setting;
    let Setting { address, routes, patience_ms, .. } = setting;
    let bind = setting.bind.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let sip_bind = SocketAddr::new(bind, 0);
    let patience_ms = patience_ms.unwrap_or(60_000);
    let trunk = address.clone().unwrap_or_else(|| trunk.to_string());
    let callback = match setting.calls_back {
        true => format!("default_callback_url = \"http://{callbacks}/callbackTest\""),
        false => String::new(),
    };
    let routes = routes.as_deref().unwrap_or(r#"{ prefix = "", trunk = "carrier" }"#);
    format!(
        r#"
{top}
[http]
bind = "127.0.0.1:0"
[sip]
udp = "{sip_bind}"
tcp = "{sip_bind}"
{sip}
[media]
bind = "{bind}"
threads = 1
{media}
[admission]
patience_ms = {patience_ms}
[[trunk]]
name = "carrier"
address = "{trunk}"
{in_trunk}
[[tenant]]
id = 1
name = "test"
app_key = "{APP_KEY}"
app_secret = "{APP_SECRET}"
access_codes = ["2222201", "95599"]
routes = [{routes}]
trust = ["{callbacks} private"]
{callback}
{tenant}
{more}
"#
    )
}

/// A WAV file of 16-bit PCM at 8 kHz.
pub fn tone(hertz: f32, seconds: f32) -> Vec<u8> {
    let samples = (0..(8_000.0 * seconds) as u32).map(|n| {
        let phase = n as f32 / 8_000.0 * hertz * std::f32::consts::TAU;
        (phase.sin() * 12_000.0) as i16
    });
    let data: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
    let mut wav = Vec::new();
    wav.extend(b"RIFF");
    wav.extend((36 + data.len() as u32).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend(8_000u32.to_le_bytes());
    wav.extend(16_000u32.to_le_bytes());
    wav.extend(b"\x02\0\x10\0data");
    wav.extend((data.len() as u32).to_le_bytes());
    wav.extend(data);
    wav
}
