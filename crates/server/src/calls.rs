//! The handle by which interfaces reach the engine: a bounded channel to the one task that owns it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::intent::{Idempotency, Order};
use engine::vocabulary::{Serial, TenantId, TenantLimits};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

/// A call that an interface asks for; it cannot be wrong any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub tenant: TenantId,
    pub limits: TenantLimits,
    pub idempotency: Option<Idempotency>,
    pub queue_timeout: Duration,
    pub order: Order,
}

/// Why a right request is not accepted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    QueueFull {
        retry_after_s: u32,
    },
    /// The natural key: the same caller and called are in an unfinished call.
    Duplicate,
    /// The `Idempotency-Key` came before with another body.
    KeyReused,
    /// The server drains, or its storage failed.
    Stopping,
}

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

/// One entry of a call's timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub at_ms: i64,
    #[serde(flatten)]
    pub kind: serde_json::Map<String, serde_json::Value>,
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
