//! Batches on their way to the disk: while one is written the next one grows.

use engine::Engine;
use engine::action::BatchNumber;
use engine::vocabulary::Serial;
use engine::writes::Write;
use store::{Batch, Registration};

#[derive(Default)]
pub struct Batches {
    open: Batch,
    in_flight: usize,
}

impl Batches {
    pub fn add(&mut self, write: Write) {
        self.open.writes.push(write);
    }

    pub fn add_timeline(&mut self, serial: Serial, notes: Vec<u8>) {
        self.open.timelines.push((serial, notes));
    }

    /// Where a phone is from now on.
    pub fn add_registration(&mut self, registration: Registration) {
        self.open.registrations.push(registration);
    }

    /// The open batch, unless an earlier one is still on its way: one at a time, so that it grows with
    /// the load.
    pub fn close_if_free(&mut self, engine: &mut Engine) -> Option<(BatchNumber, Batch)> {
        if self.in_flight == 0 { self.close(engine) } else { None }
    }

    /// The open batch; `None` where nothing is in it.
    pub fn close(&mut self, engine: &mut Engine) -> Option<(BatchNumber, Batch)> {
        if self.open.is_empty() {
            return None;
        }
        self.in_flight += 1;
        Some((engine.close_batch(), std::mem::take(&mut self.open)))
    }

    pub fn committed(&mut self) {
        self.in_flight -= 1;
    }

    pub fn are_on_disk(&self) -> bool {
        self.in_flight == 0 && self.open.is_empty()
    }
}
