//! The places that a call takes: one of its tenant and of the server, and one of the trunk of each
//! party that is dialled over one.

use std::time::Duration;

use crate::backlog::Backlog;
use crate::vocabulary::{Side, TenantId, TrunkName};
use crate::writes::Unfinished;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slots {
    /// It waits for its caller, or for trunks.
    None,
    Held {
        called: Option<TrunkName>,
        caller: Option<TrunkName>,
    },
}

impl Slots {
    /// `called`: the trunk of the called party, where it is dialled over one.
    pub fn of(called: Option<TrunkName>) -> Slots {
        Slots::Held { called, caller: None }
    }

    pub fn called(&self) -> Option<&TrunkName> {
        self.side(Side::Called)
    }

    pub fn side(&self, side: Side) -> Option<&TrunkName> {
        match (self, side) {
            (Slots::None, _) => None,
            (Slots::Held { called, .. }, Side::Called) => called.as_ref(),
            (Slots::Held { caller, .. }, Side::Caller) => caller.as_ref(),
        }
    }

    /// The party is dialled over another trunk now.
    pub fn move_to(&mut self, side: Side, trunk: TrunkName) {
        match (self, side) {
            (Slots::None, _) => {}
            (Slots::Held { called, .. }, Side::Called) => *called = Some(trunk),
            (Slots::Held { caller, .. }, Side::Caller) => *caller = Some(trunk),
        }
    }
}

impl Backlog {
    /// What a call that the last run left behind takes; a called party that was never dialled may have
    /// any of its trunks.
    pub fn adopt_all(&mut self, found: &Unfinished, now: Duration) -> Slots {
        let of = |side: Side| {
            let attempts = found.legs.iter().rev().filter_map(|leg| leg.attempt.as_ref());
            let mut of_side = attempts.filter(|attempt| attempt.side == side);
            of_side.next().and_then(|attempt| attempt.trunk.clone())
        };
        let first = || found.intent.order.place.route()?.trunks().next().cloned();
        let called = of(Side::Called).or_else(first);
        let caller = of(Side::Caller);
        self.adopt(found.intent.tenant, called.as_ref(), now);
        if let Some(caller) = &caller {
            self.adopt_trunk(caller, now);
        }
        Slots::Held { called, caller }
    }

    /// Gives back what a call took.
    pub fn release(&mut self, tenant: TenantId, slots: Slots, now: Duration) {
        let Slots::Held { called, caller } = slots else { return };
        self.ended(tenant, called.as_ref(), now);
        if let Some(caller) = caller {
            self.release_trunk(&caller, now);
        }
    }
}
