//! Draws from the beta distribution.

use vlhub_sdk::rand_core::RngCore;
use vlhub_sdk::random::{normal, uniform};

/// A draw from Beta(alpha, alpha), in `0..=1`; alpha is above 0.
pub(crate) fn beta(rng: &mut dyn RngCore, alpha: f64) -> f64 {
    // X / (X + Y) of two gamma draws, by their logarithms: for a small alpha both may be too small for a number.
    let (x, y) = (ln_gamma(rng, alpha), ln_gamma(rng, alpha));
    (1.0 + (y - x).exp()).recip()
}

/// The logarithm of a draw from Gamma(alpha, 1): one from Gamma(alpha + 1, 1) (Marsaglia and Tsang, 2000), times U^(1/alpha).
fn ln_gamma(rng: &mut dyn RngCore, alpha: f64) -> f64 {
    let d = alpha + 2.0 / 3.0;
    let c = (9.0 * d).sqrt().recip();
    // `uniform` may give 0, which has no logarithm, and never gives 1.
    let ln_uniform = |rng: &mut dyn RngCore| (1.0 - uniform(rng)).ln();
    loop {
        let x = normal(rng);
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && ln_uniform(rng) < 0.5 * x * x + d - d * v + d * v.ln() {
            return (d * v).ln() + ln_uniform(rng) / alpha;
        }
    }
}
