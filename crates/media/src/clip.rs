//! A clip: audio that is ready to be sent, decoded once and shared by all legs that play it.

mod decode;
mod resample;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use audio_codec_algorithms::{decode_alaw, encode_alaw};

use crate::codec::{Band, Codec, Encoder, FRAME};
use crate::wav;

pub use decode::Limits;

/// A-law of a zero sample.
pub(crate) const ALAW_SILENCE: u8 = 0xD5;
const NARROW_HZ: u32 = 8_000;
const WIDE_HZ: u32 = 16_000;
/// Frames of silence that an encoder hears before a clip, so that its state is the one that a decoder has that
/// heard the silence between clips.
const WARM_UP_FRAMES: usize = 5;

/// Audio ready to be sent. Cloning shares it; a codec's packets are made on first use and kept.
#[derive(Clone)]
pub struct Clip {
    inner: Arc<Inner>,
}

struct Inner {
    id: u64,
    /// 8 kHz A-law, filled up with silence to whole packets: what PCMA legs send and recordings take.
    narrow: Box<[u8]>,
    /// Bytes of `narrow` before the filling.
    length: usize,
    /// 16 kHz, where the source had more than 8 kHz to give.
    wide: Option<Box<[i16]>>,
    /// PCMA has none: its packets are slices of `narrow`.
    frames: [OnceLock<Frames>; Codec::ALL.len()],
}

/// Why a file is no clip: the file is at fault, and the text says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClipError {
    #[error("the file is empty")]
    Empty,
    #[error("the file has {bytes} bytes, more than the {limit} that are allowed")]
    TooLarge { bytes: usize, limit: usize },
    #[error("the audio is longer than the {limit_s} seconds that are allowed")]
    TooLong { limit_s: u64 },
    #[error("the file is neither WAV nor MP3, or is damaged: {0}")]
    Format(String),
    #[error(
        "the file's audio encoding is not supported (WAV with PCM, A-law or µ-law, or MP3): {0}"
    )]
    Encoding(String),
    #[error("a sample rate of {0} Hz is not supported (4,000 to 192,000)")]
    Rate(u32),
    #[error("{0} channels are not supported (1 to 8)")]
    ChannelCount(usize),
    #[error("the file holds no audio")]
    NoAudio,
}

impl Clip {
    /// Reads a WAV (PCM of 8 to 32 bits or float, A-law, µ-law) or MP3 file of any rate from 4 to 192 kHz; several
    /// channels are mixed. A file that ends early counts as far as it goes: writers that stream leave wrong lengths.
    pub fn decode(bytes: &[u8]) -> Result<Clip, ClipError> {
        Self::decode_within(bytes, Limits::default())
    }

    /// As [`Clip::decode`], with limits of the caller's.
    pub fn decode_within(bytes: &[u8], limits: Limits) -> Result<Clip, ClipError> {
        let (samples, rate) = decode::decode(bytes, limits)?;
        Ok(Self::from_mono(&samples, rate))
    }

    /// A clip of mono samples.
    pub fn from_pcm(samples: &[i16], rate: u32) -> Result<Clip, ClipError> {
        if samples.is_empty() {
            return Err(ClipError::NoAudio);
        }
        decode::check_rate(rate)?;
        let samples: Vec<f32> = samples.iter().map(|&s| f32::from(s) / 32_768.0).collect();
        Ok(Self::from_mono(&samples, rate))
    }

    /// Reads what [`Clip::to_stored`] wrote.
    pub fn from_stored(bytes: &[u8]) -> Result<Clip, ClipError> {
        Self::decode_within(bytes, Limits::UNLIMITED)
    }

    fn from_mono(samples: &[f32], rate: u32) -> Clip {
        let wide = (rate > NARROW_HZ).then(|| resample::resample(samples, rate, WIDE_HZ));
        let narrow = match &wide {
            Some(wide) => resample::resample(wide, WIDE_HZ, NARROW_HZ),
            None => resample::resample(samples, rate, NARROW_HZ),
        };
        let mut narrow: Vec<u8> = narrow.iter().map(|&s| encode_alaw(to_i16(s))).collect();
        let wide: Option<Box<[i16]>> = wide.map(|wide| wide.iter().map(|&s| to_i16(s)).collect());
        let id = content_id(&narrow, wide.as_deref());
        let length = narrow.len();
        narrow.resize(length.next_multiple_of(FRAME), ALAW_SILENCE);
        let (narrow, frames) = (narrow.into(), Default::default());
        Clip { inner: Arc::new(Inner { id, narrow, length, wide, frames }) }
    }

    /// A hash of the content (FNV-1a, stable across versions): equal clips have equal ids. Not collision-proof
    /// against an adversary: a name within one process or tenant, never an authority across tenants.
    pub fn id(&self) -> u64 {
        self.inner.id
    }

    pub fn duration(&self) -> Duration {
        Duration::from_micros(self.inner.length as u64 * 1_000_000 / u64::from(NARROW_HZ))
    }

    /// The clip as a phone on G.711 hears it: samples at 8 kHz.
    pub fn samples(&self) -> Vec<i16> {
        self.narrow().iter().map(|&b| decode_alaw(b)).collect()
    }

    /// A WAV file of A-law at 8 kHz, mono: 8,000 bytes per second.
    pub fn to_wav(&self) -> Vec<u8> {
        wav::alaw_file(1, self.narrow())
    }

