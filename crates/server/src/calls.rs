//! The handle by which interfaces reach the engine: a bounded channel to the one task that owns it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::vocabulary::{Serial, TenantId};
pub use engine::{Refusal, Request};
use tokio::sync::{mpsc, oneshot};

pub use crate::driver::Note;

/// A call that is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    pub serial: Serial,
    /// The request was a repetition; the call is the earlier one.
    pub replayed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelError {
    NotFound,
    AlreadyOver,
    Stopping,
}

/// What the owner of the engine is asked.
#[derive(Debug)]
pub enum Ask {
    Accept(Box<Request>, oneshot::Sender<Result<Accepted, Refusal>>),
    Cancel(TenantId, Serial, oneshot::Sender<Result<(), CancelError>>),
    LiveNotes(Serial, oneshot::Sender<Vec<Note>>),
}

#[derive(Debug, Clone)]
pub struct Calls {
    asks: mpsc::Sender<Ask>,
    ready: Arc<AtomicBool>,
}

impl Calls {
    /// The handle, what its owner receives, and the flag that its owner sets when it takes calls.
    pub fn channel(bound: usize) -> (Calls, mpsc::Receiver<Ask>, Arc<AtomicBool>) {
        let (asks, receiver) = mpsc::channel(bound);
        let ready = Arc::new(AtomicBool::new(false));
        (Calls { asks, ready: ready.clone() }, receiver, ready)
    }

    /// Returns once the intent is on disk.
    pub async fn accept(&self, request: Request) -> Result<Accepted, Refusal> {
        let (sender, reply) = oneshot::channel();
        self.asks
            .send(Ask::Accept(Box::new(request), sender))
            .await
            .map_err(|_| Refusal::Stopping)?;
        reply.await.unwrap_or(Err(Refusal::Stopping))
    }

    /// Drops a queued call or hangs up a live one.
    pub async fn cancel(&self, tenant: TenantId, serial: Serial) -> Result<(), CancelError> {
        let (sender, reply) = oneshot::channel();
        self.asks
            .send(Ask::Cancel(tenant, serial, sender))
            .await
            .map_err(|_| CancelError::Stopping)?;
        reply.await.unwrap_or(Err(CancelError::Stopping))
    }

    /// The notes of a live call so far; of an ended one they are in the store.
    pub async fn live_notes(&self, serial: Serial) -> Vec<Note> {
        let (sender, reply) = oneshot::channel();
        if self.asks.send(Ask::LiveNotes(serial, sender)).await.is_err() {
            return Vec::new();
        }
        reply.await.unwrap_or_default()
    }

    /// Whether new calls are taken.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}
