//! Who may start now, who waits, and for what.
//!
//! The calls that wait stand in the store, which also gives their order. Here are only counts and
//! paces: how many of each tenant and trunk wait, how many run, and how many may start now. A claim
//! asks the store for as many as may start; what it returns starts at once.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::action::{Claim, ClaimId};
use crate::events::Waiting;
use crate::intent::Place;
use crate::route::{Hop, Route};
use crate::vocabulary::{Pace, TenantId, TenantLimits, TrunkName};

mod pacer;
mod parked;
mod trunk;
use pacer::Pacer;
use parked::Parked;
pub use parked::Wanted;
pub use trunk::Seen;
use trunk::Trunk;

/// The most that one claim takes, so that tenants on one trunk take turns.
const CLAIM_LIMIT: u32 = 32;

/// Routes with weights whose shares are remembered.
const SHARES: usize = 10_000;

type QueueKey = (TenantId, Route);

#[derive(Debug)]
pub struct Backlog {
    tenants: BTreeMap<TenantId, Pacer>,
    trunks: BTreeMap<TrunkName, Trunk>,
    queues: BTreeMap<QueueKey, Queue>,
    claims: BTreeMap<ClaimId, Claimed>,
    /// What each hop of a route with weights has had too little (above 0) or too much of.
    shares: BTreeMap<Route, Vec<i64>>,
    last_claim: ClaimId,
    /// The queue that was served last: the next round begins behind it.
    served: Option<QueueKey>,
    parked: Parked,
    running: u32,
    /// Calls that ports and descriptors allow.
    capacity: u32,
    draining: bool,
}

/// A claim that is out: its calls leave by `trunk`.
#[derive(Debug)]
struct Claimed {
    key: QueueKey,
    trunk: TrunkName,
    limit: u32,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: u32,
    /// Of those, how many came after the claim that is out.
    arrived_since_claim: u32,
    claim: Option<ClaimId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    Start(TrunkName),
    Wait(Waiting),
}

/// As many calls of the tenant wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFull {
    pub retry_after_s: u32,
}

impl Backlog {
    pub fn new(capacity: u32) -> Backlog {
        Backlog {
            tenants: BTreeMap::new(),
            trunks: BTreeMap::new(),
            queues: BTreeMap::new(),
            claims: BTreeMap::new(),
            shares: BTreeMap::new(),
            last_claim: ClaimId(0),
            served: None,
            parked: Parked::default(),
            running: 0,
            capacity,
            draining: false,
        }
    }

    pub fn limit_tenant(&mut self, tenant: TenantId, limits: TenantLimits) {
        self.tenants.entry(tenant).or_insert_with(|| Pacer::new(limits.pace)).pace = limits.pace;
    }

    pub fn set_trunk(&mut self, trunk: TrunkName, pace: Pace, up: bool) {
        self.trunks.entry(trunk).or_insert_with(|| Trunk::new(pace, up)).set(pace, up);
    }

    /// What a call showed of its trunk; `Some` where the trunk leaves the service or returns to it.
    pub fn seen(&mut self, trunk: &TrunkName, seen: Seen, now: Duration) -> Option<bool> {
        self.trunks.get_mut(trunk)?.seen(seen, now)
    }

    /// Nothing is claimed any more.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Decides on a new call; counts it as running or waiting unless it is refused. A call that needs a
    /// trunk for its `caller` too may be let through and wait: it is only where it may wait.
    pub fn admit(
        &mut self,
        tenant: TenantId,
        route: &Route,
        caller: Option<&Route>,
        queue_length: u32,
        now: Duration,
    ) -> Result<Admission, QueueFull> {
        let key = (tenant, route.clone());
        let ahead = self
            .queues
            .get(&key)
            .map_or(0, |queue| queue.waiting + u32::from(queue.claim.is_some()));
        let behind = (ahead > 0).then_some(Waiting::BehindOthers { waiting: ahead });
        let why = self.obstacle(tenant, Some(route), now).or(behind);
        let free = if why.is_none() { self.free_hop(route, now) } else { None };
        if let Some(trunk) = free {
            if caller.is_some_and(|caller| !self.is_free_beside(caller, &trunk, now)) {
                self.room_to_wait(tenant, queue_length)?;
            }
            self.start(tenant, Some(&trunk), 1, now);
            return Ok(Admission::Start(trunk));
        }
        let why = why.unwrap_or(Waiting::TrunkRate);
        self.room_to_wait(tenant, queue_length)?;
        self.add_waiting(tenant, route.clone(), 1);
        Ok(Admission::Wait(why))
    }

