//! Calls that wait for a slot of a trunk for each party at once, and hold none meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Backlog, Pacer, QueueFull};
use crate::route::Route;
use crate::vocabulary::{Serial, TenantId, TrunkName};

/// As many of a tenant wait for two trunks, and nothing more of its backlog is claimed: what waits there
/// costs no memory.
const PARKED: u32 = 128;

/// What a call waits for. What is freed meanwhile is kept for it, or calls that need one slot would take
/// each as it comes, and it would never find two.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    pub tenant: TenantId,
    pub called: Route,
    pub caller: Route,
}

#[derive(Debug, Default)]
pub struct Parked {
    calls: BTreeMap<Serial, Arc<Wanted>>,
    /// The calls that want the same.
    groups: BTreeMap<Arc<Wanted>, BTreeSet<Serial>>,
    /// Whose places are kept.
    kept: Option<Arc<Wanted>>,
}

impl Parked {
    pub fn of(&self, tenant: TenantId) -> u32 {
        let groups = self.groups.iter().filter(|(wanted, _)| wanted.tenant == tenant);
        groups.map(|(_, calls)| calls.len() as u32).sum()
    }

    /// How many calls of this tenant may still come out of the backlog, where none of them finds trunks.
    pub fn room(&self, tenant: TenantId) -> u32 {
        PARKED.saturating_sub(self.of(tenant))
    }

    fn insert(&mut self, serial: Serial, wanted: Wanted) {
        let wanted = Arc::new(wanted);
        self.groups.entry(wanted.clone()).or_default().insert(serial);
        self.calls.insert(serial, wanted);
    }

    fn remove(&mut self, serial: Serial) {
        let Some(wanted) = self.calls.remove(&serial) else { return };
        if let Some(calls) = self.groups.get_mut(&wanted) {
            calls.remove(&serial);
            if calls.is_empty() {
                self.groups.remove(&wanted);
            }
        }
    }
}

impl Backlog {
    /// Counts for the queue of its tenant until [`Backlog::unpark`].
    pub fn park(&mut self, serial: Serial, wanted: impl FnOnce() -> Wanted) {
        if !self.parked.calls.contains_key(&serial) {
            self.parked.insert(serial, wanted());
        }
    }

    pub fn unpark(&mut self, serial: Serial) {
        self.parked.remove(serial);
    }

    /// The oldest call that waits for trunks in service has what is freed kept for it, and no other: each kept
    /// place is one that nobody uses.
    pub fn keep_places(&mut self, now: Duration) {
        let open = |(wanted, _): &(&Arc<Wanted>, &BTreeSet<Serial>)| {
            self.is_open(&wanted.called, now) && self.is_open(&wanted.caller, now)
        };
        let groups = self.parked.groups.iter().filter(open);
        let oldest = groups.min_by_key(|(_, calls)| calls.first()).map(|(wanted, _)| wanted);
        if self.parked.kept.as_ref() == oldest {
            return;
        }
        let oldest = oldest.cloned();
        if let Some(before) = self.parked.kept.take() {
            self.tenants.get_mut(&before.tenant).into_iter().for_each(Pacer::keep_none);
            for trunk in before.called.trunks().chain(before.caller.trunks()) {
                self.trunks.get_mut(trunk).into_iter().for_each(|of| of.pacer.keep_none());
            }
        }
        if let Some(wanted) = &oldest {
            self.tenants.get_mut(&wanted.tenant).into_iter().for_each(|of| of.keep(1));
            for trunk in wanted.called.trunks().chain(wanted.caller.trunks()) {
                self.trunks.get_mut(trunk).into_iter().for_each(|of| of.pacer.keep(1));
            }
        }
        self.parked.kept = oldest;
    }

    /// Whether a call that starts over the trunk `called` gets one for its caller too.
    pub(super) fn is_free_beside(&self, caller: &Route, called: &TrunkName, now: Duration) -> bool {
        self.level(caller, now).any(|(hop, of)| {
            let taken = u32::from(caller.hops()[hop].trunk == *called);
            of.is_open(now) && of.pacer.slots_for_kept() > taken
        })
    }

    /// What waits in memory counts like what waits on disk.
    pub(super) fn room_to_wait(&self, tenant: TenantId, length: u32) -> Result<(), QueueFull> {
        let of_tenant = self.queues.iter().filter(|((of, _), _)| *of == tenant);
        let waiting = of_tenant.map(|(_, queue)| queue.waiting).sum::<u32>();
        let waiting = waiting + self.parked.of(tenant);
        if waiting < length {
            return Ok(());
        }
        let per_second = self.tenants.get(&tenant).map_or(1, |p| p.pace.calls_per_second.max(1));
        Err(QueueFull { retry_after_s: (waiting / per_second).clamp(1, 60) })
    }

    /// Whether one of these trunks is in service, however busy.
    fn is_open(&self, route: &Route, now: Duration) -> bool {
        self.level(route, now).any(|(_, trunk)| trunk.is_open(now))
    }
}
