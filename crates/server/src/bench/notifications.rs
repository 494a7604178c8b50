//! `offhook bench notifications`: an open loop of requests at a steady rate; each call must be
//! answered, played whole, recorded in the history and called back exactly once.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use sim::Moment;

use super::LimitedBy;
use super::far_end::{FarEnd, Memory};
use super::process::{self, Meter};
use super::requests::{Answer, Asked, NOTIFY, Requests};
use super::witnesses::{Quantiles, Witnesses};
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

pub async fn run(arguments: Arguments) -> Result<ExitCode, ServeError> {
    let far_end = FarEnd::start().await?;
    let wanted = far_end.notification(PLAYS).await?.to_json();
    let requests = Requests::new(&far_end, NOTIFY, &wanted).await?;
    requests.offer(20.0, WARM_UP).await;
    far_end.called_back(WARM_UP.into()).await;
    far_end.clear().await;

    let pid = far_end.server.pid();
    let idle = process::resident(pid)?;
    let memory = Memory::watch(pid);
    let meter = Meter::start(pid)?;
    let sent = accepted(requests.offer(arguments.cps.into(), arguments.calls).await);
    let offered = Moment::now().since(meter.began());
    far_end.called_back(sent.len() as u64).await;
    let spent = meter.read()?;
    let highest = memory.highest();
    tokio::time::sleep(SETTLE).await;
    // Before the history is read, which is work again.
    let after = process::resident(pid)?;

    let judged = Witnesses::hear(&far_end).await?.judge(&sent, WHOLE);
    let peak = judged.peak_concurrent.max(1);
    let figures = Figures {
        calls: arguments.calls,
        failed: arguments.calls - judged.good,
        offered_cps: f64::from(arguments.calls) / offered.as_secs_f64(),
        calls_per_second: judged.calls_per_second,
        invite_ms: judged.invite_ms,
        late_packets_ratio: judged.late_packets_ratio,
        cpu_ms_per_call: spent.server_ms_per_call(arguments.calls),
        bytes_per_call: highest.saturating_sub(idle) / u64::from(peak),
        peak_concurrent: judged.peak_concurrent,
        rss_idle_bytes: idle,
        rss_peak_bytes: highest,
        rss_after_bytes: after,
        far_end_cpu: spent.far_end_cpu(),
        limited_by: LimitedBy::judge(spent.server_cpu(), spent.far_end_cpu()),
    };
    if !arguments.json {
        println!("{figures:#?}");
    }
    println!("{}", serde_json::to_string(&figures)?);
    Ok(if figures.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// When each accepted request was sent, by serial number.
pub fn accepted(asked: Vec<Asked>) -> BTreeMap<String, Moment> {
    let mut sent = BTreeMap::new();
    for Asked { sent_at, answer, .. } in asked {
        match answer {
            Answer::Accepted(serial) => {
                sent.insert(serial, sent_at);
            }
            Answer::Refused => tracing::warn!("a request was refused"),
            Answer::Other(what) => tracing::warn!(what, "a request failed"),
        }
    }
    sent
}
