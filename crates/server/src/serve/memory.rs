//! Gives memory back after a rush. What calls have freed lies in between what lives on, and the allocator keeps it, in one
//! arena per thread, until it is asked to look for it; the database keeps pages that it has read and written. Looking takes
//! some milliseconds with the allocator's locks held, so it is asked when the work has become less, and not while it is at
//! its height.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use store::Store;
use tokio::sync::watch;

mod allocator;

/// How often the work is looked at.
const EVERY: Duration = Duration::from_secs(10);

/// Times that memory is given back after a rush: SIP remembers transactions for 32 s, ports rest for 30 s, and what they
/// held comes free later than the calls themselves.
const TIMES: u8 = 6;

/// Share of a core below which a server is idle, whatever it did before.
const IDLE: f64 = 0.05;

/// Watches the process's own work until `stop`.
pub fn start(store: Store, mut stop: watch::Receiver<bool>) {
    tokio::spawn(async move {
        let (mut work, mut before) = (Work::Steady { busiest: 0.0 }, cpu_time());
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = stop.changed() => break,
            }
            let now = cpu_time();
            let share = now.saturating_sub(before).as_secs_f64() / EVERY.as_secs_f64();
            before = now;
            if work.is_over(share) {
                if let Err(error) = store.release_memory().await {
                    tracing::debug!(%error, "the database keeps its memory");
                }
                // Away from the tasks: it may take a while.
                let released = tokio::task::spawn_blocking(allocator::release).await;
                tracing::debug!(released = released.unwrap_or(false), "memory given back");
            }
        }
    });
}

/// How busy the process was. `busiest` and `at` are shares of a core.
#[derive(Debug, PartialEq)]
enum Work {
    Steady {
        busiest: f64,
    },
    /// It has become less; so often memory is still to be given back.
    Less {
        at: f64,
        times: u8,
    },
}

impl Work {
    /// Takes the share of the last interval; whether memory is to be given back now.
    fn is_over(&mut self, share: f64) -> bool {
        match *self {
            Work::Steady { busiest } if busiest > IDLE && share <= busiest / 2.0 => {
                *self = Work::Less { at: share, times: TIMES - 1 };
                true
            }
            Work::Steady { busiest } => {
                *self = Work::Steady { busiest: busiest.max(share) };
                false
            }
            Work::Less { at, .. } if share > IDLE && share > at * 2.0 => {
                *self = Work::Steady { busiest: share };
                false
            }
            Work::Less { at, times: 0 } => {
                *self = Work::Steady { busiest: at };
                false
            }
            Work::Less { at, times } => {
                *self = Work::Less { at: at.max(share), times: times - 1 };
                true
            }
        }
    }
}

/// User and system time of this process so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given_back(shares: impl IntoIterator<Item = f64>) -> Vec<bool> {
        let mut work = Work::Steady { busiest: 0.0 };
        shares.into_iter().map(|share| work.is_over(share)).collect()
    }

    #[test]
    fn memory_is_given_back_for_a_minute_after_a_rush_and_then_no_more() {
        let rush = [0.01, 0.6, 0.8, 0.7, 0.5];
        let mut expected = vec![false; rush.len()];
        expected.extend([true; TIMES as usize]);
        expected.extend([false; 20]);
        assert_eq!(given_back(rush.into_iter().chain([0.02; TIMES as usize + 20])), expected);
    }

    #[test]
    fn steady_work_and_an_idle_server_are_left_alone() {
        let steady = (0..100).map(|n| if n % 2 == 0 { 0.9 } else { 0.6 });
        assert!(!given_back(steady).contains(&true));
        let idle = (0..100).map(|n| if n % 2 == 0 { 0.04 } else { 0.001 });
        assert!(!given_back(idle).contains(&true));
    }

    #[test]
    fn the_next_rush_ends_it_and_is_followed_by_the_next() {
        let shares = [0.8, 0.1, 0.1, 0.9, 0.9, 0.1];
        assert_eq!(given_back(shares), [false, true, true, false, false, true]);
        let half = [0.9, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.1];
        let given = given_back(half);
        assert_eq!(given.iter().filter(|given| **given).count(), TIMES as usize + 1, "twice less");
    }
}
