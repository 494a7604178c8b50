//! `offhook bench notifications`: an open loop of requests at a steady rate; each call must be
//! answered, played whole, recorded in the history and called back exactly once.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use sim::{CallReport, Moment, process_cpu_time};
use tokio::task::JoinSet;

use super::far_end::{FarEnd, Memory};
use super::{LimitedBy, process};
use crate::serve::ServeError;

/// What a call plays.
const PLAYS: Duration = Duration::from_secs(1);

/// Packets of 20 ms that such a call has at the least.
const WHOLE: u64 = 50;

/// Calls before the measurement, so that nothing is measured that happens once.
const WARM_UP: u32 = 20;

/// What load leaves behind is looked at so much later: SIP remembers a transaction for 64·T1 (32 s),
/// ports rest for 30 s, and what they held is given back within 10 s after.
const SETTLE: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub struct Arguments {
    /// Calls in all.
    #[arg(long, default_value_t = 1_000)]
    calls: u32,
    /// Requests per second.
    #[arg(long, default_value_t = 100)]
    cps: u32,
    /// One line of JSON on stdout, and nothing else there.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Figures {
    calls: u32,
    /// Not answered, not played whole, not in the history or not called back exactly once.
    failed: u32,
    offered_cps: f64,
    /// INVITEs per second at the far end.
    calls_per_second: f64,
    /// From the request's first byte to the arrival of its INVITE.
    invite_ms: Quantiles,
    /// Packets that came more than 5 ms off their tick.
    late_packets_ratio: f64,
    cpu_ms_per_call: f64,
    /// (Highest − idle resident memory) ÷ calls at the same time.
    bytes_per_call: u64,
    peak_concurrent: u32,
    /// Before the load, at its height, and a minute after it.
    rss_idle_bytes: u64,
    rss_peak_bytes: u64,
    rss_after_bytes: u64,
    /// Share of its core that the far end used.
    far_end_cpu: f64,
    limited_by: LimitedBy,
}

