//! rustpbx, driven by its real-time WebSocket interface (RWI): a call is originated, plays a second when it is answered, and
//! is hung up when it has been played. Its records go to its own SQLite file, as it does by itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use media::Codec;
use serde_json::{Value, json};
use sim::{CallReport, Carrier, CarrierConfig, KeepAudio, Moment};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;

use super::super::SERVER_CORE;
use super::super::far_end::free_addresses;
use super::super::overload::PLAYS;
use super::super::witnesses::Quantiles;
use super::program::Program;
use super::rates::{Calling, Rate, Rates, Watch, is_played};
use super::web_socket::{self, Message, Reader, Writer};
use crate::serve::ServeError;

const TOKEN: &str = "bench";
/// A phone that answers at once and listens.
const CALLED: &str = "1001";
/// How long it may take to start, and the last calls of a rate after their requests.
const PATIENCE: Duration = Duration::from_secs(60);
/// Calls take these connections in turn: with each command it looks through all that its connection sent within a minute, so one
/// connection alone would cost it more the longer we measure.
const CONNECTIONS: usize = 16;
/// Commands that may wait for a connection.
const QUEUE: usize = 10_000;

pub async fn measure(program: &Path, rates: Rates) -> Result<Calling, ServeError> {
    let config = CarrierConfig {
        keep_audio: KeepAudio::None,
        // What ours offers first. It offers Opus first, which costs it twice as much a call.
        codecs: vec![Codec::Pcma],
        ..CarrierConfig::default()
    };
    let carrier = Carrier::start(config).await?;
    let mut ended = carrier.subscribe();
    let mut peer = Peer::start(program, &carrier).await?;
    // Nothing is measured that happens once.
    peer.offer(&mut ended, 20, 20).await?;
    let measured = rates.ladder.climb(async |calls_per_second| {
        let calls = calls_per_second * rates.seconds;
        peer.offer(&mut ended, calls_per_second, calls).await
    });
    Ok(Calling::of(measured.await?))
}

struct Peer {
    // Given up before the program is killed, which would be heard as its hanging up.
    connections: Vec<Connection>,
    program: Program,
    carrier: SocketAddr,
    next_call: u64,
}

