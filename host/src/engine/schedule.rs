//! The learning-rate schedule.

use serde::{Deserialize, Serialize};

use crate::section::Section;

/// `[schedule]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// `cosine` or `constant`.
    #[serde(rename = "use")]
    pub shape: Shape,
    /// Warm-up: steps over which the rate rises linearly from zero.
    pub warmup: u64,
}

/// The shape of the schedule behind the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Cosine decay to zero.
    Cosine,
    /// A constant rate.
    Constant,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self { shape: Shape::Cosine, warmup: 0 }
    }
}

impl Section for ScheduleConfig {
    const NAME: &'static str = "schedule";
}

impl ScheduleConfig {
    /// The learning rate of step `step`, counted from 0, of `total`: open_clip's formulas.
    pub fn lr(&self, base: f64, step: u64, total: u64) -> f64 {
        if step < self.warmup {
            return base * (step + 1) as f64 / self.warmup as f64;
        }
        match self.shape {
            Shape::Constant => base,
            Shape::Cosine => {
                let done = (step - self.warmup) as f64;
                let left = total.saturating_sub(self.warmup).max(1) as f64;
                0.5 * (1.0 + (std::f64::consts::PI * done / left).cos()) * base
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_open_clip() {
        let cosine = ScheduleConfig { shape: Shape::Cosine, warmup: 10 };
        let constant = ScheduleConfig { shape: Shape::Constant, warmup: 10 };
        for (schedule, step, expected, why) in [
            (&cosine, 0, 0.1, "warm-up starts at one share, not at zero"),
            (&cosine, 9, 1.0, "and ends at the full rate"),
            (&cosine, 10, 1.0, "the cosine starts at the full rate"),
            (&cosine, 60, 0.5, "half-way down"),
            (&cosine, 110, 0.0, "and ends at zero"),
            (&constant, 5000, 1.0, "a constant stays"),
        ] {
            assert!((schedule.lr(1.0, step, 110) - expected).abs() < 1e-12, "step {step}: {why}");
        }
    }
}
