//! The keys of recordings: one per file, sealed in the store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::cdr::{Cdr, Outcome};
use engine::intent::Intent;
use media::RecordMode;
use ring::rand::{SecureRandom as _, SystemRandom};
use store::{Store, StoreError};

use super::opus::OpusDownloads;
use super::pieces::RecordingBody;
use super::sealed::{Cut, FileKey, Pieces, SealedError, channels};
use super::{key_name, path, sealed_path};
use crate::access::{Access, SealError};

/// The store's queue is full of other work: the key is offered again.
const BUSY: Duration = Duration::from_millis(20);

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It was deleted, or never begun.
    #[error("there is no recording")]
    Missing,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Key(#[from] SealError),
    #[error(transparent)]
    File(#[from] SealedError),
}

/// Makes keys for new recordings and opens those that are there.
#[derive(Clone)]
pub struct Vault {
    access: Arc<Access>,
    store: Store,
    /// The data directory.
    directory: PathBuf,
    encrypt: bool,
    pub opus: OpusDownloads,
}

/// What a new recording needs: where it goes, and what encrypts it.
pub struct NewRecording {
    pub path: PathBuf,
    pub seal: Option<Box<dyn media::Seal>>,
    /// To be stored by [`Vault::keep`].
    pub sealed_key: Option<Vec<u8>>,
}

impl Vault {
    pub fn new(access: Arc<Access>, store: Store, directory: PathBuf, encrypt: bool) -> Vault {
        Vault { access, store, directory, encrypt, opus: OpusDownloads::default() }
    }

    /// A path, and where recordings are encrypted a key that nothing else was ever under.
    pub fn begin(&self, intent: &Intent, mode: RecordMode) -> Result<NewRecording, SealError> {
        if !self.encrypt {
            let path = self.directory.join(path(intent));
            return Ok(NewRecording { path, seal: None, sealed_key: None });
        }
        let mut key: FileKey = [0; 32];
        SystemRandom::new().fill(&mut key).map_err(|_| SealError::NoRandom)?;
        let sealed_key = self.access.sealer.seal(intent.tenant, &key_name(intent), &key)?;
        let pieces = Pieces::new(&key, intent.tenant, intent.serial, channels(mode));
        Ok(NewRecording {
            path: self.directory.join(sealed_path(intent)),
            seal: Some(Box::new(pieces)),
            sealed_key: Some(sealed_key),
        })
    }

    /// Stores the key of a recording that has begun: a crash before this is on disk loses what was recorded so far,
    /// which is less than the half second that a crash may lose anyway.
    pub async fn keep(&self, intent: &Intent, sealed_key: Vec<u8>) -> Result<(), StoreError> {
        loop {
            let key = sealed_key.clone();
            match self.store.put_secret(intent.tenant, &key_name(intent), key).await {
                Err(StoreError::Busy) => tokio::time::sleep(BUSY).await,
                answered => return answered,
            }
        }
    }

    /// Whether a file is there, not whether it is whole.
    pub async fn has(&self, intent: &Intent) -> bool {
        for file in [sealed_path(intent), path(intent)] {
            if tokio::fs::metadata(self.directory.join(file)).await.is_ok() {
                return true;
            }
        }
        false
    }

    /// The recording of an ended call as a WAV file.
    pub async fn open(&self, cdr: &Cdr) -> Result<RecordingBody, OpenError> {
        let intent = &cdr.intent;
        let missing = |error: SealedError| match error {
            SealedError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
                OpenError::Missing
            }
            other => OpenError::File(other),
        };
        let sealed = self.directory.join(sealed_path(intent));
        if tokio::fs::metadata(&sealed).await.is_err() {
            let plain = self.directory.join(path(intent));
            return RecordingBody::plain(&plain).await.map_err(missing);
        }
        let name = key_name(intent);
        let key = self.store.secret(intent.tenant, &name).await?.ok_or(OpenError::Missing)?;
        let key = self.access.sealer.open(intent.tenant, &name, &key)?;
        let key = FileKey::try_from(key).map_err(|_| SealError::Damaged)?;
        let of = (intent.tenant, intent.serial);
        RecordingBody::sealed(&sealed, &key, of, cut(cdr.outcome)).await.map_err(missing)
    }
}

/// Only where the server was stopped, or its disk failed, may the end of a recording be missing.
fn cut(outcome: Outcome) -> Cut {
    match outcome {
        Outcome::Interrupted | Outcome::Unknown | Outcome::RecordingFailed => Cut::Expected,
        Outcome::Played
        | Outcome::CutShort
        | Outcome::NoAnswer
        | Outcome::Refused
        | Outcome::Failed
        | Outcome::NoResource
        | Outcome::QueueTimeout
        | Outcome::Restricted
        | Outcome::CalledHungUp
        | Outcome::CallerHungUp
        | Outcome::CallerFailed
        | Outcome::CalledFailed
        | Outcome::CallerNoAnswer
        | Outcome::TimeUp
        | Outcome::Unused
        | Outcome::Cancelled => Cut::Refused,
    }
}
