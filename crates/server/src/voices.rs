//! What can be played: uploaded recordings and text templates, per tenant, in memory over the store.
//!
//! This process is the only one that changes them, so what is in memory is what is stored. The audio
//! itself lies in files under the data directory, checked and ready to send.

mod audio;
mod shelf;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use engine::vocabulary::TenantId;
use store::{Store, StoreError, VoiceRecording, VoiceStatus, VoiceTemplate, crash_point};
use tokio::sync::Semaphore;

use crate::access::{random_hex, sha256};
use crate::speech::template::{Template, TemplateError};

pub use shelf::{Found, Shelf, SpokenTemplate, WireStatus};

/// Recordings of a tenant, and templates of a tenant.
const MAX_ENTRIES: usize = 10_000;
/// Uploads that are read and decoded at the same time; further ones wait.
pub const UPLOADS_AT_ONCE: usize = 4;
/// Rows read at once when the process starts.
const PAGE: u32 = 1_000;

pub struct VoiceLibrary {
    store: Store,
    directory: PathBuf,
    shelves: RwLock<BTreeMap<TenantId, Shelf>>,
    /// Held while an upload's body is in memory.
    pub uploads: Arc<Semaphore>,
}

/// A recording that arrives.
#[derive(Debug)]
pub struct Upload {
    /// Unique per tenant; `None` takes the id.
    pub name: Option<String>,
    /// `voiceType` of the upload; see [`WireStatus::scene_is_playable`].
    pub scene: String,
    pub status: VoiceStatus,
    pub account: Option<String>,
    pub callback_url: Option<String>,
    pub audio: Vec<u8>,
}

/// A text that arrives; its text has been parsed.
#[derive(Debug)]
pub struct NewTemplate {
    pub name: String,
    pub speed: i32,
    pub volume: u32,
    pub voice_name: String,
    pub text: Template,
}

