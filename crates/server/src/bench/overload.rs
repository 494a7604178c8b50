//! `offhook bench overload`: finds what the server can do, then asks four times as much of it, and
//! looks at what becomes of the calls that it took, of those that it refused, and of those that were
//! up before.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use sim::Moment;

use super::far_end::{FarEnd, Memory};
use super::lateness::Lateness;
use super::process::Meter;
use super::requests::{Answer, Asked, NOTIFY, Requests};
use super::witnesses::{Fault, Quantiles, Witnesses};
use crate::serve::ServeError;

/// What a call of the load plays, and the packets of 20 ms in it.
pub const PLAYS: Duration = Duration::from_secs(1);
pub const WHOLE: u64 = 50;

/// How much longer than the load the calls play that are up meanwhile.
const LONGER: Duration = Duration::from_secs(12);

/// Load before what is measured: at first the server has to notice, and works off what it let in until
/// then. What was accepted and what was up meanwhile counts all the same, in the losses.
const LEAD_IN: Duration = Duration::from_secs(3);

/// Capacity is the highest rate at which nothing fails and this holds for the time from request to
/// INVITE.
pub const P99_MS: f64 = 100.0;

/// How fast the search for the capacity climbs, and in how many steps it then closes in.
const CLIMB: f64 = 1.25;
const CLOSE_IN: u32 = 3;

/// While it climbs, a rate is too much that does not hold so many times in a row: a stall of the machine is no limit of
/// the server.
const ATTEMPTS: u32 = 2;

/// What P7 promises.
const LEAST_GOODPUT: f64 = 0.9;
const MOST_ADMITTED_RATIO: f64 = 2.0;
const MOST_REFUSED_MS: f64 = 50.0;

#[derive(clap::Args)]
pub struct Arguments {
    /// Calls per second that the server is known to manage; without it they are found out.
    #[arg(long)]
    capacity: Option<f64>,
    /// The first rate that is tried, calls per second.
    #[arg(long, default_value_t = 200.0)]
    from: f64,
    /// Seconds that each rate is tried for.
    #[arg(long, default_value_t = 5)]
    step_seconds: u32,
    /// Seconds of load, once at its capacity and once above it.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// How many times its capacity is offered.
    #[arg(long, default_value_t = 4.0)]
    times: f64,
    /// Calls that are up during each load.
    #[arg(long, default_value_t = 20)]
    live: u32,
    /// One line of JSON on stdout, and nothing else there.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Figures {
    /// Calls per second.
    capacity: f64,
    /// Requests per second.
    offered: f64,
    /// Good calls ÷ good calls when the capacity is offered.
    goodput_ratio: f64,
    refused: u32,
    refused_ms_p99: f64,
    /// p99 from request to INVITE ÷ the same when the capacity is offered.
    admitted_ms_p99_ratio: f64,
    /// Of the calls that were up before: not played to the end, or a packet of them is missing.
    live_calls_lost: u32,
    /// Accepted, and not dialled, played whole, recorded and called back exactly once.
    admitted_failed: u32,
    /// Answered with anything but an acceptance or the documented refusal.
    wrong_answers: u32,
    at_capacity: Load,
    overloaded: Load,
}

/// What was seen of one rate.
#[derive(Debug, Clone, Serialize)]
struct Load {
    offered_cps: f64,
    good_cps: f64,
    accepted: u32,
    /// Accepted, and not dialled, played whole, recorded and called back exactly once.
    failed: u32,
    /// What was wrong with those.
    faults: BTreeMap<Fault, u32>,
    refused: u32,
    wrong_answers: u32,
    invite_ms: Quantiles,
    /// The same while the load was new.
    invite_ms_lead_in: Quantiles,
    /// All of them, and those while the load was new.
    refused_ms: Quantiles,
    refused_ms_lead_in: Quantiles,
    live_lost: u32,
    late_packets_ratio: f64,
    rss_highest_bytes: u64,
    /// Share of its core.
    server_cpu: f64,
    far_end_cpu: f64,
    /// How late the far end itself was: some of what it saw late.
    far_end_late_ms: Quantiles,
}

