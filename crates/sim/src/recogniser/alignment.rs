//! How well a clip fits a place in what was heard.

use super::spectrum::{BANDS, Frame, Spectrum};

/// Frames of a clip that are compared at a time: 400 ms. Short enough that a single spoken digit decides a block.
const BLOCK: usize = 40;
/// Of a block every second frame is compared: 20 ms.
const STRIDE: usize = 2;
/// How far a block may lie beside the place that the block before it predicts, in frames: jitter buffers insert and
/// drop single packets.
const SLACK: isize = 3;
/// A block whose spread (in dB) is below this is as good as silent.
const FLAT_DB: f32 = 1.5;
/// Frames of a block that must be there for it to count.
const MIN_PRESENT: usize = 8;

/// A clip laid over what was heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    /// Frame of what was heard at which the clip's first frame lies; negative where the head was not heard.
    pub start: isize,
    /// Frame after the clip's last one that was heard.
    pub end: usize,
    /// Mean of the blocks' correlations, weighted by how much sound is in them: 1.0 is the same sound.
    pub mean: f32,
    /// The worst block's.
    pub worst: f32,
    /// Share of the clip's sound that was there to be compared.
    pub share: f32,
}

impl Fit {
    /// One figure to compare fits by: a single wrong word must count in a long sentence.
    pub fn quality(&self) -> f32 {
        (self.mean + self.worst) / 2.0
    }
}

/// Correlation of the first `length` frames from `offset` of a clip with what was heard at `at`.
pub(super) fn glimpse(
    clip: &Spectrum,
    offset: usize,
    heard: &Spectrum,
    at: usize,
    length: usize,
) -> f32 {
    let end = (offset + length).min(clip.len());
    correlation(clip, offset..end, heard, at as isize - offset as isize)
        .map_or(0.0, |block| block.score)
}

/// Follows a clip through what was heard, block by block, from its place at `start` on.
pub(super) fn fit(clip: &Spectrum, heard: &Spectrum, start: isize) -> Fit {
    let mut lag = start;
    let (mut sum, mut weight, mut worst, mut present) = (0.0, 0.0, f32::INFINITY, 0);
    let total = clip.active.iter().filter(|active| **active).count();
    let mut from = 0;
    while from < clip.len() {
        // The last block takes the rest, so that none is too short to judge.
        let to = if clip.len() - from < 2 * BLOCK { clip.len() } else { from + BLOCK };
        let shifted = |shift: isize| {
            correlation(clip, from..to, heard, lag + shift).map(|block| (shift, block))
        };
        let best =
            (-SLACK..=SLACK).filter_map(shifted).max_by(|a, b| a.1.score.total_cmp(&b.1.score));
        if let Some((shift, block)) = best {
            lag += shift;
            sum += block.score * block.active as f32;
            weight += block.active as f32;
            worst = worst.min(block.score);
            present += block.active;
        }
        from = to;
    }
    let end = (lag + clip.len() as isize).clamp(0, heard.len() as isize);
    Fit {
        start,
        end: end as usize,
        mean: if weight > 0.0 { sum / weight } else { 0.0 },
        worst: if worst.is_finite() { worst } else { 0.0 },
        share: present as f32 / total.max(1) as f32,
    }
}

struct Block {
    score: f32,
    /// Active frames of the clip that what was heard has, too.
    active: usize,
}

/// Pearson's correlation over the cells of a block, which forgives a difference in level. `None` where too little of it
/// was heard at all: outside, or in packets that never came.
fn correlation(
    clip: &Spectrum,
    frames: std::ops::Range<usize>,
    heard: &Spectrum,
    lag: isize,
) -> Option<Block> {
    let mut pairs: Vec<(&Frame, &Frame)> = Vec::with_capacity(frames.len() / STRIDE + 1);
    let (mut active, mut extra) = (0, 0);
    for n in frames.step_by(STRIDE) {
        let Ok(at) = usize::try_from(n as isize + lag) else { continue };
        if at >= heard.len() || (heard.missing[at] && clip.active[n]) {
            continue;
        }
        pairs.push((&clip.frames[n], &heard.frames[at]));
        active += usize::from(clip.active[n]);
        extra += usize::from(heard.active[at] && !clip.active[n]);
    }
    if pairs.len() < MIN_PRESENT {
        return None;
    }
    let score = match pearson(&pairs) {
        Some(score) => score,
        // Silence in the clip: right where silence was heard.
        None => 1.0 - extra as f32 / pairs.len() as f32,
    };
    Some(Block { score: score.max(0.0), active: active * STRIDE })
}

fn pearson(pairs: &[(&Frame, &Frame)]) -> Option<f32> {
    let cells = (pairs.len() * BANDS) as f32;
    let (mut sum_a, mut sum_b, mut aa, mut bb, mut ab) = (0.0f32, 0.0f32, 0.0f32, 0.0f32, 0.0f32);
    for (a, b) in pairs {
        for (a, b) in a.iter().zip(b.iter()) {
            sum_a += a;
            sum_b += b;
            aa += a * a;
            bb += b * b;
            ab += a * b;
        }
    }
    let variance_a = aa / cells - (sum_a / cells).powi(2);
    let variance_b = bb / cells - (sum_b / cells).powi(2);
    if variance_a < FLAT_DB * FLAT_DB {
        return None;
    }
    let covariance = ab / cells - (sum_a / cells) * (sum_b / cells);
    Some(covariance / (variance_a * variance_b.max(f32::MIN_POSITIVE)).sqrt())
}