#[derive(Debug, thiserror::Error)]
pub enum VoiceError {
    #[error("the file cannot be played: {0}")]
    Audio(#[from] media::ClipError),
    #[error("a recording with this name exists")]
    NameTaken,
    #[error("there are {MAX_ENTRIES} already; no more fit")]
    Full,
    #[error("it does not exist")]
    NotFound,
    #[error("a recording that is {0} cannot be taken there")]
    WrongStatus(&'static str),
    #[error("the audio could not be written: {0}")]
    File(#[from] std::io::Error),
    #[error("a stored template is not one: {0}")]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Random(#[from] crate::access::SealError),
    #[error("decoding was cut short")]
    Cut,
}

/// The verdict of a review, or the step before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewStep {
    Submit,
    Approve,
    Reject,
}

impl VoiceLibrary {
    /// Reads what the store holds for `tenants`. Audio lies in `directory`, which is made.
    pub async fn open(
        store: Store,
        directory: PathBuf,
        tenants: impl IntoIterator<Item = TenantId>,
    ) -> Result<VoiceLibrary, VoiceError> {
        tokio::fs::create_dir_all(&directory).await?;
        let uploads = Arc::new(Semaphore::new(UPLOADS_AT_ONCE));
        let library = VoiceLibrary { store, directory, shelves: RwLock::default(), uploads };
        for tenant in tenants {
            library.load(tenant).await?;
        }
        Ok(library)
    }

    /// Reads a tenant's shelf from the store, as for a tenant that has just been made.
    pub async fn load(&self, tenant: TenantId) -> Result<(), VoiceError> {
        let mut shelf = Shelf::default();
        loop {
            let offset = shelf.recordings() as u32;
            let (total, page) = self.store.voice_recordings(tenant, None, offset, PAGE).await?;
            let done = page.is_empty() || u64::from(offset) + page.len() as u64 >= total;
            page.into_iter().for_each(|recording| shelf.put_recording(recording));
            if done {
                break;
            }
        }
        loop {
            let offset = shelf.templates() as u32;
            let (total, page) = self.store.voice_templates(tenant, offset, PAGE).await?;
            let done = page.is_empty() || u64::from(offset) + page.len() as u64 >= total;
            for template in page {
                shelf.put_template(SpokenTemplate { parsed: template.text.parse()?, template });
            }
            if done {
                break;
            }
        }
        self.change(tenant, |own| *own = shelf);
        Ok(())
    }

    /// Looks at a tenant's shelf; nothing may wait inside.
    pub fn read<T>(&self, tenant: TenantId, look: impl FnOnce(&Shelf) -> T) -> T {
        let shelves = self.shelves.read().unwrap_or_else(PoisonError::into_inner);
        match shelves.get(&tenant) {
            Some(shelf) => look(shelf),
            None => look(&Shelf::default()),
        }
    }

    /// The file that holds a recording's audio, as [`media::Clip::from_stored`] reads it.
    pub fn file(&self, recording: &VoiceRecording) -> PathBuf {
        self.directory.join(&recording.file_name)
    }

    /// Checks the audio, stores it ready to send, and the recording with it, durably.
    pub async fn add_recording(
        &self,
        tenant: TenantId,
        upload: Upload,
        now_ms: i64,
    ) -> Result<VoiceRecording, VoiceError> {
        let id = self.free_id(tenant, now_ms)?;
        self.add_recording_as(tenant, id, upload, now_ms).await
    }

    /// As [`add_recording`](Self::add_recording), under an id that is known beforehand.
    pub async fn add_recording_as(
        &self,
        tenant: TenantId,
        voice_id: String,
        upload: Upload,
        now_ms: i64,
    ) -> Result<VoiceRecording, VoiceError> {
        let name = upload.name.unwrap_or_else(|| voice_id.clone());
        self.read(tenant, |shelf| match shelf.find_named(&name) {
            Some(_) => Err(VoiceError::NameTaken),
            None if shelf.recordings() >= MAX_ENTRIES => Err(VoiceError::Full),
            None => Ok(()),
        })?;
        let prepared = audio::prepare(upload.audio).await?;
        let file_name = format!("{}/{voice_id}.wav", tenant.0);
        audio::write_durably(&self.directory, &file_name, &prepared.stored).await?;
        crash_point!("upload_written");
        let reviewed = upload.status == VoiceStatus::Approved;
        let recording = VoiceRecording {
            tenant,
            voice_id,
            name,
            scene: upload.scene,
            status: upload.status,
            uploaded_ms: now_ms,
            upload_account: upload.account,
            audited_ms: reviewed.then_some(now_ms),
            audit_account: None,
            comment: if reviewed { "approved automatically".to_owned() } else { String::new() },
            callback_url: upload.callback_url,
            file_name,
            format: prepared.format.to_owned(),
            duration_ms: prepared.duration_ms,
            size_bytes: prepared.stored.len() as u64,
            sha256: sha256(&prepared.stored),
        };
        let stored = self.store.put_voice_recording(recording.clone()).await;
        if let Err(error) = stored {
            self.remove_file(&recording.file_name).await;
            return Err(match error {
                StoreError::Conflict { .. } => VoiceError::NameTaken,
                other => VoiceError::Store(other),
            });
        }
        self.change(tenant, |shelf| shelf.put_recording(recording.clone()));
        Ok(recording)
    }

    /// Submits, approves or rejects; gives back the recording as it is then.
    pub async fn review(
        &self,
        tenant: TenantId,
        voice_id: &str,
        step: ReviewStep,
        comment: &str,
        now_ms: i64,
    ) -> Result<VoiceRecording, VoiceError> {
        let found = self.read(tenant, |shelf| shelf.find(voice_id));
        let Some(Found::Recording(recording)) = found else { return Err(VoiceError::NotFound) };
        let mut recording = VoiceRecording::clone(&recording);
        recording.status = match (recording.status, step) {
            (VoiceStatus::Uploaded, ReviewStep::Submit) => VoiceStatus::Submitted,
            (VoiceStatus::Submitted | VoiceStatus::Rejected, ReviewStep::Approve) => {
                VoiceStatus::Approved
            }
            (VoiceStatus::Submitted | VoiceStatus::Approved, ReviewStep::Reject) => {
                VoiceStatus::Rejected
            }
            (status, ReviewStep::Submit | ReviewStep::Approve | ReviewStep::Reject) => {
                return Err(VoiceError::WrongStatus(status.name()));
            }
        };
        if step != ReviewStep::Submit {
            recording.audited_ms = Some(now_ms);
            recording.comment = comment.to_owned();
        }
        if !self.store.update_voice_recording(recording.clone()).await? {
            return Err(VoiceError::NotFound);
        }
        self.change(tenant, |shelf| shelf.put_recording(recording.clone()));
        Ok(recording)
    }

    /// Stores a text, durably.
    pub async fn add_template(
        &self,
        tenant: TenantId,
        new: NewTemplate,
        now_ms: i64,
    ) -> Result<VoiceTemplate, VoiceError> {
        if self.read(tenant, Shelf::templates) >= MAX_ENTRIES {
            return Err(VoiceError::Full);
        }
        let template = VoiceTemplate {
            tenant,
            template_id: self.free_id(tenant, now_ms)?,
            name: new.name,
            scene: "3".to_owned(),
            speed: new.speed,
            volume: new.volume,
            voice_name: new.voice_name,
            text: new.text.to_string(),
            created_ms: now_ms,
        };
        self.store.put_voice_template(template.clone()).await?;
        let shelved = SpokenTemplate { parsed: new.text, template: template.clone() };
        self.change(tenant, |shelf| shelf.put_template(shelved));
        Ok(template)
    }

    /// A decimal id of the pages' shape: milliseconds, then 20 random bits.
    fn free_id(&self, tenant: TenantId, now_ms: i64) -> Result<String, VoiceError> {
        loop {
            let random = u64::from_str_radix(&random_hex::<4>()?, 16).expect("eight hex digits");
            let id = ((now_ms.unsigned_abs() << 20) | (random >> 12)).to_string();
            if self.read(tenant, |shelf| shelf.find(&id).is_none()) {
                return Ok(id);
            }
        }
    }

    fn change(&self, tenant: TenantId, change: impl FnOnce(&mut Shelf)) {
        let mut shelves = self.shelves.write().unwrap_or_else(PoisonError::into_inner);
        change(shelves.entry(tenant).or_default());
    }

    /// Files that an upload left behind whose process died before the recording was stored. At a start only: later a
    /// file may be there whose recording is about to be.
    pub async fn remove_orphans(&self, tenant: TenantId) {
        let named = self.read(tenant, Shelf::file_names);
        let directory = self.directory.join(tenant.0.to_string());
        match audio::remove_others(&directory, &named).await {
            Ok(0) => {}
            Ok(files) => tracing::info!(tenant = tenant.0, files, "unfinished uploads removed"),
            Err(error) => tracing::warn!(%error, "unfinished uploads were left behind"),
        }
    }

    async fn remove_file(&self, file_name: &str) {
        if let Err(error) = tokio::fs::remove_file(self.directory.join(file_name)).await {
            tracing::warn!(%error, "a refused recording's file was left behind");
        }
    }
}
