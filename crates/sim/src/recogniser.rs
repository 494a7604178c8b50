//! Says which clips a phone heard.
//!
//! Each clip that may have been played is laid over what was heard, block by block, and compared by the energies in
//! twenty bands; so are at least 20 decoys. A clip is named where it fits throughout and nothing else fits nearly as well:
//! in a long sentence one other word is enough to lose. Codecs, losses, jitter buffers and a cut-off end are allowed
//! for; what remains doubtful is unknown.

mod alignment;
mod decoys;
mod spectrum;

use std::time::Duration;

use crate::random::Random;
use alignment::{Fit, fit, glimpse};
use spectrum::{HOP, Spectrum};

/// What an unnamed clip is called.
pub const UNKNOWN: &str = "unknown";

/// A clip has to fit so well as a whole, and so well in its worst third of a second. Measured with sentences that differ
/// in one word, through every codec and with a tenth of the packets lost: the right sentence has 0.90 and more in its
/// worst block, another one 0.71 and less, "fifty" for "fifteen" 0.87.
const MIN_MEAN: f32 = 0.90;
const MIN_WORST: f32 = 0.88;
/// Everything else has to fit worse: what is amiss with it is so many times what is amiss with the winner, and more by
/// so much.
const AMISS_TIMES: f32 = 1.8;
const AMISS_MORE: f32 = 0.005;
/// A clip that begins with another one and fits nearly as well, by so much, is what was heard.
const LONGER_FITS: f32 = 0.05;
/// Clips whose lengths differ by less than this, in frames, do not begin with each other.
const LONGER: usize = 30;
/// So much of a clip must have been heard for it to be named.
const MIN_SHARE: f32 = 0.30;
/// From this share on a clip counts as heard to its end.
const WHOLE: f32 = 0.95;
/// A decoy that resembles a clip so much is none.
const RESEMBLANCE: f32 = 0.65;
/// How often another decoy is tried in its place.
const DECOY_TRIES: usize = 20;

/// All in frames of 10 ms. What is compared to find a clip's place.
const GLIMPSE: usize = 60;
/// How far a clip may begin beside the first sound.
const BESIDE: isize = 12;
/// How much of a clip's head may be missing: a phone that was late to listen.
const HEAD: usize = 100;
/// What a place loses in score for each frame that it lies beside the first sound.
const LOST_COSTS: f32 = 0.0005;
/// A pause that ends an unknown sound.
const PAUSE: usize = 70;
/// Shorter sounds are clicks.
const CLICK: usize = 15;
/// How well a glimpse has to fit for a clip to be looked for in the midst of an unknown sound.
const GLIMPSE_FITS: f32 = 0.85;

/// Knows a set of clips.
#[derive(Debug)]
pub struct Recogniser {
    clips: Vec<Clip>,
}

#[derive(Debug)]
struct Clip {
    /// `None`: a decoy.
    id: Option<String>,
    spectrum: Spectrum,
}

/// One clip that was heard.
#[derive(Clone, Debug, PartialEq)]
pub struct Recognised {
    /// `None`: no clip fits clearly.
    pub id: Option<String>,
    /// Where it begins in what was heard.
    pub at: Duration,
    pub length: Duration,
    /// How well it fits, 0.0 to 1.0; for an unknown sound the best that any clip came to.
    pub score: f32,
    /// How much of the clip was heard, 0.0 to 1.0.
    pub share: f32,
}

impl Recognised {
    /// The clip's id, or `"unknown"`.
    pub fn label(&self) -> &str {
        self.id.as_deref().unwrap_or(UNKNOWN)
    }

    /// Whether the clip was heard to its end.
    pub fn is_whole(&self) -> bool {
        self.id.is_some() && self.share >= WHOLE
    }
}