    pub fn add_waiting(&mut self, tenant: TenantId, route: Route, calls: u32) {
        let queue = self.queues.entry((tenant, route)).or_default();
        queue.waiting += calls;
        if queue.claim.is_some() {
            queue.arrived_since_claim += calls;
        }
    }

    /// A call that was taken out of the backlog on its own (cancelled, expired).
    pub fn remove_waiting(&mut self, tenant: TenantId, route: &Route) {
        let key = (tenant, route.clone());
        if let Some(queue) = self.queues.get_mut(&key) {
            queue.waiting = queue.waiting.saturating_sub(1);
            if queue.waiting == 0 && queue.claim.is_none() {
                self.queues.remove(&key);
            }
        }
    }

    /// A call runs that no claim gave: one that the last run left behind.
    pub fn adopt(&mut self, tenant: TenantId, trunk: Option<&TrunkName>, now: Duration) {
        self.start(tenant, trunk, 1, now);
    }

    /// A leg of such a call besides runs over this trunk.
    pub fn adopt_trunk(&mut self, trunk: &TrunkName, now: Duration) {
        if let Some(trunk) = self.trunks.get_mut(trunk) {
            trunk.start(1, now);
        }
    }

    /// Starts a call that cannot wait, whoever else waits, where every limit lets it; over which trunk,
    /// where it needs one, or why not.
    pub fn start_now(
        &mut self,
        tenant: TenantId,
        place: &Place,
        now: Duration,
    ) -> Result<Option<TrunkName>, Waiting> {
        let route = place.route();
        if let Some(why) = self.obstacle(tenant, route, now) {
            return Err(why);
        }
        let trunk = match route {
            Some(route) => Some(self.free_hop(route, now).ok_or(Waiting::TrunkRate)?),
            None => None,
        };
        self.start(tenant, trunk.as_ref(), 1, now);
        Ok(trunk)
    }

    /// A call that was let through once and gave its place back wants it again. The rate does not hold
    /// it up again.
    pub fn retake(&mut self, tenant: TenantId, route: &Route, now: Duration) -> Option<TrunkName> {
        let has_slot = self.tenants.get(&tenant).is_some_and(|of| of.slots_for_kept() > 0);
        if self.draining || self.running >= self.capacity || !has_slot {
            return None;
        }
        let trunk = self.free_trunk(route, now)?;
        self.start(tenant, Some(&trunk), 1, now);
        Some(trunk)
    }

    /// A slot for a second leg of a call that was let through over the trunk `called`.
    pub fn take_trunk(
        &mut self,
        route: &Route,
        called: &TrunkName,
        now: Duration,
    ) -> Option<TrunkName> {
        // The trunk that the call itself is the trial of is tried by its first leg.
        let on_trial = || {
            let tried = |hop: &&Hop| hop.trunk == *called;
            let of = self.trunks.get(&route.hops().iter().find(tried)?.trunk)?;
            (of.is_on_trial() && of.pacer.slots_for_kept() > 0).then(|| called.clone())
        };
        let trunk = self.free_trunk(route, now).or_else(on_trial)?;
        self.adopt_trunk(&trunk, now);
        Some(trunk)
    }

    pub fn release_trunk(&mut self, trunk: &TrunkName, now: Duration) {
        if let Some(trunk) = self.trunks.get_mut(trunk) {
            trunk.ended(now);
        }
    }

    /// `trunk`: the one that the call held, where it held one.
    pub fn ended(&mut self, tenant: TenantId, trunk: Option<&TrunkName>, now: Duration) {
        self.running = self.running.saturating_sub(1);
        if let Some(pacer) = self.tenants.get_mut(&tenant) {
            pacer.release(1);
        }
        if let Some(trunk) = trunk {
            self.release_trunk(trunk, now);
        }
    }

