//! The codecs: their names in SDP, their clocks, and coders that turn 8 or 16 kHz samples into payloads and back.

use audio_codec_algorithms::{decode_alaw, decode_ulaw, encode_alaw, encode_ulaw};
use ezk_g722::libg722::{self, Bitrate};
use ropus::{Application, Channels, DecodeMode};

/// Length of one packet that we send.
pub const FRAME_MS: u32 = 20;
/// Samples of one packet at 8 kHz.
pub const FRAME: usize = 160;

/// Largest Opus payload we produce: 20 ms at the 24 kbit/s below need far less.
const OPUS_MAX: usize = 400;
const OPUS_BITS_PER_SECOND: u32 = 24_000;
/// Samples of the longest packet of RFC 6716, 120 ms, at 16 kHz.
const OPUS_LONGEST: usize = 1_920;

/// A codec, in the order of preference of our offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    Pcma,
    Pcmu,
    G722,
    Opus,
}

impl Codec {
    pub const ALL: [Codec; 4] = [Codec::Pcma, Codec::Pcmu, Codec::G722, Codec::Opus];

    /// The encoding name of `a=rtpmap`.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Pcma => "PCMA",
            Codec::Pcmu => "PCMU",
            Codec::G722 => "G722",
            Codec::Opus => "opus",
        }
    }

    /// RTP clock in Hz. G.722 samples at 16 kHz and yet counts at 8 kHz (RFC 3551 §4.5.2).
    pub fn clock(self) -> u32 {
        match self {
            Codec::Pcma | Codec::Pcmu | Codec::G722 => 8_000,
            Codec::Opus => 48_000,
        }
    }

    /// The payload type of RFC 3551, or the dynamic one that our offers use.
    pub fn payload_type(self) -> u8 {
        match self {
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
            Codec::G722 => 9,
            Codec::Opus => 107,
        }
    }

    /// RTP timestamp units of one 20 ms packet.
    pub fn frame_ticks(self) -> u32 {
        self.clock() / 1000 * FRAME_MS
    }

    /// How much of time a payload holds, in RTP timestamp units. An Opus payload does not tell without being read: it counts
    /// as 20 ms, which all but few senders choose.
    pub(crate) fn payload_ticks(self, payload: &[u8]) -> u32 {
        match self {
            // 64 kbit/s, and a clock of 8 kHz.
            Codec::Pcma | Codec::Pcmu | Codec::G722 => payload.len() as u32,
            Codec::Opus => self.frame_ticks(),
        }
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Codec::Pcma => 0,
            Codec::Pcmu => 1,
            Codec::G722 => 2,
            Codec::Opus => 3,
        }
    }
}

/// Encodes consecutive 20 ms frames.
pub enum Encoder {
    Pcma,
    Pcmu,
    G722(Box<libg722::encoder::Encoder>),
    Opus(Box<ropus::Encoder>),
}

/// The rate of the samples that an [`Encoder`] takes and a [`Decoder`] gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Band {
    /// 8 kHz: 160 samples per frame.
    Narrow,
    /// 16 kHz: 320 samples per frame.
    Wide,
}

impl Band {
    /// The band to encode in, where the source has this one: G.711 is narrow, G.722 wide, Opus takes either.
    pub fn best(codec: Codec, source: Band) -> Band {
        match codec {
            Codec::Pcma | Codec::Pcmu => Band::Narrow,
            Codec::G722 => Band::Wide,
            Codec::Opus => source,
        }
    }

    /// The band in which audio goes from a decoder of the one codec to an encoder of the other: the wide one where both
    /// have it.
    pub fn shared(one: Codec, other: Codec) -> Band {
        let is_wide = |codec| matches!(codec, Codec::G722 | Codec::Opus);
        if is_wide(one) && is_wide(other) { Band::Wide } else { Band::Narrow }
    }

    /// Samples of a 20 ms frame.
    pub fn frame(self) -> usize {
        match self {
            Band::Narrow => FRAME,
            Band::Wide => 2 * FRAME,
        }
    }

    /// Samples per second.
    pub fn rate(self) -> u32 {
        match self {
            Band::Narrow => 8_000,
            Band::Wide => 16_000,
        }
    }
}

impl Encoder {
    /// An encoder for frames of `band`, which must be one that [`Band::best`] can give for the codec.
    pub fn new(codec: Codec, band: Band) -> Self {
        Self::for_application(codec, band, Application::Voip)
    }

    /// The same for a call that is encoded as it goes on. Opus then works in its low-delay mode: 4 ms earlier, for two thirds
    /// of the time in the narrow band and half of it in the wide one, but worse at hiding lost packets.
    pub fn live(codec: Codec, band: Band) -> Self {
        Self::for_application(codec, band, Application::RestrictedLowDelay)
    }

    fn for_application(codec: Codec, band: Band, application: Application) -> Self {
        match codec {
            Codec::Pcma => Encoder::Pcma,
            Codec::Pcmu => Encoder::Pcmu,
            // Always of wide frames: this library's 8 kHz mode (0.1.2) gives the same code for every sample.
            Codec::G722 => Encoder::G722(Box::new(libg722::encoder::Encoder::new(
                Bitrate::Mode1_64000,
                false,
                false,
            ))),
            Codec::Opus => Encoder::Opus(Box::new(opus_encoder(band, application))),
        }
    }

