//! What enters from the interfaces, and what the engine answers.

use std::time::Duration;

use crate::intent::{Idempotency, Order};
use crate::vocabulary::{Serial, TenantId, TenantLimits};

/// A checked order of a tenant, with the limits that hold for it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub tenant: TenantId,
    pub limits: TenantLimits,
    pub idempotency: Option<Idempotency>,
    /// How long it may wait in the queue.
    pub queue_timeout: Duration,
    pub order: Order,
}

/// What a tenant wants of the recording of a call that is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordingSwitch {
    Pause,
    Resume,
}

/// Names the one who waits for a reply; the driver's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The intent is on disk. `replayed`: an earlier request with the same key made the call.
    Accepted {
        serial: Serial,
        replayed: bool,
    },
    Refused(Refusal),
    /// A cancel took effect: the call is ended or is being hung up.
    Cancelled,
    /// What comes from here on is kept out of the recording, or is in it again; the log says so.
    RecordingSwitched,
    /// The call is not recorded, or not yet.
    NotRecording,
    /// The tenant has no unfinished call of that serial.
    NotFound,
}

/// Why a request starts no call. Nothing of it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The tenant's queue is at its bound; or as many wait for the recording of one call as may.
    QueueFull { retry_after_s: u32 },
    /// The tenant has used up its day; over in `retry_after_s`.
    DailyLimit { quota: Quota, retry_after_s: u32 },
    /// The minutes that the tenant has paid for are talked, or set aside for calls that are not over (ITA).
    BalanceUsedUp,
    /// An unfinished call has the same kind, caller and called (return code 1).
    Duplicate,
    /// Another anonymous call that waits for its caller has the code: draw another.
    CodeTaken,
    /// The idempotency key came before with another body (HTTP 422).
    KeyReused,
    /// The server drains, or cannot write to its disk.
    Stopping,
}

/// What of a day is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    Calls,
    Minutes,
}
