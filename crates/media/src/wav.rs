//! WAV headers of our own files (RIFF, Microsoft 1994 revision).

/// Bytes before the first sample of an A-law file: `RIFF`, an 18-byte `fmt `, the `fact` chunk that every encoding but
/// PCM needs, and the head of `data`.
pub const ALAW_HEADER: usize = 58;

const FORMAT_PCM: u16 = 1;
const FORMAT_ALAW: u16 = 6;
const RATE: u32 = 8_000;

/// The header of an A-law file at 8 kHz with `data` bytes of samples.
pub fn alaw_header(channels: u16, data: u32) -> [u8; ALAW_HEADER] {
    let mut header = [0u8; ALAW_HEADER];
    let frames = data / u32::from(channels);
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        header[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(b"RIFF");
    // An odd chunk is followed by one pad byte.
    put(&(ALAW_HEADER as u32 - 8).saturating_add(data).saturating_add(data & 1).to_le_bytes());
    put(b"WAVEfmt ");
    put(&18u32.to_le_bytes());
    put(&FORMAT_ALAW.to_le_bytes());
    put(&channels.to_le_bytes());
    put(&RATE.to_le_bytes());
    put(&(RATE * u32::from(channels)).to_le_bytes());
    put(&channels.to_le_bytes());
    put(&8u16.to_le_bytes());
    put(&0u16.to_le_bytes());
    put(b"fact");
    put(&4u32.to_le_bytes());
    put(&frames.to_le_bytes());
    put(b"data");
    put(&data.to_le_bytes());
    header
}

/// A whole A-law file at 8 kHz.
pub fn alaw_file(channels: u16, samples: &[u8]) -> Vec<u8> {
    let mut file = alaw_header(channels, samples.len() as u32).to_vec();
    file.extend_from_slice(samples);
    if samples.len() % 2 == 1 {
        file.push(0);
    }
    file
}

/// A whole file of mono 16-bit PCM.
pub fn pcm16_file(rate: u32, samples: &[i16]) -> Vec<u8> {
    let data = samples.len() as u32 * 2;
    let mut file = Vec::with_capacity(44 + data as usize);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + data).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&16u32.to_le_bytes());
    file.extend_from_slice(&FORMAT_PCM.to_le_bytes());
    file.extend_from_slice(&1u16.to_le_bytes());
    file.extend_from_slice(&rate.to_le_bytes());
    file.extend_from_slice(&(rate * 2).to_le_bytes());
    file.extend_from_slice(&2u16.to_le_bytes());
    file.extend_from_slice(&16u16.to_le_bytes());
    file.extend_from_slice(b"data");
    file.extend_from_slice(&data.to_le_bytes());
    file.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
    file
}
