//! Batches and claims on their way to the disk: while one batch is written the next one grows.
//!
//! One task awaits the store's answers in the order in which they were asked for, so that what a
//! claim says is never told after what came behind it.

use std::time::{Duration, Instant};

use engine::Engine;
use engine::action::{BatchNumber, Claim, ClaimId};
use engine::vocabulary::Serial;
use engine::writes::Write;
use store::{Batch, Store, StoreError, Submitted};
use tokio::sync::{mpsc, watch};

use super::{Happening, Happenings};
use crate::admission::Admission;

/// Batches and claims that wait for the store's answer.
const ASKED: usize = 1 << 16;

/// The store's queue is full of other work: nothing was stored, and it may be asked again.
const BUSY: Duration = Duration::from_millis(20);

pub struct Disk {
    store: Store,
    asked: mpsc::Sender<Asked>,
    open: Batch,
    in_flight: usize,
}

enum Asked {
    Commit { batch: BatchNumber, rings: bool, at: Instant, submitted: Submitted },
    Claim { claim: ClaimId, what: store::Claim },
}

impl Disk {
    pub fn new(
        store: Store,
        admission: Admission,
        happenings: Happenings,
        doorbell: watch::Sender<u64>,
    ) -> Disk {
        let (asked, answers) = mpsc::channel(ASKED);
        tokio::spawn(answer(store.clone(), admission, answers, happenings, doorbell));
        Disk { store, asked, open: Batch::default(), in_flight: 0 }
    }

    pub fn add(&mut self, write: Write) {
        self.open.writes.push(write);
    }

    pub fn add_timeline(&mut self, serial: Serial, notes: Vec<u8>) {
        self.open.timelines.push((serial, notes));
    }

    /// One batch at a time, so that it grows with the load.
    pub fn flush_if_free(&mut self, engine: &mut Engine) {
        if self.in_flight == 0 {
            self.flush(engine);
        }
    }

    /// What is in the open batch is in the backlog before it is claimed.
    pub fn claim(&mut self, engine: &mut Engine, claim: ClaimId, what: Claim) {
        self.flush(engine);
        let what = match what {
            Claim::Ready { tenant, route, limit } => store::Claim::Ready { tenant, route, limit },
            Claim::Expired { now_ms, limit } => store::Claim::Expired { now_ms, limit },
            Claim::One { tenant, serial } => store::Claim::One { tenant, serial },
        };
        self.ask(Asked::Claim { claim, what });
    }

    fn flush(&mut self, engine: &mut Engine) {
        if self.open.writes.is_empty() && self.open.timelines.is_empty() {
            return;
        }
        let batch = engine.close_batch();
        let rings = self.open.writes.iter().any(|write| matches!(write, Write::Event { .. }));
        let submitted = self.store.submit(std::mem::take(&mut self.open));
        self.in_flight += 1;
        self.ask(Asked::Commit { batch, rings, at: Instant::now(), submitted });
    }

    fn ask(&self, asked: Asked) {
        if self.asked.try_send(asked).is_err() {
            tracing::error!("{ASKED} answers of the store are waited for; one more is lost");
        }
    }

    pub fn committed(&mut self) {
        self.in_flight -= 1;
    }

    pub fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.open.writes.is_empty() && self.open.timelines.is_empty()
    }
}

async fn answer(
    store: Store,
    admission: Admission,
    mut asked: mpsc::Receiver<Asked>,
    happenings: Happenings,
    doorbell: watch::Sender<u64>,
) {
    while let Some(asked) = asked.recv().await {
        let happening = match asked {
            Asked::Commit { batch, rings, at, submitted } => {
                let failure = submitted.await.err().map(|error| error.to_string());
                admission.committed(at.elapsed());
                if rings && failure.is_none() {
                    doorbell.send_modify(|count| *count += 1);
                }
                Happening::Committed { batch, failure }
            }
            Asked::Claim { claim, what } => {
                let calls = claimed(&store, what).await.map_err(|error| error.to_string());
                Happening::Claimed { claim, calls }
            }
        };
        happenings.send(happening).await;
    }
}

async fn claimed(
    store: &Store,
    what: store::Claim,
) -> Result<Vec<engine::intent::Intent>, StoreError> {
    loop {
        match store.claim(what.clone()).await {
            Err(StoreError::Busy) => tokio::time::sleep(BUSY).await,
            answered => return answered,
        }
    }
}
