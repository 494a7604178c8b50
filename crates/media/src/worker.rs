//! One media thread: its legs, its clock, its ports.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;

use crate::config::Config;
use crate::event::Event;
use crate::inbox::{Inbox, Input};
use crate::prepare::Preparer;
use crate::recorder::Recorder;

/// What a thread is given.
pub(crate) struct Setup {
    pub config: Config,
    pub index: usize,
    pub capacity: usize,
    pub inbox: Arc<Inbox>,
    pub sink: Arc<dyn Fn(Event) + Send + Sync>,
    pub preparer: Preparer,
    pub recorder: Recorder,
}

pub(crate) struct Worker {
    setup: Setup,
}

impl Worker {
    pub(crate) fn new(setup: Setup) -> Self {
        Worker { setup }
    }

    pub(crate) fn run(self) {
        let mut inputs: VecDeque<Input> = VecDeque::new();
        while self.setup.inbox.take(&mut inputs) {
            inputs.clear();
            thread::park();
        }
    }
}
