//! How late the far end itself is: what it sees late was not late for that reason at the server.

use std::time::Duration;

use sim::Moment;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::witnesses::Quantiles;
use crate::serve::ServeError;

/// A timer of tokio has a resolution of 1 ms.
const EVERY: Duration = Duration::from_millis(5);

/// Watches until it is read or dropped.
pub struct Lateness {
    watch: JoinHandle<Vec<f64>>,
    _enough: oneshot::Sender<()>,
}

impl Lateness {
    pub fn watch() -> Lateness {
        let (enough, mut stop) = oneshot::channel();
        let watch = tokio::spawn(async move {
            let mut late_ms = Vec::new();
            loop {
                let asleep = Moment::now();
                let enough = tokio::select! {
                    () = tokio::time::sleep(EVERY) => false,
                    _ = &mut stop => true,
                };
                let late = Moment::now().since(asleep).saturating_sub(EVERY);
                late_ms.push(late.as_secs_f64() * 1000.0);
                if enough {
                    return late_ms;
                }
            }
        });
        Lateness { watch, _enough: enough }
    }

    /// How late what was due came to run.
    pub async fn read(self) -> Result<Quantiles, ServeError> {
        let Lateness { watch, _enough: enough } = self;
        drop(enough);
        Ok(Quantiles::of(watch.await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_runtime_that_is_kept_busy_is_late() {
        let lateness = Lateness::watch();
        tokio::task::yield_now().await;
        let begin = Moment::now();
        while Moment::now().since(begin) < 10 * EVERY {}
        assert!(lateness.read().await.expect("it ran").p99 >= 30.0);
    }
}
