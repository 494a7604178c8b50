//! How well a clip fits a place in what was heard.

use std::ops::Range;

use super::spectrum::{BANDS, Frame, Spectrum};

/// Frames of a clip that are compared at a time: 320 ms. Short enough that a single spoken digit decides a block.
const BLOCK: usize = 32;
/// Blocks overlap by half: a word lies in one of them as a whole.
const ADVANCE: usize = BLOCK / 2;
/// Of a block every second frame is compared: 20 ms.
const STRIDE: usize = 2;
/// How far a block may lie beside the place that the block before it predicts, in frames: jitter buffers insert and
/// drop single packets.
const SLACK: isize = 4;
/// How far what follows may have slipped within a block, in frames: a packet that came too late, or a pause that a jitter
/// buffer made or cut.
const SLIP: isize = 8;
/// A block that scores less is looked at for a slip; what is gained must be worth it.
const SLIPPED: f32 = 0.92;
const SLIP_GAINS: f32 = 0.03;
/// Blocks of a clip that may have slipped. More of them are another text.
const MAX_SLIPPED: usize = 4;
/// A block whose spread (in dB) is below this is as good as silent.
const FLAT_DB: f32 = 1.5;
/// Frames with sound that a block must have for it to be the worst: in a pause codecs differ as much as words do.
const MIN_SOUNDING: usize = 10;
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
    /// The worst block's, of those that are no pauses.
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
    correlation(clip, offset..end, heard, Lag::steady(at as isize - offset as isize))
        .map_or(0.0, |block| block.score)
}

/// Follows a clip through what was heard, block by block, from its place at `start` on.
pub(super) fn fit(clip: &Spectrum, heard: &Spectrum, start: isize) -> Fit {
    let mut lag = start;
    let (mut sum, mut weight, mut worst) = (0.0, 0.0, f32::INFINITY);
    let (mut from, mut slipped) = (0, 0);
    loop {
        // The last block is a whole one, too: none is too short to judge.
        let from_whole = from.min(clip.len().saturating_sub(BLOCK));
        let frames = from_whole..(from_whole + BLOCK).min(clip.len());
        let mut best = nudged(clip, frames.clone(), heard, lag);
        let promising = sum >= SLIPPED * weight && slipped < MAX_SLIPPED;
        if promising && best.as_ref().is_some_and(|(_, block)| block.score < SLIPPED) {
            let split = split(clip, frames, heard, lag);
            let gain = |found: &(Lag, Block)| found.1.score;
            if split.as_ref().map(gain) > best.as_ref().map(gain).map(|score| score + SLIP_GAINS) {
                best = split;
                slipped += 1;
            }
        }
        if let Some((laid, block)) = best {
            lag = laid.after;
            sum += block.score * block.active as f32;
            weight += block.active as f32;
            if block.sounding >= MIN_SOUNDING {
                worst = worst.min(block.score);
            }
        }
        from += ADVANCE;
        if from + BLOCK >= clip.len() + ADVANCE {
            break;
        }
    }
    let end = (lag + clip.len() as isize).clamp(0, heard.len() as isize);
    Fit {
        start,
        end: end as usize,
        mean: if weight > 0.0 { sum / weight } else { 0.0 },
        worst: if worst.is_finite() { worst } else { 0.0 },
        share: share(clip, heard, start),
    }
}

/// How far behind the clip what was heard lies: in frames, up to the clip's frame `turn` and from there on.
#[derive(Clone, Copy)]
struct Lag {
    before: isize,
    turn: usize,
    after: isize,
}

impl Lag {
    fn steady(lag: isize) -> Lag {
        Lag { before: lag, turn: 0, after: lag }
    }

    fn at(self, frame: usize) -> isize {
        if frame < self.turn { self.before } else { self.after }
    }
}

