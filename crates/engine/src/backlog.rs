//! Who may start now, who waits, and for what.
//!
//! The calls that wait stand in the store, which also gives their order. Here are only counts and
//! paces: how many of each tenant and trunk wait, how many run, and how many may start now. A claim
//! asks the store for as many as may start; what it returns starts at once.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::action::{Claim, ClaimId};
use crate::events::Waiting;
use crate::vocabulary::{Pace, TenantId, TenantLimits, TrunkName};

mod pacer;
use pacer::Pacer;

/// The most that one claim takes, so that tenants on one trunk take turns.
const CLAIM_LIMIT: u32 = 32;

type QueueKey = (TenantId, TrunkName);

#[derive(Debug)]
pub struct Backlog {
    tenants: BTreeMap<TenantId, Pacer>,
    trunks: BTreeMap<TrunkName, Trunk>,
    queues: BTreeMap<QueueKey, Queue>,
    claims: BTreeMap<ClaimId, (QueueKey, u32)>,
    last_claim: ClaimId,
    /// The queue that was served last: the next round begins behind it.
    served: Option<QueueKey>,
    running: u32,
    /// Calls that ports and descriptors allow.
    capacity: u32,
    draining: bool,
}

#[derive(Debug)]
struct Trunk {
    pacer: Pacer,
    up: bool,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: u32,
    /// Of those, how many came after the claim that is out.
    arrived_since_claim: u32,
    claim: Option<ClaimId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    Start,
    Wait(Waiting),
    Full { retry_after_s: u32 },
}

impl Backlog {
    pub fn new(capacity: u32) -> Backlog {
        Backlog {
            tenants: BTreeMap::new(),
            trunks: BTreeMap::new(),
            queues: BTreeMap::new(),
            claims: BTreeMap::new(),
            last_claim: ClaimId(0),
            served: None,
            running: 0,
            capacity,
            draining: false,
        }
    }

    pub fn limit_tenant(&mut self, tenant: TenantId, limits: TenantLimits) {
        self.tenants.entry(tenant).or_insert_with(|| Pacer::new(limits.pace)).pace = limits.pace;
    }

    pub fn set_trunk(&mut self, trunk: TrunkName, pace: Pace, up: bool) {
        let entry =
            self.trunks.entry(trunk).or_insert_with(|| Trunk { pacer: Pacer::new(pace), up });
        entry.pacer.pace = pace;
        entry.up = up;
    }

    /// Nothing is claimed any more.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Decides on a new call; counts it as running or waiting unless it is refused.
    pub fn admit(
        &mut self,
        tenant: TenantId,
        trunk: &TrunkName,
        queue_length: u32,
        now: Duration,
    ) -> Admission {
        let key = (tenant, trunk.clone());
        let ahead = self
            .queues
            .get(&key)
            .map_or(0, |queue| queue.waiting + u32::from(queue.claim.is_some()));
        let behind = (ahead > 0).then_some(Waiting::BehindOthers { waiting: ahead });
        let why = self.obstacle(tenant, trunk, now).or(behind);
        let Some(why) = why else {
            self.start(tenant, trunk, 1, now);
            return Admission::Start;
        };
        let waiting: u32 = self
            .queues
            .range((tenant, TrunkName::from(""))..)
            .take_while(|((t, _), _)| *t == tenant)
            .map(|(_, q)| q.waiting)
            .sum();
        if waiting >= queue_length {
            let per_second =
                self.tenants.get(&tenant).map_or(1, |p| p.pace.calls_per_second.max(1));
            return Admission::Full { retry_after_s: (waiting / per_second).clamp(1, 60) };
        }
        self.add_waiting(tenant, trunk.clone(), 1);
        Admission::Wait(why)
    }

    pub fn add_waiting(&mut self, tenant: TenantId, trunk: TrunkName, calls: u32) {
        let queue = self.queues.entry((tenant, trunk)).or_default();
        queue.waiting += calls;
        if queue.claim.is_some() {
            queue.arrived_since_claim += calls;
        }
    }

    /// A call that was taken out of the backlog on its own (cancelled, expired).
    pub fn remove_waiting(&mut self, tenant: TenantId, trunk: &TrunkName) {
        let key = (tenant, trunk.clone());
        if let Some(queue) = self.queues.get_mut(&key) {
            queue.waiting = queue.waiting.saturating_sub(1);
            if queue.waiting == 0 && queue.claim.is_none() {
                self.queues.remove(&key);
            }
        }
    }

    /// A call runs that no claim gave: one that the last run left behind.
    pub fn adopt(&mut self, tenant: TenantId, trunk: &TrunkName, now: Duration) {
        self.start(tenant, trunk, 1, now);
    }

    pub fn ended(&mut self, tenant: TenantId, trunk: &TrunkName) {
        self.running = self.running.saturating_sub(1);
        if let Some(pacer) = self.tenants.get_mut(&tenant) {
            pacer.release(1);
        }
        if let Some(trunk) = self.trunks.get_mut(trunk) {
            trunk.pacer.release(1);
        }
    }

