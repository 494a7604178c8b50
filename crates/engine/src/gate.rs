//! What must be on disk before what.
//!
//! Writes go to the open batch at once. An action marked *after commit* waits until the batch that
//! was open when it was decided is on disk; the later actions of the same call queue behind it, so
//! that a call's actions keep their order. Other calls go on: a slow disk delays calls and does not
//! serialise them.

use std::collections::{BTreeMap, VecDeque};

use crate::action::{Action, BatchNumber};
use crate::vocabulary::Serial;

#[derive(Debug)]
pub struct Gate {
    open: BatchNumber,
    /// The last batch that is on disk.
    committed: BatchNumber,
    held: BTreeMap<Serial, VecDeque<Held>>,
    ready: VecDeque<Action>,
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
            ready: VecDeque::new(),
        }
    }
}

impl Gate {
    /// Not bound to anything on disk, unless earlier actions of the same call wait.
    pub fn act(&mut self, call: Serial, action: Action) {
        match self.held.get_mut(&call) {
            Some(queue) => queue.push_back(Held { after: BatchNumber(0), action }),
            None => self.ready.push_back(action),
        }
    }

    /// Waits for everything written so far.
    pub fn after_commit(&mut self, call: Serial, action: Action) {
        self.held.entry(call).or_default().push_back(Held { after: self.open, action });
    }

    /// Waits for the batch that was open when something earlier was written.
    pub fn after_batch(&mut self, call: Serial, batch: BatchNumber, action: Action) {
        if batch <= self.committed {
            self.act(call, action);
        } else {
            self.held.entry(call).or_default().push_back(Held { after: batch, action });
        }
    }

    /// Bound to no call: goes at once.
    pub fn now(&mut self, action: Action) {
        self.ready.push_back(action);
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
        self.held.retain(|_, queue| {
            while queue.front().is_some_and(|held| held.after <= committed) {
                ready.extend(queue.pop_front().map(|held| held.action));
            }
            !queue.is_empty()
        });
    }

    /// Nothing held will ever be done: its writes are not on disk.
    pub fn drop_held(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.held).into_values().flatten().map(|held| held.action).collect()
    }

    pub fn poll(&mut self) -> Option<Action> {
        self.ready.pop_front()
    }

    pub fn holds_nothing(&self) -> bool {
        self.held.is_empty() && self.ready.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::LegId;

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
        gate.act(ONE, hang_up(1));
        gate.act(TWO, hang_up(2));
        assert_eq!(drain(&mut gate), [hang_up(2)]);
        let batch = gate.close_batch();
        gate.committed(batch);
        assert_eq!(drain(&mut gate), [dial(1), hang_up(1)]);
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
    fn what_a_failed_disk_leaves_behind_is_never_done() {
        let mut gate = Gate::default();
        gate.after_commit(ONE, dial(1));
        assert_eq!(gate.drop_held(), [dial(1)]);
        gate.committed(BatchNumber(9));
        assert_eq!(drain(&mut gate), []);
    }
}
