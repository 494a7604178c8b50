//! What media threads and tasks tell the driver.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::Happening;

/// Things that may wait for the driver, besides what `sip` has for it.
const HAPPENINGS: usize = 1 << 17;

/// The sender that media threads and tasks use.
#[derive(Clone)]
pub struct Happenings {
    sender: mpsc::Sender<Happening>,
    late: Late,
}

/// The driver's end.
pub struct Happened {
    receiver: mpsc::Receiver<Happening>,
    late: Late,
}

/// What came from those who may not wait while the queue was full, in its order: empty otherwise, and once
/// something is here all that they tell comes behind it.
#[derive(Clone, Default)]
struct Late(Arc<Mutex<VecDeque<Happening>>>);

impl Happenings {
    pub fn channel() -> (Happenings, Happened) {
        Happenings::with_room(HAPPENINGS)
    }

    fn with_room(room: usize) -> (Happenings, Happened) {
        let (sender, receiver) = mpsc::channel(room);
        let late = Late::default();
        (Happenings { sender, late: late.clone() }, Happened { receiver, late })
    }

    /// From a media thread, which must not wait. A leg whose end is not heard of would stay for ever, so what a leg
    /// says once, or for each command, is kept beyond the limit: no more than legs and commands can cause. Digits and
    /// reports have no such bound; what does not fit of them is lost and said.
    pub fn tell(&self, happening: Happening) {
        let mut late = self.late.lock();
        let full = if late.is_empty() {
            match self.sender.try_send(happening) {
                Err(mpsc::error::TrySendError::Full(happening)) => happening,
                // A closed channel means that the driver is gone and nobody wants to know.
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        } else {
            happening
        };
        if is_endless(&full) && late.len() >= self.sender.max_capacity() {
            let lost = full.name();
            tracing::error!(lost, "the driver is {} happenings behind; one is lost", late.len());
        } else {
            late.push_back(full);
        }
    }

    /// Nobody listens any more.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(super) async fn send(&self, happening: Happening) {
        // A closed channel means that the driver is gone and nobody wants to know.
        let _ = self.sender.send(happening).await;
    }
}

impl Happened {
    /// The next one; nothing is lost where the future is dropped. `None`: nobody can tell anything any more.
    pub async fn recv(&mut self) -> Option<Happening> {
        match self.try_recv() {
            Some(happening) => Some(happening),
            None => self.receiver.recv().await,
        }
    }

    pub fn try_recv(&mut self) -> Option<Happening> {
        if let Ok(happening) = self.receiver.try_recv() {
            return Some(happening);
        }
        let mut late = self.late.lock();
        // Nobody tells anything now: what is in the queue was told before what is late.
        self.receiver.try_recv().ok().or_else(|| late.pop_front())
    }
}

impl Late {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Happening>> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a far side, or time, can cause any number of these without a command of the driver's.
fn is_endless(happening: &Happening) -> bool {
    use media::Event;
    matches!(happening, Happening::Media(Event::Digit { .. } | Event::Flow { .. }))
}

#[cfg(test)]
mod tests {
    use media::{Event, LegId, Stats};

    use super::*;

    fn closed(leg: u64) -> Happening {
        Happening::Media(Event::Closed { leg: LegId(leg), stats: Stats::default() })
    }

    fn flow(leg: u64) -> Happening {
        let (leg, received, sent) = (LegId(leg), true, true);
        Happening::Media(Event::Flow { leg, received, sent, packets_in: 1, packets_out: 1 })
    }

    #[test]
    fn a_driver_that_is_far_behind_hears_of_the_end_of_every_leg_in_order() {
        let (happenings, mut happened) = Happenings::with_room(4);
        for leg in 0..1_000 {
            happenings.tell(closed(leg));
            happenings.tell(flow(leg));
        }
        let (mut ends, mut flows) = (Vec::new(), 0);
        while let Some(happening) = happened.try_recv() {
            match happening {
                Happening::Media(Event::Closed { leg, .. }) => ends.push(leg.0),
                Happening::Media(Event::Flow { .. }) => flows += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(ends, (0..1_000).collect::<Vec<_>>());
        assert!((1..=8).contains(&flows), "{flows} reports of 1,000 were kept");
        happenings.tell(flow(7));
        assert!(happened.try_recv().is_some(), "there is room again");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_threads_tell_while_the_driver_listens_comes_in_their_order() {
        let (happenings, mut happened) = Happenings::with_room(2);
        let told = std::thread::spawn(move || (0..20_000).for_each(|n| happenings.tell(closed(n))));
        for n in 0..20_000 {
            match happened.recv().await {
                Some(Happening::Media(Event::Closed { leg, .. })) => assert_eq!(leg.0, n),
                other => panic!("{other:?}"),
            }
        }
        told.join().unwrap();
        assert!(happened.recv().await.is_none());
    }
}
