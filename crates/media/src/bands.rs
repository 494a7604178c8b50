//! 20 ms of audio in one of the two bands, and the way from each band to the other.

use std::sync::LazyLock;

use crate::codec::{Band, FRAME};

/// 20 ms of audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    band: Band,
    /// As many as the band has are used.
    samples: [i16; 2 * FRAME],
}

impl Frame {
    pub(crate) fn silent(band: Band) -> Self {
        Frame { band, samples: [0; 2 * FRAME] }
    }

    pub(crate) fn band(&self) -> Band {
        self.band
    }

    pub(crate) fn samples(&self) -> &[i16] {
        &self.samples[..self.band.frame()]
    }

    pub(crate) fn samples_mut(&mut self) -> &mut [i16] {
        &mut self.samples[..self.band.frame()]
    }
}

/// Changes the band of consecutive frames. It is late by a millisecond.
#[derive(Default)]
pub(crate) struct Rebander {
    widener: Widener,
    narrower: Narrower,
}

impl Rebander {
    /// The frame in this band; as it is, where it has it.
    pub(crate) fn in_band(&mut self, band: Band, frame: &Frame) -> Frame {
        let mut changed = Frame::silent(band);
        match (frame.band, band) {
            (Band::Narrow, Band::Narrow) | (Band::Wide, Band::Wide) => return *frame,
            (Band::Narrow, Band::Wide) => {
                self.widener.widen(frame.samples(), changed.samples_mut());
            }
            (Band::Wide, Band::Narrow) => {
                self.narrower.narrow(frame.samples(), changed.samples_mut());
            }
        }
        changed
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
/// Taps on each side of the middle.
const SIDE: usize = 8;
/// Samples of the frame before that are still needed, at the lower and at the higher rate.
const MEMORY: usize = 2 * SIDE - 1;
const WIDE_MEMORY: usize = 4 * SIDE - 2;

/// Doubles the rate, 8 to 16 kHz: every second sample is one that came, those between are interpolated.
#[derive(Default)]
struct Widener {
    memory: [i16; MEMORY],
}

impl Widener {
    fn widen(&mut self, narrow: &[i16], wide: &mut [i16]) {
        let mut line = [0i16; MEMORY + FRAME];
        line[..MEMORY].copy_from_slice(&self.memory);
        line[MEMORY..].copy_from_slice(narrow);
        self.memory.copy_from_slice(&line[FRAME..]);
        let taps = &*TAPS;
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
            pair[1] = sample(between);
        }
    }
}

/// Halves the rate, 16 to 8 kHz: what is above 4 kHz goes first, lest it be heard as something else below.
struct Narrower {
    memory: [i16; WIDE_MEMORY],
}

impl Default for Narrower {
    fn default() -> Self {
        Narrower { memory: [0; WIDE_MEMORY] }
    }
}

impl Narrower {
    fn narrow(&mut self, wide: &[i16], narrow: &mut [i16]) {
        let mut line = [0i16; WIDE_MEMORY + 2 * FRAME];
        line[..WIDE_MEMORY].copy_from_slice(&self.memory);
        line[WIDE_MEMORY..].copy_from_slice(wide);
        self.memory.copy_from_slice(&line[2 * FRAME..]);
        let taps = &*TAPS;
        for (n, out) in narrow.iter_mut().enumerate() {
            let middle = 2 * n + WIDE_MEMORY / 2;
            let beside: f32 = taps
                .iter()
                .enumerate()
                .map(|(k, tap)| {
                    let off = 2 * k + 1;
                    tap * (f32::from(line[middle - off]) + f32::from(line[middle + off]))
                })
                .sum();
            *out = sample((f32::from(line[middle]) + beside) / 2.0);
        }
    }
}

fn sample(value: f32) -> i16 {
    value.round().clamp(f32::from(i16::MIN), f32::from(i16::MAX)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{detect, tone};

    /// A tone of 400 ms in one band, and what becomes of it in the other.
    fn changed(hz: f32, from: Band, into: Band) -> Vec<i16> {
        let mut rebander = Rebander::default();
        // The generator works at 8 kHz: at 16 kHz half the number is the same tone.
        let (hz, ms) = if from == Band::Wide { (hz / 2.0, 800) } else { (hz, 400) };
        let heard = tone::sine(hz, ms, 8000);
        let frames = heard.chunks_exact(from.frame());
        frames
            .flat_map(|samples| {
                let mut frame = Frame::silent(from);
                frame.samples_mut().copy_from_slice(samples);
                rebander.in_band(into, &frame).samples().to_vec()
            })
            .skip(640)
            .collect()
    }

    #[test]
    fn a_widened_tone_is_that_tone_without_its_mirror_image() {
        for hz in [300.0, 1000.0, 3000.0] {
            let heard = changed(hz, Band::Narrow, Band::Wide);
            assert!(detect::share(&heard, hz / 2.0) > 0.98, "{hz}");
            assert!(detect::share(&heard, (8_000.0 - hz) / 2.0) < 0.01, "{hz}: the image");
            assert!((5_300.0..5_900.0).contains(&detect::rms(&heard)), "{hz}");
        }
    }

    #[test]
    fn a_narrowed_tone_is_that_tone_and_one_that_is_too_high_is_gone() {
        for hz in [300.0, 1000.0, 3000.0] {
            let heard = changed(hz, Band::Wide, Band::Narrow);
            assert!(detect::share(&heard, hz) > 0.98, "{hz}");
            assert!((5_300.0..5_900.0).contains(&detect::rms(&heard)), "{hz}");
        }
        for hz in [5_000.0, 6_500.0] {
            let left = detect::rms(&changed(hz, Band::Wide, Band::Narrow));
            assert!(left < 60.0, "{hz}: {left} of 5,657");
        }
    }

    #[test]
    fn a_frame_in_its_own_band_is_left_as_it_is() {
        let mut frame = Frame::silent(Band::Wide);
        frame.samples_mut()[319] = 7;
        assert_eq!(Rebander::default().in_band(Band::Wide, &frame), frame);
    }
}
