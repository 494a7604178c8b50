//! Removes what has outlived its time, in steps that no call notices.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use engine::vocabulary::TenantId;
use store::{Expiry, Store, StoreError, TimelineMark};
use tokio::sync::watch;

use crate::app::{App, unix_ms};
use crate::recordings;
use crate::tenants::Horizons;

/// Between two looks at all tenants.
const EVERY: Duration = Duration::from_secs(600);
/// Rows of one transaction: the writer is busy with them for some milliseconds.
const STEP: u32 = 500;
/// After each of them, so that calls come first: 10,000 rows a second at the most.
const PAUSE: Duration = Duration::from_millis(50);

/// Until `stop`.
pub fn start(app: &App, mut stop: watch::Receiver<bool>) {
    let app = app.clone();
    tokio::spawn(async move {
        let mut retention =
            Retention::new(app.store.clone(), app.config.data_directory.clone(), PAUSE);
        loop {
            let pass = async {
                for tenant in app.tenants.all() {
                    let own = tenant.settings.retention;
                    let horizons = own.horizons(&app.config.defaults.retention, unix_ms());
                    if let Err(error) = retention.pass(tenant.id, horizons).await {
                        tracing::warn!(%error, "old rows could not be removed; it is tried again");
                    }
                }
                tokio::time::sleep(EVERY).await;
            };
            tokio::select! {
                () = pass => {}
                _ = stop.changed() => break,
            }
        }
    });
}

struct Retention {
    store: Store,
    data_directory: PathBuf,
    pause: Duration,
    /// How far each tenant's timelines have been looked through in this run of the process.
    timelines: BTreeMap<TenantId, TimelineMark>,
}

impl Retention {
    fn new(store: Store, data_directory: PathBuf, pause: Duration) -> Retention {
        Retention { store, data_directory, pause, timelines: BTreeMap::new() }
    }

    /// All that is old of one tenant. Callbacks first, since they hold events; records last, since
    /// timelines are found by them.
    async fn pass(&mut self, tenant: TenantId, horizons: Horizons) -> Result<(), StoreError> {
        let store = self.store.clone();
        let step = |before_ms| Expiry { tenant, before_ms, limit: STEP };
        if let Some(before_ms) = horizons.callbacks {
            while store.expire_callbacks(step(before_ms)).await? > 0 {
                tokio::time::sleep(self.pause).await;
            }
        }
        if let Some(before_ms) = horizons.events {
            while store.expire_events(step(before_ms)).await? > 0 {
                tokio::time::sleep(self.pause).await;
            }
        }
        if let Some(before_ms) = horizons.timelines {
            self.timelines(step(before_ms)).await?;
        }
        if let Some(before_ms) = horizons.recordings {
            self.recordings(tenant, before_ms).await?;
        }
        if let Some(before_ms) = horizons.records {
            while store.expire_records(step(before_ms)).await? > 0 {
                tokio::time::sleep(self.pause).await;
            }
        }
        Ok(())
    }

    async fn timelines(&mut self, step: Expiry) -> Result<(), StoreError> {
        loop {
            let mark = self.timelines.get(&step.tenant).copied().unwrap_or_default();
            let Some(next) = self.store.expire_timelines(step, mark).await? else { return Ok(()) };
            self.timelines.insert(step.tenant, next);
            tokio::time::sleep(self.pause).await;
        }
    }

    /// The keys of encrypted files go before them.
    async fn recordings(&self, tenant: TenantId, before_ms: i64) -> Result<(), StoreError> {
        let mut files = 0;
        loop {
            let directory = self.data_directory.clone();
            let step = STEP as usize;
            let find = move || recordings::old(&directory, tenant, before_ms, step);
            let old = match told(tokio::task::spawn_blocking(find).await) {
                Some(old) if !old.is_empty() => old,
                Some(_) | None => break,
            };
            let keys = old.iter().filter_map(|file| file.key.clone()).collect();
            self.store.remove_secrets(tenant, keys).await?;
            files += old.len();
            let remove = move || recordings::remove(&old);
            if told(tokio::task::spawn_blocking(remove).await).is_none() {
                break;
            }
            tokio::time::sleep(self.pause).await;
        }
        if files > 0 {
            tracing::info!(tenant = tenant.0, files, "old recordings removed");
        }
        Ok(())
    }
}

/// What was done, or `None` after it was said why not.
fn told<T>(done: Result<std::io::Result<T>, tokio::task::JoinError>) -> Option<T> {
    match done {
        Ok(Ok(done)) => return Some(done),
        Ok(Err(error)) => tracing::warn!(%error, "old recordings could not be removed"),
        Err(error) => tracing::error!(%error, "removing old recordings panicked"),
    }
    None
}

#[cfg(test)]
mod tests;