/// The best place of a block near its predicted one.
fn nudged(
    clip: &Spectrum,
    frames: Range<usize>,
    heard: &Spectrum,
    lag: isize,
) -> Option<(Lag, Block)> {
    let laid = |shift: isize| {
        let laid = Lag::steady(lag + shift);
        correlation(clip, frames.clone(), heard, laid).map(|block| (shift, laid, block))
    };
    (-SLACK..=SLACK)
        .filter_map(laid)
        .max_by(|a, b| better(a.0, a.2.score).total_cmp(&better(b.0, b.2.score)))
        .map(|(_, laid, block)| (laid, block))
}

/// The best place of a block in two parts, of which one lies where it was predicted.
fn split(
    clip: &Spectrum,
    frames: Range<usize>,
    heard: &Spectrum,
    lag: isize,
) -> Option<(Lag, Block)> {
    frames
        .clone()
        .step_by(2 * STRIDE)
        .flat_map(|turn| {
            (-SLIP..=SLIP).flat_map(move |slip| {
                let later = Lag { before: lag, turn, after: lag + slip };
                let earlier = Lag { before: lag + slip, turn, after: lag };
                [later, earlier]
            })
        })
        .filter_map(|laid| {
            correlation(clip, frames.clone(), heard, laid).map(|block| (laid, block))
        })
        .max_by(|a, b| a.1.score.total_cmp(&b.1.score))
}

/// Among equal scores the unmoved block is the right one: a steady sound fits everywhere.
fn better(shift: isize, score: f32) -> f32 {
    score - 1e-4 * shift.unsigned_abs() as f32
}

/// The share of the clip's sound that was heard.
fn share(clip: &Spectrum, heard: &Spectrum, start: isize) -> f32 {
    let sounds = (0..clip.len()).filter(|n| clip.active[*n]);
    let there = |n: &usize| {
        usize::try_from(*n as isize + start).is_ok_and(|at| at < heard.len() && !heard.missing[at])
    };
    let total = clip.active.iter().filter(|active| **active).count();
    sounds.filter(there).count() as f32 / total.max(1) as f32
}

struct Block {
    score: f32,
    /// Active frames of the clip that what was heard has, too.
    active: usize,
    /// Frames in which there is sound in either.
    sounding: usize,
}

/// Pearson's correlation over the cells of a block, which forgives a difference in level. `None` where too little of it
/// was heard at all: outside, or in packets that never came.
fn correlation(clip: &Spectrum, frames: Range<usize>, heard: &Spectrum, lag: Lag) -> Option<Block> {
    let mut pairs: Vec<(&Frame, &Frame)> = Vec::with_capacity(frames.len() / STRIDE + 1);
    let (mut active, mut extra) = (0, 0);
    for n in frames.step_by(STRIDE) {
        let Ok(at) = usize::try_from(n as isize + lag.at(n)) else { continue };
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
    let score = match pearson(&pairs, &heard.floor) {
        Some(score) => score,
        // Silence in the clip: right where silence was heard.
        None => 1.0 - extra as f32 / pairs.len() as f32,
    };
    let (active, sounding) = (active * STRIDE, (active + extra) * STRIDE);
    Some(Block { score: score.max(0.0), active, sounding })
}

fn pearson(pairs: &[(&Frame, &Frame)], floor: &Frame) -> Option<f32> {
    let cells = (pairs.len() * BANDS) as f32;
    let (mut sum_a, mut sum_b, mut aa, mut bb, mut ab) = (0.0f32, 0.0f32, 0.0f32, 0.0f32, 0.0f32);
    for (a, b) in pairs {
        for ((a, b), floor) in a.iter().zip(b.iter()).zip(floor) {
            let (a, b) = (a.max(*floor), b.max(*floor));
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
    if variance_b < FLAT_DB * FLAT_DB {
        // Sound in the clip, and none where it should be heard.
        return Some(0.0);
    }
    let covariance = ab / cells - (sum_a / cells) * (sum_b / cells);
    Some(covariance / (variance_a * variance_b).sqrt())
}