impl Load {
    /// Nothing refused, nothing failed, and dialled in time.
    fn holds(&self) -> bool {
        let all = self.refused == 0 && self.wrong_answers == 0 && self.failed == 0;
        all && self.accepted > 0 && self.invite_ms.p99 < P99_MS
    }
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, ServeError> {
    let far_end = FarEnd::start().await?;
    let requests =
        Requests::new(&far_end, NOTIFY, &far_end.notification(PLAYS).await?.to_json()).await?;
    measure(&far_end, &requests, 20.0, Duration::from_secs(1), 0).await?;
    let capacity = match arguments.capacity {
        Some(known) => known,
        None => {
            let lasts = Duration::from_secs(arguments.step_seconds.into());
            capacity(&far_end, &requests, arguments.from, lasts).await?
        }
    };
    let lasts = Duration::from_secs(arguments.seconds.into());
    let once = measure(&far_end, &requests, capacity, lasts, arguments.live).await?;
    let offered = capacity * arguments.times;
    let over = measure(&far_end, &requests, offered, lasts, arguments.live).await?;
    let figures = Figures {
        capacity,
        offered,
        goodput_ratio: over.good_cps / once.good_cps.max(0.001),
        refused: over.refused,
        refused_ms_p99: over.refused_ms.p99,
        admitted_ms_p99_ratio: over.invite_ms.p99 / once.invite_ms.p99.max(0.001),
        live_calls_lost: once.live_lost + over.live_lost,
        admitted_failed: once.failed + over.failed,
        wrong_answers: once.wrong_answers + over.wrong_answers,
        at_capacity: once,
        overloaded: over,
    };
    if !arguments.json {
        println!("{figures:#?}");
    }
    println!("{}", serde_json::to_string(&figures)?);
    Ok(if figures.keep_the_promise() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Figures {
    fn keep_the_promise(&self) -> bool {
        self.goodput_ratio >= LEAST_GOODPUT
            && self.admitted_ms_p99_ratio <= MOST_ADMITTED_RATIO
            && self.refused_ms_p99 < MOST_REFUSED_MS
            && self.live_calls_lost == 0
            && self.admitted_failed == 0
            && self.wrong_answers == 0
    }
}

/// Climbs until a rate does not hold, then halves the step between the two rates a few times.
pub async fn capacity(
    far_end: &FarEnd,
    requests: &Requests,
    from: f64,
    lasts: Duration,
) -> Result<f64, ServeError> {
    let (mut holds, mut fails, mut closing_in) = (0.0, None, 0);
    loop {
        let rate = match fails {
            None if holds == 0.0 => from,
            None => holds * CLIMB,
            Some(fails) => f64::midpoint(holds, fails),
        };
        let attempts = if fails.is_none() { ATTEMPTS } else { 1 };
        if holds_at(far_end, requests, rate, lasts, attempts).await? {
            holds = rate;
        } else {
            fails = Some(rate);
        }
        closing_in += u32::from(fails.is_some());
        if fails.is_some() && holds == 0.0 {
            return Err(format!("{from} calls per second are too many already").into());
        }
        if closing_in > CLOSE_IN {
            return Ok(holds);
        }
    }
}

async fn holds_at(
    far_end: &FarEnd,
    requests: &Requests,
    rate: f64,
    lasts: Duration,
    attempts: u32,
) -> Result<bool, ServeError> {
    for _ in 0..attempts {
        let step = measure(far_end, requests, rate, lasts, 0).await?;
        tracing::info!(?step, holds = step.holds(), "measured");
        if step.holds() {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn measure(
    far_end: &FarEnd,
    requests: &Requests,
    rate: f64,
    lasts: Duration,
    live: u32,
) -> Result<Load, ServeError> {
    far_end.clear().await;
    let live = Live::start(far_end, live, LEAD_IN + lasts + LONGER).await?;
    let pid = far_end.server.pid();
    let memory = Memory::watch(pid);
    let lateness = Lateness::watch();
    let meter = Meter::start(pid)?;
    let count = rate * (LEAD_IN + lasts).as_secs_f64();
    let asked = requests.offer(rate, count as u32).await;
    let spent = meter.read()?;
    let far_end_late_ms = lateness.read().await?;

    let tally = Tally::of(asked, meter.began());
    let accepted = tally.led_in.len() + tally.accepted.len();
    far_end.called_back((accepted + live.serials.len()) as u64).await;
    let witnesses = Witnesses::hear(far_end).await?;
    let judged = witnesses.judge(&tally.accepted, WHOLE);
    let led_in = witnesses.judge(&tally.led_in, WHOLE);
    let mut faults = judged.faults;
    for (fault, calls) in led_in.faults {
        *faults.entry(fault).or_default() += calls;
    }
    Ok(Load {
        offered_cps: tally.requests as f64 / spent.took.as_secs_f64(),
        good_cps: f64::from(judged.good) / lasts.as_secs_f64(),
        accepted: accepted as u32,
        failed: faults.values().sum(),
        faults,
        refused: tally.refused_ms.len() as u32,
        wrong_answers: tally.wrong_answers,
        refused_ms_lead_in: Quantiles::of(tally.led_in_refused_ms),
        invite_ms: judged.invite_ms,
        invite_ms_lead_in: led_in.invite_ms,
        refused_ms: Quantiles::of(tally.refused_ms),
        live_lost: live.lost(&witnesses),
        late_packets_ratio: judged.late_packets_ratio,
        rss_highest_bytes: memory.highest(),
        server_cpu: spent.server_cpu(),
        far_end_cpu: spent.far_end_cpu(),
        far_end_late_ms,
    })
}

/// Calls that are up while others are asked for.
struct Live {
    serials: Vec<String>,
    packets: u64,
}

impl Live {
    /// Returns when the audio of all of them flows.
    async fn start(far_end: &FarEnd, calls: u32, plays: Duration) -> Result<Live, ServeError> {
        let packets = plays.as_millis() as u64 / 20;
        let mut live = Live { serials: Vec::new(), packets };
        if calls == 0 {
            return Ok(live);
        }
        let wanted = far_end.notification(plays).await?;
        for _ in 0..calls {
            live.serials.push(far_end.client.notify(&wanted).await?);
        }
        far_end.playing(&live.serials).await?;
        Ok(live)
    }

    fn lost(&self, witnesses: &Witnesses) -> u32 {
        let lost = |serial: &&String| !witnesses.lost_nothing(serial, self.packets);
        self.serials.iter().filter(lost).count() as u32
    }
}

/// What was answered.
#[derive(Default)]
struct Tally {
    requests: usize,
    /// Accepted while the load was new, and after that.
    led_in: BTreeMap<String, Moment>,
    accepted: BTreeMap<String, Moment>,
    /// All, and those while the load was new.
    refused_ms: Vec<f64>,
    led_in_refused_ms: Vec<f64>,
    wrong_answers: u32,
}

impl Tally {
    fn of(asked: Vec<Asked>, began: Moment) -> Tally {
        let mut tally = Tally { requests: asked.len(), ..Tally::default() };
        for Asked { sent_at, took, answer } in asked {
            match answer {
                Answer::Accepted(serial) if sent_at.since(began) < LEAD_IN => {
                    tally.led_in.insert(serial, sent_at);
                }
                Answer::Accepted(serial) => {
                    tally.accepted.insert(serial, sent_at);
                }
                Answer::Refused => {
                    let took_ms = took.as_secs_f64() * 1000.0;
                    tally.refused_ms.push(took_ms);
                    if sent_at.since(began) < LEAD_IN {
                        tally.led_in_refused_ms.push(took_ms);
                    }
                }
                Answer::Other(what) => {
                    tracing::warn!(what, "not answered as documented");
                    tally.wrong_answers += 1;
                }
            }
        }
        tally
    }
}
