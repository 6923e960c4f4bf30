//! The objective `filip`.

use std::collections::BTreeMap;
use std::ops::Range;

use vlhub_sdk::nn::{LogitScale, default_bound, parameter};
use vlhub_sdk::ops::diagonal_cross_entropy_sum;
use vlhub_sdk::options::{OptionProblems, both_towers};
use vlhub_sdk::pairs::{self, ViewPair};
use vlhub_sdk::prelude::*;
use vlhub_sdk::{Scorer, tch};

use crate::decoupled;
use crate::late::{Direction, Grid};
use crate::words::Words;

/// Symmetric InfoNCE over the whole batch, whose similarities are means over the best matches of tokens (FILIP, Yao et al., 2021, arXiv
/// 2111.07783).
///
/// With unit image tokens x and unit words y after a linear map each, and the learnt scale s: image-to-text, each image token looks for the
/// largest `s ⟨x, y⟩` among the words of a text, and the similarity is the mean over image tokens; text-to-image, each word looks among the
/// image tokens, and it is the mean over words. The loss is the mean of the cross-entropies of both, in which each image chooses among all
/// texts and each text among all images. At evaluation the score of a pair is the mean of its two similarities, without the scale.
///
/// Every token counts that the tower's mask lets count. The image towers give patches, the places of a map or the queries of a pooler:
/// without class, distillation or register tokens. Only `vit` with `pool = "none"` has its pooled token in front of them; `image_skip = 1`
/// leaves it out. A text's start and end are words like others, as in x-clip; `text_skip` leaves them out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct FilipConfig {
    /// Natural logarithm of the logit scale at the start. The first objective of a run that owns `logit_scale` decides it.
    pub init_log_scale: f64,
    /// Upper bound of the logit scale, kept after every step; its lower bound is 1.
    pub max_scale: f64,
    /// Width of the space in which tokens are compared.
    pub dim: i64,
    /// Tokens at the front of each image that are no patches: 1 for `vit` with `pool = "none"`, 0 for every other tower.
    pub image_skip: i64,
    /// Tokens that count at the front and at the end of each text, which are no words: `[1, 1]` leaves out the start and the end token of
    /// CLIP's tokenizer. A text that has nothing else keeps them.
    pub text_skip: [i64; 2],
    /// Decoupled contrastive learning (arXiv 2110.06848): leave the right pair out of the denominator. The loss may then be negative, and a
    /// batch has at least 2 rows.
    pub dcl: bool,
    /// Tile size: images and texts whose tokens are compared at a time. It changes memory alone: `tile² · image tokens · words` numbers at
    /// a time, whatever the batch.
    pub tile: i64,
    /// Pairs of an image view and a text view; the loss is the mean over them.
    pub pairs: Vec<ViewPair>,
    /// Compatibility: reproduce the numbers of another program where it differs.
    pub compat: Option<Compat>,
}

/// Programs whose numbers can be reproduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Compat {
    /// VL Hub and the x-clip in it, which do not transpose the image-to-text similarities: texts choose among images in both halves.
    Vlhub,
}

impl Default for FilipConfig {
    fn default() -> Self {
        Self {
            init_log_scale: LogitScale::clip_start(),
            max_scale: 100.0,
            dim: 256,
            image_skip: 0,
            text_skip: [0, 0],
            dcl: false,
            tile: 32,
            pairs: pairs::main_pair(),
            compat: None,
        }
    }
}

impl FilipConfig {
    /// Everything that is wrong with the options, at once.
    fn check(&self) -> Result<()> {
        let mut problems = OptionProblems::default();
        problems.at_least_one(&[("dim", self.dim), ("tile", self.tile)]);
        problems.at_least("image_skip", self.image_skip, 0);
        problems.at_least("text_skip", self.text_skip[0].min(self.text_skip[1]), 0);
        problems.pairs(&self.pairs);
        problems.logit_scale(self.init_log_scale, self.max_scale);
        problems.finish()
    }

    fn image_words(&self, tokens: &Tokens, weight: &Tensor) -> Result<Words> {
        Words::new(tokens, [self.image_skip, 0], weight)
    }

    fn text_words(&self, tokens: &Tokens, weight: &Tensor) -> Result<Words> {
        Words::new(tokens, self.text_skip, weight)
    }
}