    /// The trunk `from` failed a call: the next one of its route that it has not tried, is in service
    /// and has a slot. The call has been let through once, so the rate does not hold it up again.
    pub fn move_on(
        &mut self,
        route: &Route,
        tried: &[TrunkName],
        from: &TrunkName,
        now: Duration,
    ) -> Option<TrunkName> {
        let free = |hop: &&Hop| {
            let trunk = self.trunks.get(&hop.trunk);
            !tried.contains(&hop.trunk)
                && trunk.is_some_and(|of| of.is_open(now) && of.pacer.free_slots() > 0)
        };
        let next = route.hops().iter().filter(free).max_by_key(|hop| hop.weight)?.trunk.clone();
        if let Some(last) = self.trunks.get_mut(from) {
            last.ended(now);
        }
        if let Some(trunk) = self.trunks.get_mut(&next) {
            trunk.start(1, now);
        }
        Some(next)
    }

    pub fn nothing_waits(&self) -> bool {
        self.queues.values().all(|queue| queue.waiting == 0)
    }

    /// Calls that are claimed and have not come yet.
    pub fn claimed_calls(&self) -> u32 {
        self.claims.values().map(|claimed| claimed.limit).sum()
    }

    /// The claims that may go out now, for `most` calls together; each is counted as running until its
    /// answer says less.
    pub fn claims(&mut self, now: Duration, most: u32) -> Vec<(ClaimId, Claim)> {
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
        let mut left = most;
        let claims = round.into_iter().filter_map(|key| {
            let (limit, claim) = self.claim(key, now, left)?;
            left -= limit;
            Some(claim)
        });
        claims.collect()
    }

    /// The claim, and for how many calls it is.
    fn claim(
        &mut self,
        key: QueueKey,
        now: Duration,
        most: u32,
    ) -> Option<(u32, (ClaimId, Claim))> {
        let (tenant, route) = key.clone();
        let most = most.min(self.tenants.get(&tenant)?.may_start(now));
        let most = most.min(self.capacity.saturating_sub(self.running));
        let most = most.min(self.may_claim_of(tenant));
        let waiting = self.queues.get(&key)?.waiting;
        let limit = most.min(waiting).min(CLAIM_LIMIT);
        if limit == 0 {
            return None;
        }
        let trunk = self.free_hop(&route, now)?;
        let limit = limit.min(self.trunks.get(&trunk)?.may_start(now));
        self.last_claim.0 += 1;
        let queue = self.queues.get_mut(&key)?;
        queue.claim = Some(self.last_claim);
        queue.arrived_since_claim = 0;
        self.start(tenant, Some(&trunk), limit, now);
        self.claims.insert(self.last_claim, Claimed { key: key.clone(), trunk, limit });
        self.served = Some(key);
        Some((limit, (self.last_claim, Claim::Ready { tenant, route, limit })))
    }

    /// What a tenant has parked holds back its own calls and nobody else's.
    fn may_claim_of(&self, tenant: TenantId) -> u32 {
        let claims = self.claims.values().filter(|claimed| claimed.key.0 == tenant);
        let claimed: u32 = claims.map(|claimed| claimed.limit).sum();
        self.parked.room(tenant).saturating_sub(claimed)
    }

    /// The answer to a claim: `got` calls start over the trunk that is returned, the rest of what was
    /// counted is given back.
    pub fn claimed(&mut self, claim: ClaimId, got: u32, now: Duration) -> Option<TrunkName> {
        let Claimed { key, trunk, limit } = self.claims.remove(&claim)?;
        for _ in got..limit {
            self.ended(key.0, Some(&trunk), now);
        }
        let queue = self.queues.get_mut(&key)?;
        queue.claim = None;
        // Fewer than asked for: the store has no more, whatever the count says.
        queue.waiting =
            if got < limit { queue.arrived_since_claim } else { queue.waiting.saturating_sub(got) };
        if queue.waiting == 0 {
            self.queues.remove(&key);
        }
        Some(trunk)
    }

    /// When a waiting call could start for a reason that is only the clock.
    pub fn wake_at(&self, now: Duration) -> Option<Duration> {
        if self.draining {
            return None;
        }
        let waiting = self.queues.iter().filter(|(_, q)| q.waiting > 0 && q.claim.is_none());
        waiting.filter_map(|((tenant, route), _)| self.opens_at(*tenant, route, now)).min()
    }

    /// `None` where something else than the clock is in the way.
    fn opens_at(&self, tenant: TenantId, route: &Route, now: Duration) -> Option<Duration> {
        if self.may_claim_of(tenant) == 0 {
            return None;
        }
        let tenant = self.tenants.get(&tenant)?;
        if self.running >= self.capacity || tenant.free_slots() == 0 {
            return None;
        }
        let opens = self.level(route, now).filter_map(|(_, trunk)| trunk.opens_at()).min()?;
        Some(tenant.next_start().max(opens).max(now))
    }