#[derive(Debug, Serialize)]
struct Quantiles {
    p50: f64,
    p99: f64,
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, ServeError> {
    let far_end = FarEnd::start().await?;
    let wanted = far_end.notification(PLAYS).await?.to_json();
    offer(&far_end, &wanted, WARM_UP, 20).await;
    far_end.called_back(WARM_UP.into()).await;
    far_end.clear().await;

    let pid = far_end.server.pid();
    let idle = process::resident(pid)?;
    let memory = Memory::watch(pid);
    let (server_before, far_before, began) =
        (process::cpu_time(pid)?, process_cpu_time(), Moment::now());
    let sent = offer(&far_end, &wanted, arguments.calls, arguments.cps).await;
    let offered = Moment::now().since(began);
    far_end.called_back(sent.len() as u64).await;
    let took = Moment::now().since(began).as_secs_f64();
    let server_cpu = process::cpu_time(pid)? - server_before;
    let far_end_cpu = (process_cpu_time() - far_before).as_secs_f64() / took;
    let highest = memory.highest();
    tokio::time::sleep(SETTLE).await;
    // Before the history is read, which is work again.
    let after = process::resident(pid)?;

    let judged = Judged::of(&far_end, sent, arguments.calls).await?;
    let server_share = server_cpu.as_secs_f64() / took;
    let peak = judged.peak_concurrent.max(1);
    let figures = Figures {
        calls: arguments.calls,
        failed: judged.failed,
        offered_cps: f64::from(arguments.calls) / offered.as_secs_f64(),
        calls_per_second: judged.calls_per_second,
        invite_ms: judged.invite_ms,
        late_packets_ratio: judged.late_packets_ratio,
        cpu_ms_per_call: server_cpu.as_secs_f64() * 1000.0 / f64::from(arguments.calls),
        bytes_per_call: highest.saturating_sub(idle) / u64::from(peak),
        peak_concurrent: judged.peak_concurrent,
        rss_idle_bytes: idle,
        rss_peak_bytes: highest,
        rss_after_bytes: after,
        far_end_cpu,
        limited_by: LimitedBy::judge(server_share, far_end_cpu),
    };
    if !arguments.json {
        println!("{figures:#?}");
    }
    println!("{}", serde_json::to_string(&figures)?);
    Ok(if figures.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sends requests at a steady rate, whatever becomes of them; when each accepted one was sent.
async fn offer(far_end: &FarEnd, body: &str, calls: u32, cps: u32) -> BTreeMap<String, Moment> {
    let began = tokio::time::Instant::now();
    let mut requests = JoinSet::new();
    for call in 0..calls {
        tokio::time::sleep_until(began + Duration::from_secs(1) * call / cps.max(1)).await;
        let (client, body) = (far_end.client.clone(), body.to_owned());
        requests.spawn(async move {
            let reply = client.create_voice_notification(body, None).await?;
            Ok::<_, sim::ClientError>((reply.call_serial_no()?, reply.sent_at))
        });
    }
    let mut sent = BTreeMap::new();
    for outcome in requests.join_all().await {
        match outcome {
            Ok((serial, at)) => {
                sent.insert(serial, at);
            }
            Err(error) => tracing::warn!(%error, "a request failed"),
        }
    }
    sent
}

/// What the witnesses say of all calls together.
struct Judged {
    failed: u32,
    calls_per_second: f64,
    invite_ms: Quantiles,
    late_packets_ratio: f64,
    peak_concurrent: u32,
}

impl Judged {
    async fn of(
        far_end: &FarEnd,
        sent: BTreeMap<String, Moment>,
        calls: u32,
    ) -> Result<Judged, ServeError> {
        let reports = far_end.reports().await;
        let history = far_end.history().await?;
        let mut called_back: BTreeMap<String, u32> = BTreeMap::new();
        for callback in far_end.receiver.callbacks().all() {
            *called_back.entry(callback.field("callSerialNo").unwrap_or_default()).or_default() +=
                1;
        }
        let good = sent.keys().filter(|serial| {
            let seen = reports.get(*serial).is_some_and(|report| played_whole(report));
            let recorded = history.get(*serial).is_some_and(|outcome| outcome == "played");
            seen && recorded && called_back.get(*serial) == Some(&1)
        });
        let failed = calls - good.count() as u32;
        let mut waits: Vec<f64> = sent
            .iter()
            .filter_map(|(serial, at)| Some(reports.get(serial)?.invite_at.since(*at)))
            .map(|wait| wait.as_secs_f64() * 1000.0)
            .collect();
        waits.sort_by(f64::total_cmp);
        let packets: u64 = reports.values().map(|report| report.rtp.packets).sum();
        let late: u64 = reports.values().map(|report| report.rtp.late_packets).sum();
        Ok(Judged {
            failed,
            calls_per_second: rate(&reports),
            invite_ms: Quantiles { p50: quantile(&waits, 0.5), p99: quantile(&waits, 0.99) },
            late_packets_ratio: late as f64 / packets.max(1) as f64,
            peak_concurrent: peak(&reports),
        })
    }
}

fn played_whole(report: &CallReport) -> bool {
    report.invites == 1 && report.answered_at.is_some() && report.rtp.packets >= WHOLE
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

/// INVITEs per second between the first and the last.
fn rate(reports: &BTreeMap<String, Arc<CallReport>>) -> f64 {
    let times = reports.values().map(|report| report.invite_at);
    match (times.clone().min(), times.max()) {
        (Some(first), Some(last)) if last > first => {
            (reports.len() - 1) as f64 / last.since(first).as_secs_f64()
        }
        _ => 0.0,
    }
}

/// The most calls between INVITE and end at the same time.
fn peak(reports: &BTreeMap<String, Arc<CallReport>>) -> u32 {
    let mut changes: Vec<(Moment, i32)> = reports
        .values()
        .flat_map(|report| [(report.invite_at, 1), (report.ended_at, -1)])
        .collect();
    changes.sort();
    let mut now = 0;
    let counts = changes.into_iter().map(|(_, change)| {
        now += change;
        now
    });
    counts.max().unwrap_or(0).max(0) as u32
}
