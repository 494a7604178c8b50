//! What simulated phones play by themselves: greeting, beep, ring-back tone.

use media::{Clip, tone};

use crate::babble;
use crate::random::Random;

/// Made once per carrier and shared by its phones.
#[derive(Clone)]
pub(crate) struct Sounds {
    /// Three seconds of speech-like sound.
    pub greeting: Clip,
    /// 440 Hz for half a second.
    pub beep: Clip,
    /// 425 Hz, one second of it and four of silence.
    pub ringback: Clip,
}

const RATE: u32 = tone::RATE;

/// A clear tone, well below the loudest there is.
const TONE_PEAK: i16 = 8_000;

/// A tone of so many Hz for a second. That is a whole number of waves: repeated, it is one tone.
pub(crate) fn second_of(hz: u16) -> Clip {
    clip(&tone::sine(f32::from(hz), 1000, TONE_PEAK))
}

impl Sounds {
    pub fn new(seed: u64) -> Sounds {
        let mut random = Random::for_name(seed, "greeting");
        let mut ringback = tone::sine(425.0, 1000, 6_000);
        ringback.extend(tone::silence(4000));
        Sounds {
            greeting: clip(&babble::speech(&mut random, 3 * RATE as usize)),
            beep: clip(&tone::sine(440.0, 500, 10_000)),
            ringback: clip(&ringback),
        }
    }
}

fn clip(samples: &[i16]) -> Clip {
    Clip::from_pcm(samples, RATE).expect("8 kHz is a rate and there are samples")
}
