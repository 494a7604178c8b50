//! Reads the WAV that an engine writes: as tolerant as engines are careless, as strict as the samples need.
use super::Speech;
use thiserror::Error;

/// Rates that can be spoken, in Hz.
pub const RATES: std::ops::RangeInclusive<u32> = 8_000..=48_000;

/// Why an engine's output is not speech; the engine is at fault.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum WavError {
    #[error("the output is not WAV")]
    NotWav,
    #[error("the WAV ends before its samples begin")]
    NoSamples,
    #[error(
        "the WAV has format tag {tag} with {bits} bits: expected PCM of 8, 16, 24 or 32 bits or 32-bit float"
    )]
    Format { tag: u16, bits: u16 },
    #[error("the WAV has {0} channels: expected 1 to 8")]
    Channels(u16),
    #[error("the WAV has a rate of {0} Hz: expected {low} to {high}", low = RATES.start(), high = RATES.end())]
    Rate(u32),
}

struct Format {
    tag: u16,
    channels: u16,
    rate: u32,
    bits: u16,
}

const PCM: u16 = 1;
const FLOAT: u16 = 3;
const EXTENSIBLE: u16 = 0xfffe;

/// Parses a WAV file to mono. The length of the sample chunk is believed only as far as there are bytes: programs that
/// stream (espeak-ng) write it before they know it. Several channels are averaged.
pub fn parse(bytes: &[u8]) -> Result<Speech, WavError> {
    if bytes.len() < 12 || &bytes[..4] != b"RIFF" || &bytes[8..12] != b"WAVE" {
        return Err(WavError::NotWav);
    }
    let mut rest = &bytes[12..];
    let mut format = None;
    while let Some((header, body)) = rest.split_at_checked(8) {
        let declared = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let chunk = &body[..declared.min(body.len())];
        match &header[..4] {
            b"fmt " => format = Some(parse_format(chunk)?),
            b"data" => {
                let format = format.ok_or(WavError::NotWav)?;
                let chunk = if declared == 0 { body } else { chunk };
                return Ok(Speech { samples: to_mono(chunk, &format), rate: format.rate });
            }
            _ => {}
        }
        // Chunks are padded to even lengths.
        rest = body.get(declared.saturating_add(declared & 1)..).unwrap_or_default();
    }
    Err(WavError::NoSamples)
}

fn parse_format(chunk: &[u8]) -> Result<Format, WavError> {
    let word = |at: usize| {
        chunk.get(at..at + 2).map(|b| u16::from_le_bytes([b[0], b[1]])).ok_or(WavError::NotWav)
    };
    let rate = u32::from(word(4)?) | u32::from(word(6)?) << 16;
    let (mut tag, channels, bits) = (word(0)?, word(2)?, word(14)?);
    if tag == EXTENSIBLE {
        tag = word(24)?; // the first two bytes of the sub-format's GUID are the tag proper
    }
    match (tag, bits) {
        (PCM, 8 | 16 | 24 | 32) | (FLOAT, 32) => {}
        _ => return Err(WavError::Format { tag, bits }),
    }
    if !(1..=8).contains(&channels) {
        return Err(WavError::Channels(channels));
    }
    if !RATES.contains(&rate) {
        return Err(WavError::Rate(rate));
    }
    Ok(Format { tag, channels, rate, bits })
}

fn to_mono(data: &[u8], format: &Format) -> Vec<i16> {
    let width = usize::from(format.bits / 8);
    let channels = usize::from(format.channels);
    let frame_samples = |frame: &[u8]| {
        let sum: i32 =
            frame.chunks_exact(width).map(|sample| i32::from(to_i16(sample, format.tag))).sum();
        (sum / channels as i32) as i16
    };
    data.chunks_exact(width * channels).map(frame_samples).collect()
}

