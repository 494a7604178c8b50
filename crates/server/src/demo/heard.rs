//! What the phone heard, matched against the clips of this server and many that it never played.

use engine::intent::{OrderKind, PlayItem};
use engine::vocabulary::{Serial, TenantId};
use media::Clip;
use sim::{CallReport, Recogniser};

use crate::app::App;
use crate::clips::Clips;
use crate::serve::ServeError;
use crate::speech::filled::FilledText;
use crate::speech::style::VoiceStyle;

/// A text as a WAV file, by the engine inside the binary.
pub async fn speak(app: &App, text: &str) -> Result<Vec<u8>, ServeError> {
    let text = FilledText::plain(text);
    let speech = app.speaker.speak(&app.config.speech, &text, &VoiceStyle::default()).await?;
    Ok(Clip::from_pcm(&speech.samples, speech.rate)?.to_wav())
}

/// The decoys are the same in every run.
const SEED: u64 = 1;

/// The clips that were played, by the id of the recording or template.
#[derive(Default)]
pub struct Library(Vec<(String, Vec<i16>)>);

impl Library {
    /// Adds what a call was told to play.
    pub async fn add_clips_of(
        &mut self,
        app: &App,
        tenant: TenantId,
        serial: Serial,
    ) -> Result<(), ServeError> {
        let record = app.store.cdr(tenant, serial).await?.ok_or("the call has no record")?;
        let OrderKind::VoiceNotification { playlist, .. } = record.intent.order.kind else {
            return Err("the call plays nothing".into());
        };
        let clips = Clips::new(app.clone()).fetch(tenant, &playlist).await;
        let clips = clips.map_err(|fault| format!("a clip of the call is gone: {fault:?}"))?;
        for (item, clip) in playlist.into_iter().zip(clips.iter()) {
            let id = match item {
                PlayItem::Recording { voice_id } => voice_id,
                PlayItem::Speech { template_id, .. } => template_id,
            };
            self.0.push((id, clip.samples()));
        }
        Ok(())
    }

    pub fn recogniser(self) -> Recogniser {
        Recogniser::new(self.0, SEED)
    }
}

/// One id per clip that the phone heard, else `unknown`.
pub fn recognise(recogniser: &Recogniser, report: &CallReport) -> Result<Vec<String>, ServeError> {
    let heard = report.heard.as_ref().ok_or("the phone kept no audio")?;
    Ok(recogniser
        .recognise(heard.samples())
        .into_iter()
        .map(|clip| clip.label().to_owned())
        .collect())
}
