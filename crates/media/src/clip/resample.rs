//! Whole clips from one sample rate to another.

use rubato::audioadapter_buffers::owned::InterleavedOwned;
use rubato::{Fft, FixedSync, Resampler};

/// Frames per step: long enough for a steep filter at every usual pair of rates.
const CHUNK: usize = 1024;

/// Resamples mono audio. The rates were checked by the caller.
pub(super) fn resample(samples: &[f32], from: u32, to: u32) -> Vec<f32> {
    if from == to || samples.is_empty() {
        return samples.to_vec();
    }
    let mut resampler = Fft::<f32>::new(from as usize, to as usize, CHUNK, 1, FixedSync::Both)
        .expect("both rates are above zero and so is the chunk");
    let input = InterleavedOwned::new_from(samples.to_vec(), 1, samples.len())
        .expect("one channel of as many frames as there are samples");
    resampler
        .process_all(&input, samples.len(), None)
        .expect("the buffers are sized by the resampler itself")
        .take_data()
}
