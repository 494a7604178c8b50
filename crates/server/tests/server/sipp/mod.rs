//! T-23: far sides that sipp plays, each ending in the right cause in the record. The set follows what
//! carriers really do; sipp judges our half of the dialogue, the record what we made of theirs.

mod bodies;
mod flows;
mod refusals;
mod registering;
mod scenario;

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use sim::client::{Entry, Recording, VoiceNotification};
use sim::{CallbackReceiver, Client};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::support::{self, PATIENCE, Server, Setting, tone};

/// One far side and what the record of its call must say.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    pub flow: String,
    pub outcome: &'static str,
    pub cause: &'static str,
    /// Of the release callback.
    pub reason: &'static str,
    /// Lines in the trunk's table.
    pub trunk: &'static str,
}

/// Far sides at a time.
const AT_A_TIME: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn refusals_end_in_the_right_cause() {
    let case = |ring: &str, (status, outcome, cause, reason)| Case {
        name: format!("{status}{}", if ring.is_empty() { "" } else { " after ringing" }),
        flow: format!("recv INVITE\n{ring}\ninvite {status}\nrecv ACK"),
        outcome,
        cause,
        reason,
        trunk: "",
    };
    let mut cases: Vec<Case> = refusals::AT_ONCE.map(|row| case("", row)).to_vec();
    cases.extend(refusals::AFTER_RINGING.map(|row| case("invite 180", row)));
    run(cases, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_far_sides_end_in_the_right_cause() {
    run(flows::cases(), 4).await;
}

/// Those that only a time-out of SIP ends.
#[tokio::test(flavor = "multi_thread")]
async fn silent_far_sides_end_in_the_right_cause() {
    run(flows::silent(), 50).await;
}

/// Plays all cases against one server, a trunk each.
async fn run(cases: Vec<Case>, ring_limit_s: u32) {
    let receiver = CallbackReceiver::start("127.0.0.1:0".parse().expect("an address"))
        .await
        .expect("a receiver starts");
    let addresses: Vec<Ipv4Addr> = cases.iter().map(|_| address()).collect();
    let server = Server::start(&config(&cases, &addresses, ring_limit_s, &receiver));
    let client = server.client();
    let upload = |seconds| {
        let client = client.clone();
        async move { client.upload_recording(&Recording::wav(tone(440.0, seconds))).await }
    };
    let stage = Stage {
        client: client.clone(),
        receiver,
        short: upload(0.2).await.expect("an upload is taken"),
        long: upload(2.5).await.expect("an upload is taken"),
        directory: TempDir::new().expect("a directory"),
        places: Semaphore::new(AT_A_TIME),
    };
    let stage = Arc::new(stage);
    let mut tasks = JoinSet::new();
    for (index, (case, at)) in cases.into_iter().zip(addresses).enumerate() {
        let stage = stage.clone();
        tasks.spawn(async move { stage.play(index, &case, at).await });
    }
    let faults: Vec<String> = tasks.join_all().await.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{} cases:\n{}", faults.len(), faults.join("\n"));
}

/// A loopback address of its own for each far side: sipp cannot take port 0, and a free port that is
/// found first may be somebody else's by the time sipp opens it.
fn address() -> Ipv4Addr {
    static TAKEN: AtomicU16 = AtomicU16::new(1);
    let [upper, lower] = TAKEN.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | (high & 0x3f), low ^ (upper << 7), lower)
}

fn number(index: usize) -> String {
    format!("5{index:04}")
}

fn config(
    cases: &[Case],
    addresses: &[Ipv4Addr],
    ring_limit_s: u32,
    receiver: &CallbackReceiver,
) -> String {
    let mut trunks = String::new();
    let mut routes = Vec::new();
    for (index, (case, at)) in cases.iter().zip(addresses).enumerate() {
        let in_trunk = case.trunk;
        trunks += &format!("[[trunk]]\nname = \"t{index}\"\naddress = \"{at}:5060\"\n{in_trunk}\n");
        routes.push(format!("{{ prefix = \"{}\", trunk = \"t{index}\" }}", number(index)));
    }
    let setting = Setting {
        routes: Some(routes.join(", ")),
        tenant: format!("ring_limit_s = {ring_limit_s}\nmax_duration_s = 8"),
        more: trunks,
        ..Setting::default()
    };
    // The trunk that every test has leads nowhere here.
    support::config(&setting, receiver.address(), receiver.address())
}

/// What the cases share.
struct Stage {
    client: Client,
    receiver: CallbackReceiver,
    short: String,
    long: String,
    directory: TempDir,
    places: Semaphore,
}

impl Stage {
    /// What is wrong, in a line.
    async fn play(&self, index: usize, case: &Case, at: Ipv4Addr) -> Option<String> {
        let _place = self.places.acquire().await.expect("it is never closed");
        let sipp = self.sipp(index, case, at);
        // Where the far side does something of its own, the call lasts long enough for it.
        let acts = case.flow.contains("send ") || case.flow.contains("wait ");
        let voice = if acts { &self.long } else { &self.short };
        let mut wanted = VoiceNotification::new(number(index), vec![Entry::recording(voice)]);
        wanted.call_back_url = Some(self.receiver.url());
        let serial = match self.client.notify(&wanted).await {
            Ok(serial) => serial,
            Err(error) => return Some(format!("{}: not accepted: {error}", case.name)),
        };
        let of_call = |callback: &sim::Callback| {
            callback.field("callSerialNo").as_deref() == Some(serial.as_str())
        };
        let told = tokio::time::timeout(PATIENCE * 2, self.receiver.callbacks().received(of_call));
        let reason = told.await.ok().and_then(|callback| callback.field("releaseReason"));
        let record = self.client.v1(reqwest::Method::GET, &format!("/v1/calls/{serial}")).await;
        let record: serde_json::Value =
            record.ok().and_then(|text| text.parse().ok()).unwrap_or_default();
        let judged = tokio::time::timeout(PATIENCE, sipp).await;
        let judged = judged.map_err(|_| "sipp waits for ever".to_owned()).and_then(|said| said);
        let got = (
            record["end"]["outcome"].as_str().unwrap_or("none"),
            record["end"]["cause"].as_str().unwrap_or("none"),
            reason.as_deref().unwrap_or("none"),
        );
        let wanted = (case.outcome, case.cause, case.reason);
        let wrong = (got != wanted).then(|| format!("is {got:?}, wanted {wanted:?}"));
        let faults: Vec<String> = wrong.into_iter().chain(judged.err()).collect();
        (!faults.is_empty()).then(|| format!("{}: {}", case.name, faults.join("; ")))
    }

    /// The far side; it ends with its one call.
    fn sipp(
        &self,
        index: usize,
        case: &Case,
        at: Ipv4Addr,
    ) -> impl Future<Output = Result<(), String>> + use<> {
        let file = self.directory.path().join(format!("{index}.xml"));
        std::fs::write(&file, scenario::xml(&case.name, &case.flow)).expect("a file");
        let child = plays(&file, at, 100).spawn();
        let child = child.expect("sipp is installed (Debian's sip-tester)");
        async move {
            let output = child.wait_with_output().await.map_err(|error| error.to_string())?;
            if output.status.success() {
                return Ok(());
            }
            let said = String::from_utf8_lossy(&output.stderr);
            let why = said.lines().filter(|line| !line.trim().is_empty()).take(12);
            Err(format!("sipp judges: {}", why.collect::<Vec<_>>().join(" / ")))
        }
    }
}

/// sipp with a scenario of one call, which may take so long.
fn plays(scenario: &Path, at: Ipv4Addr, limit_s: u32) -> Command {
    let mut command = Command::new("sipp");
    command
        .args(["-i", &at.to_string(), "-mi", &at.to_string(), "-p", "5060", "-m", "1"])
        .args(["-nostdin", "-timeout", &limit_s.to_string(), "-timeout_error", "-sf"])
        .arg(scenario)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}