fn to_i16(sample: &[u8], tag: u16) -> i16 {
    match (tag, sample) {
        (FLOAT, &[a, b, c, d]) => (f32::from_le_bytes([a, b, c, d]) * 32768.0) as i16, // `as` saturates, NaN is 0
        (_, &[unsigned]) => (i16::from(unsigned) - 128) << 8,
        (_, &[.., low, high]) => i16::from_le_bytes([low, high]),
        (_, []) => 0,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A WAV file with these sample bytes and this length in its data chunk.
    pub fn wav(
        tag: u16,
        channels: u16,
        rate: u32,
        bits: u16,
        data: &[u8],
        declared: u32,
    ) -> Vec<u8> {
        let block = channels * bits / 8;
        let mut bytes = b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\0\0\0".to_vec();
        bytes.extend(tag.to_le_bytes());
        bytes.extend(channels.to_le_bytes());
        bytes.extend(rate.to_le_bytes());
        bytes.extend((rate * u32::from(block)).to_le_bytes());
        bytes.extend(block.to_le_bytes());
        bytes.extend(bits.to_le_bytes());
        bytes.extend(b"data");
        bytes.extend(declared.to_le_bytes());
        bytes.extend(data);
        bytes
    }

    fn samples(tag: u16, channels: u16, bits: u16, data: &[u8]) -> Vec<i16> {
        parse(&wav(tag, channels, 16_000, bits, data, data.len() as u32)).unwrap().samples
    }

    #[test]
    fn every_width() {
        assert_eq!(samples(PCM, 1, 8, &[0, 128, 255]), [-32768, 0, 32512]);
        assert_eq!(samples(PCM, 1, 16, &[1, 0, 0xff, 0x7f, 0, 0x80]), [1, 32767, -32768]);
        assert_eq!(samples(PCM, 1, 24, &[9, 1, 0, 9, 0xff, 0x7f]), [1, 32767]);
        assert_eq!(samples(PCM, 1, 32, &[9, 9, 1, 0, 9, 9, 0, 0x80]), [1, -32768]);
        let floats: Vec<u8> =
            [0.5f32, -1.0, 7.0, f32::NAN].iter().flat_map(|f| f.to_le_bytes()).collect();
        assert_eq!(samples(FLOAT, 1, 32, &floats), [16384, -32768, 32767, 0]);
        assert_eq!(samples(PCM, 2, 16, &[2, 0, 4, 0, 0xff, 0x7f, 0xff, 0x7f]), [3, 32767]);
    }

    #[test]
    fn lengths_that_lie() {
        let data = [1, 0, 2, 0, 3];
        for declared in [0, 5, 6, 0x7fff_f000, u32::MAX] {
            let speech = parse(&wav(PCM, 1, 8000, 16, &data, declared)).unwrap();
            assert_eq!(speech, Speech { samples: vec![1, 2], rate: 8000 }, "{declared}");
        }
        let mut trailing = wav(PCM, 1, 8000, 16, &data[..2], 2);
        trailing.extend(b"LIST\x04\0\0\0abcd");
        assert_eq!(parse(&trailing).unwrap().samples, [1]);
    }

    #[test]
    fn what_is_no_speech() {
        for (bytes, expected) in [
            (b"{\"error\":\"no\"}".to_vec(), WavError::NotWav),
            (b"RIFF".to_vec(), WavError::NotWav),
            (b"RIFF....WAVE".to_vec(), WavError::NoSamples),
            (b"RIFF....WAVEdata\x02\0\0\0aa".to_vec(), WavError::NotWav),
            (wav(6, 1, 8000, 8, &[], 0), WavError::Format { tag: 6, bits: 8 }),
            (wav(PCM, 1, 8000, 12, &[], 0), WavError::Format { tag: 1, bits: 12 }),
            (wav(PCM, 0, 8000, 16, &[], 0), WavError::Channels(0)),
            (wav(PCM, 9, 8000, 16, &[], 0), WavError::Channels(9)),
            (wav(PCM, 1, 7999, 16, &[], 0), WavError::Rate(7999)),
            (wav(PCM, 1, 96_000, 16, &[], 0), WavError::Rate(96_000)),
        ] {
            assert_eq!(parse(&bytes), Err(expected));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_speech_or_an_error(tail in prop::collection::vec(any::<u8>(), 0..80), cut in 0usize..100, at in 0usize..60, flip: u8) {
            let mut bytes = wav(PCM, 1, 8000, 16, &tail, tail.len() as u32);
            bytes[at % 44] ^= flip;
            bytes.truncate(bytes.len().saturating_sub(cut));
            let _ = parse(&bytes);
            let _ = parse(&tail);
        }
    }
}
