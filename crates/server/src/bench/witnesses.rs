//! What became of the calls of a load: the carrier's reports, the callbacks and the history, each
//! call by call.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use sim::{CallReport, Moment};

use super::far_end::FarEnd;
use crate::serve::ServeError;

/// By serial number.
pub struct Witnesses {
    reports: BTreeMap<String, Arc<CallReport>>,
    /// Outcomes, where the history was asked.
    history: Option<BTreeMap<String, String>>,
    callbacks: BTreeMap<String, u32>,
}

/// What all of them say of some calls together.
pub struct Judged {
    /// Dialled once, answered, played whole, in the history (where it was asked) and called back
    /// exactly once.
    pub good: u32,
    /// The others, by the first thing that was wrong with each.
    pub faults: BTreeMap<Fault, u32>,
    /// INVITEs per second.
    pub calls_per_second: f64,
    /// From the request's first byte to the arrival of its INVITE.
    pub invite_ms: Quantiles,
    /// Packets that came more than 5 ms off their tick.
    pub late_packets_ratio: f64,
    pub peak_concurrent: u32,
}

/// What may be wrong with a call that was accepted, in the order in which it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    NotDialled,
    /// A second INVITE that is no retransmission of the first.
    DialledAgain,
    NotAnswered,
    /// Fewer packets came than the clip has.
    CutShort,
    /// The history has no such call, or says that it was not played.
    NotRecorded,
    NotCalledBack,
    CalledBackAgain,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Quantiles {
    pub p50: f64,
    pub p99: f64,
}

impl Witnesses {
    pub async fn hear(far_end: &FarEnd) -> Result<Witnesses, ServeError> {
        let history = Some(far_end.history().await?);
        Ok(Witnesses { history, ..Witnesses::hear_without_history(far_end).await })
    }

    /// The far end alone: of very many calls the history is long.
    pub async fn hear_without_history(far_end: &FarEnd) -> Witnesses {
        let mut callbacks: BTreeMap<String, u32> = BTreeMap::new();
        for callback in far_end.receiver.callbacks().all() {
            *callbacks.entry(callback.field("callSerialNo").unwrap_or_default()).or_default() += 1;
        }
        Witnesses { reports: far_end.reports().await, history: None, callbacks }
    }

    /// Of calls by their serial numbers, and when each was asked for; `packets` is what the phone
    /// hears of one that is played whole.
    pub fn judge(&self, sent: &BTreeMap<String, Moment>, packets: u64) -> Judged {
        let reports: Vec<&CallReport> =
            sent.keys().filter_map(|serial| self.reports.get(serial)).map(Arc::as_ref).collect();
        let waits = sent
            .iter()
            .filter_map(|(serial, at)| Some(self.reports.get(serial)?.invite_at.since(*at)))
            .map(|wait| wait.as_secs_f64() * 1000.0);
        let all: u64 = reports.iter().map(|report| report.rtp.packets).sum();
        let late: u64 = reports.iter().map(|report| report.rtp.late_packets).sum();
        let mut faults = BTreeMap::new();
        for serial in sent.keys() {
            let Some(fault) = self.fault(serial, packets) else { continue };
            tracing::debug!(serial, ?fault, report = ?self.reports.get(serial), "a call failed");
            *faults.entry(fault).or_default() += 1;
        }
        Judged {
            good: sent.len() as u32 - faults.values().sum::<u32>(),
            faults,
            calls_per_second: rate(&reports),
            invite_ms: Quantiles::of(waits.collect()),
            late_packets_ratio: late as f64 / all.max(1) as f64,
            peak_concurrent: peak(&reports),
        }
    }

    /// Good, and not a packet of it is missing.
    pub fn lost_nothing(&self, serial: &str, packets: u64) -> bool {
        let lost = self.reports.get(serial).is_none_or(|report| report.rtp.lost > 0);
        self.fault(serial, packets).is_none() && !lost
    }

    /// `None`: a good call.
    fn fault(&self, serial: &str, packets: u64) -> Option<Fault> {
        let Some(report) = self.reports.get(serial) else { return Some(Fault::NotDialled) };
        if report.invites > 1 {
            return Some(Fault::DialledAgain);
        }
        if report.answered_at.is_none() {
            return Some(Fault::NotAnswered);
        }
        if report.rtp.packets < packets {
            return Some(Fault::CutShort);
        }
        let played = |history: &BTreeMap<String, String>| {
            history.get(serial).is_some_and(|outcome| outcome == "played")
        };
        if !self.history.as_ref().is_none_or(played) {
            return Some(Fault::NotRecorded);
        }
        match self.callbacks.get(serial) {
            None | Some(0) => Some(Fault::NotCalledBack),
            Some(1) => None,
            Some(_) => Some(Fault::CalledBackAgain),
        }
    }
}

impl Quantiles {
    pub fn of(mut values: Vec<f64>) -> Quantiles {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (values.len() as f64 * share) as usize;
            values.get(index.min(values.len().saturating_sub(1))).copied().unwrap_or(0.0)
        };
        Quantiles { p50: at(0.5), p99: at(0.99) }
    }
}

/// INVITEs per second between the first and the last.
fn rate(reports: &[&CallReport]) -> f64 {
    let times = reports.iter().map(|report| report.invite_at);
    match (times.clone().min(), times.max()) {
        (Some(first), Some(last)) if last > first => {
            (reports.len() - 1) as f64 / last.since(first).as_secs_f64()
        }
        _ => 0.0,
    }
}

/// The most calls between INVITE and end at the same time.
fn peak(reports: &[&CallReport]) -> u32 {
    let mut changes: Vec<(Moment, i32)> =
        reports.iter().flat_map(|report| [(report.invite_at, 1), (report.ended_at, -1)]).collect();
    changes.sort();
    let mut now = 0;
    let counts = changes.into_iter().map(|(_, change)| {
        now += change;
        now
    });
    counts.max().unwrap_or(0).max(0) as u32
}
