//! The alarm for a tenant that calls where it never called before: often the first sign of a stolen key.
//!
//! What a tenant has called is kept in the store, so that a restart neither forgets it nor repeats an alarm. Its first
//! day is only learned from. An alarm names the beginning of the number and never the number.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock};

use engine::events::{Event, EventKind};
use engine::vocabulary::{DailyLimits, Serial, TenantId};
use engine::writes::Write;
use serde::{Deserialize, Serialize};
use store::{Store, StoreError};

/// The first calls of a tenant are all new: nothing is told of them.
const LEARNING_MS: i64 = DailyLimits::DAY_MS;

pub struct NewPrefixes {
    store: Store,
    /// Digits that count; 0: no alarm.
    digits: usize,
    known: RwLock<BTreeMap<TenantId, Known>>,
}

/// What one tenant has called: at most two times ten to the power of the digits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// When its first call was accepted, ms since 1970.
    since_ms: i64,
    prefixes: BTreeSet<String>,
}

impl NewPrefixes {
    /// `digits`: 0 (off) to 4.
    pub fn new(store: Store, digits: u8) -> NewPrefixes {
        NewPrefixes { store, digits: digits.into(), known: RwLock::default() }
    }

    /// Notes an accepted call. True where the alarm was raised: an event is in the tenant's log.
    ///
    /// # Errors
    /// The store did not take it; the next call to the same range raises the alarm.
    pub async fn note(
        &self,
        tenant: TenantId,
        serial: Serial,
        called: &str,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        if self.digits == 0 {
            return Ok(false);
        }
        let prefix = prefix(called, self.digits);
        if self.knows(tenant, &prefix).await? {
            return Ok(false);
        }
        let (all, alarm) = {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            let own = known
                .entry(tenant)
                .or_insert_with(|| Known { since_ms: now_ms, ..Known::default() });
            let is_new = own.prefixes.insert(prefix.clone());
            (own.clone(), is_new && now_ms - own.since_ms >= LEARNING_MS)
        };
        if alarm && let Err(error) = self.raise(tenant, serial, &prefix, now_ms).await {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.entry(tenant).and_modify(|own| {
                own.prefixes.remove(&prefix);
            });
            return Err(error);
        }
        let value = serde_json::to_vec(&all).expect("prefixes have string keys only");
        self.store.put_meta(&key(tenant), value).await?;
        Ok(alarm)
    }

    async fn knows(&self, tenant: TenantId, prefix: &str) -> Result<bool, StoreError> {
        let known = |all: &BTreeMap<TenantId, Known>| {
            all.get(&tenant).map(|known| known.prefixes.contains(prefix))
        };
        let answer = known(&self.known.read().unwrap_or_else(PoisonError::into_inner));
        if let Some(answer) = answer {
            return Ok(answer);
        }
        let Some(stored) = self.store.meta(&key(tenant)).await? else { return Ok(false) };
        let stored = serde_json::from_slice::<Known>(&stored).unwrap_or_else(|error| {
            tracing::warn!(tenant = tenant.0, %error, "what the tenant called so far is unreadable");
            Known::default()
        });
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        all.entry(tenant).or_insert(stored);
        Ok(known(&all).unwrap_or(false))
    }

    async fn raise(
        &self,
        tenant: TenantId,
        serial: Serial,
        prefix: &str,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        tracing::warn!(
            tenant = tenant.0, %serial, prefix,
            "the tenant calls numbers that begin like this for the first time"
        );
        let kind = EventKind::NewPrefix { prefix: prefix.to_owned() };
        let event = Event { tenant, serial: Some(serial), at_ms: now_ms, kind };
        self.store.submit(vec![Write::Event { event, callback: None }]).await?;
        Ok(())
    }
}

fn key(tenant: TenantId) -> String {
    format!("called_prefixes/{}", tenant.0)
}

/// The first digits of a number; `+` in front of them where it is written internationally.
fn prefix(called: &str, digits: usize) -> String {
    let abroad = called.strip_prefix('+').or_else(|| called.strip_prefix("00"));
    let (sign, rest) = abroad.map_or(("", called), |rest| ("+", rest));
    sign.chars().chain(rest.chars().take(digits)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: TenantId = TenantId(1);
    const T0: i64 = 1_795_000_000_000;

    #[tokio::test]
    async fn a_range_that_is_new_after_the_first_day_raises_the_alarm_once() {
        let store = Store::memory();
        let alarm = NewPrefixes::new(store.clone(), 3);
        let note = async |alarm: &NewPrefixes, called: &str, now_ms: i64| {
            alarm.note(T, Serial(7), called, now_ms).await.unwrap()
        };
        assert!(!note(&alarm, "13800000001", T0).await, "the first day is learned from");
        assert!(!note(&alarm, "+8613800000001", T0 + 1).await);
        let later = T0 + LEARNING_MS;
        assert!(!note(&alarm, "13899999999", later).await);
        assert!(!note(&alarm, "008613800000001", later).await, "00 is +");
        assert!(note(&alarm, "+8821330000001", later).await);
        assert!(!note(&alarm, "+8821330000002", later).await, "told once");

        let restarted = NewPrefixes::new(store.clone(), 3);
        assert!(!note(&restarted, "+8821330000001", later).await, "it is on disk");
        assert!(note(&restarted, "9001234567", later).await);
        assert!(!note(&NewPrefixes::new(store.clone(), 0), "777", later).await, "it is off");

        let log = store.events(T, 0, 10).await.unwrap();
        let kinds: Vec<EventKind> = log.into_iter().map(|(_, event)| event.kind).collect();
        let told = |prefix: &str| EventKind::NewPrefix { prefix: prefix.to_owned() };
        assert_eq!(kinds, [told("+882"), told("900")], "the beginning, never the number");
    }
}
