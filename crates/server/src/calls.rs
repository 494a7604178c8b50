//! The handle by which interfaces reach the engine: a bounded channel to the one task that owns it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::RecordingSwitch;
use engine::cdr::Progress;
use engine::intent::Idempotency;
use engine::vocabulary::{Serial, TenantId, TenantLimits};
pub use engine::{Quota, Refusal, Request, Used};
use serde::Serialize;
use store::{CallQuery, IntentState, KeptCall, Store, StoreError};
use tokio::sync::{mpsc, oneshot, watch};
use utoipa::ToSchema;

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

/// A call of a tenant in whichever state it is.
#[derive(Debug, Clone)]
pub struct Listed {
    pub call: KeptCall,
    /// While the engine has it.
    pub progress: Option<Progress>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// In the queue.
    Waiting,
    /// Being dialled, or ringing.
    Calling,
    /// Answered.
    Talking,
    Ended,
}

impl Listed {
    /// What the engine knows is newer than what the disk says.
    pub fn state(&self) -> CallState {
        match (&self.call, self.progress) {
            (KeptCall::Over(_), _) => CallState::Ended,
            (KeptCall::Unfinished(..), Some(Progress { talking_ms: Some(_), .. })) => {
                CallState::Talking
            }
            (KeptCall::Unfinished(_, IntentState::Waiting), None) => CallState::Waiting,
            (KeptCall::Unfinished(..), _) => CallState::Calling,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelError {
    NotFound,
    AlreadyOver,
    Stopping,
}

/// Why the recording of a call cannot be paused or resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwitchError {
    NotFound,
    AlreadyOver,
    /// It is not recorded, or not yet.
    NotRecording,
    /// Too many wait for the same call, or the server stops.
    Unavailable,
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
    SwitchRecording(TenantId, Serial, RecordingSwitch, oneshot::Sender<Result<(), SwitchError>>),
    /// A tenant's settings changed; with what the store counted of its day, where that matters.
    Limit(TenantId, TenantLimits, Option<Used>),
    LiveNotes(Serial, oneshot::Sender<Vec<Note>>),
    /// How far these calls have come; as many as one page of a list holds.
    Progress(Vec<Serial>, oneshot::Sender<BTreeMap<Serial, Progress>>),
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
        if let Some(earlier) = earlier(&self.store, request.idempotency.as_ref()).await {
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

    /// The reply of the request that came before with the same key, where one did and is on disk.
    pub async fn repeated(
        &self,
        idempotency: Option<&Idempotency>,
    ) -> Option<Result<Accepted, Refusal>> {
        if idempotency.is_some() && self.storage.lack() == Some(Lack::Database) {
            return Some(Err(NOT_KEPT));
        }
        earlier(&self.store, idempotency).await
    }

    /// Drops a queued call or hangs up a live one.
    pub async fn cancel(&self, tenant: TenantId, serial: Serial) -> Result<(), CancelError> {
        let (sender, reply) = oneshot::channel();
        self.asks
            .send(Ask::Cancel(tenant, serial, sender))
            .await
            .map_err(|_| CancelError::Stopping)?;
        match reply.await.unwrap_or(Err(CancelError::Stopping)) {
            Err(CancelError::NotFound) if self.is_over(tenant, serial).await => {
                Err(CancelError::AlreadyOver)
            }
            answered => answered,
        }
    }

    /// Returns once the recording holds silence, or what is heard again, and the log says so.
    pub async fn switch_recording(
        &self,
        tenant: TenantId,
        serial: Serial,
        switch: RecordingSwitch,
    ) -> Result<(), SwitchError> {
        let (sender, reply) = oneshot::channel();
        self.asks
            .send(Ask::SwitchRecording(tenant, serial, switch, sender))
            .await
            .map_err(|_| SwitchError::Unavailable)?;
        match reply.await.unwrap_or(Err(SwitchError::Unavailable)) {
            Err(SwitchError::NotFound) if self.is_over(tenant, serial).await => {
                Err(SwitchError::AlreadyOver)
            }
            answered => answered,
        }
    }

    /// Tells the pacing of a tenant's new limits. What waits is judged by them at once.
    pub async fn limit(&self, tenant: TenantId, limits: TenantLimits, used: Option<Used>) {
        // Where the owner of the engine is gone, the next start reads the settings.
        let _ = self.asks.send(Ask::Limit(tenant, limits, used)).await;
    }

    /// Whether it is a call of this tenant's that has ended, as far as the store can say.
    async fn is_over(&self, tenant: TenantId, serial: Serial) -> bool {
        self.store.cdr(tenant, serial).await.is_ok_and(|record| record.is_some())
    }

    /// How many calls match, and one page of them, each as it is now.
    pub async fn list(&self, query: &CallQuery) -> Result<(u64, Vec<Listed>), StoreError> {
        let (total, calls) = self.store.calls(query).await?;
        Ok((total, self.with_progress(calls).await))
    }

    /// A call of the tenant.
    pub async fn find(
        &self,
        tenant: TenantId,
        serial: Serial,
    ) -> Result<Option<Listed>, StoreError> {
        // First the intent: a call that ends in between has its record by the time that is looked for.
        let call = match self.store.intent(tenant, serial).await? {
            Some((intent, state)) => Some(KeptCall::Unfinished(Box::new(intent), state)),
            None => {
                let record = self.store.cdr(tenant, serial).await?;
                record.map(|cdr| KeptCall::Over(Box::new(cdr)))
            }
        };
        Ok(self.with_progress(call.into_iter().collect()).await.pop())
    }

    async fn with_progress(&self, calls: Vec<KeptCall>) -> Vec<Listed> {
        let unfinished = calls.iter().filter(|call| matches!(call, KeptCall::Unfinished(..)));
        let unfinished: Vec<Serial> = unfinished.map(|call| call.intent().serial).collect();
        let mut progress = BTreeMap::new();
        if !unfinished.is_empty() {
            let (sender, reply) = oneshot::channel();
            // Where the owner of the engine is gone, the disk says what there is to say.
            if self.asks.send(Ask::Progress(unfinished, sender)).await.is_ok() {
                progress = reply.await.unwrap_or_default();
            }
        }
        let listed = |call: KeptCall| {
            let progress = progress.get(&call.intent().serial).copied();
            Listed { call, progress }
        };
        calls.into_iter().map(listed).collect()
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
pub async fn earlier(
    store: &Store,
    idempotency: Option<&Idempotency>,
) -> Option<Result<Accepted, Refusal>> {
    let Idempotency { key, body_sha256 } = idempotency?;
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
