//! A server under test in a process of its own, and everything around it in this one.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sim::client::{Entry, Recording, VoiceNotification};
use sim::{CallReport, CallbackReceiver, Carrier, CarrierConfig, Client, KeepAudio};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

use super::{SERVER_CORE, process};
use crate::serve::ServeError;

pub const APP_KEY: &str = "bench";

/// The manager's softphone that createCall wants named; nobody registers as it.
pub const SOFTPHONE: &str = "66666666";
/// What numbers begin with whose calls go out with another codec.
pub const TRANSCODED: &str = "9";
/// And those of the probe that measures delays.
pub const PROBE: &str = "8";

/// How long the last calls may take after the last request.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct FarEnd {
    pub client: Client,
    pub receiver: CallbackReceiver,
    pub server: ServerProcess,
    /// Where the server's interfaces are.
    pub http: String,
    carrier: Carrier,
    probe: SocketAddr,
    operator_key: String,
    /// Keeps its connection, so that asking changes nothing of what the server holds.
    operator: reqwest::Client,
    /// By Call-ID.
    reports: Arc<Mutex<BTreeMap<String, Arc<CallReport>>>>,
    collector: JoinHandle<()>,
}

/// Killed when dropped.
pub struct ServerProcess {
    child: Child,
    _directory: TempDir,
}

impl ServerProcess {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl FarEnd {
    pub async fn start() -> Result<FarEnd, ServeError> {
        let config = CarrierConfig { keep_audio: KeepAudio::None, ..CarrierConfig::default() };
        let carrier = Carrier::start(config).await?;
        let receiver = CallbackReceiver::start(([127, 0, 0, 1], 0).into()).await?;
        let secret = crate::access::random_hex::<16>()?;
        let operator_key = crate::access::random_hex::<32>()?;
        let [probe] = free_addresses()?;
        let config = configuration(&carrier, probe, &receiver, &secret, &operator_key);
        let (server, http) = start_server(&config)?;
        let client = Client::new(format!("http://{http}"), APP_KEY, &secret)?;
        let reports = Arc::new(Mutex::new(BTreeMap::new()));
        let collector = tokio::spawn(collect(carrier.subscribe(), reports.clone()));
        // After the first client, which chooses the TLS provider.
        let operator = reqwest::Client::builder().no_proxy().build()?;
        Ok(FarEnd {
            client,
            receiver,
            server,
            http,
            carrier,
            probe,
            operator_key,
            operator,
            reports,
            collector,
        })
    }

    /// Uploads silence of this length and gives a notification that plays it to a phone that
    /// answers at once.
    pub async fn notification(&self, plays: Duration) -> Result<VoiceNotification, ServeError> {
        let samples = vec![0; (plays.as_millis() * 8) as usize];
        let wav = media::Clip::from_pcm(&samples, 8_000)?.to_wav();
        let voice = self.client.upload_recording(&Recording::wav(wav)).await?;
        let mut wanted = VoiceNotification::new("1001", vec![Entry::recording(voice)]);
        wanted.call_back_url = Some(self.receiver.url());
        Ok(wanted)
    }

    /// Waits until `calls` distinct callbacks have come, or for as long as is reasonable.
    pub async fn called_back(&self, calls: u64) {
        let all = self.receiver.callbacks().distinct_reached(calls);
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            tracing::warn!("not every call was called back within {PATIENCE:?}");
        }
    }

