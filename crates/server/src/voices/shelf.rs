//! One tenant's recordings and templates in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use store::{VoiceRecording, VoiceStatus, VoiceTemplate};

use crate::speech::template::Template;

/// What a tenant may play, by id and by name.
#[derive(Debug, Default)]
pub struct Shelf {
    recordings: BTreeMap<String, Arc<VoiceRecording>>,
    ids_by_name: BTreeMap<String, String>,
    templates: BTreeMap<String, Arc<SpokenTemplate>>,
}

/// A template with its text parsed.
#[derive(Debug)]
pub struct SpokenTemplate {
    pub template: VoiceTemplate,
    pub parsed: Template,
}

/// What an id stands for: the two kinds share one space of ids, so that a mix-up has an answer.
#[derive(Debug, Clone)]
pub enum Found {
    Recording(Arc<VoiceRecording>),
    Template(Arc<SpokenTemplate>),
}

impl Shelf {
    pub fn find(&self, id: &str) -> Option<Found> {
        let recording = self.recordings.get(id).cloned().map(Found::Recording);
        recording.or_else(|| self.templates.get(id).cloned().map(Found::Template))
    }

    /// By `voiceFileName`; templates are found by theirs too, so that a mix-up has an answer.
    pub fn find_named(&self, name: &str) -> Option<Found> {
        if let Some(id) = self.ids_by_name.get(name) {
            return self.recordings.get(id).cloned().map(Found::Recording);
        }
        let template = self.templates.values().find(|shelved| shelved.template.name == name);
        template.cloned().map(Found::Template)
    }

    pub fn recordings(&self) -> usize {
        self.recordings.len()
    }

    pub fn templates(&self) -> usize {
        self.templates.len()
    }

    /// The names of the files in the tenant's directory.
    pub fn file_names(&self) -> BTreeSet<String> {
        let files = self.recordings.values().map(|recording| Path::new(&recording.file_name));
        files.filter_map(|file| Some(file.file_name()?.to_str()?.to_owned())).collect()
    }

    pub fn put_recording(&mut self, recording: VoiceRecording) {
        self.ids_by_name.insert(recording.name.clone(), recording.voice_id.clone());
        self.recordings.insert(recording.voice_id.clone(), Arc::new(recording));
    }

    pub fn put_template(&mut self, shelved: SpokenTemplate) {
        self.templates.insert(shelved.template.template_id.clone(), Arc::new(shelved));
    }
}

/// A recording's scene and status in the words of the interfaces.
pub trait WireStatus {
    /// `voiceType` 0 (IVR voice, what the upload's example sends) and 3 (voice notification) may be
    /// played to a called party; 1 and 2 are tones of the platform.
    fn scene_is_playable(&self) -> bool;
    /// `status` of the interfaces: 0 uploaded, 1 submitted, 2 approved, 3 rejected.
    fn status_code(&self) -> &'static str;
}

impl WireStatus for VoiceRecording {
    fn scene_is_playable(&self) -> bool {
        matches!(self.scene.as_str(), "0" | "3")
    }

    fn status_code(&self) -> &'static str {
        match self.status {
            VoiceStatus::Uploaded => "0",
            VoiceStatus::Submitted => "1",
            VoiceStatus::Approved => "2",
            VoiceStatus::Rejected => "3",
        }
    }
}
