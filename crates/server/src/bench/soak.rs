//! `offhook bench soak`: half of what the server can do, for as long as one likes; afterwards nothing
//! of it may be left.

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use sim::Moment;

use super::far_end::FarEnd;
use super::notifications::accepted;
use super::overload::{self, PLAYS, WHOLE};
use super::process::{self, Holdings};
use super::requests::{NOTIFY, Requests};
use super::witnesses::Witnesses;
use crate::serve::ServeError;

/// The load is offered and judged in slices, so that the far end need not remember all of it.
const SLICE: Duration = Duration::from_secs(60);

/// Load before the baseline is taken, so that nothing counts as growth that happens once.
const WARM_UP: Duration = Duration::from_secs(20);

/// The server is at rest when nothing has changed for so long: ports rest for 30 s after a call, and
/// SIP remembers a transaction for 32 s.
const STEADY: Duration = Duration::from_secs(40);

/// It must have come to rest after this.
const AT_REST: Duration = Duration::from_secs(240);

#[derive(clap::Args)]
pub struct Arguments {
    /// How long the load lasts.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Calls per second; without it half of the capacity, which is found out first.
    #[arg(long)]
    cps: Option<f64>,
    /// One line of JSON on stdout, and nothing else there.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Figures {
    minutes: f64,
    /// Good ones, as the far end saw them.
    calls: u64,
    leaked: Leaked,
    rss_growth_bytes: i64,
    /// Accepted, and not dialled, played whole and called back exactly once; or not accepted.
    failed: u64,
    cps: f64,
    rss_baseline_bytes: u64,
}

/// More than at the baseline, once all is at rest.
#[derive(Debug, Serialize)]
struct Leaked {
    fds: i64,
    /// Bound UDP sockets.
    ports: i64,
    tasks: i64,
}

/// What the server holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    process: Holdings,
    tasks: u64,
    calls: u64,
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, ServeError> {
    let far_end = FarEnd::start().await?;
    let requests =
        Requests::new(&far_end, NOTIFY, &far_end.notification(PLAYS).await?.to_json()).await?;
    let cps = match arguments.cps {
        Some(cps) => cps,
        None => overload::capacity(&far_end, &requests, 100.0, Duration::from_secs(5)).await? / 2.0,
    };
    slice(&far_end, cps, WARM_UP).await?;
    let before = at_rest(&far_end, |_| true).await?;
    let baseline = process::resident(far_end.server.pid())?;

    let ends = tokio::time::Instant::now() + Duration::from_secs_f64(arguments.minutes * 60.0);
    let (mut calls, mut failed) = (0, 0);
    while let Some(left) = ends.checked_duration_since(tokio::time::Instant::now()) {
        let (good, asked) = slice(&far_end, cps, SLICE.min(left)).await?;
        calls += good;
        failed += asked - good;
    }
    let after = at_rest(&far_end, |held| held.fits_in(&before)).await?;
    let growth = |after: u64, before: u64| after as i64 - before as i64;
    let figures = Figures {
        minutes: arguments.minutes,
        calls,
        leaked: Leaked {
            fds: growth(after.process.descriptors, before.process.descriptors),
            ports: growth(after.process.udp_sockets, before.process.udp_sockets),
            tasks: growth(after.tasks, before.tasks),
        },
        rss_growth_bytes: growth(process::resident(far_end.server.pid())?, baseline),
        failed,
        cps,
        rss_baseline_bytes: baseline,
    };
    if !arguments.json {
        println!("{figures:#?}");
    }
    println!("{}", serde_json::to_string(&figures)?);
    let Leaked { fds, ports, tasks } = figures.leaked;
    let clean = failed == 0 && calls > 0 && fds <= 0 && ports <= 0 && tasks <= 0;
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Load for a while: good calls, and requests. The token is a new one each time: none lives for hours.
async fn slice(far_end: &FarEnd, cps: f64, lasts: Duration) -> Result<(u64, u64), ServeError> {
    far_end.clear().await;
    let wanted = far_end.notification(PLAYS).await?.to_json();
    let requests = Requests::new(far_end, NOTIFY, &wanted).await?;
    let asked = (cps * lasts.as_secs_f64()).ceil() as u32;
    let sent = accepted(requests.offer(cps, asked).await);
    far_end.called_back(sent.len() as u64).await;
    let judged = Witnesses::hear_without_history(far_end).await.judge(&sent, WHOLE);
    Ok((judged.good.into(), asked.into()))
}

/// What the server holds once nothing of it has changed for a while and `enough` of it is given back;
/// or in the end, whatever it is.
async fn at_rest(far_end: &FarEnd, enough: impl Fn(&Held) -> bool) -> Result<Held, ServeError> {
    let began = Moment::now();
    let (mut held, mut since) = (Held::now(far_end).await?, began);
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = Held::now(far_end).await?;
        if now != held {
            (held, since) = (now, Moment::now());
        }
        let steady = Moment::now().since(since) >= STEADY && held.calls == 0;
        if (steady && enough(&held)) || Moment::now().since(began) >= AT_REST {
            return Ok(held);
        }
    }
}

impl Held {
    async fn now(far_end: &FarEnd) -> Result<Held, ServeError> {
        let metrics = far_end.metrics().await?;
        let metric = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            let value = line.and_then(|value| value.trim().parse::<u64>().ok());
            value.ok_or_else(|| format!("the server's metrics have no {name}"))
        };
        Ok(Held {
            process: process::holdings(far_end.server.pid())?,
            tasks: metric("offhook_tasks")?,
            calls: metric("offhook_calls")?,
        })
    }

    fn fits_in(&self, before: &Held) -> bool {
        self.process.descriptors <= before.process.descriptors
            && self.process.udp_sockets <= before.process.udp_sockets
            && self.tasks <= before.tasks
    }
}
