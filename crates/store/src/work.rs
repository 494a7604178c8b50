//! What the one writer does, in the order in which it was asked.

use engine::intent::Intent;
use engine::vocabulary::TenantId;
use engine::writes::Write;
use tokio::sync::oneshot;

use crate::batch::{Batch, Committed};
use crate::callbacks::{CallbackAttempt, CallbackId};
use crate::error::CommitError;
use crate::intents::Claim;
use crate::number_bindings::NumberBinding;
use crate::retention::Expired;
use crate::softphones::Softphone;
use crate::tenants::Tenant;
use crate::tokens::Token;
use crate::voice_recordings::VoiceRecording;
use crate::voice_templates::VoiceTemplate;

/// Batches and other work that may wait for the writer; past it, [`CommitError::Busy`].
pub(crate) const QUEUE_LIMIT: usize = 16_384;
/// Places that new calls leave free for the writes of calls that are up.
pub(crate) const QUEUE_RESERVE: usize = QUEUE_LIMIT / 4;
/// The weight at which a group is closed; what waits behind it goes into the next commit.
pub(crate) const GROUP_WEIGHT: usize = 4_096;

/// Keys and tokens that one transaction removes, so that calls do not wait long behind it.
pub(crate) const EXPIRED_AT_ONCE: u32 = 1_000;

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
    RemoveSecrets {
        tenant: TenantId,
        names: Vec<String>,
    },
    PutVoiceRecording(VoiceRecording),
    UpdateVoiceRecording(VoiceRecording),
    PutVoiceTemplate(VoiceTemplate),
    PutMeta {
        key: String,
        value: Vec<u8>,
    },
    PutSoftphone(Softphone),
    RemoveSoftphone {
        tenant: TenantId,
        number: String,
    },
    PutNumberBinding(NumberBinding),
    RemoveNumberBinding(NumberBinding),
    ExpireNumberBindings {
        now_ms: i64,
    },
    Expire(Expired),
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
    /// How much it adds to a group and to the log: rows, of which long ones count several times.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Work::Submit(batch) => {
                let notes = batch.timelines.iter().map(|(_, notes)| long(notes.len()));
                let rows = batch.writes.iter().map(weight).chain(notes).sum::<usize>();
                rows + batch.registrations.len()
            }
            Work::CallbackAttempt(_) => 2,
            Work::Claim(claim) => claim.limit(),
            Work::Edit(edit) => match &**edit {
                Edit::Expire(expired) => expired.weight(),
                Edit::RemoveSecrets { names, .. } => names.len(),
                Edit::ExpireIdempotency { .. }
                | Edit::ExpireTokens { .. }
                | Edit::ExpireNumberBindings { .. } => EXPIRED_AT_ONCE as usize,
                Edit::ReturnUndialled
                | Edit::ReplayCallback { .. }
                | Edit::PutTenant(_)
                | Edit::PutToken(_)
                | Edit::PutSecret { .. }
                | Edit::PutVoiceRecording(_)
                | Edit::UpdateVoiceRecording(_)
                | Edit::PutVoiceTemplate(_)
                | Edit::PutSoftphone(_)
                | Edit::RemoveSoftphone { .. }
                | Edit::PutNumberBinding(_)
                | Edit::RemoveNumberBinding(_)
                | Edit::PutMeta { .. } => 1,
            },
        }
    }
}

fn weight(write: &Write) -> usize {
    match write {
        Write::Attempt(attempt) => long(attempt.wire.len() + attempt.media.len()),
        Write::Answered { dialog, .. } => long(dialog.len()),
        Write::Accepted { .. }
        | Write::Withdrawn { .. }
        | Write::Cancelled { .. }
        | Write::Event { .. }
        | Write::Ended(_) => 1,
    }
}

fn long(bytes: usize) -> usize {
    1 + bytes / 1024
}
