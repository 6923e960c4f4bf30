//! The logit scale: the inverse temperature that contrastive objectives learn.

use tch::Tensor;
use tch::nn::Init;

use crate::ObjectiveCx;

/// The shared parameter `logit_scale`, a float scalar that holds the natural logarithm of the scale, as in OpenAI's and open_clip's
/// checkpoints. The scale is kept in `1..=max_scale` by [`LogitScale::clamp`] after every step.
#[derive(Debug)]
pub struct LogitScale {
    log: Tensor,
    max_scale: f64,
}

impl LogitScale {
    /// OpenAI's and open_clip's start: the logarithm of 1 / 0.07.
    pub fn clip_start() -> f64 {
        (1.0f64 / 0.07).ln()
    }

    /// Makes the parameter, or takes the one that another objective of the run made: the first decides where it starts.
    pub fn new(cx: &ObjectiveCx<'_>, init_log_scale: f64, max_scale: f64) -> Self {
        Self { log: cx.shared.entry("logit_scale").or_var(&[], Init::Const(init_log_scale)), max_scale }
    }

    /// The natural logarithm of the scale, a scalar with its graph.
    pub fn log(&self) -> &Tensor {
        &self.log
    }

    /// The scale, a scalar with its graph.
    pub fn exp(&self) -> Tensor {
        self.log.exp()
    }

    /// The scale as a number, for the log.
    pub fn value(&self) -> f64 {
        self.exp().double_value(&[])
    }

    /// Keeps the scale in `1..=max_scale`, as OpenAI and open_clip do after each step.
    pub fn clamp(&mut self) {
        tch::no_grad(|| {
            let _ = self.log.clamp_(0.0, self.max_scale.ln());
        });
    }
}

#[cfg(test)]
mod tests {
    use tch::nn::VarStore;
    use tch::{Device, Kind};

    use super::*;

    fn cx(store: &VarStore) -> ObjectiveCx<'_> {
        ObjectiveCx { path: store.root() / "objective", shared: store.root(), embed: 8, image: None, text: None, teachers: Vec::new() }
    }

    #[test]
    fn it_stays_between_one_and_its_bound() {
        for (start, end, why) in [(9.0, 100f64.ln(), "above"), (-1.0, 0.0, "below"), (2.0, 2.0, "inside")] {
            let store = VarStore::new(Device::Cpu);
            let mut scale = LogitScale::new(&cx(&store), start, 100.0);
            scale.clamp();
            assert!((scale.log().double_value(&[]) - end).abs() < 1e-6, "{why}");
        }
    }

    #[test]
    fn objectives_share_one_scale_and_the_first_decides_its_start() {
        let store = VarStore::new(Device::Cpu);
        let (first, second) = (LogitScale::new(&cx(&store), 1.0, 100.0), LogitScale::new(&cx(&store), 2.0, 100.0));
        assert_eq!(store.variables().keys().collect::<Vec<_>>(), ["logit_scale"]);
        assert_eq!((first.log().size(), first.log().kind()), (vec![], Kind::Float));
        assert!((second.value() - 1f64.exp()).abs() < 1e-6);
    }
}
