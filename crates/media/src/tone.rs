//! Tones: sines, and the two-tone digits of ITU-T Q.23.

use std::f32::consts::TAU;

/// The rate of everything in here, in Hz.
pub const RATE: u32 = 8_000;

/// A sine of `hz` with the given peak, as samples at 8 kHz.
pub fn sine(hz: f32, ms: u32, peak: i16) -> Vec<i16> {
    mix(&[hz], ms, peak)
}

/// Several sines at once, each with the given peak.
pub fn mix(hz: &[f32], ms: u32, peak: i16) -> Vec<i16> {
    let count = RATE * ms / 1000;
    let sample = |n: u32| -> i16 {
        let t = n as f32 / RATE as f32;
        let sum: f32 = hz.iter().map(|hz| (TAU * hz * t).sin()).sum();
        (sum * f32::from(peak)) as i16
    };
    (0..count).map(sample).collect()
}

pub fn silence(ms: u32) -> Vec<i16> {
    vec![0; (RATE * ms / 1000) as usize]
}

/// The low group of Q.23 in Hz: the rows of a keypad.
pub const ROWS: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
/// The high group of Q.23 in Hz: the columns.
pub const COLUMNS: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
/// The digits by row and column.
pub const KEYPAD: [[char; 4]; 4] =
    [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];

/// Peak of each of the two tones of a digit: about −9 dBm0 together.
const DIGIT_PEAK: i16 = 6_000;

/// A digit as tones; `None` for what is no digit.
pub fn digit(digit: char, ms: u32) -> Option<Vec<i16>> {
    let digit = digit.to_ascii_uppercase();
    KEYPAD.iter().zip(ROWS).find_map(|(row, low)| {
        let column = row.iter().position(|&key| key == digit)?;
        Some(mix(&[low, COLUMNS[column]], ms, DIGIT_PEAK))
    })
}
