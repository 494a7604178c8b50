//! Tells the registrar who may register: at the start, and whenever a tenant changes it.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::ServeError;
use crate::tenants::Softphones;

/// Until `stop`.
///
/// # Errors
/// The SIP core does not take the first list.
pub fn start(
    softphones: &Softphones,
    endpoint: sip::Endpoint,
    mut stop: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let mut changes = softphones.changes();
    changes.borrow_and_update();
    tell(softphones, &endpoint)?;
    let softphones = softphones.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { break },
                _ = stop.changed() => break,
            }
            if let Err(busy) = tell(&softphones, &endpoint) {
                tracing::error!(%busy, "the registrar has not heard of the changed softphones");
            }
        }
    });
    Ok(())
}

fn tell(softphones: &Softphones, endpoint: &sip::Endpoint) -> Result<(), sip::Busy> {
    let users: BTreeMap<_, _> =
        softphones.users().into_iter().map(|(number, (_, digest))| (number, digest)).collect();
    endpoint.command(sip::Command::SetUsers(users))
}