    /// Appends the payload of one frame to `out`.
    pub fn encode(&mut self, samples: &[i16], out: &mut Vec<u8>) {
        match self {
            Encoder::Pcma => out.extend(samples.iter().map(|&s| encode_alaw(s))),
            Encoder::Pcmu => out.extend(samples.iter().map(|&s| encode_ulaw(s))),
            Encoder::G722(encoder) => out.extend(encoder.encode(samples)),
            Encoder::Opus(encoder) => {
                let mut payload = [0u8; OPUS_MAX];
                match encoder.encode(samples, &mut payload) {
                    Ok(length) => out.extend_from_slice(&payload[..length]),
                    // The frame length is ours and the buffer large: a refusal is a bug in the codec. An empty
                    // payload is a lost frame to any decoder.
                    Err(error) => tracing::error!(%error, "the Opus encoder refused a 20 ms frame"),
                }
            }
        }
    }
}

fn opus_encoder(band: Band, application: Application) -> ropus::Encoder {
    ropus::Encoder::builder(band.rate(), Channels::Mono, application)
        .bitrate(ropus::Bitrate::Bits(OPUS_BITS_PER_SECOND))
        .complexity(0)
        .build()
        .expect("a rate, a bitrate and a complexity that Opus defines")
}

/// Decodes payloads, in the order they were sent.
pub enum Decoder {
    Pcma,
    Pcmu,
    G722(Box<libg722::decoder::Decoder>),
    Opus(Box<ropus::Decoder>),
}

impl Decoder {
    /// A decoder whose samples are of `band`; G.711 has no wide one, and stays at 8 kHz.
    pub fn new(codec: Codec, band: Band) -> Self {
        match codec {
            Codec::Pcma => Decoder::Pcma,
            Codec::Pcmu => Decoder::Pcmu,
            Codec::G722 => Decoder::G722(Box::new(libg722::decoder::Decoder::new(
                Bitrate::Mode1_64000,
                false,
                band == Band::Narrow,
            ))),
            Codec::Opus => Decoder::Opus(Box::new(
                ropus::Decoder::new(band.rate(), Channels::Mono)
                    .expect("8 and 16 kHz mono are modes that Opus defines"),
            )),
        }
    }

    pub fn codec(&self) -> Codec {
        match self {
            Decoder::Pcma => Codec::Pcma,
            Decoder::Pcmu => Codec::Pcmu,
            Decoder::G722(_) => Codec::G722,
            Decoder::Opus(_) => Codec::Opus,
        }
    }

    /// Appends the samples of one payload to `out`; a payload that is not of this codec appends none and says so.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), BadPayload> {
        match self {
            Decoder::Pcma => out.extend(payload.iter().map(|&b| decode_alaw(b))),
            Decoder::Pcmu => out.extend(payload.iter().map(|&b| decode_ulaw(b))),
            Decoder::G722(decoder) => out.extend(decoder.decode(payload)),
            Decoder::Opus(decoder) => {
                let mut samples = [0i16; OPUS_LONGEST];
                let count = decoder
                    .decode(payload, &mut samples, DecodeMode::Normal)
                    .map_err(|_| BadPayload)?;
                out.extend_from_slice(&samples[..count]);
            }
        }
        Ok(())
    }
}

/// The payload is none of this codec's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the payload is not of the agreed codec")]
pub struct BadPayload;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{detect, tone};

    #[test]
    fn a_tone_survives_every_codec_in_either_band() {
        for codec in Codec::ALL {
            for source in [Band::Narrow, Band::Wide] {
                for heard_in in [Band::Narrow, Band::shared(codec, codec)] {
                    assert_tone_survives(codec, Band::best(codec, source), heard_in);
                }
            }
        }
    }

    fn assert_tone_survives(codec: Codec, band: Band, heard_in: Band) {
        let what = format!("{codec:?} {band:?} {heard_in:?}");
        let factor = |band: Band| (band.frame() / FRAME) as u32;
        // The generator works at 8 kHz: at 16 kHz half the number is the same tone.
        let tone = tone::sine(1000.0 / factor(band) as f32, 400 * factor(band), 8000);
        let mut encoder = Encoder::new(codec, band);
        let mut decoder = Decoder::new(codec, heard_in);
        let mut heard = Vec::new();
        for frame in tone.chunks_exact(band.frame()) {
            let mut payload = Vec::new();
            encoder.encode(frame, &mut payload);
            decoder.decode(&payload, &mut heard).unwrap();
        }
        let factor = factor(heard_in);
        assert_eq!(heard.len(), 3200 * factor as usize, "{what}");
        let heard = &heard[heard.len() / 4..];
        let share = detect::share(heard, 1000.0 / factor as f32);
        assert!(share > 0.95, "{what}: {share}");
        let rms = detect::rms(heard);
        assert!((4000.0..7500.0).contains(&rms), "{what}: {rms}");
    }
}
