//! Speech: from a template and its values to samples, each clip rendered once.
//!
//! `Template` (what createVoiceTemplate stores) → `fill` → `FilledText` (what the intent stores) → `Speaker::speak`.
pub mod cache;
pub mod config;
pub mod engines;
pub mod filled;
pub mod normalise;
pub mod speaker;
pub mod style;
pub mod template;
mod wav;

/// Mono audio.
#[derive(Clone, PartialEq, Eq)]
pub struct Speech {
    pub samples: Vec<i16>,
    /// In Hz.
    pub rate: u32,
}

impl Speech {
    pub fn duration(&self) -> std::time::Duration {
        std::time::Duration::from_secs_f64(self.samples.len() as f64 / f64::from(self.rate.max(1)))
    }
}

/// Without the samples, which nobody reads.
impl std::fmt::Debug for Speech {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Speech({:?} at {} Hz)", self.duration(), self.rate)
    }
}