impl Config<dyn Objective> for FilipConfig {
    fn build(&self, cx: &ObjectiveCx<'_>) -> Result<Box<dyn Objective>> {
        self.check()?;
        let (image, text) = both_towers(cx, "a comparison of tokens")?;
        let map = |name: &str, width| parameter(&cx.path.sub(name), "weight", &[self.dim, width], default_bound(width));
        let (image, text) = (map("image", image.width)?, map("text", text.width)?);
        let scale = LogitScale::new(cx, self.init_log_scale, self.max_scale);
        Ok(Box::new(Filip { config: self.clone(), image, text, scale }))
    }
}

#[derive(Debug)]
struct Filip {
    config: FilipConfig,
    image: Tensor,
    text: Tensor,
    scale: LogitScale,
}

impl Filip {
    /// What has to be compared for the anchors in `own` of `total` rows.
    fn grids(&self, own: Range<i64>, total: i64) -> Vec<Grid> {
        let (all, both) = (0..total, vec![Direction::ImageToText, Direction::TextToImage]);
        match self.config.compat {
            // The anchors of both halves are texts.
            Some(Compat::Vlhub) => vec![Grid { images: all, texts: own, directions: both }],
            // One tile serves both halves.
            None if own == all => vec![Grid { images: all.clone(), texts: all, directions: both }],
            None => vec![
                Grid { images: own.clone(), texts: all.clone(), directions: vec![Direction::ImageToText] },
                Grid { images: all, texts: own, directions: vec![Direction::TextToImage] },
            ],
        }
    }

    /// The sum over the anchors from `first` on, which are rows or columns of cosines `[images, texts]`.
    fn half(&self, scale: &Tensor, direction: Direction, cosines: &Tensor, first: i64) -> Result<Tensor> {
        let images_choose = direction == Direction::ImageToText && self.config.compat.is_none();
        let logits = scale * if images_choose { cosines.shallow_clone() } else { cosines.tr() };
        if self.config.dcl { decoupled::cross_entropy_sum(&logits, first) } else { Ok(diagonal_cross_entropy_sum(&logits, 1, first)) }
    }

    /// The mean of both halves, summed over the own rows as anchors: a scalar.
    fn sum_over_own(&self, scale: &Tensor, images: &Words, texts: &Words, features: &Features) -> Result<Tensor> {
        let (own, tile) = (features.own(), self.config.tile);
        if own.is_empty() {
            return Ok(scale * 0.0);
        }
        let grids = self.grids(own.clone(), features.total());
        let live = images.values.requires_grad() || texts.values.requires_grad();
        let mut sum = Tensor::zeros([], (images.values.kind(), images.values.device()));
        let mut cosines = Vec::new();
        for grid in &grids {
            let of_grid = grid.similarities(images, texts, tile);
            for (direction, matrix) in grid.directions.iter().zip(of_grid) {
                let matrix = matrix.set_requires_grad(live);
                sum += self.half(scale, *direction, &matrix, own.start)? * 0.5;
                cosines.push(matrix);
            }
        }
        if !live {
            return Ok(sum);
        }
        let mut of_cosines = Tensor::f_run_backward(&[&sum], &cosines, true, false)?.into_iter();
        for grid in &grids {
            let gradients: Vec<_> = of_cosines.by_ref().take(grid.directions.len()).collect();
            let of_words = grid.backward(images, texts, tile, &gradients);
            for (words, gradient) in [images, texts].into_iter().zip(of_words) {
                // Its value is 0, and its gradient is the one that the tiles gave.
                let surrogate = (&words.values * gradient).sum(sum.kind());
                sum += &surrogate - surrogate.detach();
            }
        }
        Ok(sum)
    }
}

impl Objective for Filip {
    fn scope(&self) -> Scope {
        Scope::Batch
    }

    fn needs(&self) -> Vec<Need> {
        pairs::needs(&self.config.pairs).into_iter().map(Need::tokens).collect()
    }

    fn loss(&self, features: &Features, _batch: &Batch) -> Result<Loss> {
        let scale = self.scale.exp();
        let (mut images, mut texts) = (BTreeMap::new(), BTreeMap::new());
        let mut sum = scale.zeros_like();
        for (image, text) in &self.config.pairs {
            // A view that several pairs name is mapped once.
            if !images.contains_key(image) {
                images.insert(image, self.config.image_words(features.image_tokens(image)?, &self.image)?);
            }
            if !texts.contains_key(text) {
                texts.insert(text, self.config.text_words(features.text_tokens(text)?, &self.text)?);
            }
            sum += self.sum_over_own(&scale, &images[image], &texts[text], features)?;
        }
        let count = self.config.pairs.len() as f64 * features.total() as f64;
        Ok(Loss::from(sum / count).with("logit_scale", scale.double_value(&[])))
    }

