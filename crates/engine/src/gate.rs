//! What must be on disk before what.
//!
//! Writes go to the open batch at once. An action marked *after commit* waits until the batch that
//! was open when it was decided is on disk; the later actions of the same call queue behind it, so
//! that a call's actions keep their order. Other calls go on: a slow disk delays calls and does not
//! serialise them. Replies wait for their batch and hold back nothing.
//!
//! A claim comes out last, when every write decided before it has been handed over: the driver
//! closes the batch at a claim, and what waits for that batch must find its writes in it.

use std::collections::{BTreeMap, VecDeque};

use crate::action::{Action, BatchNumber};
use crate::vocabulary::{LegId, Serial};

#[derive(Debug)]
pub struct Gate {
    open: BatchNumber,
    /// The last batch that is on disk.
    committed: BatchNumber,
    held: BTreeMap<Serial, VecDeque<Held>>,
    replies: VecDeque<Held>,
    ready: VecDeque<Action>,
    claims: VecDeque<Action>,
    disk: Disk,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    Works,
    /// A batch was refused: what waits for the disk is never done.
    Refuses,
}

#[derive(Debug)]
struct Held {
    /// May go once this batch is on disk.
    after: BatchNumber,
    action: Action,
}

impl Default for Gate {
    fn default() -> Self {
        Gate {
            open: BatchNumber(1),
            committed: BatchNumber(0),
            held: BTreeMap::new(),
            replies: VecDeque::new(),
            ready: VecDeque::new(),
            claims: VecDeque::new(),
            disk: Disk::Works,
        }
    }
}

impl Gate {
    /// Not bound to anything on disk, unless earlier actions of the same call wait. An INVITE that waits
    /// for the disk when its leg is told to end never leaves: nobody's phone rings for a moment.
    pub fn act(&mut self, call: Serial, action: Action) {
        if let Action::HangUp { leg } = &action {
            self.retract_dial(call, *leg);
        }
        match self.held.get_mut(&call) {
            Some(queue) => queue.push_back(Held { after: BatchNumber(0), action }),
            None => self.ready.push_back(action),
        }
    }

    /// Waits for everything written so far.
    pub fn after_commit(&mut self, call: Serial, action: Action) {
        if self.disk == Disk::Works {
            self.held.entry(call).or_default().push_back(Held { after: self.open, action });
        }
    }

    /// A reply that promises what `batch` holds.
    pub fn reply_after(&mut self, batch: BatchNumber, action: Action) {
        if batch <= self.committed {
            self.ready.push_back(action);
        } else {
            self.replies.push_back(Held { after: batch, action });
        }
    }

    /// Bound to no call: goes at once.
    pub fn now(&mut self, action: Action) {
        self.ready.push_back(action);
    }

    /// Goes when nothing else is ready.
    pub fn claim(&mut self, action: Action) {
        self.claims.push_back(action);
    }

    pub fn open_batch(&self) -> BatchNumber {
        self.open
    }

    /// The driver takes the batch as it is; what is written from here on belongs to the next one.
    pub fn close_batch(&mut self) -> BatchNumber {
        let closed = self.open;
        self.open = BatchNumber(closed.0 + 1);
        closed
    }

    pub fn committed(&mut self, batch: BatchNumber) {
        self.committed = self.committed.max(batch);
        let committed = self.committed;
        let ready = &mut self.ready;
        while self.replies.front().is_some_and(|held| held.after <= committed) {
            ready.extend(self.replies.pop_front().map(|held| held.action));
        }
        self.held.retain(|_, queue| {
            while queue.front().is_some_and(|held| held.after <= committed) {
                ready.extend(queue.pop_front().map(|held| held.action));
            }
            !queue.is_empty()
        });
    }

    /// The disk refused a batch. Nothing that waited for it is ever done; it is given back, so that
    /// its calls can be ended and its askers refused.
    pub fn disk_refused(&mut self) -> Vec<Action> {
        self.disk = Disk::Refuses;
        let held = std::mem::take(&mut self.held).into_values().flatten();
        held.chain(std::mem::take(&mut self.replies)).map(|held| held.action).collect()
    }

    /// Whether an INVITE of this call waits for the disk.
    pub fn holds_dial(&self, call: Serial) -> bool {
        let held = self.held.get(&call).into_iter().flatten();
        held.into_iter().any(|held| matches!(held.action, Action::Dial { .. }))
    }

    /// The INVITE of `leg` is not wanted any more; it waits for the disk, or was never decided.
    pub fn retract_dial(&mut self, call: Serial, leg: LegId) {
        let Some(queue) = self.held.get_mut(&call) else { return };
        queue.retain(|held| held.action != Action::Dial { leg });
        if queue.is_empty() {
            self.held.remove(&call);
        }
    }

