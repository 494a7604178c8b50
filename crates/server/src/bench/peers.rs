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
use super::bridges::steps::Relaying;
use super::ladder::Ladder;
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

/// What was not asked for is `null`; what could not be measured says why.
#[derive(Debug, Default, Serialize)]
struct Figures {
    rtpengine: Option<Outcome<Beside<Relaying>>>,
    rustpbx: Option<Outcome<Beside<Calling>>>,
    sipp: Option<Outcome<Ceiling>>,
    offhook: Ours,
}

/// What peers are compared with.
#[derive(Debug, Default, Serialize)]
struct Ours {
    relaying: Option<Relaying>,
    calling: Option<Calling>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome<T> {
    Measured(T),
    Not(String),
}

/// Two turns of a peer, between which ours was.
#[derive(Debug, Serialize)]
struct Beside<T> {
    /// Our highest load over the higher one of the peer's; none where the peer held nothing.
    ratio: Option<f64>,
    /// Our CPU over the peer's, under the highest load that both held; none where there is none.
    cpu_ratio: Option<f64>,
    first: T,
    second: T,
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, ServeError> {
    let ladder = Ladder { from: arguments.from, step: arguments.step, to: arguments.to };
    let calling = Ladder { from: arguments.cps, step: arguments.cps, to: arguments.to_cps };
    let rates = Rates { ladder: calling, seconds: arguments.seconds.max(1) };
    let mut figures = Figures::default();
    if let Some(program) = &arguments.rtpengine {
        let first = rtpengine::measure(program, ladder).await;
        let ours = bridges::relaying(ladder).await?;
        let second = rtpengine::measure(program, ladder).await;
        figures.rtpengine = Some(Outcome::of_turns(first, &ours, second));
        figures.offhook.relaying = Some(ours);
    }
    if arguments.rustpbx.is_some() || arguments.sipp.is_some() {
        let turn = async || match &arguments.rustpbx {
            Some(program) => Some(rustpbx::measure(program, rates).await),
            None => None,
        };
        let first = turn().await;
        let ours = rates::offhook(rates).await?;
        let turns = first.zip(turn().await);
        figures.rustpbx = turns.map(|(first, second)| Outcome::of_turns(first, &ours, second));
        if let Some(program) = &arguments.sipp {
            let (cps, to) = (calling.from.saturating_mul(10), calling.to.saturating_mul(10));
            let ladder = Ladder { from: cps, step: cps, to };
            let sipp = sipp::measure(program, Rates { ladder, ..rates }).await;
            figures.sipp = Some(Outcome::of(sipp));
        }
        figures.offhook.calling = Some(ours);
    }
    if !arguments.json {
        println!("{figures:#?}");
    }
    println!("{}", serde_json::to_string(&figures)?);
    Ok(ExitCode::SUCCESS)
}

impl<T> Outcome<T> {
    fn of(measured: Result<T, ServeError>) -> Outcome<T> {
        measured
            .map_or_else(|error| Outcome::Not(format!("not measured: {error}")), Outcome::Measured)
    }
}

impl<T: Compared> Outcome<Beside<T>> {
    fn of_turns(first: Result<T, ServeError>, ours: &T, second: Result<T, ServeError>) -> Self {
        let beside = |first: T, second: T| {
            let better = if first.highest() >= second.highest() { &first } else { &second };
            let cpu = ours.cpu_beside(better);
            let theirs = f64::from(better.highest());
            Beside {
                ratio: (theirs > 0.0).then(|| f64::from(ours.highest()) / theirs),
                cpu_ratio: cpu.map(|(ours, theirs)| ours / theirs),
                first,
                second,
            }
        };
        Outcome::of(first.and_then(|first| Ok(beside(first, second?))))
    }
}

/// A figure that ours and a peer's are compared by.
trait Compared {
    /// Under the load that was held.
    fn highest(&self) -> u32;
    /// What this one and the other cost under the highest load that both held.
    fn cpu_beside(&self, other: &Self) -> Option<(f64, f64)>;
}

impl Compared for Relaying {
    fn highest(&self) -> u32 {
        self.relayed_concurrent
    }

    fn cpu_beside(&self, other: &Relaying) -> Option<(f64, f64)> {
        self.beside(other)
    }
}

impl Compared for Calling {
    fn highest(&self) -> u32 {
        self.calls_per_second
    }

    fn cpu_beside(&self, other: &Calling) -> Option<(f64, f64)> {
        self.beside(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Compared for u32 {
        fn highest(&self) -> u32 {
            *self
        }

        fn cpu_beside(&self, other: &u32) -> Option<(f64, f64)> {
            (*other > 0).then(|| (1.0, f64::from(*other)))
        }
    }

    #[test]
    fn ours_is_compared_with_the_better_turn_and_a_peer_that_fails_says_why() {
        let figures = Outcome::of_turns(Ok(200), &600, Ok(300));
        let Outcome::Measured(beside) = figures else { panic!("both turns went well") };
        assert_eq!(beside.ratio, Some(2.0));
        assert_eq!(beside.cpu_ratio, Some(1.0 / 300.0));
        let Outcome::Measured(none) = Outcome::of_turns(Ok(0), &600, Ok(0)) else { panic!("both") };
        assert_eq!((none.ratio, none.cpu_ratio), (None, None), "no load of theirs to compare with");
        let failed = Outcome::of_turns(Ok(200), &600, Err("it is away".into()));
        let said = serde_json::to_string(&failed).expect("it is JSON");
        assert_eq!(said, r#""not measured: it is away""#);
    }
}
