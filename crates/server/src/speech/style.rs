//! How a text is to be said, in the units of createVoiceTemplate.
use super::Speech;
use thiserror::Error;

/// Voice, speed and volume of a template.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VoiceStyle {
    /// The documented `voicename` (`cn_kefuman_common` …); an engine that does not know it speaks with its default.
    pub voice: Option<String>,
    pub speed: Speed,
    pub volume: Volume,
}

/// −200 to 500, 0 by default: −200 is half the normal speed, 500 is twice that speed, linear on each side of 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Speed(i16);

/// 0 to 100, 50 by default: the amplitude is multiplied by volume ÷ 50, so that 0 is silence and 100 is +6 dB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volume(u8);

/// A speed or volume outside its range; the caller is at fault.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum StyleError {
    #[error("speed {0} is not from -200 to 500")]
    Speed(i64),
    #[error("volume {0} is not from 0 to 100")]
    Volume(i64),
}

impl Speed {
    pub fn new(value: i64) -> Result<Self, StyleError> {
        let fits = i16::try_from(value).ok().filter(|value| (-200..=500).contains(value));
        fits.map(Self).ok_or(StyleError::Speed(value))
    }

    pub fn value(self) -> i16 {
        self.0
    }

    /// How many times the normal speed: 0.5 to 2.0.
    pub fn factor(self) -> f32 {
        1.0 + f32::from(self.0) / if self.0 < 0 { 400.0 } else { 500.0 }
    }
}

impl Volume {
    pub fn new(value: i64) -> Result<Self, StyleError> {
        let fits = u8::try_from(value).ok().filter(|value| *value <= 100);
        fits.map(Self).ok_or(StyleError::Volume(value))
    }

    pub fn value(self) -> u8 {
        self.0
    }

    /// Applied to the samples of every engine alike, since not every engine has a volume. Peaks are clipped.
    pub fn apply(self, speech: &mut Speech) {
        for sample in &mut speech.samples {
            let scaled = i32::from(*sample) * i32::from(self.0) / 50;
            *sample = scaled.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        }
    }
}

impl Default for Volume {
    fn default() -> Self {
        Self(50)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (value, factor) in [(-200, 0.5), (-100, 0.75), (0, 1.0), (250, 1.5), (500, 2.0)] {
            assert_eq!(Speed::new(value).unwrap().factor(), factor);
        }
        for value in [-201, 501, i64::MIN, i64::MAX] {
            assert_eq!(Speed::new(value), Err(StyleError::Speed(value)));
        }
        for value in [-1, 101, 256] {
            assert_eq!(Volume::new(value), Err(StyleError::Volume(value)));
        }
    }

    #[test]
    fn volume_scales_and_clips() {
        let scaled = |volume| {
            let mut speech = Speech { samples: vec![1000, -1000, i16::MAX, i16::MIN], rate: 8000 };
            Volume::new(volume).unwrap().apply(&mut speech);
            speech.samples
        };
        assert_eq!(scaled(0), [0; 4]);
        assert_eq!(scaled(25), [500, -500, 16383, -16384]);
        assert_eq!(scaled(50), [1000, -1000, i16::MAX, i16::MIN]);
        assert_eq!(scaled(100), [2000, -2000, i16::MAX, i16::MIN]);
    }
}
