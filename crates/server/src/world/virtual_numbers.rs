//! ITA: the bindings of the server, and what a call to a virtual number asks for.

use std::time::Duration;

use engine::Request;
use engine::intent::{BidirectionalCall, Caller, OrderKind};
use engine::vocabulary::TenantId;
use store::Store;

use super::callers::Bound;
use super::cast::POOL;
use super::clients::limits;
use super::nature::{Dice, at_once};
use super::orders;
use crate::tenants::{NumberBindings, Pair};

pub struct VirtualNumbers {
    bindings: NumberBindings,
    /// What `Request`s for calls that come in are drawn from.
    dice: Dice,
}

impl VirtualNumbers {
    /// As a start finds them.
    pub fn load(store: &Store, wall_ms: i64, seed: u64) -> VirtualNumbers {
        let bindings = NumberBindings::new(store.clone());
        at_once(bindings.load(wall_ms)).expect("the store in memory is readable");
        VirtualNumbers { bindings, dice: Dice::new(seed) }
    }

    /// Binds the parties of an ITA order, which are then called by their number; `None` where it is no such
    /// order, or no number is free for them, or the disk is broken.
    pub fn bind(&mut self, request: &mut Request, wall_ms: i64) -> Option<Bound> {
        let order = &mut request.order;
        let OrderKind::BidirectionalCall(BidirectionalCall {
            caller: Caller::Dialled(party),
            ita: true,
            ..
        }) = &mut order.kind
        else {
            return None;
        };
        let pair = Pair { tenant: request.tenant, a: &party.number, b: &order.called };
        let pool = POOL.map(str::to_owned);
        let until_ms = wall_ms + 5_000 + self.dice.below(60_000) as i64;
        let x = at_once(self.bindings.bind(pair, &pool, until_ms, wall_ms)).ok()?.x;
        let parties = [party.number.clone(), order.called.clone()];
        (party.presented, order.caller_present) = (x.clone(), x.clone());
        Some(Bound { x, parties })
    }

    /// The call of `from` to `x`; `None`: it reaches nobody.
    pub fn called(&mut self, x: &str, from: &str, wall_ms: i64) -> Option<Box<Request>> {
        let (tenant, called): (TenantId, String) = self.bindings.find(x, from, wall_ms)?;
        let order = orders::to_virtual_number(x, from, &called, &mut self.dice);
        let (limits, queue_timeout) = (limits(tenant), Duration::from_secs(300));
        Some(Box::new(Request { tenant, limits, idempotency: None, queue_timeout, order }))
    }

    /// Forgets those that are over.
    pub fn expire(&self, wall_ms: i64) -> Result<(), store::StoreError> {
        at_once(self.bindings.expire(wall_ms))
    }
}
