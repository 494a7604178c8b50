//! Sound that resembles speech and means nothing: a pulse train through moving resonances, with hisses and pauses
//! between "syllables". Seeded.

use std::f32::consts::TAU;

use crate::random::Random;

const RATE: f32 = 8_000.0;
/// Peak of the loudest syllable.
const PEAK: f32 = 9_000.0;
/// First, second and third formant in Hz of some vowels.
const VOWELS: [[f32; 3]; 8] = [
    [270.0, 2290.0, 3010.0],
    [390.0, 1990.0, 2550.0],
    [530.0, 1840.0, 2480.0],
    [660.0, 1720.0, 2410.0],
    [730.0, 1090.0, 2440.0],
    [570.0, 840.0, 2410.0],
    [440.0, 1020.0, 2240.0],
    [300.0, 870.0, 2240.0],
];

/// So many samples at 8 kHz.
pub(crate) fn speech(random: &mut Random, count: usize) -> Vec<i16> {
    let mut out = Vec::with_capacity(count + 4_000);
    let pitch = 90.0 + 120.0 * random.unit();
    while out.len() < count {
        match random.between(0..8) {
            0 => out.extend(std::iter::repeat_n(0i16, random.between(400..1_600) as usize)),
            1 | 2 => hiss(random, &mut out),
            _ => vowel(random, pitch, &mut out),
        }
    }
    out.truncate(count);
    out
}

fn vowel(random: &mut Random, pitch: f32, out: &mut Vec<i16>) {
    let formants = VOWELS[random.between(0..VOWELS.len() as u64) as usize];
    let count = random.between(640..1_760) as usize;
    let glide = 0.9 + 0.2 * random.unit();
    let mut resonators = formants.map(|hz| Resonator::new(hz * (0.95 + 0.1 * random.unit()), 90.0));
    let mut phase = 0.0;
    let raw: Vec<f32> = (0..count)
        .map(|n| {
            let way = n as f32 / count as f32;
            phase += pitch * (1.0 + (glide - 1.0) * way) / RATE;
            let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
            phase -= pulse;
            resonators.iter_mut().map(|resonator| resonator.step(pulse)).sum()
        })
        .collect();
    shape(&raw, 0.5 + 0.5 * random.unit(), out);
}

fn hiss(random: &mut Random, out: &mut Vec<i16>) {
    let mut resonator = Resonator::new(1_800.0 + 1_800.0 * random.unit(), 500.0);
    let count = random.between(400..1_000) as usize;
    let raw: Vec<f32> = (0..count).map(|_| resonator.step(random.unit() - 0.5)).collect();
    shape(&raw, 0.25, out);
}

/// Brings a syllable to its level, with soft ends.
fn shape(raw: &[f32], level: f32, out: &mut Vec<i16>) {
    let peak = raw.iter().fold(f32::MIN_POSITIVE, |peak, sample| peak.max(sample.abs()));
    let ramp = (raw.len() / 6).max(1) as f32;
    out.extend(raw.iter().enumerate().map(|(n, sample)| {
        let edge = (n as f32).min((raw.len() - n) as f32) / ramp;
        (sample / peak * PEAK * level * edge.min(1.0)) as i16
    }));
}

/// A two-pole filter with one resonance.
struct Resonator {
    a1: f32,
    a2: f32,
    y1: f32,
    y2: f32,
}

impl Resonator {
    fn new(hz: f32, bandwidth: f32) -> Resonator {
        let radius = (-std::f32::consts::PI * bandwidth / RATE).exp();
        Resonator {
            a1: 2.0 * radius * (TAU * hz / RATE).cos(),
            a2: -radius * radius,
            y1: 0.0,
            y2: 0.0,
        }
    }

    fn step(&mut self, input: f32) -> f32 {
        let y = input + self.a1 * self.y1 + self.a2 * self.y2;
        (self.y2, self.y1) = (self.y1, y);
        y
    }
}