impl Recogniser {
    /// `clips` are ids and samples at 8 kHz. Clips of the same sound are one clip, by the first one's id; a clip without
    /// sound is never recognised. `seed` makes the decoys.
    pub fn new<I: Into<String>>(
        clips: impl IntoIterator<Item = (I, Vec<i16>)>,
        seed: u64,
    ) -> Recogniser {
        let mut sources: Vec<Vec<i16>> = Vec::new();
        let mut known: Vec<Clip> = Vec::new();
        for (id, samples) in clips {
            let spectrum = Spectrum::of(&samples).trimmed();
            if spectrum.len() == 0 || sources.contains(&samples) {
                continue;
            }
            sources.push(samples);
            known.push(Clip { id: Some(id.into()), spectrum });
        }
        let decoys = decoys(&known, &sources, seed);
        known.extend(decoys);
        Recogniser { clips: known }
    }

    /// How many decoys compete with the clips.
    pub fn decoys(&self) -> usize {
        self.clips.iter().filter(|clip| clip.id.is_none()).count()
    }

    /// The clips in what was heard (8 kHz), in their order.
    pub fn recognise(&self, heard: &[i16]) -> Vec<Recognised> {
        let heard = Spectrum::of(heard);
        let mut found: Vec<Recognised> = Vec::new();
        let mut cursor = 0;
        while let Some(begin) = heard.next_active(cursor) {
            let verdict = self.judge(&heard, begin);
            match verdict.winner {
                Some((clip, fit)) => {
                    cursor = fit.end.max(begin + 1);
                    found.push(recognised(clip, fit));
                }
                None => {
                    let end = self.end_of_unknown(&heard, begin);
                    note_unknown(&mut found, &heard, begin..end, verdict.best);
                    cursor = end;
                }
            }
        }
        found
    }

    /// Who fits at the sound that begins here.
    fn judge(&self, heard: &Spectrum, begin: usize) -> Verdict<'_> {
        let fits: Vec<(&Clip, Fit)> =
            self.clips.iter().map(|clip| (clip, place(&clip.spectrum, heard, begin))).collect();
        let best = fits.iter().map(|(_, fit)| fit.quality()).fold(0.0, f32::max);
        let winner = winner(&fits).filter(|(clip, fit)| {
            clip.id.is_some()
                && !fits.iter().any(|(rival, other)| {
                    !std::ptr::eq(*rival, *clip) && rivals(clip, fit, rival, other)
                })
        });
        Verdict { winner, best }
    }

    /// Where an unknown sound ends: at a pause, or where a clip begins.
    fn end_of_unknown(&self, heard: &Spectrum, begin: usize) -> usize {
        let mut quiet = 0;
        for at in begin + CLICK..heard.len() {
            quiet = if heard.active[at] { 0 } else { quiet + 1 };
            if quiet >= PAUSE {
                return at;
            }
            let begins = heard.active[at]
                && self
                    .clips
                    .iter()
                    .filter(|clip| clip.id.is_some())
                    .any(|clip| glimpse(&clip.spectrum, 0, heard, at, GLIMPSE) >= GLIMPSE_FITS);
            if begins && self.judge(heard, at).winner.is_some() {
                return at;
            }
        }
        heard.len()
    }
}

struct Verdict<'c> {
    winner: Option<(&'c Clip, Fit)>,
    /// The best quality of all, decoys included.
    best: f32,
}

/// The clip or decoy that fits best; one that goes on where that one ends, and fits as well, goes before it.
fn winner<'c>(fits: &[(&'c Clip, Fit)]) -> Option<(&'c Clip, Fit)> {
    let good = fits.iter().filter(|(_, fit)| {
        fit.mean >= MIN_MEAN && fit.worst >= MIN_WORST && fit.share >= MIN_SHARE
    });
    let best = good.clone().max_by(|a, b| a.1.quality().total_cmp(&b.1.quality()))?;
    let longer = good.filter(|(clip, fit)| {
        fit.share >= WHOLE
            && clip.spectrum.len() >= best.0.spectrum.len() + LONGER
            && fit.quality() >= best.1.quality() - LONGER_FITS
    });
    Some(*longer.max_by_key(|(clip, _)| clip.spectrum.len()).unwrap_or(best))
}

