//! Sounds that nobody plays, to be preferred to a clip where a clip does not really fit: pieces of the clips themselves in
//! another order, babble, and tones, all at a telephone's level.

use media::tone;

use crate::babble;
use crate::random::Random;

/// How many there are at least.
pub(super) const COUNT: usize = 24;
/// Tones that no clip is likely to be made of, in Hz.
const TONES: [f32; 12] =
    [313.0, 383.0, 467.0, 571.0, 691.0, 853.0, 1031.0, 1259.0, 1543.0, 1879.0, 2287.0, 2791.0];
/// Pieces that a clip is cut into: 120 to 280 ms.
const PIECE: std::ops::Range<u64> = 960..2_240;

/// The `n`th decoy: a third are shuffled clips (as long as there are clips), a third babble, a third tones.
pub(super) fn decoy(n: usize, random: &mut Random, clips: &[&[i16]]) -> Vec<i16> {
    match n % 3 {
        0 if !clips.is_empty() => shuffled(random, clips[(n / 3) % clips.len()]),
        1 => melody(random),
        _ => {
            let count = random.between(8_000..32_000) as usize;
            babble::speech(random, count)
        }
    }
}

/// The same voice and level, other words.
fn shuffled(random: &mut Random, clip: &[i16]) -> Vec<i16> {
    let mut pieces: Vec<&[i16]> = Vec::new();
    let mut rest = clip;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(random.between(PIECE) as usize));
        pieces.push(piece);
        rest = after;
    }
    for n in (1..pieces.len()).rev() {
        pieces.swap(n, random.between(0..n as u64 + 1) as usize);
    }
    pieces.concat()
}

fn melody(random: &mut Random) -> Vec<i16> {
    let mut out = Vec::new();
    for _ in 0..random.between(2..9) {
        let mut hz = || TONES[random.between(0..TONES.len() as u64) as usize];
        let tones = [hz(), hz()];
        let count = 1 + random.between(0..2) as usize;
        out.extend(tone::mix(&tones[..count], random.between(150..600) as u32, 6_000));
        out.extend(tone::silence(random.between(0..120) as u32));
    }
    out
}
