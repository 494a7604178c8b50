//! The handle by which interfaces reach the engine: a bounded channel to the one task that owns it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::intent::Idempotency;
use engine::vocabulary::{Serial, TenantId, TenantLimits};
pub use engine::{Quota, Refusal, Request, Used};
use store::Store;
use tokio::sync::{mpsc, oneshot, watch};

pub use crate::driver::Note;
use crate::storage::{Lack, Room, Storage};

/// What cannot be kept is refused as where the queue is full: it was not accepted and may come again.
const NOT_KEPT: Refusal = Refusal::QueueFull { retry_after_s: 30 };

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

/// What there is now.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    pub calls: usize,
    pub legs: usize,
    pub sip: sip::Counters,
}

/// What the owner of the engine is asked.
#[derive(Debug)]
pub enum Ask {
    Accept(Box<Request>, oneshot::Sender<Result<Accepted, Refusal>>),
    Cancel(TenantId, Serial, oneshot::Sender<Result<(), CancelError>>),
    /// A tenant's settings changed; with what the store counted of its day, where that matters.
    Limit(TenantId, TenantLimits, Option<Used>),
    LiveNotes(Serial, oneshot::Sender<Vec<Note>>),
    Count(oneshot::Sender<Counts>),
}

#[derive(Debug, Clone)]
pub struct Calls {
    asks: mpsc::Sender<Ask>,
    store: Store,
    storage: Storage,
    ready: Arc<AtomicBool>,
}

impl Calls {
    /// The handle, what its owner receives, and the flag that its owner sets when it takes calls.
    pub fn channel(
        store: Store,
        room: watch::Receiver<Room>,
        bound: usize,
    ) -> (Calls, mpsc::Receiver<Ask>, Arc<AtomicBool>) {
        let (asks, receiver) = mpsc::channel(bound);
        let ready = Arc::new(AtomicBool::new(false));
        let storage = Storage::new(store.clone(), room);
        (Calls { asks, store, storage, ready: ready.clone() }, receiver, ready)
    }

    /// Returns once the intent is on disk.
    pub async fn accept(&self, request: Request) -> Result<Accepted, Refusal> {
        if self.storage.lack() == Some(Lack::Database) {
            return Err(NOT_KEPT);
        }
        if let Some(earlier) = earlier(&self.store, &request).await {
            return earlier;
        }
        if self.storage.lack().is_some() {
            return Err(NOT_KEPT);
        }
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
        match reply.await.unwrap_or(Err(CancelError::Stopping)) {
            Err(CancelError::NotFound) => Err(self.over_or_unknown(tenant, serial).await),
            answered => answered,
        }
    }

    /// Tells the pacing of a tenant's new limits. What waits is judged by them at once.
    pub async fn limit(&self, tenant: TenantId, limits: TenantLimits, used: Option<Used>) {
        // Where the owner of the engine is gone, the next start reads the settings.
        let _ = self.asks.send(Ask::Limit(tenant, limits, used)).await;
    }

    async fn over_or_unknown(&self, tenant: TenantId, serial: Serial) -> CancelError {
        match self.store.cdr(serial).await {
            Ok(Some(record)) if record.intent.tenant == tenant => CancelError::AlreadyOver,
            Ok(_) | Err(_) => CancelError::NotFound,
        }
    }

    /// The notes of a live call so far; of an ended one they are in the store.
    pub async fn live_notes(&self, serial: Serial) -> Vec<Note> {
        let (sender, reply) = oneshot::channel();
        if self.asks.send(Ask::LiveNotes(serial, sender)).await.is_err() {
            return Vec::new();
        }
        reply.await.unwrap_or_default()
    }

    /// `None` once the server has stopped.
    pub async fn counts(&self) -> Option<Counts> {
        let (sender, reply) = oneshot::channel();
        self.asks.send(Ask::Count(sender)).await.ok()?;
        reply.await.ok()
    }

    /// Whether what is accepted could be kept.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Whether new calls are taken, as far as the driver knows.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

/// What the store remembers of the same key; keys of the last minute the engine knows itself.
pub async fn earlier(store: &Store, request: &Request) -> Option<Result<Accepted, Refusal>> {
    let Idempotency { key, body_sha256 } = request.idempotency.as_ref()?;
    match store.idempotency(key).await {
        Ok(None) => None,
        Ok(Some(earlier)) if earlier.body_sha256 == *body_sha256 => {
            Some(Ok(Accepted { serial: earlier.serial, replayed: true }))
        }
        Ok(Some(_)) => Some(Err(Refusal::KeyReused)),
        Err(error) => {
            tracing::error!(%error, "idempotency keys cannot be read");
            Some(Err(Refusal::Stopping))
        }
    }
}