    /// A WAV file that loses nothing of the clip: A-law at 8 kHz, or 16-bit PCM at 16 kHz where the source was wider
    /// than 8 kHz. Any player opens it; [`Clip::from_stored`] reads it back.
    pub fn to_stored(&self) -> Vec<u8> {
        match &self.inner.wide {
            Some(wide) => wav::pcm16_file(WIDE_HZ, wide),
            None => self.to_wav(),
        }
    }

    /// The number of 20 ms packets.
    pub(crate) fn frame_count(&self) -> usize {
        self.inner.narrow.len() / FRAME
    }

    /// Whether the packets of `codec` have been made.
    pub(crate) fn is_prepared(&self, codec: Codec) -> bool {
        codec == Codec::Pcma || self.inner.frames[codec.index()].get().is_some()
    }

    /// Makes the packets of `codec` if that was not done before: some 2 ms of CPU per second of Opus. Never called on a
    /// media thread.
    pub(crate) fn prepare(&self, codec: Codec) {
        if codec != Codec::Pcma {
            self.inner.frames[codec.index()].get_or_init(|| self.encode(codec));
        }
    }

    /// One packet's payload, where [`Clip::is_prepared`].
    pub(crate) fn payload(&self, codec: Codec, frame: usize) -> Option<&[u8]> {
        match codec {
            Codec::Pcma => self.alaw(frame),
            Codec::Pcmu | Codec::G722 | Codec::Opus => {
                self.inner.frames[codec.index()].get()?.payload(frame)
            }
        }
    }

    /// One packet as A-law, for recordings.
    pub(crate) fn alaw(&self, frame: usize) -> Option<&[u8]> {
        self.inner.narrow.get(frame * FRAME..(frame + 1) * FRAME)
    }

    fn narrow(&self) -> &[u8] {
        &self.inner.narrow[..self.inner.length]
    }

    fn encode(&self, codec: Codec) -> Frames {
        let source = if self.inner.wide.is_some() { Band::Wide } else { Band::Narrow };
        let frames = match (Band::best(codec, source), &self.inner.wide) {
            (Band::Narrow, _) => encode_frames(codec, Band::Narrow, &self.samples()),
            (Band::Wide, Some(wide)) => encode_frames(codec, Band::Wide, wide),
            (Band::Wide, None) => encode_frames(codec, Band::Wide, &self.widened()),
        };
        debug_assert!(frames.payload(self.frame_count() - 1).is_some(), "a packet for every frame");
        frames
    }

    fn widened(&self) -> Vec<i16> {
        let narrow: Vec<f32> = self.samples().iter().map(|&s| f32::from(s) / 32_768.0).collect();
        resample::resample(&narrow, NARROW_HZ, WIDE_HZ).into_iter().map(to_i16).collect()
    }
}

impl std::fmt::Debug for Clip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clip({:016x}, {:?})", self.inner.id, self.duration())
    }
}

/// The payloads of consecutive 20 ms packets.
#[derive(Debug)]
pub(crate) struct Frames {
    bytes: Box<[u8]>,
    /// End of each payload in `bytes`; `None` where all have [`FRAME`] bytes.
    ends: Option<Box<[u32]>>,
}

impl Frames {
    fn constant(bytes: Vec<u8>) -> Self {
        Frames { bytes: bytes.into(), ends: None }
    }

    pub(crate) fn payload(&self, frame: usize) -> Option<&[u8]> {
        match &self.ends {
            None => self.bytes.get(frame * FRAME..(frame + 1) * FRAME),
            Some(ends) => {
                let end = *ends.get(frame)? as usize;
                let start = match frame.checked_sub(1) {
                    Some(before) => ends[before] as usize,
                    None => 0,
                };
                self.bytes.get(start..end)
            }
        }
    }
}

/// The payload to send while nothing plays.
pub(crate) fn silence(codec: Codec) -> &'static [u8] {
    static SILENCE: [OnceLock<Vec<u8>>; Codec::ALL.len()] =
        [const { OnceLock::new() }; Codec::ALL.len()];
    SILENCE[codec.index()].get_or_init(|| {
        let band = Band::best(codec, Band::Narrow);
        let mut encoder = Encoder::new(codec, band);
        let mut payload = Vec::new();
        for _ in 0..WARM_UP_FRAMES {
            payload.clear();
            encoder.encode(&vec![0; band.frame()], &mut payload);
        }
        payload
    })
}

fn encode_frames(codec: Codec, band: Band, samples: &[i16]) -> Frames {
    let length = band.frame();
    let mut encoder = Encoder::new(codec, band);
    let mut frame = vec![0i16; length];
    let mut bytes = Vec::new();
    for _ in 0..WARM_UP_FRAMES {
        encoder.encode(&frame, &mut bytes);
    }
    bytes.clear();
    let mut ends = Vec::with_capacity(samples.len().div_ceil(length));
    for part in samples.chunks(length) {
        frame[..part.len()].copy_from_slice(part);
        frame[part.len()..].fill(0);
        encoder.encode(&frame, &mut bytes);
        ends.push(bytes.len() as u32);
    }
    match codec {
        Codec::Pcma | Codec::Pcmu | Codec::G722 => Frames::constant(bytes),
        Codec::Opus => Frames { bytes: bytes.into(), ends: Some(ends.into()) },
    }
}

fn to_i16(sample: f32) -> i16 {
    (sample * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16
}

fn content_id(narrow: &[u8], wide: Option<&[i16]>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut feed = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    narrow.iter().copied().for_each(&mut feed);
    wide.unwrap_or_default().iter().flat_map(|s| s.to_le_bytes()).for_each(&mut feed);
    hash
}
