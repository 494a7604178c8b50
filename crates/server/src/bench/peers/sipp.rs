//! sipp as the ceiling: its own caller on the server's core against its own phone on the far end's. INVITE, 180, 200, ACK, a
//! second's talk, BYE, 200: the messages of a notification, without audio, database, HTTP or anybody who decides.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::super::far_end::free_addresses;
use super::super::ladder::{Rung, highest};
use super::super::overload::PLAYS;
use super::super::{BUSY, FAR_END_CORE, SERVER_CORE, process};
use super::program::Program;
use super::rates::Rates;
use crate::serve::ServeError;

/// How long after its last request a rate may take to end: 64·T1 and a little.
const PATIENCE: Duration = Duration::from_secs(40);

/// How often the caller's processor time is read: what comes after the last reading is lost.
const LOOK: Duration = Duration::from_millis(20);

/// The highest rate without a failed call.
#[derive(Debug, Serialize)]
pub struct Ceiling {
    pub calls_per_second: u32,
    /// Of the caller, at that rate.
    pub cpu_ms_per_call: f64,
    pub rates: Vec<Rate>,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Rate {
    calls_per_second: u32,
    calls: u32,
    failed: u32,
    retransmissions: u32,
    cpu_ms_per_call: f64,
    caller_cpu: f64,
}

impl Rung for Rate {
    fn load(&self) -> u32 {
        self.calls_per_second
    }

    fn holds(&self) -> bool {
        self.failed == 0 && self.caller_cpu < BUSY
    }
}

pub async fn measure(program: &Path, rates: Rates) -> Result<Ceiling, ServeError> {
    let measured = rates.ladder.climb(async |cps| attempt(program, cps, cps * rates.seconds).await);
    let measured = measured.await?;
    let held = highest(&measured);
    Ok(Ceiling {
        calls_per_second: held.map_or(0, |rate| rate.calls_per_second),
        cpu_ms_per_call: held.map_or(0.0, |rate| rate.cpu_ms_per_call),
        rates: measured,
    })
}

async fn attempt(program: &Path, cps: u32, calls: u32) -> Result<Rate, ServeError> {
    let [phone, caller] = free_addresses()?;
    let phone_arguments = [arguments("uas", phone), vec!["-m".into(), calls.to_string()]].concat();
    let _phone = Program::start(program, &phone_arguments, FAR_END_CORE, tempfile::tempdir()?)?;
    let statistics = "statistics.csv";
    let more = [
        phone.to_string(),
        "-r".into(),
        cps.to_string(),
        "-m".into(),
        calls.to_string(),
        "-l".into(),
        calls.to_string(),
        "-d".into(),
        PLAYS.as_millis().to_string(),
        "-trace_stat".into(),
        "-fd".into(),
        "1".into(),
        "-stf".into(),
        statistics.into(),
    ];
    let caller_arguments = [arguments("uac", caller), more.into()].concat();
    let folder = tempfile::tempdir()?;
    let mut caller = Program::start(program, &caller_arguments, SERVER_CORE, folder)?;
    let began = tokio::time::Instant::now();
    let offered = Duration::from_secs_f64(f64::from(calls) / f64::from(cps));
    let mut cpu = Duration::ZERO;
    while !caller.ended()? {
        if began.elapsed() > offered + PATIENCE {
            return Err(format!("sipp does not end: {}", caller.last_words()).into());
        }
        // It may end in between.
        cpu = process::cpu_time(caller.pid()).unwrap_or(cpu).max(cpu);
        tokio::time::sleep(LOOK).await;
    }
    let took = began.elapsed().as_secs_f64();
    let said = std::fs::read_to_string(caller.folder().join(statistics))
        .map_err(|fault| format!("sipp wrote no statistics: {fault}: {}", caller.last_words()))?;
    let sums = Sums::parse(&said).ok_or("sipp's statistics lack a column that is read")?;
    Ok(Rate {
        calls_per_second: cps,
        calls,
        failed: calls.saturating_sub(sums.successful).max(sums.failed),
        retransmissions: sums.retransmissions,
        cpu_ms_per_call: cpu.as_secs_f64() * 1000.0 / f64::from(calls),
        caller_cpu: cpu.as_secs_f64() / took,
    })
}

fn arguments(scenario: &str, at: SocketAddr) -> Vec<String> {
    let (ip, port) = (at.ip().to_string(), at.port().to_string());
    ["-sn", scenario, "-i", &ip, "-p", &port, "-nostdin"].map(str::to_owned).into()
}

/// What its statistics say at the end.
#[derive(Debug, PartialEq, Eq)]
struct Sums {
    successful: u32,
    failed: u32,
    retransmissions: u32,
}

impl Sums {
    /// Names of columns in the first line, cumulative sums in the last.
    fn parse(statistics: &str) -> Option<Sums> {
        let mut lines = statistics.lines().filter(|line| !line.is_empty());
        let names: Vec<&str> = lines.next()?.split(';').collect();
        let values: Vec<&str> = lines.next_back()?.split(';').collect();
        let column = |name: &str| {
            let at = names.iter().position(|each| *each == name)?;
            values.get(at)?.trim().parse().ok()
        };
        Some(Sums {
            successful: column("SuccessfulCall(C)")?,
            failed: column("FailedCall(C)")?,
            retransmissions: column("Retransmissions(C)")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_the_statistics_counts() {
        // As sipp 3.6 writes it, most columns left out.
        let said = "StartTime;CallRate(C);FailedCall(P);FailedCall(C);SuccessfulCall(C);Retransmissions(C);\n\
                    a;0;0;0;0;0;\nb;500.0;1;2;498;7;\n";
        let sums = Sums { successful: 498, failed: 2, retransmissions: 7 };
        assert_eq!(Sums::parse(said), Some(sums));
        assert_eq!(Sums::parse("StartTime;FailedCall(C);\na;1;\n"), None);
        assert_eq!(Sums::parse(""), None);
    }

    /// The real program, as far as CI has it: a slow rate, so that a loaded machine passes too.
    #[tokio::test]
    async fn sipp_calls_itself() {
        let sipp = Path::new("/usr/bin/sipp");
        assert!(sipp.is_file(), "Debian's sip-tester is not installed");
        let rate = attempt(sipp, 10, 5).await.expect("it runs");
        assert_eq!((rate.calls, rate.failed), (5, 0), "{rate:?}");
    }
}
