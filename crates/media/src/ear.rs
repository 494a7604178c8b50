//! An ear: what a leg hears, kept where another thread can look at it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::command::{Arrival, Listen, ListenSink};

const SAMPLES_PER_SECOND: f64 = 8_000.0;
/// A packet that comes this much later than its stream's fastest one counts as late.
const LATE: Duration = Duration::from_millis(5);

/// Keeps received audio (8 kHz) up to a limit, and how punctual its packets were. Clones share what was heard.
#[derive(Clone)]
pub struct Ear {
    heard: Arc<Mutex<Heard>>,
}

struct Heard {
    limit: usize,
    samples: Vec<i16>,
    arrivals: Arrivals,
}

/// How punctual a stream was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrivals {
    pub packets: u64,
    /// Packets more than 5 ms slower than the fastest.
    pub late: u64,
    pub worst: Duration,
}

impl Ear {
    /// An ear that keeps the first `keep` of audio; zero keeps punctuality alone.
    pub fn new(keep: Duration) -> Self {
        let limit = (keep.as_secs_f64() * SAMPLES_PER_SECOND) as usize;
        let heard = Heard { limit, samples: Vec::new(), arrivals: Arrivals::default() };
        Ear { heard: Arc::new(Mutex::new(heard)) }
    }

    /// For [`crate::Command::Listen`].
    pub fn sink(&self) -> ListenSink {
        Box::new(self.clone())
    }

    /// What was heard so far.
    pub fn samples(&self) -> Vec<i16> {
        self.lock().samples.clone()
    }

    /// Takes what was heard and makes room for more.
    pub fn take(&self) -> Vec<i16> {
        std::mem::take(&mut self.lock().samples)
    }

    pub fn arrivals(&self) -> Arrivals {
        self.lock().arrivals
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        // A panic elsewhere leaves samples and sums that are still true.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listen for Ear {
    fn audio(&mut self, samples: &[i16]) {
        let mut heard = self.lock();
        let room = heard.limit.saturating_sub(heard.samples.len()).min(samples.len());
        heard.samples.extend_from_slice(&samples[..room]);
    }

    fn packet(&mut self, arrival: Arrival) {
        let arrivals = &mut self.lock().arrivals;
        arrivals.packets += 1;
        arrivals.late += u64::from(arrival.delay > LATE);
        arrivals.worst = arrivals.worst.max(arrival.delay);
    }

    fn wants_audio(&self) -> bool {
        self.lock().limit > 0
    }
}
