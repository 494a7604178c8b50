//! What is to happen when, in virtual time; things of the same moment in the order in which they were
//! put in.

use std::collections::BTreeMap;
use std::time::Duration;

pub struct Agenda<T> {
    due: BTreeMap<(Duration, u64), T>,
    count: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Agenda { due: BTreeMap::new(), count: 0 }
    }
}

impl<T> Agenda<T> {
    pub fn put(&mut self, at: Duration, what: T) {
        self.count += 1;
        self.due.insert((at, self.count), what);
    }

    pub fn next(&self) -> Option<Duration> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// The first thing that is due at `now`.
    pub fn take(&mut self, now: Duration) -> Option<T> {
        let entry = self.due.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.due.values()
    }

    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}
