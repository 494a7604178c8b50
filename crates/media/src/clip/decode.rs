//! WAV and MP3 files to mono samples, within limits.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use super::ClipError;

/// What a file may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub bytes: usize,
    pub duration: Duration,
}

impl Limits {
    /// For what this crate wrote itself.
    pub(super) const UNLIMITED: Limits =
        Limits { bytes: usize::MAX, duration: Duration::from_secs(24 * 3600) };
}

impl Default for Limits {
    fn default() -> Self {
        Limits { bytes: 32 << 20, duration: Duration::from_secs(600) }
    }
}

const MAX_CHANNELS: usize = 8;

pub(super) fn check_rate(rate: u32) -> Result<(), ClipError> {
    match rate {
        4_000..=192_000 => Ok(()),
        other => Err(ClipError::Rate(other)),
    }
}

/// Mono samples in −1.0…1.0 and their rate.
pub(super) fn decode(bytes: &[u8], limits: Limits) -> Result<(Vec<f32>, u32), ClipError> {
    if bytes.is_empty() {
        return Err(ClipError::Empty);
    }
    if bytes.len() > limits.bytes {
        return Err(ClipError::TooLarge { bytes: bytes.len(), limit: limits.bytes });
    }
    // Files come from strangers: should the decoder library meet one that it panics on, that file is refused.
    catch_unwind(AssertUnwindSafe(|| decode_track(bytes, limits)))
        .unwrap_or_else(|_| Err(ClipError::Format("the decoder gave up on it".into())))
}

fn decode_track(bytes: &[u8], limits: Limits) -> Result<(Vec<f32>, u32), ClipError> {
    let source = MediaSourceStream::new(Box::new(Cursor::new(bytes.to_vec())), Default::default());
    let mut format = symphonia::default::get_probe()
        .probe(&Hint::new(), source, FormatOptions::default(), MetadataOptions::default())
        .map_err(|error| ClipError::Format(error.to_string()))?;
    let (track, mut decoder) = open_track(format.as_mut())?;
    let mut mono = Mono { samples: Vec::new(), rate: 0, limit: limits.duration };
    let mut interleaved = Vec::new();
    loop {
        let packet = match format.next_packet() {
            Ok(Some(packet)) => packet,
            // The end, or as far as a file goes that was cut.
            Ok(None) | Err(Error::IoError(_)) => break,
            Err(error) => return Err(ClipError::Format(error.to_string())),
        };
        if packet.track_id != track {
            continue;
        }
        match decoder.decode(&packet) {
            Ok(audio) => {
                let (rate, channels) = (audio.spec().rate(), audio.num_planes());
                audio.copy_to_vec_interleaved(&mut interleaved);
                mono.append(&interleaved, rate, channels)?;
            }
            // One damaged MP3 frame is a click, not the end of the file.
            Err(Error::DecodeError(_) | Error::IoError(_)) => {}
            Err(error) => return Err(ClipError::Encoding(error.to_string())),
        }
    }
    if mono.samples.is_empty() {
        return Err(ClipError::NoAudio);
    }
    Ok((mono.samples, mono.rate))
}

fn open_track(format: &mut dyn FormatReader) -> Result<(u32, Box<dyn AudioDecoder>), ClipError> {
    let track = format.default_track(TrackType::Audio).ok_or(ClipError::NoAudio)?;
    let parameters = track
        .codec_params
        .as_ref()
        .and_then(|parameters| parameters.audio())
        .ok_or_else(|| ClipError::Encoding("none is named".into()))?;
    let decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .map_err(|error| ClipError::Encoding(error.to_string()))?;
    Ok((track.id, decoder))
}

struct Mono {
    samples: Vec<f32>,
    rate: u32,
    limit: Duration,
}

impl Mono {
    fn append(&mut self, interleaved: &[f32], rate: u32, channels: usize) -> Result<(), ClipError> {
        check_rate(rate)?;
        if !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(ClipError::ChannelCount(channels));
        }
        if self.rate != 0 && self.rate != rate {
            return Err(ClipError::Format("the sample rate changes in the middle".into()));
        }
        self.rate = rate;
        let scale = 1.0 / channels as f32;
        // A float WAV may hold anything, also what is no number: that is silence.
        let finite = |sum: f32| if sum.is_finite() { sum.clamp(-1.0, 1.0) } else { 0.0 };
        self.samples.extend(
            interleaved
                .chunks_exact(channels)
                .map(|frame| finite(frame.iter().sum::<f32>() * scale)),
        );
        if self.samples.len() as u64 > self.limit.as_secs() * u64::from(rate) {
            return Err(ClipError::TooLong { limit_s: self.limit.as_secs() });
        }
        Ok(())
    }
}
