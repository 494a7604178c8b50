//! `offhook bench bridges`: calls of two parties. How many a second, how many at the same time, with
//! the same codec on both sides and with two, and what the bridge adds to a packet's way.

pub mod delay;
pub mod steps;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use sim::CallReport;
use tokio::task::JoinSet;

use super::far_end::{FarEnd, Memory, SOFTPHONE, TRANSCODED};
use super::ladder::Ladder;
use super::notifications::accepted;
use super::requests::{CREATE_CALL, Requests};
use super::witnesses::Quantiles;
use super::{LimitedBy, process};
use crate::serve::ServeError;

use steps::{Cost, Relaying, SET_UP, Step, concurrent, least_packets};

/// A phone that answers at once and listens.
const CALLER: &str = "1001";
/// One that answers and hangs up after a second.
const CALLED: &str = "100301";
/// Two that answer and play a tone for as long as the call is up.
const CALLERS_TONE: &str = "10210440";
const CALLED_TONE: &str = "10210880";

/// A second of audio from the called side, less what passes while the two legs are joined.
const HEARD: u64 = 40;

#[derive(clap::Args)]
pub struct Arguments {
    /// Calls of a second's talk.
    #[arg(long, default_value_t = 500)]
    calls: u32,
    /// Requests per second.
    #[arg(long, default_value_t = 50)]
    cps: u32,
    /// Calls at the same time, in the first step.
    #[arg(long, default_value_t = 100)]
    from: u32,
    /// Calls that each step adds.
    #[arg(long, default_value_t = 100)]
    step: u32,
    /// Not more than these.
    #[arg(long, default_value_t = 1_000)]
    to: u32,
    /// One line of JSON on stdout, and nothing else there.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Figures {
    /// Calls per second at the far end, each of two legs.
    bridges_per_second: f64,
    /// Of them: not both legs answered, nothing heard on one side, or not in the history.
    failed: u32,
    cpu_ms_per_call: f64,
    /// Calls at the same time with 99 of 100 packets there and in time, both sides PCMA.
    relayed_concurrent: u32,
    /// The same, one side PCMA and the other Opus.
    transcoded_concurrent: u32,
    /// What the bridge adds to a packet's way, at half of the first step's load.
    added_delay_ms: Quantiles,
    /// (Highest − idle resident memory) ÷ calls at the same time, of the relayed ones.
    bytes_per_call: u64,
    limited_by: LimitedBy,
    steps: Vec<Step>,
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, ServeError> {
    let far_end = FarEnd::start().await?;
    let short = short_calls(&far_end, &arguments).await?;
    let added_delay_ms = delay::added(&far_end, (arguments.from / 2).max(1)).await?;
    let ladder = Ladder { from: arguments.from, step: arguments.step, to: arguments.to };
    let mut steps = ladder.climb(async |calls| measure(&far_end, calls, false).await).await?;
    let (relayed_concurrent, limited_by) = concurrent(&steps);
    let bytes_per_call = steps.iter().map(|step| step.bytes_per_call).max().unwrap_or(0);
    let transcoded = ladder.climb(async |calls| measure(&far_end, calls, true).await).await?;
    let (transcoded_concurrent, _) = concurrent(&transcoded);
    steps.extend(transcoded);
    let figures = Figures {
        bridges_per_second: short.per_second,
        failed: short.failed,
        cpu_ms_per_call: short.cpu_ms_per_call,
        relayed_concurrent,
        transcoded_concurrent,
        added_delay_ms,
        bytes_per_call,
        limited_by,
        steps,
    };
    if !arguments.json {
        println!("{figures:#?}");
    }
    println!("{}", serde_json::to_string(&figures)?);
    Ok(if figures.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is relayed alone, for a comparison with others that relay.
pub async fn relaying(ladder: Ladder) -> Result<Relaying, ServeError> {
    let far_end = FarEnd::start().await?;
    let added_delay_ms = delay::added(&far_end, (ladder.from / 2).max(1)).await?;
    let steps = ladder.climb(async |calls| measure(&far_end, calls, false).await).await?;
    Ok(Relaying::of(steps, added_delay_ms))
}

/// createCall v3 of two outside numbers.
fn body(caller: &str, called: &str) -> String {
    json!({ "caller": caller, "softPhone": SOFTPHONE, "called": called }).to_string()
}

struct Short {
    per_second: f64,
    failed: u32,
    cpu_ms_per_call: f64,
}

async fn short_calls(far_end: &FarEnd, arguments: &Arguments) -> Result<Short, ServeError> {
    let requests = Requests::new(far_end, CREATE_CALL, &body(CALLER, CALLED)).await?;
    // Nothing is measured that happens once.
    let warm_up = accepted(requests.offer(20.0, 20).await).len() as u32;
    far_end.legs_ended(2 * warm_up).await;
    far_end.clear().await;
    let cpu = process::cpu_time(far_end.server.pid())?;
    let sent = accepted(requests.offer(arguments.cps.into(), arguments.calls).await);
    far_end.legs_ended(2 * sent.len() as u32).await;
    let cpu = process::cpu_time(far_end.server.pid())? - cpu;
    let legs = by_call(far_end.legs().await);
    let history = far_end.history().await?;
    let is_good = |serial: &String| {
        let heard = legs.get(serial).is_some_and(|legs| is_whole(legs, HEARD));
        heard && history.get(serial).is_some_and(|outcome| outcome == "called_hung_up")
    };
    let good = sent.keys().filter(|serial| is_good(serial)).count() as u32;
    let began = legs.values().flatten().map(|leg| leg.invite_at);
    let (first, last) = (began.clone().min(), began.max());
    let took = first.zip(last).map_or(0.0, |(first, last)| last.since(first).as_secs_f64());
    Ok(Short {
        per_second: f64::from(good) / took.max(0.001),
        failed: arguments.calls - good,
        cpu_ms_per_call: cpu.as_secs_f64() * 1000.0 / f64::from(arguments.calls),
    })
}

/// Both legs were answered. The phone of the caller, who is called first, heard so many packets.
fn is_whole(legs: &[Arc<CallReport>], packets: u64) -> bool {
    let answered = legs.len() == 2 && legs.iter().all(|leg| leg.answered_at.is_some());
    answered && legs.iter().all(|leg| leg.rtp.packets >= packets)
}

/// By serial number, with which each Call-ID begins.
fn by_call(legs: Vec<Arc<CallReport>>) -> BTreeMap<String, Vec<Arc<CallReport>>> {
    let mut calls: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for leg in legs {
        let serial = leg.call_id.split('-').next().unwrap_or_default().to_owned();
        calls.entry(serial).or_default().push(leg);
    }
    calls
}

async fn measure(far_end: &FarEnd, calls: u32, transcoded: bool) -> Result<Step, ServeError> {
    far_end.clear().await;
    let called = if transcoded { format!("{TRANSCODED}{CALLED_TONE}") } else { CALLED_TONE.into() };
    let requests = Requests::new(far_end, CREATE_CALL, &body(CALLERS_TONE, &called)).await?;
    let pid = far_end.server.pid();
    let (idle, memory) = (process::resident(pid)?, Memory::watch(pid));
    let rate = f64::from(calls) / SET_UP.as_secs_f64();
    let sent = accepted(requests.offer(rate, calls).await);
    let cost = Cost::measure(pid, idle, memory).await?;
    hang_up(far_end, sent.keys().cloned().collect()).await;
    far_end.legs_ended(2 * sent.len() as u32).await;
    let calls_seen = by_call(far_end.legs().await);
    let good = calls_seen.values().filter(|legs| is_whole(legs, least_packets())).count() as u32;
    let streams = calls_seen.values().flatten().map(|leg| &leg.rtp);
    Ok(Step::judge(transcoded, calls, good, streams, &cost))
}

/// Whatever is still up; who has hung up by itself is gone already.
async fn hang_up(far_end: &FarEnd, serials: Vec<String>) {
    let mut requests = JoinSet::new();
    for serial in serials {
        let client = far_end.client.clone();
        requests.spawn(async move { client.cancel(&serial).await });
        if requests.len() >= 16 {
            requests.join_next().await;
        }
    }
    requests.join_all().await;
}
