//! The store in memory: the same verbs on ordered maps, without a thread, a clock or a runtime.
//!
//! What is submitted waits until somebody waits for it (or [`Memory::commit`] is called) and is
//! then committed as one group. A crash loses what waits: see [`Memory::crash`].

mod tables;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::Store;
use crate::batch::{Batch, Submitted};
use crate::callbacks::{CallbackDue, CallbackState, Offered, offered};
use crate::counters::Counters;
use crate::error::{CommitError, StoreError};
use crate::work::{Answer, GROUP_WEIGHT, Outcome, QUEUE_LIMIT, QUEUE_RESERVE, Reply, Work};
pub(crate) use tables::Tables;

/// A store that lives as long as its handles.
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<State>,
    offered: Mutex<Offered>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct State {
    committed: Tables,
    waiting: VecDeque<(Work, Reply)>,
    stopped: Option<String>,
}

impl Memory {
    /// What a process that is started after a crash finds: everything that was committed and
    /// nothing that waits. This store has stopped from then on. To be called before the handles
    /// of waiting batches are dropped, since dropping one commits it.
    pub fn crash(&self) -> Store {
        let committed = self.lock().committed.clone();
        self.fail("it crashed");
        let state = State { committed, ..State::default() };
        Store::Memory(Arc::new(Memory { state: Mutex::new(state), ..Memory::default() }))
    }

    /// Commits what waits, as a disk would by itself after a while.
    pub fn commit(&self) {
        let mut state = self.lock();
        while !state.waiting.is_empty() {
            self.commit_group(&mut state);
        }
    }

    /// Fails what waits and everything after it, as a full or broken disk does.
    pub fn fail(&self, why: &str) {
        let mut state = self.lock();
        let why = state.stopped.get_or_insert_with(|| why.to_owned()).clone();
        for (_, reply) in state.waiting.drain(..) {
            reply.send(Err(CommitError::Stopped { why: why.clone() })).ok();
        }
    }

    pub(crate) fn submit(self: &Arc<Self>, batch: Batch) -> Submitted {
        let room = if batch.accepts() { QUEUE_LIMIT - QUEUE_RESERVE } else { QUEUE_LIMIT };
        match self.enqueue(Work::Submit(batch), room) {
            Ok(answer) => Submitted::new(answer, Some(Arc::clone(self))),
            Err(error) => Submitted::refused(error),
        }
    }

    pub(crate) async fn perform(&self, work: Work) -> Result<Outcome, StoreError> {
        let answer = self.enqueue(work, QUEUE_LIMIT)?;
        self.commit();
        match answer.await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(StoreError::Stopped { why: "its writer is gone".into() }),
        }
    }

    /// Reads what was committed.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Tables) -> T) -> T {
        read(&self.lock().committed)
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn callbacks_due(&self, now_ms: i64, limit: usize) -> Vec<CallbackDue> {
        let committed = &self.lock().committed;
        let due = committed.callbacks.by_due_time();
        let due = due.take_while(|(at_ms, _)| *at_ms <= now_ms).map(|(_, id)| id);
        let free = offered::lock(&self.offered).offer(due, now_ms, limit);
        free.into_iter()
            .filter_map(|id| {
                let CallbackState { url, attempts, .. } = committed.callbacks.state(id)?.clone();
                let event = committed.events.rows.get(&(id.tenant, id.position))?.clone();
                Some(CallbackDue { id, url, attempt_number: attempts + 1, event })
            })
            .collect()
    }

    pub(crate) fn next_callback_ms(&self) -> Option<i64> {
        let state = self.lock();
        let mut due = state.committed.callbacks.by_due_time();
        let offered = offered::lock(&self.offered);
        let free = due.find(|(_, id)| !offered.holds(*id)).map(|(at_ms, _)| at_ms);
        free.into_iter().chain(offered.next_ms()).min()
    }

    pub(crate) fn offered(&self) -> &Mutex<Offered> {
        &self.offered
    }

    fn enqueue(&self, work: Work, room: usize) -> Result<Answer, CommitError> {
        let mut state = self.lock();
        if let Some(why) = &state.stopped {
            return Err(CommitError::Stopped { why: why.clone() });
        }
        if state.waiting.len() >= room {
            self.counters.count_refused();
            return Err(CommitError::Busy);
        }
        let (reply, answer) = oneshot::channel();
        state.waiting.push_back((work, reply));
        Ok(answer)
    }

    fn commit_group(&self, state: &mut State) {
        let mut weight = 0;
        let mut done = Vec::new();
        while weight < GROUP_WEIGHT
            && let Some((work, reply)) = state.waiting.pop_front()
        {
            weight += work.weight();
            let outcome = state.committed.apply(&work);
            if let (Work::Submit(batch), Ok(_)) = (&work, &outcome) {
                self.counters.count_batch(batch);
            }
            done.push((reply, outcome));
        }
        self.counters.count_commit();
        for (reply, outcome) in done {
            reply.send(outcome).ok();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside would be a bug in the tables; what was committed is still the best there is.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
