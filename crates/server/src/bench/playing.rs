//! `offhook bench playing`: more and more calls at the same time, until packets are late or the core
//! is busy.

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use super::far_end::FarEnd;
use super::ladder::{Ladder, Rung, highest, limited_by};
use super::process::Meter;
use super::{BUSY, LimitedBy};
use crate::serve::ServeError;

/// How long each call plays: the steps overlap in it.
const PLAYS: Duration = Duration::from_secs(20);

/// Set-up is spread, so that it does not count as playing.
const SET_UP: Duration = Duration::from_secs(8);

/// The share of packets that may be more than 5 ms off their tick.
const LATE: f64 = 0.01;

#[derive(clap::Args)]
pub struct Arguments {
    /// Calls of the first step.
    #[arg(long, default_value_t = 400)]
    from: u32,
    /// Calls that each step adds.
    #[arg(long, default_value_t = 400)]
    step: u32,
    /// Not more than these.
    #[arg(long, default_value_t = 6_000)]
    to: u32,
    /// One line of JSON on stdout, and nothing else there.
    #[arg(long)]
    json: bool,
}

/// One step of the ladder.
#[derive(Debug, Serialize)]
struct Step {
    calls: u32,
    failed: u32,
    late_packets_ratio: f64,
    /// Share of its core, while all of them play.
    server_cpu: f64,
    far_end_cpu: f64,
}

#[derive(Debug, Serialize)]
struct Figures {
    /// The highest step without a failed call or late packets.
    playing: u32,
    limited_by: LimitedBy,
    steps: Vec<Step>,
}

impl Rung for Step {
    fn load(&self) -> u32 {
        self.calls
    }

    fn holds(&self) -> bool {
        self.failed == 0 && self.late_packets_ratio < LATE && self.server_cpu < BUSY
    }
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, ServeError> {
    let far_end = FarEnd::start().await?;
    let wanted = far_end.notification(PLAYS).await?.to_json();
    let ladder = Ladder { from: arguments.from, step: arguments.step, to: arguments.to };
    let steps = ladder.climb(async |calls| measure(&far_end, &wanted, calls).await).await?;
    let playing = highest(&steps).map_or(0, |step| step.calls);
    let limited_by = limited_by(&steps, |step| (step.server_cpu, step.far_end_cpu));
    let figures = Figures { playing, limited_by, steps };
    if !arguments.json {
        println!("{figures:#?}");
    }
    println!("{}", serde_json::to_string(&figures)?);
    Ok(ExitCode::SUCCESS)
}

async fn measure(far_end: &FarEnd, body: &str, calls: u32) -> Result<Step, ServeError> {
    far_end.clear().await;
    let began = tokio::time::Instant::now();
    let mut requests = JoinSet::new();
    for call in 0..calls {
        tokio::time::sleep_until(began + SET_UP * call / calls).await;
        let (client, body) = (far_end.client.clone(), body.to_owned());
        requests.spawn(async move { client.create_voice_notification(body, None).await });
    }
    // All are up now, and stay so until the first one has been played.
    let meter = Meter::start(far_end.server.pid())?;
    tokio::time::sleep_until(began + PLAYS - Duration::from_secs(2)).await;
    let spent = meter.read()?;
    requests.join_all().await;
    far_end.called_back(calls.into()).await;

    let reports = far_end.reports().await;
    let whole = PLAYS.as_millis() as u64 / 20;
    let good = reports.values().filter(|report| report.rtp.packets >= whole).count() as u32;
    let packets: u64 = reports.values().map(|report| report.rtp.packets).sum();
    let late: u64 = reports.values().map(|report| report.rtp.late_packets).sum();
    Ok(Step {
        calls,
        failed: calls.saturating_sub(good),
        late_packets_ratio: late as f64 / packets.max(1) as f64,
        server_cpu: spent.server_cpu(),
        far_end_cpu: spent.far_end_cpu(),
    })
}
