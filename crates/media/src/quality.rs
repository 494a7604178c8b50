//! How a stream sounds: ITU-T G.107 (the E-model), reduced to loss and delay.

/// Rating without any impairment (G.107 table 3, default).
const BEST: f32 = 93.2;
/// Robustness of G.711 without concealment against random loss (G.113 table I.4).
const LOSS_ROBUSTNESS: f32 = 4.3;

/// Estimated mean opinion score, 1.0 to 4.5, of a stream with this fraction of packets lost (0.0–1.0) and this one-way
/// delay.
pub(crate) fn mos(loss: f32, delay_ms: f32) -> f32 {
    let percent = loss.clamp(0.0, 1.0) * 100.0;
    let delay_impairment = 0.024 * delay_ms + 0.11 * (delay_ms - 177.3).max(0.0);
    let loss_impairment = 95.0 * percent / (percent + LOSS_ROBUSTNESS);
    let rating = (BEST - delay_impairment - loss_impairment).clamp(0.0, 100.0);
    let mos = 1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6;
    mos.clamp(1.0, 4.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_and_delay_lower_it_between_its_ends() {
        assert!((mos(0.0, 0.0) - 4.41).abs() < 0.02);
        assert!(mos(0.0, 50.0) > mos(0.0, 400.0));
        assert!(mos(0.01, 50.0) > mos(0.05, 50.0));
        assert_eq!(mos(1.0, 2000.0), 1.0);
    }
}
