//! What is done now and then.

use std::time::Duration;

use store::StoreError;
use tokio::sync::watch;

use crate::app::{App, unix_ms};
use crate::driver::{Happening, Happenings};

const EVERY: Duration = Duration::from_secs(30);

/// Forgets tokens and idempotency keys whose time is over, until `stop`.
pub fn start(app: &App, happenings: Happenings, mut stop: watch::Receiver<bool>) {
    let app = app.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = stop.changed() => break,
            }
            let now_ms = unix_ms();
            if let Err(error) = app.access.expire(now_ms).await {
                tracing::warn!(%error, "expired tokens could not be deleted");
                // On an idle server this may be the first to see it.
                if let StoreError::Stopped { why } = &error {
                    happenings.tell(Happening::DiskFailed(why.clone()));
                }
            }
            if let Err(error) = app.bindings.expire(now_ms).await {
                tracing::warn!(%error, "old bindings of virtual numbers could not be deleted");
            }
            if let Err(error) = app.store.expire_idempotency(now_ms).await {
                tracing::warn!(%error, "old idempotency keys could not be deleted");
            }
        }
    });
}