    pub fn poll(&mut self) -> Option<Action> {
        self.ready.pop_front().or_else(|| self.claims.pop_front())
    }

    pub fn holds_nothing(&self) -> bool {
        self.held.is_empty() && self.replies.is_empty() && self.ready.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Serial = Serial(1);
    const TWO: Serial = Serial(2);

    fn dial(leg: u64) -> Action {
        Action::Dial { leg: LegId(leg) }
    }

    fn hang_up(leg: u64) -> Action {
        Action::HangUp { leg: LegId(leg) }
    }

    fn drain(gate: &mut Gate) -> Vec<Action> {
        std::iter::from_fn(|| gate.poll()).collect()
    }

    #[test]
    fn an_invite_waits_for_its_batch_and_holds_back_only_its_own_call() {
        let mut gate = Gate::default();
        gate.after_commit(ONE, dial(1));
        gate.act(ONE, hang_up(3));
        gate.act(TWO, hang_up(2));
        assert_eq!(drain(&mut gate), [hang_up(2)]);
        let batch = gate.close_batch();
        gate.committed(batch);
        assert_eq!(drain(&mut gate), [dial(1), hang_up(3)]);
    }

    #[test]
    fn an_invite_whose_leg_is_told_to_end_meanwhile_never_leaves() {
        let mut gate = Gate::default();
        gate.after_commit(ONE, dial(1));
        gate.act(ONE, hang_up(1));
        assert_eq!(drain(&mut gate), [hang_up(1)], "and the hang-up waits for nothing");
        gate.after_commit(ONE, dial(2));
        gate.after_commit(ONE, dial(3));
        gate.act(ONE, hang_up(3));
        let batch = gate.close_batch();
        gate.committed(batch);
        assert_eq!(drain(&mut gate), [dial(2), hang_up(3)]);
        assert!(gate.holds_nothing());
    }

    #[test]
    fn an_invite_that_is_taken_back_never_leaves_and_holds_nothing_back() {
        let mut gate = Gate::default();
        gate.after_commit(ONE, dial(1));
        assert!(gate.holds_dial(ONE) && !gate.holds_dial(TWO));
        gate.retract_dial(ONE, LegId(2));
        assert!(gate.holds_dial(ONE));
        gate.retract_dial(ONE, LegId(1));
        assert!(!gate.holds_dial(ONE) && gate.holds_nothing());
        gate.act(ONE, hang_up(1));
        assert_eq!(drain(&mut gate), [hang_up(1)]);
    }

    #[test]
    fn a_later_write_waits_for_its_own_batch() {
        let mut gate = Gate::default();
        gate.after_commit(ONE, dial(1));
        let first = gate.close_batch();
        gate.after_commit(ONE, dial(2));
        gate.committed(first);
        assert_eq!(drain(&mut gate), [dial(1)]);
        let second = gate.close_batch();
        gate.committed(second);
        assert_eq!(drain(&mut gate), [dial(2)]);
        assert!(gate.holds_nothing());
    }

    #[test]
    fn what_a_failed_disk_leaves_behind_is_never_done_and_a_hang_up_always_is() {
        let mut gate = Gate::default();
        gate.after_commit(ONE, dial(1));
        assert_eq!(gate.disk_refused(), [dial(1)]);
        gate.after_commit(ONE, dial(1));
        gate.act(ONE, hang_up(1));
        gate.committed(BatchNumber(9));
        assert_eq!(drain(&mut gate), [hang_up(1)]);
    }

    #[test]
    fn a_claim_comes_out_after_every_write_that_was_decided_before_it() {
        let mut gate = Gate::default();
        let claim = Action::Claim {
            claim: crate::action::ClaimId(1),
            what: crate::action::Claim::Expired { now_ms: 0, limit: 1 },
        };
        gate.claim(claim.clone());
        gate.now(hang_up(1));
        assert_eq!(drain(&mut gate), [hang_up(1), claim]);
    }

    #[test]
    fn a_reply_waits_for_its_batch_and_holds_nothing_back() {
        let mut gate = Gate::default();
        let reply = Action::Reply {
            ticket: crate::request::Ticket(1),
            reply: crate::request::Reply::Cancelled,
        };
        gate.reply_after(gate.open_batch(), reply.clone());
        gate.act(ONE, hang_up(1));
        assert_eq!(drain(&mut gate), [hang_up(1)]);
        let batch = gate.close_batch();
        gate.committed(batch);
        assert_eq!(drain(&mut gate), std::slice::from_ref(&reply));
        gate.reply_after(batch, reply.clone());
        assert_eq!(drain(&mut gate), [reply]);
    }
}
