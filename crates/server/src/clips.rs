//! The clips of a call, ready to send: recordings from their files, templates from the speech engines.
//! What was used lately stays in memory, decoded once and shared by every call that plays it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::action::FetchFault;
use engine::intent::PlayItem;
use engine::vocabulary::TenantId;
use media::Clip;

use crate::app::App;
use crate::speech::filled::FilledText;
use crate::speech::style::{Speed, VoiceStyle, Volume};
use crate::voices::Found;

/// Audio kept in memory: at 16 kHz and with its encoded forms about 60 KB a second.
const KEPT: Duration = Duration::from_secs(3_600);

/// Cheap to clone.
#[derive(Clone)]
pub struct Clips {
    app: App,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    clips: BTreeMap<(TenantId, PlayItem), (Clip, u64)>,
    /// When each was used last, by a counter.
    by_use: BTreeMap<u64, (TenantId, PlayItem)>,
    uses: u64,
    duration: Duration,
}

impl Clips {
    pub fn new(app: App) -> Clips {
        Clips { app, kept: Arc::default() }
    }

    /// The whole playlist, where all of it is in memory.
    pub fn cached(&self, tenant: TenantId, playlist: &[PlayItem]) -> Option<Arc<[Clip]>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        playlist.iter().map(|item| kept.find(tenant, item)).collect()
    }

    /// Reads and speaks what is not in memory, one after the other.
    ///
    /// # Errors
    /// A recording or template is gone, or no engine could speak it.
    pub async fn fetch(
        &self,
        tenant: TenantId,
        playlist: &[PlayItem],
    ) -> Result<Arc<[Clip]>, FetchFault> {
        let mut clips = Vec::with_capacity(playlist.len());
        for item in playlist {
            let found = self.lock().find(tenant, item);
            let clip = match found {
                Some(clip) => clip,
                None => {
                    let clip = self.make(tenant, item).await?;
                    self.lock().keep(tenant, item.clone(), clip.clone());
                    clip
                }
            };
            clips.push(clip);
        }
        Ok(clips.into())
    }

    async fn make(&self, tenant: TenantId, item: &PlayItem) -> Result<Clip, FetchFault> {
        match item {
            PlayItem::Recording { voice_id } => self.read(tenant, voice_id).await,
            PlayItem::Speech { template_id, text } => self.speak(tenant, template_id, text).await,
        }
    }

    async fn read(&self, tenant: TenantId, voice_id: &str) -> Result<Clip, FetchFault> {
        let found = self.app.voices.read(tenant, |shelf| shelf.find(voice_id));
        let Some(Found::Recording(recording)) = found else { return Err(FetchFault::Missing) };
        let path = self.app.voices.file(&recording);
        let read = tokio::fs::read(&path).await.map_err(|error| {
            tracing::error!(path = %path.display(), %error, "a recording's file cannot be read");
            FetchFault::Missing
        })?;
        Clip::from_stored(&read).map_err(|error| {
            tracing::error!(path = %path.display(), %error, "a recording's file is damaged");
            FetchFault::Missing
        })
    }

    async fn speak(
        &self,
        tenant: TenantId,
        template_id: &str,
        text: &str,
    ) -> Result<Clip, FetchFault> {
        let found = self.app.voices.read(tenant, |shelf| shelf.find(template_id));
        let Some(Found::Template(shelved)) = found else { return Err(FetchFault::Missing) };
        let text: FilledText = text.parse().map_err(|_| FetchFault::Speech)?;
        let template = &shelved.template;
        let style = VoiceStyle {
            voice: Some(template.voice_name.clone()),
            speed: Speed::new(template.speed.into()).unwrap_or_default(),
            volume: Volume::new(template.volume.into()).unwrap_or_default(),
        };
        let tenant = self.app.tenants.by_id(tenant).ok_or(FetchFault::Missing)?;
        let speech =
            self.app.speaker.speak(&tenant.speech, &text, &style).await.map_err(|error| {
                tracing::warn!(tenant = tenant.id.0, %error, "a template could not be spoken");
                FetchFault::Speech
            })?;
        Clip::from_pcm(&speech.samples, speech.rate).map_err(|_| FetchFault::Speech)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn find(&mut self, tenant: TenantId, item: &PlayItem) -> Option<Clip> {
        let key = (tenant, item.clone());
        let (clip, used) = self.clips.get_mut(&key)?;
        self.by_use.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.by_use.insert(self.uses, key);
        Some(clip.clone())
    }

    fn keep(&mut self, tenant: TenantId, item: PlayItem, clip: Clip) {
        let key = (tenant, item);
        self.uses += 1;
        self.duration += clip.duration();
        if let Some((old, used)) = self.clips.insert(key.clone(), (clip, self.uses)) {
            self.by_use.remove(&used);
            self.duration = self.duration.saturating_sub(old.duration());
        }
        self.by_use.insert(self.uses, key);
        while self.duration > KEPT {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            if let Some((clip, _)) = self.clips.remove(&oldest) {
                self.duration = self.duration.saturating_sub(clip.duration());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: u32) -> PlayItem {
        PlayItem::Recording { voice_id: id.to_string() }
    }

    #[test]
    fn the_clip_that_was_used_longest_ago_goes_first() {
        let mut kept = Kept::default();
        let tenant = TenantId(1);
        // Ten minutes each: six fit into the hour.
        let long = Clip::from_pcm(&vec![0; 8_000 * 600], 8_000).expect("a clip");
        for id in 0..6 {
            kept.keep(tenant, item(id), long.clone());
        }
        assert!(kept.find(tenant, &item(0)).is_some());
        kept.keep(tenant, item(6), long);
        assert!(kept.find(tenant, &item(0)).is_some(), "it was used lately");
        assert!(kept.find(tenant, &item(1)).is_none());
        assert_eq!(kept.clips.len(), 6);
        assert_eq!(kept.by_use.len(), 6);
    }
}