impl Peer {
    async fn start(program: &Path, carrier: &Carrier) -> Result<Peer, ServeError> {
        let folder = tempfile::tempdir()?;
        let samples = vec![0; (PLAYS.as_millis() * 8) as usize];
        let clip = folder.path().join("second.wav");
        std::fs::write(&clip, media::Clip::from_pcm(&samples, 8_000)?.to_wav())?;
        let [http, sip] = free_addresses()?;
        std::fs::write(
            folder.path().join("rustpbx.toml"),
            configuration(http, sip, folder.path()),
        )?;
        let arguments = ["--conf", "rustpbx.toml"].map(str::to_owned);
        let mut program = Program::start(program, &arguments, SERVER_CORE, folder)?;
        let path = format!("/rwi/v1?token={TOKEN}");
        let until = tokio::time::Instant::now() + PATIENCE;
        let clip = clip.display().to_string();
        let mut connections = Vec::new();
        while connections.len() < CONNECTIONS {
            match web_socket::connect(http, &path).await {
                Ok((reader, writer)) => {
                    connections.push(Connection::open(reader, writer, clip.clone()));
                }
                Err(error) if program.ended()? || tokio::time::Instant::now() > until => {
                    let said = program.last_words();
                    return Err(format!("rustpbx does not start: {error}\n{said}").into());
                }
                // It opens its ports when its tables are made.
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
        Ok(Peer { connections, program, carrier: carrier.udp_address(), next_call: 0 })
    }

    /// `calls` requests, so many per second, and what became of them.
    async fn offer(
        &mut self,
        ended: &mut broadcast::Receiver<Arc<CallReport>>,
        calls_per_second: u32,
        calls: u32,
    ) -> Result<Rate, ServeError> {
        let watch = Watch::start(self.program.pid())?;
        let mut sent = BTreeMap::new();
        let began = tokio::time::Instant::now();
        let mut reports = BTreeMap::new();
        for call in 0..calls {
            let due = Duration::from_secs_f64(f64::from(call) / f64::from(calls_per_second));
            tokio::time::sleep_until(began + due).await;
            let name = self.next_name();
            sent.insert(name.clone(), Moment::now());
            let turn = call as usize % self.connections.len();
            self.connections[turn].commands.send(self.originate(&name)).await?;
            collect(ended, &mut reports);
        }
        let until = tokio::time::Instant::now() + PATIENCE;
        while reports.len() < sent.len() && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
            collect(ended, &mut reports);
        }
        let good =
            sent.keys().filter(|name| reports.get(*name).is_some_and(|call| is_played(call)));
        let waits = sent.iter().filter_map(|(name, at)| {
            Some(reports.get(name)?.invite_at.since(*at).as_secs_f64() * 1000.0)
        });
        let (good, waits) = (good.count() as u32, Quantiles::of(waits.collect()));
        Ok(watch.end(calls_per_second, (calls, good), waits)?)
    }

    fn next_name(&mut self) -> String {
        self.next_call += 1;
        format!("bench-{}", self.next_call)
    }

    /// Straight to the carrier; the name becomes the INVITE's Call-ID.
    fn originate(&self, call: &str) -> String {
        let destination = format!("sip:{CALLED}@{}", self.carrier);
        command("call.originate", call, json!({ "destination": destination, "timeout_secs": 30 }))
    }
}

/// A connection to its control interface. What follows an event of a call is asked for by itself.
struct Connection {
    commands: mpsc::Sender<String>,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    fn open(mut reader: Reader, writer: Writer, clip: String) -> Connection {
        let (commands, waiting) = mpsc::channel(QUEUE);
        let answering = commands.clone();
        let (pongs, pings) = mpsc::channel(8);
        let writing = write(writer, waiting, pings);
        let reading = async move {
            loop {
                let answer = match reader.next().await {
                    Ok(Message::Text(text)) => reaction(&text, &clip),
                    Ok(Message::Ping(payload)) => {
                        // Where pongs wait already, one of them will do.
                        let _ = pongs.try_send(payload);
                        None
                    }
                    Ok(Message::Closed) => break tracing::warn!("rustpbx hung up its control"),
                    Err(error) => break tracing::warn!(%error, "rustpbx's control is gone"),
                };
                if let Some(answer) = answer
                    && answering.try_send(answer).is_err()
                {
                    tracing::warn!("rustpbx does not read its commands");
                }
            }
        };
        let task = tokio::spawn(async move {
            tokio::join!(reading, writing);
        });
        Connection { commands, task }
    }
}

/// What has ended so far, by Call-ID.
fn collect(
    ended: &mut broadcast::Receiver<Arc<CallReport>>,
    reports: &mut BTreeMap<String, Arc<CallReport>>,
) {
    loop {
        match ended.try_recv() {
            Ok(report) => {
                reports.insert(report.call_id.clone(), report);
            }
            Err(broadcast::error::TryRecvError::Lagged(lost)) => {
                tracing::warn!(lost, "reports of the carrier are lost");
            }
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => {
                break;
            }
        }
    }
}

async fn write(
    mut writer: Writer,
    mut commands: mpsc::Receiver<String>,
    mut pings: mpsc::Receiver<Vec<u8>>,
) {
    loop {
        let written = tokio::select! {
            command = commands.recv() => match command {
                Some(command) => writer.text(&command).await,
                None => break,
            },
            Some(ping) = pings.recv() => writer.pong(&ping).await,
        };
        if let Err(error) = written {
            break tracing::warn!(%error, "rustpbx takes no commands");
        }
    }
}

/// The command that follows an event: an answered call plays, a played one is hung up.
fn reaction(event: &str, clip: &str) -> Option<String> {
    let event: Value = serde_json::from_str(event).ok()?;
    let kind = event["event_type"].as_str().or(event["type"].as_str())?;
    if kind == "command_failed" {
        // It need not name a call.
        tracing::warn!(%event, "rustpbx refused a command");
    }
    let call = event["call_id"].as_str()?;
    match kind {
        "call_answered" => {
            let source = json!({ "source_type": "file", "uri": clip });
            Some(command("media.play", call, json!({ "source": source })))
        }
        "media_play_finished" => Some(command("call.hangup", call, json!({}))),
        _ => None,
    }
}

/// One action is asked of a call once, so both together name the command.
fn command(action: &str, call: &str, mut params: Value) -> String {
    params["call_id"] = call.into();
    let id = format!("{action} {call}");
    json!({ "rwi": "1.0", "action": action, "action_id": id, "params": params }).to_string()
}

fn configuration(http: SocketAddr, sip: SocketAddr, folder: &Path) -> String {
    let (database, port) = (folder.join("rustpbx.sqlite3"), sip.port());
    format!(
        r#"
http_addr = "{http}"
log_level = "warn"
database_url = "sqlite://{}?mode=rwc"
rtp_start_port = 10000
rtp_end_port = 19998
external_ip = "127.0.0.1"
[recording]
enabled = false
[rwi]
max_calls_per_connection = 100000
originate_rate_limit = 100000
tokens = [{{ token = "{TOKEN}", scopes = ["call.control"] }}]
[proxy]
modules = ["call"]
addr = "127.0.0.1"
udp_port = {port}
"#,
        database.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answered_call_plays_a_played_one_is_hung_up_and_other_events_change_nothing() {
        let asked = |event: Value| -> Option<Value> {
            let command = reaction(&event.to_string(), "/tmp/second.wav")?;
            Some(serde_json::from_str(&command).expect("a command is JSON"))
        };
        let plays = asked(json!({ "event_type": "call_answered", "call_id": "bench-7" }));
        let plays = plays.expect("a command");
        assert_eq!(plays["action"], "media.play");
        assert_eq!(plays["params"]["call_id"], "bench-7");
        assert_eq!(plays["params"]["source"]["uri"], "/tmp/second.wav");
        let ends = json!({ "event_type": "media_play_finished", "call_id": "bench-7" });
        let ends = asked(ends).expect("a command");
        assert_eq!(ends["action"], "call.hangup");
        assert_ne!(ends["action_id"], plays["action_id"], "it takes each identity once");
        assert_eq!(asked(json!({ "event_type": "call_ringing", "call_id": "bench-7" })), None);
        assert_eq!(asked(json!({ "type": "command_failed", "call_id": "bench-7" })), None);
        assert_eq!(reaction("no JSON", ""), None);
    }
}
