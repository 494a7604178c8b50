//! What became of the accepted calls: as the far end, the receiver and the history have it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use sim::{CallReport, CallbackReceiver, Carrier, Client};

use crate::{Fault, parties};

/// Records of one page of the history.
const PAGE: u32 = 1_000;

/// In the order in which it is printed.
#[derive(Serialize)]
pub struct Count {
    kills: u32,
    /// Replies with code 0.
    accepted: usize,
    /// Of these, those without a record.
    lost: usize,
    /// Phones that rang for a call for which this number had rung already, or for no accepted call.
    extra_dialogs: u32,
    /// As the history query returns them.
    records: usize,
    /// Accepted calls that were not called back.
    callbacks_missing: usize,
    /// Calls that were called back as two different events.
    #[serde(skip)]
    callbacks_doubled: usize,
    /// Calls of a number and of an application whose customer answered.
    #[serde(skip)]
    connected: Connected,
    /// Phones that rang and whose call never ended.
    #[serde(skip)]
    left_ringing: u64,
}

impl Count {
    pub async fn take(
        kills: u32,
        accepted: &BTreeSet<String>,
        carrier: &Carrier,
        receiver: &CallbackReceiver,
        client: &Client,
        began_ms: i64,
    ) -> Result<Count, Fault> {
        let records = history(client, began_ms).await?;
        let events = events_of_calls(receiver);
        let connected = Connected::of(carrier);
        let Connected { managers, applications } = connected;
        eprintln!("chaos: customers answered {managers} managers and {applications} applications");
        let totals = carrier.totals();
        Ok(Count {
            kills,
            accepted: accepted.len(),
            lost: accepted.iter().filter(|serial| !records.contains(serial)).count(),
            extra_dialogs: extra_dialogs(carrier, accepted),
            records: records.len(),
            callbacks_missing: accepted.iter().filter(|s| !events.contains_key(*s)).count(),
            callbacks_doubled: events.values().filter(|ids| ids.len() > 1).count(),
            connected,
            left_ringing: totals.calls - totals.ended,
        })
    }

    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("numbers under fixed names are JSON")
    }

    pub fn is_well(&self) -> bool {
        let Connected { managers, applications } = self.connected;
        if self.callbacks_doubled > 0 || self.left_ringing > 0 {
            let (doubled, left) = (self.callbacks_doubled, self.left_ringing);
            eprintln!("chaos: {doubled} calls called back as two events, {left} phones left");
        }
        self.accepted > 0
            && managers > 0
            && applications > 0
            && self.lost == 0
            && self.extra_dialogs == 0
            && self.records == self.accepted
            && self.callbacks_missing == 0
            && self.callbacks_doubled == 0
            && self.left_ringing == 0
    }
}

/// Calls of two parties whose customer answered, by who called it.
#[derive(Clone, Copy)]
struct Connected {
    managers: usize,
    applications: usize,
}

impl Connected {
    fn of(carrier: &Carrier) -> Connected {
        let calls = carrier.calls();
        let serials = |is_theirs: fn(&CallReport) -> bool| -> BTreeSet<&str> {
            let theirs = calls.iter().filter(|call| is_theirs(call));
            theirs.filter_map(|call| call.call_id.split('-').next()).collect()
        };
        let with_manager = serials(|call| parties::is_manager(&call.to_user));
        let answered =
            serials(|call| parties::is_customer(&call.to_user) && call.answered_at.is_some());
        Connected {
            managers: answered.intersection(&with_manager).count(),
            applications: answered.difference(&with_manager).count(),
        }
    }
}

/// The serial number of each call that is over, as often as it is in the history.
async fn history(client: &Client, began_ms: i64) -> Result<Vec<String>, Fault> {
    let (mut offset, mut serials) = (0, Vec::new());
    let until_ms = sim::Moment::now().unix_ms() + 1_000;
    loop {
        let page = client.query_call_detail_record(began_ms, until_ms, "0", offset, PAGE).await?;
        let page: Value = page.ok()?.parse()?;
        let calls = page["result"]["callInfo"].as_array().cloned().unwrap_or_default();
        if calls.is_empty() {
            return Ok(serials);
        }
        offset += u32::try_from(calls.len())?;
        for call in calls.iter().filter(|call| call["state"] == 3) {
            serials
                .push(call["callSerialNo"].as_str().ok_or("a record without serial")?.to_owned());
        }
    }
}

/// The `webhook-id`s that each call was called back with.
fn events_of_calls(receiver: &CallbackReceiver) -> BTreeMap<String, BTreeSet<String>> {
    let mut events: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for callback in receiver.callbacks().all() {
        let Some(serial) = callback.field("callSerialNo") else { continue };
        let id = callback.event_id().unwrap_or_default().to_owned();
        events.entry(serial).or_default().insert(id);
    }
    events
}

/// Call-IDs begin with the serial number, then the leg. A call has one leg to each of its numbers.
fn extra_dialogs(carrier: &Carrier, accepted: &BTreeSet<String>) -> u32 {
    let by_call_id: BTreeMap<String, (String, u32)> = carrier
        .calls()
        .into_iter()
        .map(|call| (call.call_id, (call.to_user, call.dialogs)))
        .collect();
    let mut by_leg: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for (call_id, (number, dialogs)) in &by_call_id {
        let serial = call_id.split('-').next().unwrap_or_default();
        *by_leg.entry((serial, number)).or_default() += dialogs;
    }
    let allowed = |serial: &str| u32::from(accepted.contains(serial));
    by_leg.iter().map(|((serial, _), dialogs)| dialogs.saturating_sub(allowed(serial))).sum()
}