    /// The hops that may be used now: those with a weight, or where none of them is in service those
    /// without. Where nothing is, all of them: one will come back.
    fn level<'a>(
        &'a self,
        route: &'a Route,
        now: Duration,
    ) -> impl Iterator<Item = (usize, &'a Trunk)> {
        let trunk = |hop: &Hop| self.trunks.get(&hop.trunk);
        let open = |hop: &&Hop| trunk(hop).is_some_and(|trunk| trunk.is_open(now));
        let first = route.hops().iter().filter(|hop| hop.weight > 0).any(|hop| open(&hop));
        let any = route.hops().iter().any(|hop| open(&hop));
        let fits = move |hop: &Hop| !any || (hop.weight > 0) == first;
        let hops = route.hops().iter().enumerate().filter(move |(_, hop)| fits(hop));
        hops.filter_map(|(index, hop)| Some((index, self.trunks.get(&hop.trunk)?)))
    }

    /// The trunk that the next call over this route leaves by: among those that may start one, each
    /// gets its share of the calls in turn (smooth weighted round robin).
    fn free_hop(&mut self, route: &Route, now: Duration) -> Option<TrunkName> {
        let free = self.level(route, now).filter(|(_, trunk)| trunk.may_start(now) > 0);
        let free: Vec<usize> = free.map(|(index, _)| index).collect();
        if let [] | [_] = free[..] {
            return free.first().map(|index| route.hops()[*index].trunk.clone());
        }
        let weight = |index: usize| i64::from(route.hops()[index].weight.max(1));
        let fresh = || vec![0; route.hops().len()];
        if self.shares.len() >= SHARES && !self.shares.contains_key(route) {
            // Routes come and go with the settings of tenants. Each begins its round anew.
            self.shares.clear();
        }
        let shares = self.shares.entry(route.clone()).or_insert_with(fresh);
        for index in &free {
            shares[*index] += weight(*index);
        }
        // The first of equals.
        let chosen = free.iter().copied().rev().max_by_key(|index| shares[*index])?;
        shares[chosen] -= free.iter().map(|index| weight(*index)).sum::<i64>();
        Some(route.hops()[chosen].trunk.clone())
    }

    /// The trunk in service with the largest weight that has a free slot, whatever the rate.
    fn free_trunk(&self, route: &Route, now: Duration) -> Option<TrunkName> {
        let level = self.level(route, now);
        let free = level.filter(|(_, of)| of.is_open(now) && of.pacer.slots_for_kept() > 0);
        let (index, _) = free.max_by_key(|(index, _)| route.hops()[*index].weight)?;
        Some(route.hops()[index].trunk.clone())
    }

    /// What stands in the way of a call over this route; `None`: of one that needs no trunk.
    fn obstacle(&self, tenant: TenantId, route: Option<&Route>, now: Duration) -> Option<Waiting> {
        let any = |fits: fn(&Trunk, Duration) -> bool| {
            route.is_none_or(|route| self.level(route, now).any(|(_, trunk)| fits(trunk, now)))
        };
        if !any(Trunk::is_open) {
            return Some(Waiting::TrunkDown);
        }
        let Some(tenant) = self.tenants.get(&tenant) else { return Some(Waiting::TenantRate) };
        if self.draining || self.running >= self.capacity {
            Some(Waiting::ServerFull)
        } else if tenant.free_slots() == 0 {
            Some(Waiting::TenantConcurrency)
        } else if !any(|trunk, _| trunk.pacer.free_slots() > 0) {
            Some(Waiting::TrunkConcurrency)
        } else if tenant.may_start(now) == 0 {
            Some(Waiting::TenantRate)
        } else if !any(|trunk, now| trunk.may_start(now) > 0) {
            Some(Waiting::TrunkRate)
        } else {
            None
        }
    }

    fn start(&mut self, tenant: TenantId, trunk: Option<&TrunkName>, calls: u32, now: Duration) {
        self.running += calls;
        if let Some(pacer) = self.tenants.get_mut(&tenant) {
            pacer.start(calls, now);
        }
        if let Some(trunk) = trunk.and_then(|trunk| self.trunks.get_mut(trunk)) {
            trunk.start(calls, now);
        }
    }
}

#[cfg(test)]
mod tests;
