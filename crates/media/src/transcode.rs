//! From one codec into another, for legs that hear each other and have none in common.

use std::sync::LazyLock;

use audio_codec_algorithms::{decode_alaw, decode_ulaw, encode_alaw, encode_ulaw};

use crate::codec::{Band, Codec, Encoder, FRAME};

/// A-law and µ-law, code by code: such a packet needs no more than a look into the table of its way.
struct Laws {
    to_alaw: [u8; 256],
    to_ulaw: [u8; 256],
}

static LAWS: LazyLock<Laws> = LazyLock::new(|| Laws {
    to_alaw: std::array::from_fn(|code| encode_alaw(decode_ulaw(code as u8))),
    to_ulaw: std::array::from_fn(|code| encode_ulaw(decode_alaw(code as u8))),
});

/// Changes a G.711 payload into that of the other law, or leaves it as it is where it is of `into` already; false where the
/// two codecs are not as close as that.
pub(crate) fn change_law(from: Codec, into: Codec, payload: &mut [u8]) -> bool {
    let table = match (from, into) {
        (Codec::Pcmu, Codec::Pcma) => &LAWS.to_alaw,
        (Codec::Pcma, Codec::Pcmu) => &LAWS.to_ulaw,
        (from, into) => return from == into,
    };
    payload.iter_mut().for_each(|code| *code = table[usize::from(*code)]);
    true
}

/// Whether packets of one codec become those of the other as they come, with the same times.
pub(crate) fn passes(from: Codec, into: Codec) -> bool {
    let is_g711 = |codec| matches!(codec, Codec::Pcma | Codec::Pcmu);
    from == into || is_g711(from) && is_g711(into)
}

/// Encodes what another leg says, 20 ms by 20 ms. It works at 8 kHz, the rate of every codec's narrowest band.
pub(crate) struct Transcoder {
    codec: Codec,
    encoder: Encoder,
    widener: Widener,
    payload: Vec<u8>,
}

impl Transcoder {
    pub(crate) fn new(codec: Codec) -> Self {
        let encoder = Encoder::new(codec, Band::best(codec, Band::Narrow));
        Transcoder { codec, encoder, widener: Widener::default(), payload: Vec::new() }
    }

    pub(crate) fn codec(&self) -> Codec {
        self.codec
    }

    /// The payload of the next frame.
    pub(crate) fn encode(&mut self, frame: &[i16; FRAME]) -> &[u8] {
        self.payload.clear();
        match Band::best(self.codec, Band::Narrow) {
            Band::Narrow => self.encoder.encode(frame, &mut self.payload),
            Band::Wide => self.encoder.encode(&self.widener.widen(frame), &mut self.payload),
        }
        &self.payload
    }
}

/// Half of a half-band filter's odd taps, from the middle outwards: a windowed sinc (Hamming) of 16 taps, made so that they
/// all add up to one.
static TAPS: LazyLock<[f32; SIDE]> = LazyLock::new(|| {
    let raw: [f32; SIDE] = std::array::from_fn(|n| {
        let x = n as f32 + 0.5;
        let sinc = (std::f32::consts::PI * x).sin() / (std::f32::consts::PI * x);
        let window = 0.54 + 0.46 * (std::f32::consts::PI * x / SIDE as f32).cos();
        sinc * window
    });
    let sum: f32 = raw.iter().sum::<f32>() * 2.0;
    raw.map(|tap| tap / sum)
});
/// Taps on each side of the sample between two.
const SIDE: usize = 8;
/// Samples of the frame before that the filter still needs.
const MEMORY: usize = 2 * SIDE - 1;

/// Doubles the rate, 8 to 16 kHz: every second sample is one that came, those between are interpolated. It is late by a
/// millisecond.
#[derive(Default)]
struct Widener {
    memory: [i16; MEMORY],
}

