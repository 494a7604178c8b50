//! ITA: the bindings of the server, and what a call to a virtual number asks for.

use std::time::Duration;

use engine::intent::{Binding, Caller, OrderKind};
use engine::vocabulary::TenantId;
use engine::{Refusal, Request};
use store::{NumberBinding, Store};
use tokio::sync::oneshot;

use super::callers::Bound;
use super::cast::POOL;
use super::clients::limits;
use super::nature::{Dice, at_once};
use super::orders;
use crate::calls::{Accepted, Ask};
use crate::tenants::{Held, NumberBindings, Pair};

pub type Reply = Result<Accepted, Refusal>;

pub struct VirtualNumbers {
    bindings: NumberBindings,
    placed: Vec<Placed>,
    /// What `Request`s for calls that come in are drawn from.
    dice: Dice,
}

/// An order that the engine has not answered yet.
struct Placed {
    held: Held,
    by_engine: oneshot::Receiver<Reply>,
    client: oneshot::Sender<Reply>,
}

impl VirtualNumbers {
    /// As a start finds them.
    pub fn load(store: &Store, wall_ms: i64, seed: u64) -> VirtualNumbers {
        let bindings = NumberBindings::new(store.clone());
        at_once(bindings.load(wall_ms)).expect("the store in memory is readable");
        VirtualNumbers { bindings, placed: Vec::new(), dice: Dice::new(seed) }
    }

    /// An ITA order as the interface hands it in: with the binding of its parties, who are then called by their number.
    /// `None` where it is no such order, or no number is free for them.
    pub fn ordered(
        &mut self,
        mut request: Box<Request>,
        client: oneshot::Sender<Reply>,
        wall_ms: i64,
    ) -> Option<(Ask, Bound)> {
        let order = &mut request.order;
        let OrderKind::BidirectionalCall(call) = &mut order.kind else { return None };
        let Caller::Dialled(party) = &mut call.caller else { return None };
        let pair = Pair { tenant: request.tenant, a: &party.number, b: &order.called };
        let pool = POOL.map(str::to_owned);
        let until_ms = wall_ms + 5_000 + self.dice.below(60_000) as i64;
        let held = at_once(self.bindings.hold(pair, &pool, until_ms, wall_ms)).ok()?;
        let NumberBinding { x, party_a, party_b, expires_ms, .. } = held.binding().clone();
        let parties = [party.number.clone(), order.called.clone()];
        call.binding = Some(Binding { party_a, party_b, expires_ms });
        (party.presented, order.caller_present) = (x.clone(), x.clone());
        let (sender, by_engine) = oneshot::channel();
        self.placed.push(Placed { held, by_engine, client });
        Some((Ask::Accept(request, sender), Bound { x, parties }))
    }

    /// Passes on what the engine says to orders, also to clients who do not wait any more; the bindings that are on disk
    /// now, with their calls.
    pub fn answer(&mut self) -> Vec<NumberBinding> {
        let mut kept = Vec::new();
        for mut placed in std::mem::take(&mut self.placed) {
            match placed.by_engine.try_recv() {
                Ok(reply) => {
                    let Placed { held, client, .. } = placed;
                    if matches!(reply, Ok(Accepted { replayed: false, .. })) {
                        kept.push(held.binding().clone());
                        held.keep();
                    }
                    let _ = client.send(reply);
                }
                Err(oneshot::error::TryRecvError::Empty) => self.placed.push(placed),
                Err(oneshot::error::TryRecvError::Closed) => {}
            }
        }
        kept
    }

    /// Whether an order has no answer yet.
    pub fn is_asking(&self) -> bool {
        !self.placed.is_empty()
    }

    /// Whether its parties reach each other.
    pub fn knows(&self, binding: &NumberBinding, wall_ms: i64) -> bool {
        let found = self.bindings.find(&binding.x, &binding.party_a, wall_ms);
        found.is_some_and(|(tenant, called)| {
            (tenant, called) == (binding.tenant, binding.party_b.clone())
        })
    }

    /// The call of `from` to `x`; `None`: it reaches nobody.
    pub fn called(&mut self, x: &str, from: &str, wall_ms: i64) -> Option<Box<Request>> {
        let (tenant, called): (TenantId, String) = self.bindings.find(x, from, wall_ms)?;
        let order = orders::to_virtual_number(x, from, &called, &mut self.dice);
        let (limits, queue_timeout) = (limits(tenant), Duration::from_secs(300));
        Some(Box::new(Request { tenant, limits, idempotency: None, queue_timeout, order }))
    }

    /// Forgets those that are over, at a time at which none is held: it would wait for that.
    pub fn expire(&self, wall_ms: i64) -> Result<(), store::StoreError> {
        if self.is_asking() {
            return Ok(());
        }
        at_once(self.bindings.expire(wall_ms))
    }
}
