//! Parameters and work of models, counted on shapes alone.

use serde::Serialize;
use tch::{Device, Kind, Tensor};
use vlhub_core::{InputSpec, Modality};

use crate::config::RunConfig;
use crate::engine::towers::Towers;
use crate::failure::{Failure, Outcome};

/// What a model holds and what one pass of one sample costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sizes {
    /// Parameters of the image tower and its projection.
    pub image_parameters: i64,
    /// Parameters of the text tower and its projection.
    pub text_parameters: i64,
    /// Parameters of objectives that belong to the model, as CoCa's decoder.
    pub other_parameters: i64,
    /// Floating-point operations of one picture, in 10⁹: two for each multiplication of a matrix product or convolution.
    pub image_gflops: f64,
    /// The same for one text of the full context.
    pub text_gflops: f64,
}

impl Sizes {
    /// All parameters.
    pub fn parameters(&self) -> i64 {
        self.image_parameters + self.text_parameters + self.other_parameters
    }

    /// Operations of one picture and one text, in 10⁹.
    pub fn gflops(&self) -> f64 {
        self.image_gflops + self.text_gflops
    }
}

/// Counts a model without making it: nothing that it holds has memory.
///
/// # Errors
/// Whatever building or running it refuses.
pub fn measure(config: &RunConfig) -> Outcome<Sizes> {
    let paper = |error: tch::TchError| Failure::from(vlhub_core::Error::from(error));
    let (parameters, _) =
        vlhub_torch_ext::on_paper(|| crate::session::on_shapes(config).map(|session| count(&session.towers))).map_err(paper)?;
    let work = |modality: Modality| -> Outcome<f64> {
        let run = || crate::session::on_shapes(config).and_then(|session| run(&session.towers, modality));
        let (ran, multiplications) = vlhub_torch_ext::on_paper(run).map_err(paper)?;
        ran?;
        Ok((2.0 * multiplications / 1e6).round() / 1e3)
    };
    Ok(Sizes { image_gflops: work(Modality::Image)?, text_gflops: work(Modality::Text)?, ..parameters? })
}

fn count(towers: &Towers) -> Sizes {
    let mut sizes = Sizes::default();
    for (name, tensor) in towers.variables() {
        // Running statistics are no parameters, and nothing is frozen here.
        if !tensor.requires_grad() {
            continue;
        }
        let count = tensor.numel() as i64;
        match towers.owner(&name) {
            Some(Modality::Image) => sizes.image_parameters += count,
            Some(Modality::Text) => sizes.text_parameters += count,
            None => sizes.other_parameters += count,
        }
    }
    sizes
}

fn run(towers: &Towers, modality: Modality) -> Outcome {
    let Ok(net) = towers.net(modality) else { return Ok(()) };
    let device = Device::Cpu;
    let input = match net.input {
        InputSpec::Image { size, .. } => Tensor::zeros([1, 3, size.0, size.1], (Kind::Float, device)),
        InputSpec::Text { context, .. } => Tensor::zeros([1, context], (Kind::Int64, device)),
    };
    // With tokens every block runs whole, as published figures count it; a tower that has none runs without.
    let _no_grad = tch::no_grad_guard();
    if towers.encode(modality, &input, true, None).is_err() {
        towers.encode(modality, &input, false, None)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::Document;

    #[test]
    fn figures_are_those_that_open_clip_publishes() {
        let registry = vlhub_core::Registry::linked().expect("no duplicates");
        // Millions of parameters (the logit scale is not counted here) and GFLOPs of docs/model_profile.csv.
        for (name, parameters, gflops) in [("ViT-B-32", 151.28, 14.78), ("ViT-L-14-336", 427.94, 395.22), ("ViT-bigG-14", 2539.57, 1065.36)]
        {
            let config = RunConfig::of(&Document::of_model(name), &registry).expect("it is known");
            let sizes = measure(&config).expect("it is measured");
            assert!((sizes.parameters() as f64 / 1e6 - parameters).abs() < 0.01, "{name}: {sizes:?}");
            assert!((sizes.gflops() / gflops - 1.0).abs() < 0.01, "{name}: {sizes:?}");
        }
    }
}
