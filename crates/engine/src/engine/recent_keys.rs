//! Idempotency keys of the last minute: those whose intent may not be readable in the store yet.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::action::BatchNumber;
use crate::intent::{Idempotency, IdempotencyKey};
use crate::vocabulary::{Deadline, Now, Serial};

/// Longer than any commit: after it the store answers.
const KEPT: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct RecentKeys {
    keys: BTreeMap<IdempotencyKey, Recent>,
    by_age: VecDeque<(Deadline, IdempotencyKey)>,
}

/// What a key made.
#[derive(Debug, Clone, Copy)]
pub struct Recent {
    pub body_sha256: [u8; 32],
    pub serial: Serial,
    /// The batch that its intent is in, once it is in one.
    pub batch: Option<BatchNumber>,
}

impl RecentKeys {
    pub fn remember(&mut self, idempotency: Idempotency, serial: Serial, now: Now) {
        let Idempotency { key, body_sha256 } = idempotency;
        self.by_age.push_back((now.since_start + KEPT, key.clone()));
        self.keys.insert(key, Recent { body_sha256, serial, batch: None });
    }

    pub fn written(&mut self, key: &IdempotencyKey, batch: BatchNumber) {
        if let Some(recent) = self.keys.get_mut(key) {
            recent.batch = Some(batch);
        }
    }

    pub fn find(&self, key: &IdempotencyKey) -> Option<Recent> {
        self.keys.get(key).copied()
    }

    pub fn forget_old(&mut self, now: Now) {
        while self.by_age.front().is_some_and(|(due, _)| *due <= now.since_start) {
            if let Some((_, key)) = self.by_age.pop_front() {
                self.keys.remove(&key);
            }
        }
    }
}
