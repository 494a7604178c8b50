//! The hot verb's nouns: what is submitted, and what its commit says.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use engine::vocabulary::{Serial, TenantId};
use engine::writes::Write;
use tokio::sync::oneshot;

use crate::error::CommitError;
use crate::memory::Memory;
use crate::registrations::Registration;
use crate::timelines::MAX_TIMELINE_BYTES;
use crate::work::{Answer, Outcome};

/// Writes that are stored together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    pub writes: Vec<Write>,
    /// The notes of calls, JSON, normally beside their terminal rows. Stored compressed; notes of
    /// more than [`crate::MAX_TIMELINE_BYTES`] are dropped and counted, the rest of the batch stays.
    pub timelines: Vec<(Serial, Vec<u8>)>,
    /// Where phones are now. Of each number the last counts, in the order of the batches.
    pub registrations: Vec<Registration>,
}

impl From<Vec<Write>> for Batch {
    fn from(writes: Vec<Write>) -> Self {
        Batch { writes, ..Batch::default() }
    }
}

impl Batch {
    /// Whether a new call is in it: refused earlier than the writes of calls that are up.
    pub(crate) fn accepts(&self) -> bool {
        self.writes.iter().any(|write| matches!(write, Write::Accepted { .. }))
    }

    pub fn is_empty(&self) -> bool {
        let Batch { writes, timelines, registrations } = self;
        writes.is_empty() && timelines.is_empty() && registrations.is_empty()
    }

    /// The notes that are small enough to be stored.
    pub(crate) fn kept_timelines(&self) -> impl Iterator<Item = (Serial, &[u8])> {
        let all = self.timelines.iter().map(|(serial, notes)| (*serial, notes.as_slice()));
        all.filter(|(_, notes)| notes.len() <= MAX_TIMELINE_BYTES)
    }
}

/// A batch that is on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// One per `Write::Event`, in the order of the batch.
    pub positions: Vec<EventPosition>,
}

/// A place in a tenant's event log, from 1, without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventPosition {
    pub tenant: TenantId,
    pub position: u64,
}

/// Resolves when the batch is on disk or known not to be stored. Dropping it does not take the
/// batch back.
#[must_use = "nothing that promises the batch may happen before this resolves"]
#[derive(Debug)]
pub struct Submitted {
    answer: Answer,
    /// The memory backend has no thread of its own: it commits when somebody waits.
    memory: Option<Arc<Memory>>,
}

impl Submitted {
    pub(crate) fn new(answer: Answer, memory: Option<Arc<Memory>>) -> Self {
        Submitted { answer, memory }
    }

    pub(crate) fn refused(error: CommitError) -> Self {
        let (sender, answer) = oneshot::channel();
        sender.send(Err(error)).expect("the receiver is held");
        Submitted { answer, memory: None }
    }
}

impl Future for Submitted {
    type Output = Result<Committed, CommitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(memory) = self.memory.take() {
            memory.commit();
        }
        Pin::new(&mut self.answer).poll(context).map(|answer| match answer {
            Ok(Ok(Outcome::Committed(committed))) => Ok(committed),
            Ok(Ok(Outcome::Claimed(_) | Outcome::Changed(_))) => {
                unreachable!("a batch is answered as a batch")
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(CommitError::Stopped { why: "its writer is gone".into() }),
        })
    }
}

impl Drop for Submitted {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            memory.commit();
        }
    }
}