    fn after_step(&mut self, _seen: &Features, _progress: f64) -> Result<()> {
        self.scale.clamp();
        Ok(())
    }

    fn skills(&self) -> Skills<'_> {
        Skills { scorer: Some(self), ..Skills::default() }
    }
}

impl Scorer for Filip {
    fn tokens(&self) -> bool {
        true
    }

    fn score(&self, images: &Encoded, texts: &Encoded) -> Result<Tensor> {
        let _no_grad = tch::no_grad_guard();
        let images = self.config.image_words(tokens(images)?, &self.image)?;
        let texts = self.config.text_words(tokens(texts)?, &self.text)?;
        let grid =
            Grid { images: 0..images.rows(), texts: 0..texts.rows(), directions: vec![Direction::ImageToText, Direction::TextToImage] };
        let both = grid.similarities(&images, &texts, self.config.tile);
        Ok(Tensor::stack(&both, 0).mean_dim([0i64].as_slice(), false, None::<Kind>))
    }
}

fn tokens(of: &Encoded) -> Result<&Tokens> {
    of.tokens.as_ref().ok_or_else(|| Error::invalid("`filip` scores images and texts by their tokens; encode them with tokens"))
}

register!(dyn Objective, "filip", FilipConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::tch::nn::VarStore;
    use vlhub_sdk::testkit::toy;

    use super::*;

    #[test]
    fn the_parameters_are_two_maps_and_the_shared_scale() {
        let store = VarStore::new(Device::Cpu);
        FilipConfig { dim: 3, ..Default::default() }.build(&toy::objective_cx(store.root())).expect("builds");
        let mut found: Vec<_> = store.variables().into_iter().map(|(name, value)| (name, value.size())).collect();
        found.sort();
        let map = |name: &str| (format!("objective.{name}.weight"), vec![3, toy::WIDTH]);
        assert_eq!(found, [("logit_scale".into(), vec![]), map("image"), map("text")]);
    }

    #[test]
    fn a_view_of_several_pairs_is_one_need() {
        let store = VarStore::new(Device::Cpu);
        let pairs = [("main", "main"), ("main", "eda")].map(|(image, text)| (image.to_owned(), text.to_owned())).to_vec();
        let objective = FilipConfig { pairs, ..Default::default() }.build(&toy::objective_cx(store.root())).expect("builds");
        assert_eq!(objective.needs(), [Need::image("main").tokens(), Need::text("eda").tokens(), Need::text("main").tokens()]);
    }

    #[test]
    fn the_scale_stays_between_one_and_its_bound() {
        for (start, end, why) in [(9.0, 100f64.ln(), "above"), (-1.0, 0.0, "below"), (2.0, 2.0, "inside")] {
            let store = VarStore::new(Device::Cpu);
            let config = FilipConfig { init_log_scale: start, ..Default::default() };
            let mut objective = config.build(&toy::objective_cx(store.root())).expect("builds");
            objective.after_step(&Features::new(0..0, 0), 1.0).expect("clamps");
            assert!((store.variables()["logit_scale"].double_value(&[]) - end).abs() < 1e-6, "{why}");
        }
    }

    #[test]
    fn options_that_mean_nothing_are_refused_together_before_a_parameter_is_made() {
        let store = VarStore::new(Device::Cpu);
        let config = FilipConfig {
            init_log_scale: f64::NAN,
            max_scale: 0.5,
            dim: 0,
            image_skip: -1,
            text_skip: [0, -2],
            tile: 0,
            pairs: Vec::new(),
            ..Default::default()
        };
        let error = config.build(&toy::objective_cx(store.root())).expect_err("refused").to_string();
        for word in ["`init_log_scale`", "`max_scale`", "`dim` = 0", "`image_skip` = -1", "`text_skip` = -2", "`tile` = 0", "`pairs`"] {
            assert!(error.contains(word), "{word}: {error}");
        }
        for tower in ["image", "text"] {
            let mut cx = toy::objective_cx(store.root());
            let missing = if tower == "image" { &mut cx.image } else { &mut cx.text };
            *missing = None;
            let error = FilipConfig::default().build(&cx).expect_err("refused").to_string();
            assert!(error.contains(&format!("[backbone.{tower}]")), "{error}");
        }
        assert!(store.is_empty(), "nothing was made");
    }
}
