//! Finding tones in 8 kHz audio: Goertzel's filter, and in-band DTMF with it.

use crate::tone::{COLUMNS, KEYPAD, RATE, ROWS};

/// How much of a block's energy is at `hz`: 0.0 (none) to about 1.0 (all of it).
pub fn share(samples: &[i16], hz: f32) -> f32 {
    let total: f32 = samples.iter().map(|&s| f32::from(s) * f32::from(s)).sum();
    if total == 0.0 {
        return 0.0;
    }
    power(samples, hz) / (total * samples.len() as f32 / 2.0)
}

/// Root mean square of a block.
pub fn rms(samples: &[i16]) -> f32 {
    if samples.is_empty() {
        return 0.0;
    }
    let total: f32 = samples.iter().map(|&s| f32::from(s) * f32::from(s)).sum();
    (total / samples.len() as f32).sqrt()
}

/// Goertzel: the squared magnitude of the spectrum at `hz`.
fn power(samples: &[i16], hz: f32) -> f32 {
    let w = std::f32::consts::TAU * hz / RATE as f32;
    let coefficient = 2.0 * w.cos();
    let (mut s1, mut s2) = (0.0f32, 0.0f32);
    for &sample in samples {
        let s0 = f32::from(sample) + coefficient * s1 - s2;
        s2 = s1;
        s1 = s0;
    }
    s1 * s1 + s2 * s2 - coefficient * s1 * s2
}

/// 12.75 ms: long enough to tell 697 from 770 Hz, short enough for two to fit a 40 ms digit.
const BLOCK: usize = 102;
/// Below this (about −36 dBm0) a block is silence.
const MIN_RMS: f32 = 300.0;
/// Share of a block's energy that the two tones have together.
const MIN_SHARE: f32 = 0.8;
/// How many times stronger one tone may be than the other (twist): 8 dB.
const MAX_TWIST: f32 = 6.3;
/// Equal blocks that make a digit, and blocks without it that end it.
const BLOCKS: u8 = 2;

/// Finds DTMF digits in audio (ITU-T Q.24); each is told once, as it begins.
#[derive(Debug, Default)]
pub struct DtmfDetector {
    pending: Vec<i16>,
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum State {
    #[default]
    Silent,
    /// Heard in so many blocks, not told yet.
    Rising { digit: char, blocks: u8 },
    /// Told; absent for so many blocks.
    Held { digit: char, absent: u8 },
}

impl DtmfDetector {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next samples and returns the digits that began in them.
    pub fn feed(&mut self, samples: &[i16]) -> Vec<char> {
        self.pending.extend_from_slice(samples);
        let whole = self.pending.len() / BLOCK * BLOCK;
        let blocks: Vec<Option<char>> = self.pending[..whole].chunks(BLOCK).map(digit_of).collect();
        self.pending.drain(..whole);
        blocks.into_iter().filter_map(|block| self.step(block)).collect()
    }

    fn step(&mut self, heard: Option<char>) -> Option<char> {
        let (state, told) = match (self.state, heard) {
            (State::Silent, None) => (State::Silent, None),
            (State::Silent, Some(digit)) => (State::Rising { digit, blocks: 1 }, None),
            (State::Rising { .. }, None) => (State::Silent, None),
            (State::Rising { digit, blocks }, Some(now)) if now == digit => match blocks + 1 {
                BLOCKS => (State::Held { digit, absent: 0 }, Some(digit)),
                blocks => (State::Rising { digit, blocks }, None),
            },
            (State::Rising { .. }, Some(digit)) => (State::Rising { digit, blocks: 1 }, None),
            (State::Held { digit, .. }, Some(now)) if now == digit => {
                (State::Held { digit, absent: 0 }, None)
            }
            (State::Held { absent, .. }, Some(digit)) if absent + 1 >= BLOCKS => {
                (State::Rising { digit, blocks: 1 }, None)
            }
            (State::Held { absent, .. }, None) if absent + 1 >= BLOCKS => (State::Silent, None),
            (State::Held { digit, absent }, Some(_) | None) => {
                (State::Held { digit, absent: absent + 1 }, None)
            }
        };
        self.state = state;
        told
    }
}

fn digit_of(block: &[i16]) -> Option<char> {
    if rms(block) < MIN_RMS {
        return None;
    }
    let (row, low) = strongest(block, &ROWS);
    let (column, high) = strongest(block, &COLUMNS);
    let twist = (low / high).max(high / low);
    (low + high > MIN_SHARE && twist < MAX_TWIST).then(|| KEYPAD[row][column])
}

fn strongest(block: &[i16], group: &[f32; 4]) -> (usize, f32) {
    let mut best = (0, 0.0);
    for (index, &hz) in group.iter().enumerate() {
        let share = share(block, hz);
        if share > best.1 {
            best = (index, share);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone;

    #[test]
    fn every_digit_is_found_once_however_the_audio_is_cut() {
        let digits = "0123456789*#ABCD";
        let audio: Vec<i16> = digits
            .chars()
            .flat_map(|digit| [tone::digit(digit, 60).unwrap(), tone::silence(60)].concat())
            .collect();
        for cut in [1, 7, 160, 1000] {
            let mut detector = DtmfDetector::new();
            let found: String = audio.chunks(cut).flat_map(|part| detector.feed(part)).collect();
            assert_eq!(found, digits, "in parts of {cut}");
        }
    }

    #[test]
    fn a_digit_that_is_pressed_twice_is_two() {
        let press = [tone::digit('5', 80).unwrap(), tone::silence(50)].concat();
        assert_eq!(DtmfDetector::new().feed(&press.repeat(3)), ['5', '5', '5']);
    }

    #[test]
    fn other_sounds_are_no_digits() {
        let mut noise = 1u32;
        let noise: Vec<i16> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 18) as i16
        })
        .take(80_000)
        .collect();
        for (what, audio) in [
            ("silence", tone::silence(1000)),
            ("noise", noise),
            ("a dial tone", tone::mix(&[350.0, 440.0], 1000, 8000)),
            ("one tone of a digit", tone::sine(770.0, 1000, 8000)),
            ("a digit that is too quiet", tone::mix(&[770.0, 1336.0], 1000, 100)),
            ("a digit that is too short", tone::digit('5', 12).unwrap()),
        ] {
            assert_eq!(DtmfDetector::new().feed(&audio), [], "{what}");
        }
    }

    #[test]
    fn the_share_of_a_tone_is_one_and_of_another_none() {
        let audio = tone::sine(1000.0, 100, 8000);
        assert!((share(&audio, 1000.0) - 1.0).abs() < 0.01);
        assert!(share(&audio, 1400.0) < 0.01);
        assert_eq!(share(&[], 1000.0) + share(&[0; 160], 1000.0) + rms(&[]), 0.0);
    }
}