impl Widener {
    fn widen(&mut self, frame: &[i16; FRAME]) -> [i16; 2 * FRAME] {
        let mut line = [0i16; MEMORY + FRAME];
        line[..MEMORY].copy_from_slice(&self.memory);
        line[MEMORY..].copy_from_slice(frame);
        self.memory.copy_from_slice(&line[FRAME..]);
        let taps = &*TAPS;
        let mut wide = [0i16; 2 * FRAME];
        for (n, pair) in wide.chunks_exact_mut(2).enumerate() {
            // The sample between `line[middle]` and the next one.
            let middle = n + SIDE - 1;
            let between: f32 = taps
                .iter()
                .enumerate()
                .map(|(k, tap)| {
                    tap * (f32::from(line[middle - k]) + f32::from(line[middle + 1 + k]))
                })
                .sum();
            pair[0] = line[middle];
            pair[1] = between.round().clamp(f32::from(i16::MIN), f32::from(i16::MAX)) as i16;
        }
        wide
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Decoder;
    use crate::{detect, tone};

    #[test]
    fn the_laws_change_into_each_other_and_nothing_else_does() {
        for (from, into) in [(Codec::Pcma, Codec::Pcmu), (Codec::Pcmu, Codec::Pcma)] {
            let mut payload: Vec<u8> = (0..=255).collect();
            assert!(change_law(from, into, &mut payload));
            let (mut clear, mut changed) = (Vec::new(), Vec::new());
            Decoder::new(from).decode(&(0..=255).collect::<Vec<u8>>(), &mut clear).unwrap();
            Decoder::new(into).decode(&payload, &mut changed).unwrap();
            for (clear, changed) in clear.iter().zip(changed) {
                let off = i32::from(clear.abs_diff(changed));
                assert!(
                    off <= 8 + i32::from(clear.unsigned_abs()) / 16,
                    "{clear} became {changed}"
                );
            }
        }
        for (from, into) in [(Codec::Pcma, Codec::Pcma), (Codec::Opus, Codec::Opus)] {
            let mut payload = [1, 2, 3];
            assert!(change_law(from, into, &mut payload) && passes(from, into));
            assert_eq!(payload, [1, 2, 3]);
        }
        for (from, into) in [(Codec::Pcma, Codec::G722), (Codec::Opus, Codec::Pcmu)] {
            assert!(!change_law(from, into, &mut [1]) && !passes(from, into));
        }
    }

    #[test]
    fn a_widened_tone_is_that_tone_without_its_mirror_image() {
        for hz in [300.0, 1000.0, 3000.0] {
            let mut widener = Widener::default();
            let wide: Vec<i16> = tone::sine(hz, 400, 8000)
                .chunks_exact(FRAME)
                .flat_map(|frame| widener.widen(frame.try_into().unwrap()))
                .collect();
            // The detector works at 8 kHz: at 16 kHz half the number is the same tone.
            let heard = &wide[640..];
            assert!(detect::share(heard, hz / 2.0) > 0.98, "{hz}");
            assert!(detect::share(heard, (8_000.0 - hz) / 2.0) < 0.01, "{hz}: the image");
            assert!((5_300.0..5_900.0).contains(&detect::rms(heard)), "{hz}");
        }
    }

    #[test]
    fn a_tone_survives_the_way_into_every_codec() {
        for codec in Codec::ALL {
            let (mut transcoder, mut decoder) = (Transcoder::new(codec), Decoder::new(codec));
            let mut heard = Vec::new();
            for frame in tone::sine(1000.0, 400, 8000).chunks_exact(FRAME) {
                let payload = transcoder.encode(frame.try_into().unwrap());
                decoder.decode(payload, &mut heard).unwrap();
            }
            assert_eq!(heard.len(), 3200, "{codec:?}");
            assert!(detect::share(&heard[800..], 1000.0) > 0.95, "{codec:?}");
            assert!((4000.0..7500.0).contains(&detect::rms(&heard[800..])), "{codec:?}");
        }
    }
}
