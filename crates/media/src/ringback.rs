//! The tone that says "the called party rings" to whoever waits for it.

use std::sync::{Arc, LazyLock};

use crate::clip::Clip;
use crate::tone;

/// One frequency, 425 Hz, one second in five: the ringing tone of ITU-T E.180 that most networks play.
const HZ: f32 = 425.0;
const TONE_MS: u32 = 1_000;
const PAUSE_MS: u32 = 4_000;
/// About −10 dBm0, as E.180 §5 has it.
const PEAK: i16 = 7_200;

static CLIP: LazyLock<Arc<[Clip]>> = LazyLock::new(|| {
    let samples = [tone::sine(HZ, TONE_MS, PEAK), tone::silence(PAUSE_MS)].concat();
    let clip = Clip::from_pcm(&samples, tone::RATE).expect("five seconds of samples at 8 kHz");
    Arc::from([clip])
});

/// One turn of tone and pause, the same clip for all legs, so that a codec's packets are made once per process.
pub(crate) fn clip() -> Arc<[Clip]> {
    Arc::clone(&CLIP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect;

    #[test]
    fn it_is_one_tone_of_a_second_in_five() {
        let samples = clip()[0].samples();
        let (tone, pause) = samples.split_at(8_000);
        assert!(detect::share(tone, HZ) > 0.99);
        assert_eq!((pause.len(), detect::rms(pause) < 20.0), (32_000, true));
    }
}
