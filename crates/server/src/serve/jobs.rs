//! What is done now and then.

use std::time::Duration;

use tokio::sync::watch;

use crate::app::{App, unix_ms};

const EVERY: Duration = Duration::from_secs(60);

/// Forgets tokens and idempotency keys whose time is over, until `stop`.
pub fn start(app: &App, mut stop: watch::Receiver<bool>) {
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
            }
            if let Err(error) = app.store.expire_idempotency(now_ms).await {
                tracing::warn!(%error, "old idempotency keys could not be deleted");
            }
        }
    });
}