/// Whether a rival fits so well that the winner is in doubt. A rival that the winner begins with, and one that would go
/// on where the winner was heard to its end, fit as they must and prove nothing.
fn rivals(clip: &Clip, fit: &Fit, rival: &Clip, other: &Fit) -> bool {
    let (length, other_length) = (clip.spectrum.len(), rival.spectrum.len());
    let contained = other_length + LONGER <= length && fit.share >= WHOLE;
    let would_go_on = length + LONGER <= other_length && fit.share >= WHOLE && other.share < WHOLE;
    let amiss = 1.0 - fit.quality();
    let refuted = 1.0 - other.quality() >= AMISS_TIMES * amiss + AMISS_MORE;
    other.share >= MIN_SHARE && !contained && !would_go_on && !refuted
}

/// The best place for a clip around the sound that begins at `begin`: with its head there, or with part of it lost.
fn place(clip: &Spectrum, heard: &Spectrum, begin: usize) -> Fit {
    let begin = begin as isize;
    let lost = HEAD.min(clip.len() / 2) as isize;
    let best = (-lost..=BESIDE)
        .step_by(2)
        .map(|beside| {
            let offset = beside.min(0).unsigned_abs();
            let at = usize::try_from(begin + beside.max(0)).unwrap_or(0);
            // A steady sound fits everywhere: then the place without a loss is the right one.
            let doubt = LOST_COSTS * beside.unsigned_abs() as f32;
            (begin + beside, glimpse(clip, offset, heard, at, GLIMPSE) - doubt)
        })
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map_or(begin, |(start, _)| start);
    fit(clip, heard, best)
}

fn recognised(clip: &Clip, fit: Fit) -> Recognised {
    let begin = usize::try_from(fit.start).unwrap_or(0);
    Recognised {
        id: clip.id.clone(),
        at: time(begin),
        length: time(fit.end.saturating_sub(begin)),
        score: fit.mean,
        share: fit.share.min(1.0),
    }
}

/// An unknown sound; one that goes on after a short pause is still the same.
fn note_unknown(
    found: &mut Vec<Recognised>,
    heard: &Spectrum,
    frames: std::ops::Range<usize>,
    best: f32,
) {
    let sound = heard.active[frames.clone()].iter().filter(|active| **active).count();
    if sound < CLICK {
        return;
    }
    let last = heard.active[frames.clone()].iter().rposition(|active| *active).unwrap_or(0);
    let (at, end) = (time(frames.start), time(frames.start + last + 1));
    match found.last_mut() {
        Some(before) if before.id.is_none() && at < before.at + before.length + time(PAUSE) => {
            before.length = end - before.at;
            before.score = before.score.max(best);
        }
        _ => found.push(Recognised { id: None, at, length: end - at, score: best, share: 0.0 }),
    }
}

fn time(frames: usize) -> Duration {
    Duration::from_micros((frames * HOP * 125) as u64)
}

/// Decoys that resemble no clip.
fn decoys(clips: &[Clip], sources: &[Vec<i16>], seed: u64) -> Vec<Clip> {
    let sources: Vec<&[i16]> = sources.iter().map(Vec::as_slice).collect();
    let mut random = Random::for_name(seed, "decoys");
    let mut made = Vec::with_capacity(decoys::COUNT);
    for n in 0..decoys::COUNT {
        for attempt in 0..DECOY_TRIES {
            // Where a clip cannot be shuffled into something else (a steady tone) another kind of decoy steps in.
            let kind = if attempt < DECOY_TRIES / 2 { n } else { n + attempt };
            let samples = decoys::decoy(kind, &mut random, &sources);
            let spectrum = Spectrum::of(&samples).trimmed();
            let resembles = |clip: &Clip| {
                let fit = place(&clip.spectrum, &spectrum, 0);
                let back = place(&spectrum, &clip.spectrum, 0);
                fit.quality().max(back.quality()) > RESEMBLANCE
            };
            if spectrum.len() > 0 && !clips.iter().any(resembles) {
                made.push(Clip { id: None, spectrum });
                break;
            }
        }
    }
    made
}
