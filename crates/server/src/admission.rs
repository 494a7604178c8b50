//! The door of the server: asked by every request that would start a call, before anything else is
//! done for it. What it answers is the engine's judgement; what it knows comes from those who hold an
//! [`UnderWay`], and from the disk.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine::overload::{BEAT, Overload, Stage};
use tokio::sync::watch;

#[derive(Clone)]
pub struct Admission(Arc<Inner>);

struct Inner {
    started: Instant,
    overload: Mutex<Overload>,
    refused: AtomicU64,
}

/// A call that goes through a stage; it has left the stage when this is dropped.
pub struct UnderWay {
    admission: Admission,
    stage: Stage,
    since: Instant,
}

/// What an operator wants to know of it.
pub struct Load {
    pub accepting: u32,
    pub dialling: u32,
    pub is_shedding: bool,
    /// How often that began.
    pub sheddings: u64,
    /// Requests since the start of the process.
    pub refused: u64,
}

impl Admission {
    /// `patience`: what accepting and dialling may take besides the disk.
    pub fn new(patience: Duration) -> Admission {
        Admission(Arc::new(Inner {
            started: Instant::now(),
            overload: Mutex::new(Overload::new(patience)),
            refused: AtomicU64::new(0),
        }))
    }

    /// Says until `stop` that the process runs.
    pub fn beat(&self, mut stop: watch::Receiver<bool>) {
        let admission = self.clone();
        tokio::spawn(async move {
            loop {
                admission.overload().beat(admission.0.started.elapsed());
                tokio::select! {
                    () = tokio::time::sleep(BEAT) => {}
                    _ = stop.changed() => break,
                }
            }
        });
    }

    /// A request is to be accepted. `None`: the server has too much to do, and refuses it.
    pub fn enter(&self) -> Option<UnderWay> {
        let since = Instant::now();
        if self.overload().enter(since - self.0.started) {
            return Some(UnderWay { admission: self.clone(), stage: Stage::Accepting, since });
        }
        self.0.refused.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// A leg is to be dialled: one that was promised, so that nobody is asked.
    pub fn dialling(&self) -> UnderWay {
        let since = Instant::now();
        self.overload().begin(Stage::Dialling, since - self.0.started);
        UnderWay { admission: self.clone(), stage: Stage::Dialling, since }
    }

    /// A commit took so long.
    pub fn committed(&self, took: Duration) {
        let now = self.0.started.elapsed();
        self.overload().committed(took, now);
    }

    pub fn load(&self) -> Load {
        let overload = self.overload();
        Load {
            accepting: overload.under_way(Stage::Accepting),
            dialling: overload.under_way(Stage::Dialling),
            is_shedding: overload.is_shedding(),
            sheddings: overload.sheddings(),
            refused: self.0.refused.load(Ordering::Relaxed),
        }
    }

    /// Held for a few additions only.
    fn overload(&self) -> MutexGuard<'_, Overload> {
        self.0.overload.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let now = Instant::now();
        let Admission(inner) = &self.admission;
        self.admission.overload().leave(self.stage, now - self.since, now - inner.started);
    }
}

impl std::fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnderWay").field("stage", &self.stage).finish_non_exhaustive()
    }
}
