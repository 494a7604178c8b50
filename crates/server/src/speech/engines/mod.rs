//! The engines that turn words into samples, behind one function.
mod command;
mod espeak;
mod flite;
mod http;
mod subprocess;

use super::{
    Speech,
    config::{CannotSpeak, EngineConfig},
    normalise::Language,
    style::VoiceStyle,
    wav::WavError,
};
use std::{path::PathBuf, time::Duration};
use thiserror::Error;

/// The longest clip in seconds; an engine that produces more is stopped.
pub const MAX_SECONDS: u32 = 300;
/// The most bytes that are taken from an engine: [`MAX_SECONDS`] of 16-bit mono at 48 kHz, and headers.
pub const MAX_OUTPUT: usize = MAX_SECONDS as usize * 96_000 + 4096;

/// What all engines share: an HTTP client, a directory for their files, a limit on their time.
pub struct Engines {
    http: reqwest::Client,
    work_dir: PathBuf,
    timeout: Duration,
}

/// Words for an engine. They are as [`spoken`](super::normalise::spoken) wrote them.
#[derive(Debug, Clone)]
pub struct Utterance {
    pub words: String,
    pub language: Language,
    pub style: VoiceStyle,
}

/// Why a text was not spoken. Cloneable, because all who wait for the same clip get it.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum SpeechError {
    #[error(transparent)]
    CannotSpeak(#[from] CannotSpeak),
    #[error("too many clips wait to be rendered; try again later")]
    Busy,
    #[error("the speech engine did not finish within {0:?}")]
    TimedOut(Duration),
    #[error("the speech engine {program} could not be run: {reason}")]
    NotRun { program: String, reason: String },
    /// What it wrote to its standard error may repeat the text, so it is not part of the message.
    #[error("the speech engine {program} failed with {status}")]
    Failed { program: String, status: String, stderr: String },
    #[error("the speech service answered with HTTP status {0}")]
    HttpStatus(u16),
    #[error("the speech service could not be asked: {0}")]
    HttpTransport(String),
    #[error("the speech engine produced more than {MAX_SECONDS} s of audio")]
    TooLong,
    #[error("the speech engine produced no audio")]
    Silent,
    #[error("the speech engine's output cannot be used: {0}")]
    Wav(#[from] WavError),
    #[error("the speech engine crashed")]
    Crashed,
}

impl Engines {
    /// `work_dir` must exist and be writable; engines write temporary files there. `timeout` is for one clip.
    pub fn new(
        work_dir: PathBuf,
        timeout: Duration,
        tls: rustls::ClientConfig,
    ) -> reqwest::Result<Self> {
        Ok(Self { http: http::client(tls)?, work_dir, timeout })
    }

    /// Speaks, within the time limit, at the volume that the style asks for.
    pub async fn render(
        &self,
        engine: &EngineConfig,
        utterance: &Utterance,
    ) -> Result<Speech, SpeechError> {
        let rendering = async {
            match engine {
                EngineConfig::Flite {} => flite::render(utterance, self.timeout).await,
                EngineConfig::Espeak { voice, voices, program } => {
                    espeak::render(
                        program,
                        espeak::Voices { default: voice.as_deref(), named: voices },
                        utterance,
                    )
                    .await
                }
                EngineConfig::Command { argv } => {
                    command::render(argv, &self.work_dir, utterance).await
                }
                EngineConfig::Http { url, body, bearer_token } => {
                    http::render(&self.http, url, *body, bearer_token.as_ref(), utterance).await
                }
            }
        };
        let timed = tokio::time::timeout(self.timeout, rendering).await;
        let mut speech = timed.map_err(|_| SpeechError::TimedOut(self.timeout))??;
        if speech.samples.is_empty() {
            return Err(SpeechError::Silent);
        }
        if speech.samples.len() > (MAX_SECONDS * speech.rate) as usize {
            return Err(SpeechError::TooLong);
        }
        utterance.style.volume.apply(&mut speech);
        Ok(speech)
    }
}

/// What decides the samples besides the words: two settings that sound alike have one identity, so that they share
/// clips, and two that differ never do.
pub(super) fn identity(engine: &EngineConfig) -> String {
    match engine {
        EngineConfig::Flite {} => "flite".to_owned(),
        EngineConfig::Espeak { voice, voices, program } => {
            format!("espeak {program:?} {voice:?} {voices:?}")
        }
        EngineConfig::Command { argv } => format!("command {argv:?}"),
        EngineConfig::Http { url, body, bearer_token: _ } => format!("http {url} {body:?}"),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