    /// Waits until the audio of each of these calls has begun.
    pub async fn playing(&self, serials: &[String]) -> Result<(), ServeError> {
        for serial in serials {
            let begun = async {
                while !self.client.timeline(serial).await?.to_string().contains("play_started") {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok::<_, ServeError>(())
            };
            tokio::time::timeout(PATIENCE, begun).await.map_err(|_| "a call does not begin")??;
        }
        Ok(())
    }

    /// What the carrier saw, by serial number; of a call of two parties one of them.
    pub async fn reports(&self) -> BTreeMap<String, Arc<CallReport>> {
        let reports = self.reports.lock().await;
        let serial = |call_id: &str| call_id.split('-').next().unwrap_or_default().to_owned();
        reports.iter().map(|(call_id, report)| (serial(call_id), report.clone())).collect()
    }

    /// Every leg that the carrier saw.
    pub async fn legs(&self) -> Vec<Arc<CallReport>> {
        self.reports.lock().await.values().cloned().collect()
    }

    /// Waits until so many legs have ended, or for as long as is reasonable.
    pub async fn legs_ended(&self, legs: u32) {
        let all = async {
            while (self.reports.lock().await.len() as u32) < legs {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            tracing::warn!("not every leg ended within {PATIENCE:?}");
        }
    }

    /// Where the calls go whose numbers begin with [`PROBE`].
    pub fn probe_address(&self) -> SocketAddr {
        self.probe
    }

    /// Forgets what was seen so far.
    pub async fn clear(&self) {
        self.reports.lock().await.clear();
        self.carrier.clear();
        self.receiver.callbacks().clear();
    }

    /// What `/metrics` says.
    pub async fn metrics(&self) -> Result<String, ServeError> {
        let url = format!("http://{}/metrics", self.http);
        let reply = self.operator.get(url).bearer_auth(&self.operator_key).send().await?;
        Ok(reply.error_for_status()?.text().await?)
    }

    /// The outcome of each call in the history.
    pub async fn history(&self) -> Result<BTreeMap<String, String>, ServeError> {
        let mut outcomes = BTreeMap::new();
        loop {
            let path = format!("/v1/calls?offset={}&limit=1000", outcomes.len());
            let page: Value = self.client.v1(reqwest::Method::GET, &path).await?.ok()?.parse()?;
            let calls = page["calls"].as_array().cloned().unwrap_or_default();
            for call in &calls {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                outcomes.insert(text(&call["serial"]), text(&call["end"]["outcome"]));
            }
            if calls.is_empty() {
                return Ok(outcomes);
            }
        }
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.collector.abort();
    }
}

async fn collect(
    mut ended: tokio::sync::broadcast::Receiver<Arc<CallReport>>,
    reports: Arc<Mutex<BTreeMap<String, Arc<CallReport>>>>,
) {
    loop {
        match ended.recv().await {
            Ok(report) => {
                reports.lock().await.insert(report.call_id.clone(), report);
            }
            Err(RecvError::Lagged(lost)) => tracing::warn!(lost, "reports of the carrier are lost"),
            Err(RecvError::Closed) => break,
        }
    }
}

/// Different ones, at which nobody is yet, neither over UDP nor over TCP. Below the ports that the system gives to
/// calls, so that none takes one in between.
pub fn free_addresses<const N: usize>() -> Result<[SocketAddr; N], ServeError> {
    let mut free = Vec::new();
    // Two processes that look at the same time look at different ones first.
    let first = (std::process::id() % 10_000) as u16;
    for port in (0..10_000).map(|next| 20_000 + (first + next) % 10_000) {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let unused = std::net::UdpSocket::bind(address).is_ok();
        if unused && std::net::TcpListener::bind(address).is_ok() {
            free.push(address);
        }
        if free.len() == N {
            break;
        }
    }
    free.try_into().map_err(|_| "too few ports between 20000 and 30000 are free".into())
}

fn start_server(configuration: &str) -> Result<(ServerProcess, String), ServeError> {
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("offhook.toml");
    std::fs::write(&config, configuration)?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["serve", "--announce", "--pin", &SERVER_CORE.to_string(), "--config"])
        .arg(&config)
        .current_dir(directory.path())
        .env("RUST_LOG", "warn")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let stdout = child.stdout.take().ok_or("the server's output is not there")?;
    let server = ServerProcess { child, _directory: directory };
    BufReader::new(stdout).read_line(&mut line)?;
    let announced: Value = serde_json::from_str(&line)?;
    let http = announced["http"].as_str().ok_or("the server did not start")?.to_owned();
    Ok((server, http))
}

fn configuration(
    carrier: &Carrier,
    probe: SocketAddr,
    receiver: &CallbackReceiver,
    secret: &str,
    operator_key: &str,
) -> String {
    format!(
        r#"
[http]
bind = "127.0.0.1:0"
[sip]
udp = "127.0.0.1:0"
tcp = "127.0.0.1:0"
[media]
bind = "127.0.0.1"
threads = 1
[access]
operator_key = "{operator_key}"
[[trunk]]
name = "carrier"
address = "{}"
codecs = ["PCMA"]
calls_per_second = 100000
concurrent_calls = 100000
[[trunk]]
name = "transcoded"
address = "{}"
codecs = ["opus"]
called_numbers = [{{ prefix = "{TRANSCODED}", replace = "" }}]
calls_per_second = 100000
concurrent_calls = 100000
[[trunk]]
name = "probe"
address = "{probe}"
codecs = ["PCMA"]
[[tenant]]
id = 1
name = "bench"
app_key = "{APP_KEY}"
app_secret = "{secret}"
access_codes = ["2222201"]
routes = [
  {{ prefix = "", trunk = "carrier" }},
  {{ prefix = "{TRANSCODED}", trunk = "transcoded" }},
  {{ prefix = "{PROBE}", trunk = "probe" }},
]
softphones = [{{ number = "{SOFTPHONE}", password = "nobody uses it" }}]
trust = ["{} private"]
calls_per_second = 100000
concurrent_calls = 100000
queue_length = 1000000
"#,
        carrier.udp_address(),
        carrier.udp_address(),
        receiver.address()
    )
}

/// Resident memory of the server, looked at ten times a second.
pub struct Memory {
    highest: Arc<std::sync::atomic::AtomicU64>,
    watcher: JoinHandle<()>,
}

impl Memory {
    pub fn watch(pid: u32) -> Memory {
        use std::sync::atomic::{AtomicU64, Ordering};
        let highest = Arc::new(AtomicU64::new(0));
        let seen = highest.clone();
        let watcher = tokio::spawn(async move {
            while let Ok(resident) = process::resident(pid) {
                seen.fetch_max(resident, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Memory { highest, watcher }
    }

    pub fn highest(self) -> u64 {
        self.watcher.abort();
        self.highest.load(std::sync::atomic::Ordering::Relaxed)
    }
}
