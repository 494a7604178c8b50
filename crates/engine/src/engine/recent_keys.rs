//! Idempotency keys of the last minute: those whose intent may not be readable in the store yet.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::intent::{Idempotency, IdempotencyKey};
use crate::vocabulary::{Deadline, Now, Serial};

/// Longer than any commit: after it the store answers.
const KEPT: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct RecentKeys {
    keys: BTreeMap<IdempotencyKey, ([u8; 32], Serial)>,
    by_age: VecDeque<(Deadline, IdempotencyKey)>,
}

impl RecentKeys {
    pub fn remember(&mut self, idempotency: Idempotency, serial: Serial, now: Now) {
        let Idempotency { key, body_sha256 } = idempotency;
        self.by_age.push_back((now.since_start + KEPT, key.clone()));
        self.keys.insert(key, (body_sha256, serial));
    }

    /// The call that the key made, and whether the body is the same.
    pub fn find(&self, idempotency: &Idempotency) -> Option<(Serial, bool)> {
        let (body, serial) = self.keys.get(&idempotency.key)?;
        Some((*serial, *body == idempotency.body_sha256))
    }

    pub fn forget_old(&mut self, now: Now) {
        while self.by_age.front().is_some_and(|(due, _)| *due <= now.since_start) {
            if let Some((_, key)) = self.by_age.pop_front() {
                self.keys.remove(&key);
            }
        }
    }
}
