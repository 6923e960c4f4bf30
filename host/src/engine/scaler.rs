//! Loss scaling for float16 (Micikevicius and others, 2018, arXiv 1710.03740).
//!
//! What is less than 6e-8 is zero in float16, and so would be most gradients inside of a tower. So the loss is multiplied by a scale before the
//! backward passes, and all gradients are divided by it once they are float again. The scale is a power of two: nothing is rounded by it.

use tch::{Kind, Tensor};
use vlhub_core::Result;

/// The scale of the first step, as in `torch.amp.GradScaler`.
const START: f64 = 65536.0;

/// Steps without an overflow after which the scale doubles, as there.
const INTERVAL: u64 = 2000;

/// Names in a checkpoint.
const SCALE: &str = "optimizer.loss_scale";
const GOOD_STEPS: &str = "optimizer.loss_scale_good_steps";

/// A dynamic loss scale: it halves where gradients overflow, and doubles after [`INTERVAL`] steps that did not.
#[derive(Clone, Debug, PartialEq)]
pub struct LossScaler {
    scale: f64,
    good_steps: u64,
}

impl Default for LossScaler {
    fn default() -> Self {
        Self { scale: START, good_steps: 0 }
    }
}

impl LossScaler {
    /// The scale of the next step, a power of two, at least 1.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// After a step that was taken.
    pub fn good(&mut self) {
        self.good_steps += 1;
        if self.good_steps == INTERVAL {
            self.good_steps = 0;
            if self.scale * 2.0 <= f64::from(f32::MAX) {
                self.scale *= 2.0;
            }
        }
    }

    /// After a step whose gradients overflowed. Below 1 the scale would not help: what overflows then is no work of the scale.
    pub fn overflowed(&mut self) {
        self.good_steps = 0;
        self.scale = (self.scale / 2.0).max(1.0);
    }

    /// What a checkpoint must hold.
    pub fn state(&self) -> [(String, Tensor); 2] {
        let good_steps = i64::try_from(self.good_steps).unwrap_or(0);
        [(SCALE.to_owned(), Tensor::from_slice(&[self.scale])), (GOOD_STEPS.to_owned(), Tensor::from_slice(&[good_steps]))]
    }

    /// Takes over what [`LossScaler::state`] gave. A checkpoint of another precision has none: then it starts afresh.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn load(&mut self, find: impl Fn(&str) -> Option<Tensor>) -> Result<()> {
        if let (Some(scale), Some(good_steps)) = (find(SCALE), find(GOOD_STEPS)) {
            self.scale = scale.f_to_kind(Kind::Double)?.f_double_value(&[0])?;
            self.good_steps = u64::try_from(good_steps.f_int64_value(&[0])?).unwrap_or(0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_halves_doubles_and_is_restored() {
        let mut scaler = LossScaler::default();
        assert_eq!(scaler.scale(), 65536.0);
        scaler.overflowed();
        (0..INTERVAL - 1).for_each(|_| scaler.good());
        assert_eq!(scaler.scale(), 32768.0);
        let saved = scaler.state();
        let mut restored = LossScaler::default();
        restored.load(|name| saved.iter().find(|(known, _)| known == name).map(|(_, tensor)| tensor.shallow_clone())).expect("it loads");
        assert_eq!(restored, scaler);
        restored.good();
        assert_eq!(restored.scale(), 65536.0, "two thousand good steps in a row");
        (0..40).for_each(|_| restored.overflowed());
        assert_eq!(restored.scale(), 1.0);
        (0..INTERVAL * 200).for_each(|_| restored.good());
        assert_eq!(restored.scale(), 2f64.powi(127), "the largest power of two of a float");
        restored.load(|_| None).expect("nothing to load");
        assert_eq!(restored.scale(), 2f64.powi(127));
    }
}
