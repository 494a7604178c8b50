//! What the store has done, for metrics and tests.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::batch::Batch;

/// Totals since the store was opened.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct CountersSnapshot {
    /// Transactions that were committed; several batches may share one.
    pub commits: u64,
    /// Batches that were committed.
    pub batches: u64,
    /// Writes in those batches.
    pub writes: u64,
    /// Batches and changes refused because too much was waiting.
    pub refused: u64,
    /// Call notes that were too large to keep.
    pub timelines_dropped: u64,
    /// Times that the log was moved into the database file.
    pub checkpoints: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    commits: AtomicU64,
    batches: AtomicU64,
    writes: AtomicU64,
    refused: AtomicU64,
    timelines_dropped: AtomicU64,
    checkpoints: AtomicU64,
}

impl Counters {
    pub(crate) fn count_commit(&self) {
        self.commits.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_batch(&self, batch: &Batch) {
        let dropped = batch.timelines.len() - batch.kept_timelines().count();
        self.batches.fetch_add(1, Relaxed);
        self.writes.fetch_add(batch.writes.len() as u64, Relaxed);
        self.timelines_dropped.fetch_add(dropped as u64, Relaxed);
    }

    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_checkpoint(&self) {
        self.checkpoints.fetch_add(1, Relaxed);
    }

    pub(crate) fn snapshot(&self) -> CountersSnapshot {
        CountersSnapshot {
            commits: self.commits.load(Relaxed),
            batches: self.batches.load(Relaxed),
            writes: self.writes.load(Relaxed),
            refused: self.refused.load(Relaxed),
            timelines_dropped: self.timelines_dropped.load(Relaxed),
            checkpoints: self.checkpoints.load(Relaxed),
        }
    }
}
