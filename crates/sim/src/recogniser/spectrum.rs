//! Sound as energies per band and time: what the ear compares.

use std::sync::{Arc, OnceLock};

use realfft::{RealFftPlanner, RealToComplex};

const RATE: f32 = 8_000.0;
/// 32 ms.
const WINDOW: usize = 256;
/// 10 ms.
pub(super) const HOP: usize = 80;
pub(super) const BANDS: usize = 20;
/// The range that every codec and line carries.
const LOWEST_HZ: f32 = 120.0;
const HIGHEST_HZ: f32 = 3_500.0;
/// How far below a sound's loud parts its quiet parts are cut off, in dB: codecs differ in what they make of those.
const FLOOR_DB: f32 = -38.0;
/// A frame is active from this far below the loud parts on, in dB.
const ACTIVE_DB: f32 = -28.0;
/// Nothing quieter than this (root mean square of 12 in 16 bits, in dB of the spectrum) is a sound.
const SILENCE_DB: f32 = 55.0;

/// What A-law makes of silence.
const LINE_SILENCE: u16 = 8;

/// Energies in dB relative to the sound's loud level, one row per 10 ms.
pub(super) type Frame = [f32; BANDS];
/// The quietest tenth of the frames is taken for noise, as far as it is so much below the loud level, in dB.
const NOISE_DB: f32 = -14.0;
/// How far above the noise a sound has to be, in dB.
const ABOVE_NOISE_DB: f32 = 5.0;

/// A sound, analysed.
#[derive(Clone, Debug)]
pub(super) struct Spectrum {
    pub frames: Vec<Frame>,
    /// Whether there is sound in this frame.
    pub active: Vec<bool>,
    /// Whether this is the silence of a line, without any noise of its own: a packet that never came.
    pub missing: Vec<bool>,
    /// Per band what is as good as silence.
    pub floor: Frame,
}

impl Spectrum {
    pub fn of(samples: &[i16]) -> Spectrum {
        let analysis = Analysis::get();
        let emphasised = emphasise(samples);
        let count = (samples.len() + HOP).saturating_sub(WINDOW) / HOP;
        let mut frames: Vec<Frame> =
            (0..count).map(|n| analysis.bands(&emphasised[n * HOP..][..WINDOW])).collect();
        let levels: Vec<f32> = frames.iter().map(level).collect();
        let loud = loud_level(&levels);
        for frame in &mut frames {
            for band in frame.iter_mut() {
                *band -= loud;
            }
        }
        let floor = std::array::from_fn(|band| {
            let noise = quietest_tenth(frames.iter().map(|frame| frame[band]));
            (noise.min(NOISE_DB) + ABOVE_NOISE_DB).max(FLOOR_DB)
        });
        let noise = quietest_tenth(levels.iter().copied()).min(loud + NOISE_DB);
        let limit = (loud + ACTIVE_DB).max(SILENCE_DB).max(noise + ABOVE_NOISE_DB);
        let active = levels.iter().map(|level| *level > limit).collect();
        let flat = |n: usize| {
            let middle = &samples[n * HOP + WINDOW / 4..][..WINDOW / 2];
            middle.iter().all(|sample| sample.unsigned_abs() <= LINE_SILENCE)
        };
        Spectrum { missing: (0..count).map(flat).collect(), frames, active, floor }
    }

    pub fn len(&self) -> usize {
        self.frames.len()
    }

    pub fn next_active(&self, from: usize) -> Option<usize> {
        (from..self.len()).find(|n| self.active[*n])
    }

    /// From the first to the last active frame.
    pub fn trimmed(mut self) -> Spectrum {
        let first = self.next_active(0).unwrap_or(self.len());
        let last = self.active.iter().rposition(|active| *active).map_or(first, |last| last + 1);
        self.frames = self.frames[first..last].to_vec();
        self.active = self.active[first..last].to_vec();
        self.missing = self.missing[first..last].to_vec();
        self
    }
}

/// The level that the loudest tenth of the frames reaches.
fn loud_level(levels: &[f32]) -> f32 {
    let mut audible: Vec<f32> =
        levels.iter().copied().filter(|level| *level > SILENCE_DB).collect();
    if audible.is_empty() {
        return SILENCE_DB;
    }
    let rank = audible.len() - 1 - audible.len() / 10;
    *audible.select_nth_unstable_by(rank, f32::total_cmp).1
}

fn quietest_tenth(values: impl Iterator<Item = f32>) -> f32 {
    let mut values: Vec<f32> = values.collect();
    if values.is_empty() {
        return 0.0;
    }
    let rank = values.len() / 10;
    *values.select_nth_unstable_by(rank, f32::total_cmp).1
}

/// A frame's whole energy in dB.
fn level(frame: &Frame) -> f32 {
    10.0 * frame.iter().map(|band| 10f32.powf(band / 10.0)).sum::<f32>().log10()
}

/// Lifts high frequencies, where speech is weak and yet distinct.
fn emphasise(samples: &[i16]) -> Vec<f32> {
    let mut before = 0.0;
    samples
        .iter()
        .map(|sample| {
            let now = f32::from(*sample);
            let out = now - 0.9 * before;
            before = now;
            out
        })
        .collect()
}

struct Analysis {
    fft: Arc<dyn RealToComplex<f32>>,
    window: [f32; WINDOW],
    /// Per band: its first bin and the weights from there on.
    bands: Vec<(usize, Vec<f32>)>,
}

impl Analysis {
    fn get() -> &'static Analysis {
        static ANALYSIS: OnceLock<Analysis> = OnceLock::new();
        ANALYSIS.get_or_init(|| Analysis {
            fft: RealFftPlanner::new().plan_fft_forward(WINDOW),
            window: std::array::from_fn(|n| {
                0.5 - 0.5 * (std::f32::consts::TAU * n as f32 / WINDOW as f32).cos()
            }),
            bands: triangles(),
        })
    }

    fn bands(&self, samples: &[f32]) -> Frame {
        let mut input = self.fft.make_input_vec();
        for ((slot, sample), weight) in input.iter_mut().zip(samples).zip(&self.window) {
            *slot = sample * weight;
        }
        let mut output = self.fft.make_output_vec();
        self.fft.process(&mut input, &mut output).expect("the buffers are the plan's own");
        let power: Vec<f32> = output.iter().map(|bin| bin.norm_sqr()).collect();
        std::array::from_fn(|band| {
            let (first, weights) = &self.bands[band];
            let energy: f32 = weights.iter().zip(&power[*first..]).map(|(w, p)| w * p).sum();
            10.0 * (energy + 1.0).log10()
        })
    }
}

/// Overlapping triangles, evenly spaced on the mel scale.
fn triangles() -> Vec<(usize, Vec<f32>)> {
    let mel = |hz: f32| 1127.0 * (1.0 + hz / 700.0).ln();
    let hz = |mel: f32| 700.0 * ((mel / 1127.0).exp() - 1.0);
    let (low, high) = (mel(LOWEST_HZ), mel(HIGHEST_HZ));
    let corner = |n: usize| hz(low + (high - low) * n as f32 / (BANDS + 1) as f32);
    let bin_hz = RATE / WINDOW as f32;
    (0..BANDS)
        .map(|band| {
            let (left, middle, right) = (corner(band), corner(band + 1), corner(band + 2));
            let first = (left / bin_hz).ceil() as usize;
            let last = (right / bin_hz).floor() as usize;
            let weight = |bin: usize| {
                let at = bin as f32 * bin_hz;
                ((at - left) / (middle - left)).min((right - at) / (right - middle)).max(0.0)
            };
            (first, (first..=last).map(weight).collect())
        })
        .collect()
}
