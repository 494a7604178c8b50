//! How many bidirectional calls a trial tenant has made today (return code 21 of page 001).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::vocabulary::TenantId;
use store::{CallQuery, Store, StoreError, Tasks};
use tokio::sync::Mutex;

/// One-click bidirectional calls of a trial tenant in a day (page 001).
pub const CALLS_PER_DAY: u64 = 10;

/// Counted by the store when a day is first asked about, here from then on.
pub struct TrialDays {
    store: Store,
    days: Mutex<BTreeMap<TenantId, Day>>,
}

struct Day {
    start_ms: i64,
    calls: Arc<AtomicU64>,
}

/// One call of the day, given back unless it is kept.
#[must_use = "a call that is dropped does not count"]
pub struct CallOfToday(Option<Arc<AtomicU64>>);

impl TrialDays {
    pub fn new(store: Store) -> TrialDays {
        TrialDays { store, days: Mutex::default() }
    }

    /// One more call on the day that began at `day_start_ms`; `None`: there were ten.
    pub async fn reserve(
        &self,
        tenant: TenantId,
        day_start_ms: i64,
    ) -> Result<Option<CallOfToday>, StoreError> {
        let mut days = self.days.lock().await;
        let calls = match days.get(&tenant).filter(|day| day.start_ms == day_start_ms) {
            Some(day) => day.calls.clone(),
            None => {
                let calls = Arc::new(AtomicU64::new(self.counted(tenant, day_start_ms).await?));
                days.insert(tenant, Day { start_ms: day_start_ms, calls: calls.clone() });
                calls
            }
        };
        if calls.load(Ordering::Relaxed) >= CALLS_PER_DAY {
            return Ok(None);
        }
        calls.fetch_add(1, Ordering::Relaxed);
        Ok(Some(CallOfToday(Some(calls))))
    }

    async fn counted(&self, tenant: TenantId, day_start_ms: i64) -> Result<u64, StoreError> {
        let query = |tasks| CallQuery {
            tenant,
            start_ms: day_start_ms,
            end_ms: i64::MAX,
            caller: None,
            tasks,
            offset: 0,
            limit: 0,
        };
        let (aicc, _) = self.store.calls(&query(Tasks::Bidirectional)).await?;
        let (ita, _) = self.store.calls(&query(Tasks::Ita)).await?;
        Ok(aicc + ita)
    }
}

impl CallOfToday {
    pub fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for CallOfToday {
    fn drop(&mut self) {
        if let Some(calls) = &self.0 {
            calls.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
