//! What the one writer does, in the order in which it was asked.

use engine::intent::Intent;
use tokio::sync::oneshot;

use crate::batch::{Batch, Committed};
use crate::callbacks::{CallbackAttempt, CallbackId};
use crate::error::CommitError;
use crate::intents::Claim;
use crate::tenants::Tenant;
use crate::tokens::Token;
use crate::voice_recordings::VoiceRecording;
use crate::voice_templates::VoiceTemplate;
use engine::vocabulary::TenantId;

/// Batches and other work that may wait for the writer; past it, [`CommitError::Busy`].
pub(crate) const QUEUE_LIMIT: usize = 16_384;
/// Places that new calls leave free for the writes of calls that are up.
pub(crate) const QUEUE_RESERVE: usize = QUEUE_LIMIT / 4;
/// Rows after which a group is closed; what waits longer goes into the next commit.
pub(crate) const GROUP_ROWS: usize = 8_192;

pub(crate) type Reply = oneshot::Sender<Result<Outcome, CommitError>>;
pub(crate) type Answer = oneshot::Receiver<Result<Outcome, CommitError>>;

/// One piece of work: all of it or nothing.
#[derive(Debug)]
pub(crate) enum Work {
    Submit(Batch),
    CallbackAttempt(CallbackAttempt),
    Claim(Claim),
    Edit(Box<Edit>),
}

/// A change outside the hot path.
#[derive(Debug)]
pub(crate) enum Edit {
    /// Calls that were claimed and never dialled wait again; after a restart only.
    ReturnUndialled,
    ExpireIdempotency {
        accepted_until_ms: i64,
    },
    ReplayCallback {
        id: CallbackId,
        now_ms: i64,
    },
    PutTenant(Tenant),
    PutToken(Token),
    ExpireTokens {
        now_ms: i64,
    },
    PutSecret {
        tenant: TenantId,
        name: String,
        sealed: Vec<u8>,
    },
    PutVoiceRecording(VoiceRecording),
    UpdateVoiceRecording(VoiceRecording),
    PutVoiceTemplate(VoiceTemplate),
    PutMeta {
        key: String,
        value: Vec<u8>,
    },
}

/// What became of a piece of work once its commit is on disk.
#[derive(Debug)]
pub(crate) enum Outcome {
    Committed(Committed),
    Claimed(Vec<Intent>),
    /// Rows that were inserted, changed or removed.
    Changed(u64),
}

impl Work {
    /// A measure for the size of a group.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Work::Submit(batch) => batch.writes.len() + batch.timelines.len(),
            Work::CallbackAttempt(_) => 2,
            Work::Claim(claim) => claim.limit(),
            Work::Edit(_) => 1,
        }
    }
}
