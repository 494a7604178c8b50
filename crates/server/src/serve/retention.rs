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
            self.recordings(tenant, before_ms).await;
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

    async fn recordings(&self, tenant: TenantId, before_ms: i64) {
        let directory = self.data_directory.clone();
        let removed =
            tokio::task::spawn_blocking(move || recordings::expire(&directory, tenant, before_ms));
        match removed.await {
            Ok(Ok(0)) => {}
            Ok(Ok(files)) => tracing::info!(tenant = tenant.0, files, "old recordings removed"),
            Ok(Err(error)) => tracing::warn!(%error, "old recordings could not be removed"),
            Err(error) => tracing::error!(%error, "removing old recordings panicked"),
        }
    }
}

#[cfg(test)]
mod tests;
