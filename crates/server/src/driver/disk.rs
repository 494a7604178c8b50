//! Batches on their way to the disk: while one is written the next one grows.

use engine::Engine;

use engine::vocabulary::Serial;
use engine::writes::Write;
use store::{Batch, Store};
use tokio::sync::watch;

use super::{Happening, Happenings};

pub struct Disk {
    store: Store,
    happenings: Happenings,
    doorbell: watch::Sender<u64>,
    open: Batch,
    in_flight: usize,
}

impl Disk {
    pub fn new(store: Store, happenings: Happenings, doorbell: watch::Sender<u64>) -> Disk {
        Disk { store, happenings, doorbell, open: Batch::default(), in_flight: 0 }
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

    /// At once, because something must come after it in the store's queue.
    pub fn flush(&mut self, engine: &mut Engine) {
        if self.open.writes.is_empty() && self.open.timelines.is_empty() {
            return;
        }
        let batch = engine.close_batch();
        let rings = self.open.writes.iter().any(|write| matches!(write, Write::Event { .. }));
        let submitted = self.store.submit(std::mem::take(&mut self.open));
        self.in_flight += 1;
        let (happenings, doorbell) = (self.happenings.clone(), self.doorbell.clone());
        tokio::spawn(async move {
            let failure = submitted.await.err().map(|error| error.to_string());
            if rings && failure.is_none() {
                doorbell.send_modify(|count| *count += 1);
            }
            happenings.send(Happening::Committed { batch, failure }).await;
        });
    }

    pub fn committed(&mut self) {
        self.in_flight -= 1;
    }

    pub fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.open.writes.is_empty()
    }
}
