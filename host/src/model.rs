//! A trained model as evaluation suites see it.

use std::sync::Arc;

use image::RgbImage;
use tch::{Device, Tensor};
use vlhub_core::{Encoded, Error, InputSpec, Modality, Model, Result, Skills};

use crate::data::levels::Levels;
use crate::data::tokens::Tokenizer;
use crate::engine::terms::Term;
use crate::engine::towers::Towers;

/// Towers with their preprocessing.
#[derive(Debug)]
pub struct EvalModel<'a> {
    /// The towers.
    pub towers: &'a Towers,
    /// The objectives, for their skills.
    pub terms: &'a [Term],
    /// Turns texts into ids.
    pub tokenizer: Option<Arc<dyn Tokenizer>>,
}

impl EvalModel<'_> {
    fn device(&self) -> Device {
        self.towers.vars.device()
    }
}

impl Model for EvalModel<'_> {
    fn images(&self, images: &[RgbImage], tokens: bool) -> Result<Encoded> {
        let net = self.towers.net(Modality::Image)?;
        let InputSpec::Image { size, mean, std } = net.input else { return Err(Error::invalid("the image tower reads no images")) };
        let _no_grad = tch::no_grad_guard();
        let levels = Levels::new(mean.map(|value| value as f32), std.map(|value| value as f32));
        let each = 3 * (size.0 * size.1) as usize;
        let mut pixels = vec![0.0; images.len() * each];
        for (image, out) in images.iter().zip(pixels.chunks_exact_mut(each)) {
            levels.write(&vlhub_sdk::pixels::eval_transform(image, (size.0 as u32, size.1 as u32)), out);
        }
        let input = Tensor::f_from_slice(&pixels)?.f_view([images.len() as i64, 3, size.0, size.1])?.f_to_device(self.device())?;
        self.towers.encode(Modality::Image, &input, tokens, None)
    }

    fn texts(&self, texts: &[String], tokens: bool) -> Result<Encoded> {
        let net = self.towers.net(Modality::Text)?;
        let tokenizer = self.tokenizer.as_ref().ok_or_else(|| Error::invalid("the run has no tokenizer"))?;
        let InputSpec::Text { context, pad, truncates, .. } = net.input else {
            return Err(Error::invalid("the text tower reads no texts"));
        };
        let _no_grad = tch::no_grad_guard();
        let ids: Vec<Vec<i64>> = texts.iter().map(|text| tokenizer.encode(text)).collect();
        let longest = ids.iter().map(Vec::len).max().unwrap_or(1).max(1);
        let length = if truncates { longest } else { context as usize };
        let mut flat = vec![pad; texts.len() * length];
        for (row, ids) in flat.chunks_mut(length).zip(&ids) {
            row[..ids.len()].copy_from_slice(ids);
        }
        let input = Tensor::f_from_slice(&flat)?.f_view([texts.len() as i64, length as i64])?.f_to_device(self.device())?;
        self.towers.encode(Modality::Text, &input, tokens, None)
    }

    fn skills(&self) -> Skills<'_> {
        let mut skills = Skills { images: self.towers.image.is_some(), texts: self.towers.text.is_some(), ..Skills::default() };
        for term in self.terms {
            let of = term.objective.skills();
            skills.scorer = skills.scorer.or(of.scorer);
            skills.captioner = skills.captioner.or(of.captioner);
            skills.classifier = skills.classifier.or(of.classifier);
        }
        skills
    }
}