    pub fn nothing_waits(&self) -> bool {
        self.queues.values().all(|queue| queue.waiting == 0)
    }

    /// The claims that may go out now; each is counted as running until its answer says less.
    pub fn claims(&mut self, now: Duration) -> Vec<(ClaimId, Claim)> {
        if self.draining {
            return Vec::new();
        }
        let mut round: Vec<QueueKey> = self
            .queues
            .iter()
            .filter(|(_, queue)| queue.waiting > 0 && queue.claim.is_none())
            .map(|(key, _)| key.clone())
            .collect();
        if let Some(served) = &self.served {
            let begin = round.partition_point(|key| key <= served);
            round.rotate_left(begin);
        }
        round.into_iter().filter_map(|key| self.claim(key, now)).collect()
    }

    fn claim(&mut self, key: QueueKey, now: Duration) -> Option<(ClaimId, Claim)> {
        let (tenant, trunk) = key.clone();
        let free = self.free(tenant, &trunk, now);
        let queue = self.queues.get_mut(&key)?;
        let limit = free.min(queue.waiting).min(CLAIM_LIMIT);
        if limit == 0 {
            return None;
        }
        self.last_claim.0 += 1;
        queue.claim = Some(self.last_claim);
        queue.arrived_since_claim = 0;
        self.claims.insert(self.last_claim, (key.clone(), limit));
        self.served = Some(key);
        self.start(tenant, &trunk, limit, now);
        Some((self.last_claim, Claim::Ready { tenant, trunk, limit }))
    }

    /// The answer to a claim: `got` calls start, the rest of what was counted is given back.
    pub fn claimed(&mut self, claim: ClaimId, got: u32) {
        let Some((key, limit)) = self.claims.remove(&claim) else { return };
        for _ in got..limit {
            self.ended(key.0, &key.1);
        }
        let Some(queue) = self.queues.get_mut(&key) else { return };
        queue.claim = None;
        // Fewer than asked for: the store has no more, whatever the count says.
        queue.waiting =
            if got < limit { queue.arrived_since_claim } else { queue.waiting.saturating_sub(got) };
        if queue.waiting == 0 {
            self.queues.remove(&key);
        }
    }

    /// When a waiting call could start for a reason that is only the clock.
    pub fn wake_at(&self, now: Duration) -> Option<Duration> {
        if self.draining {
            return None;
        }
        let waiting = self.queues.iter().filter(|(_, q)| q.waiting > 0 && q.claim.is_none());
        waiting.filter_map(|((tenant, trunk), _)| self.opens_at(*tenant, trunk, now)).min()
    }

    /// `None` where something else than the clock is in the way.
    fn opens_at(&self, tenant: TenantId, trunk: &TrunkName, now: Duration) -> Option<Duration> {
        let tenant = self.tenants.get(&tenant)?;
        let trunk = self.trunks.get(trunk)?;
        let free = trunk.up
            && self.running < self.capacity
            && tenant.free_slots() > 0
            && trunk.pacer.free_slots() > 0;
        free.then(|| tenant.next_start().max(trunk.pacer.next_start()).max(now))
    }

    fn free(&self, tenant: TenantId, trunk: &TrunkName, now: Duration) -> u32 {
        let (Some(tenant), Some(trunk)) = (self.tenants.get(&tenant), self.trunks.get(trunk))
        else {
            return 0;
        };
        if !trunk.up {
            return 0;
        }
        let free = self.capacity.saturating_sub(self.running);
        free.min(tenant.may_start(now)).min(trunk.pacer.may_start(now))
    }

    fn obstacle(&self, tenant: TenantId, trunk: &TrunkName, now: Duration) -> Option<Waiting> {
        let Some(trunk) = self.trunks.get(trunk).filter(|trunk| trunk.up) else {
            return Some(Waiting::TrunkDown);
        };
        let Some(tenant) = self.tenants.get(&tenant) else { return Some(Waiting::TenantRate) };
        if self.draining || self.running >= self.capacity {
            Some(Waiting::ServerFull)
        } else if tenant.free_slots() == 0 {
            Some(Waiting::TenantConcurrency)
        } else if trunk.pacer.free_slots() == 0 {
            Some(Waiting::TrunkConcurrency)
        } else if tenant.may_start(now) == 0 {
            Some(Waiting::TenantRate)
        } else if trunk.pacer.may_start(now) == 0 {
            Some(Waiting::TrunkRate)
        } else {
            None
        }
    }

    fn start(&mut self, tenant: TenantId, trunk: &TrunkName, calls: u32, now: Duration) {
        self.running += calls;
        if let Some(pacer) = self.tenants.get_mut(&tenant) {
            pacer.start(calls, now);
        }
        if let Some(trunk) = self.trunks.get_mut(trunk) {
            trunk.pacer.start(calls, now);
        }
    }
}

#[cfg(test)]
mod tests;
