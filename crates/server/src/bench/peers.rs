//! `offhook bench peers`: foreign programs measured beside ours in the same run, on the same core, against the same far end, in
//! turn: peer, ours, peer. Each is driven through its own control interface.

mod ng;
mod program;
mod rates;
mod rtpengine;
mod rustpbx;
mod sipp;
mod web_socket;

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::bridges;
use super::bridges::ladder::{Ladder, Relaying};
use crate::serve::ServeError;
use rates::{Calling, Rates};
use sipp::Ceiling;

#[derive(clap::Args)]
pub struct Arguments {
    /// rtpengine: calls of two phones are relayed by it. Not measured where it is not named.
    #[arg(long)]
    rtpengine: Option<PathBuf>,
    /// rustpbx: calls are originated by it. Not measured where it is not named.
    #[arg(long)]
    rustpbx: Option<PathBuf>,
    /// sipp: calls itself, the ceiling. Not measured where it is not named.
    #[arg(long)]
    sipp: Option<PathBuf>,
    /// Relayed calls of the first step.
    #[arg(long, default_value_t = 100)]
    from: u32,
    /// Relayed calls that each step adds.
    #[arg(long, default_value_t = 100)]
    step: u32,
    /// Not more relayed calls than these.
    #[arg(long, default_value_t = 2_400)]
    to: u32,
    /// Calls per second of the first rate; each next one adds as many. sipp's are ten times as many.
    #[arg(long, default_value_t = 50)]
    cps: u32,
    /// Not more calls per second than these.
    #[arg(long, default_value_t = 1_000)]
    to_cps: u32,
    /// How long each rate is offered.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// One line of JSON on stdout, and nothing else there.
    #[arg(long)]
    json: bool,
}

/// What is not measured is `null`.
#[derive(Debug, Serialize)]
struct Figures {
    relaying: Option<Beside<Relaying>>,
    calling: Option<Beside<Calling>>,
    sipp: Option<Ceiling>,
}

/// Two turns of a peer, with ours between them.
#[derive(Debug, Serialize)]
struct Beside<T> {
    peer: &'static str,
    first: T,
    offhook: T,
    second: T,
    /// Ours over the better one of the peer's.
    ratio: f64,
    /// Our CPU over the peer's, under the highest load that both held; none where there is none.
    cpu_ratio: Option<f64>,
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, ServeError> {
    let ladder = Ladder { from: arguments.from, step: arguments.step, to: arguments.to };
    let rates = Rates {
        from: arguments.cps,
        step: arguments.cps,
        to: arguments.to_cps,
        seconds: arguments.seconds.max(1),
    };
    let relaying = match &arguments.rtpengine {
        Some(program) => {
            let first = rtpengine::measure(program, ladder).await?;
            let offhook = bridges::relaying(ladder).await?;
            let second = rtpengine::measure(program, ladder).await?;
            Some(beside_rtpengine(first, offhook, second))
        }
        None => None,
    };
    let calling = match &arguments.rustpbx {
        Some(program) => {
            let first = rustpbx::measure(program, rates).await?;
            let offhook = rates::offhook(rates).await?;
            let second = rustpbx::measure(program, rates).await?;
            Some(beside_rustpbx(first, offhook, second))
        }
        None => None,
    };
    let sipp = match &arguments.sipp {
        Some(program) => {
            let (cps, to) = (rates.from.saturating_mul(10), rates.to.saturating_mul(10));
            Some(sipp::measure(program, Rates { from: cps, step: cps, to, ..rates }).await?)
        }
        None => None,
    };
    let figures = Figures { relaying, calling, sipp };
    if !arguments.json {
        println!("{figures:#?}");
    }
    println!("{}", serde_json::to_string(&figures)?);
    Ok(ExitCode::SUCCESS)
}

fn beside_rtpengine(first: Relaying, offhook: Relaying, second: Relaying) -> Beside<Relaying> {
    let best = first.relayed_concurrent.max(second.relayed_concurrent);
    let better = if first.relayed_concurrent == best { &first } else { &second };
    Beside {
        peer: "rtpengine",
        ratio: f64::from(offhook.relayed_concurrent) / f64::from(best.max(1)),
        cpu_ratio: offhook.beside(better).map(|(ours, theirs)| ours / theirs),
        first,
        offhook,
        second,
    }
}

fn beside_rustpbx(first: Calling, offhook: Calling, second: Calling) -> Beside<Calling> {
    let best = first.calls_per_second.max(second.calls_per_second);
    let better = if first.calls_per_second == best { &first } else { &second };
    Beside {
        peer: "rustpbx",
        ratio: f64::from(offhook.calls_per_second) / f64::from(best.max(1)),
        cpu_ratio: offhook.beside(better).map(|(ours, theirs)| ours / theirs),
        first,
        offhook,
        second,
    }
}
