//! Batches and claims on their way to the disk. One task awaits the store's answers in the order in
//! which they were asked for, so that what a claim says is never told after what came behind it.

use std::time::{Duration, Instant};

use engine::action::{BatchNumber, ClaimId};
use engine::intent::Intent;
use engine::writes::Write;
use store::{Batch, Claim, Store, StoreError, Submitted};
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
}

enum Asked {
    Commit { batch: BatchNumber, rings: bool, at: Instant, submitted: Submitted },
    Claim { claim: ClaimId, what: Claim },
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
        Disk { store, asked }
    }

    pub async fn commit(&self, batch: BatchNumber, writes: Batch) {
        let rings = writes.writes.iter().any(|write| matches!(write, Write::Event { .. }));
        let submitted = self.store.submit(writes);
        self.ask(Asked::Commit { batch, rings, at: Instant::now(), submitted }).await;
    }

    pub async fn claim(&self, claim: ClaimId, what: Claim) {
        self.ask(Asked::Claim { claim, what }).await;
    }

    /// Where too many wait, this waits for the store. None may be lost: no batch would follow it. The task that awaits
    /// the answers never waits for the driver.
    async fn ask(&self, asked: Asked) {
        self.asked.send(asked).await.expect("its task ends with this end of the queue");
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
        happenings.tell(happening);
    }
}

async fn claimed(store: &Store, what: Claim) -> Result<Vec<Intent>, StoreError> {
    loop {
        match store.claim(what.clone()).await {
            Err(StoreError::Busy) => tokio::time::sleep(BUSY).await,
            answered => return answered,
        }
    }
}
