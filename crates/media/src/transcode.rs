//! From one codec into another, for legs that hear each other and have none in common.

use std::sync::LazyLock;

use audio_codec_algorithms::{decode_alaw, decode_ulaw, encode_alaw, encode_ulaw};

use crate::bands::{Frame, Rebander};
use crate::codec::{Band, Codec, Encoder};

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

/// Encodes what another leg says, 20 ms by 20 ms: in the wide band where both codecs have it, else at 8 kHz.
pub(crate) struct Transcoder {
    codec: Codec,
    band: Band,
    encoder: Encoder,
    rebander: Rebander,
    payload: Vec<u8>,
}

impl Transcoder {
    /// One for frames of `source`, the band that it [`Transcoder::suits`].
    pub(crate) fn new(codec: Codec, source: Band) -> Self {
        let band = Band::best(codec, source);
        let encoder = Encoder::live(codec, band);
        Transcoder { codec, band, encoder, rebander: Rebander::default(), payload: Vec::new() }
    }

    /// Whether it is the one for that codec and such frames.
    pub(crate) fn suits(&self, codec: Codec, source: Band) -> bool {
        self.codec == codec && self.band == Band::best(codec, source)
    }

    /// The payload of the next frame.
    pub(crate) fn encode(&mut self, frame: &Frame) -> &[u8] {
        self.payload.clear();
        let frame = self.rebander.in_band(self.band, frame);
        self.encoder.encode(frame.samples(), &mut self.payload);
        &self.payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Decoder, FRAME};
    use crate::{detect, tone};

    #[test]
    fn the_laws_change_into_each_other_and_nothing_else_does() {
        for (from, into) in [(Codec::Pcma, Codec::Pcmu), (Codec::Pcmu, Codec::Pcma)] {
            let mut payload: Vec<u8> = (0..=255).collect();
            assert!(change_law(from, into, &mut payload));
            let (mut clear, mut changed) = (Vec::new(), Vec::new());
            Decoder::new(from, Band::Narrow)
                .decode(&(0..=255).collect::<Vec<u8>>(), &mut clear)
                .unwrap();
            Decoder::new(into, Band::Narrow).decode(&payload, &mut changed).unwrap();
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
    fn a_tone_survives_the_way_into_every_codec_and_a_high_one_where_both_have_the_wide_band() {
        for (source, into, hz) in [
            (Codec::Opus, Codec::Pcma, 1000.0),
            (Codec::G722, Codec::Pcmu, 1000.0),
            (Codec::Pcma, Codec::G722, 1000.0),
            (Codec::Pcmu, Codec::Opus, 1000.0),
            (Codec::Opus, Codec::G722, 5000.0),
            (Codec::G722, Codec::Opus, 5000.0),
        ] {
            let band = Band::shared(source, into);
            let factor = (band.frame() / FRAME) as u32;
            let mut transcoder = Transcoder::new(into, band);
            let mut decoder = Decoder::new(into, band);
            let mut heard = Vec::new();
            // The generator works at 8 kHz: at 16 kHz half the number is the same tone.
            let tone = tone::sine(hz / factor as f32, 400 * factor, 8000);
            for samples in tone.chunks_exact(band.frame()) {
                let mut frame = Frame::silent(band);
                frame.samples_mut().copy_from_slice(samples);
                decoder.decode(transcoder.encode(&frame), &mut heard).unwrap();
            }
            assert_eq!(heard.len(), 3200 * factor as usize, "{into:?}");
            let heard = &heard[heard.len() / 4..];
            let share = detect::share(heard, hz / factor as f32);
            assert!(share > 0.95, "{source:?} {into:?}: {share}");
            assert!((4000.0..7500.0).contains(&detect::rms(heard)), "{source:?} {into:?}");
        }
    }

    #[test]
    fn a_transcoder_lasts_as_long_as_it_need_not_encode_in_another_band() {
        let suits = |codec, first, then| Transcoder::new(codec, first).suits(codec, then);
        assert!(suits(Codec::G722, Band::Narrow, Band::Wide), "its frames are always wide");
        assert!(suits(Codec::Pcma, Band::Narrow, Band::Wide), "and these never");
        assert!(!suits(Codec::Opus, Band::Narrow, Band::Wide));
        assert!(!Transcoder::new(Codec::Opus, Band::Wide).suits(Codec::G722, Band::Wide));
    }
}
