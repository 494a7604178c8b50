//! Tells the registrar who may register: at the start, and whenever a tenant changes it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;

use super::ServeError;
use crate::tenants::Softphones;

/// A registrar that is busy hears of a change so much later.
const BUSY: Duration = Duration::from_millis(200);

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
            tokio::select! {
                () = until_taken(|| tell(&softphones, &endpoint)) => {}
                _ = stop.changed() => break,
            }
        }
    });
    Ok(())
}

/// Each time with the softphones of then. A change that was dropped would keep a suspended phone registered.
async fn until_taken(mut tell: impl FnMut() -> Result<(), sip::Busy>) {
    while let Err(busy) = tell() {
        tracing::warn!(%busy, "the registrar has not heard of the changed softphones yet");
        tokio::time::sleep(BUSY).await;
    }
}

fn tell(softphones: &Softphones, endpoint: &sip::Endpoint) -> Result<(), sip::Busy> {
    let users: BTreeMap<_, _> =
        softphones.users().into_iter().map(|(number, (_, digest))| (number, digest)).collect();
    endpoint.command(sip::Command::SetUsers(users))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_registrar_that_is_busy_is_told_again_until_it_takes_it() {
        let begun = tokio::time::Instant::now();
        let mut told = 0;
        until_taken(|| {
            told += 1;
            if told < 4 { Err(sip::Busy) } else { Ok(()) }
        })
        .await;
        assert_eq!((told, begun.elapsed()), (4, 3 * BUSY));
    }
}
