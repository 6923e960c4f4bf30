//! The objective `caption`.

use vlhub_sdk::nn::Activation;
use vlhub_sdk::ops::cross_entropy_sum;
use vlhub_sdk::options::{OptionProblems, both_towers};
use vlhub_sdk::prelude::*;
use vlhub_sdk::{Captioner, Captioning, TextSide, Tower};

use crate::decoder::{Decoder, Sizes};
use crate::writer::Writer;

/// The view that is captioned, and the view of its captions.
const VIEW: &str = "main";

/// Captioning loss: predicts each token of a caption from those before it and the image's tokens (CoCa, Yu et al., 2022, arXiv 2205.01917).
///
/// The loss is the mean cross-entropy over all tokens but the start and the padding. A word whose id is also the padding's (CLIP's `!`) counts
/// where it stands inside a text; open_clip leaves it out. The decoder reads the tokens of the text tower, which
/// must be causal, and those of the image tower; both have its width (for images: `attentional_pool`). open_clip trains with
/// `objective.caption.weight = 2.0` beside `objective.clip.weight = 1.0`. What has no default here is taken from the text tower.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct CaptionConfig {
    /// Context length: the longest caption, in tokens, start and end included; the text tower's by default.
    pub context: Option<i64>,
    /// Vocabulary size; the text tower's by default.
    pub vocab: Option<i64>,
    /// Width of a token; the text tower's by default, and it can be no other.
    pub width: Option<i64>,
    /// Number of pairs of blocks: one over the text, one that looks at the image.
    pub layers: i64,
    /// Attention heads of each block; they share the width equally.
    pub heads: i64,
    /// Width inside the MLP, as a multiple of `width`.
    pub mlp_ratio: f64,
    /// QuickGELU: use x·σ(1.702 x) instead of GELU.
    pub quick_gelu: bool,
    /// Padding id, which fills up short captions, before or behind which nothing is predicted; the text tower's by default.
    pub pad: Option<i64>,
    /// Id with which a written caption starts; the tokenizer's by default.
    pub start: Option<i64>,
    /// Id with which a written caption ends; the tokenizer's by default.
    pub end: Option<i64>,
}

impl Default for CaptionConfig {
    fn default() -> Self {
        Self {
            context: None,
            vocab: None,
            width: None,
            layers: 12,
            heads: 8,
            mlp_ratio: 4.0,
            quick_gelu: false,
            pad: None,
            start: None,
            end: None,
        }
    }
}

impl CaptionConfig {
    /// The sizes of the decoder and what it is told of texts, or everything that is wrong with the options.
    pub(crate) fn resolve(&self, image: &Tower, text: &Tower) -> Result<(Sizes, i64, i64)> {
        let InputSpec::Text { context, vocab, pad, .. } = text.input else {
            return Err(Error::Options("the text tower reads no texts".into()));
        };
        let (width, heads) = (self.width.unwrap_or(text.width), self.heads);
        let (context, vocab, pad) = (self.context.unwrap_or(context), self.vocab.unwrap_or(vocab), self.pad.unwrap_or(pad));
        let mlp_width = (width as f64 * self.mlp_ratio) as i64;
        let mut problems = OptionProblems::default();
        problems.at_least("context", context, 2);
        problems.at_least("vocab", vocab, 2);
        problems.at_least_one(&[("width", width), ("layers", self.layers), ("heads", heads)]);
        problems.divides(("heads", heads), ("width", width));
        problems.mlp_ratio("mlp_ratio", width, self.mlp_ratio);
        for (name, id) in [("pad", Some(pad)), ("start", self.start), ("end", self.end)] {
            if let Some(id) = id.filter(|id| !(0..vocab).contains(id)) {
                problems.push(format!("`{name}` = {id} is outside of the vocabulary 0..{vocab}"));
            }
        }
        problems.ensure(image.width == width, || {
            format!(
                "the image tower's tokens have width {} and the decoder has `width` = {width}; give the image tower `attentional_pool = true` and \
                 the run `embed = {width}`, or towers of one width",
                image.width
            )
        });
        problems.ensure(text.width == width, || {
            format!("the text tower's tokens have width {} and the decoder has `width` = {width}; make them equal", text.width)
        });
        problems.finish()?;
        let activation = if self.quick_gelu { Activation::QuickGelu } else { Activation::Gelu };
        Ok((Sizes { width, layers: self.layers, heads, mlp_width, vocab, activation }, context, pad))
    }
}

impl Config<dyn Objective> for CaptionConfig {
    fn build(&self, cx: &ObjectiveCx<'_>) -> Result<Box<dyn Objective>> {
        let (image, text) = both_towers(cx, "captioning")?;
        let (sizes, context, pad) = self.resolve(image, text)?;
        let decoder = Decoder::new(&cx.shared.sub("text_decoder"), &sizes)?;
        Ok(Box::new(Caption { decoder, context, vocab: sizes.vocab, pad, start: self.start, end: self.end }))
    }
}

#[derive(Debug)]
pub(crate) struct Caption {
    decoder: Decoder,
    context: i64,
    vocab: i64,
    pad: i64,
    start: Option<i64>,
    end: Option<i64>,
}

impl Caption {
    /// The tokens to predict, `[B, L - 1]`, and where they count.
    fn targets(&self, batch: &Batch) -> Result<(Tensor, Tensor)> {
        let ids = batch.text(VIEW)?;
        let targets = ids.narrow(1, 1.min(ids.size()[1]), (ids.size()[1] - 1).max(0));
        let counted = inside(&targets.not_equal(self.pad));
        Ok((targets, counted))
    }

    /// Sum of the cross-entropies and number of right guesses of the rows of `hidden` `[n, width]`.
    fn score(&self, hidden: &Tensor, targets: &Tensor) -> (Tensor, f64) {
        let logits = self.decoder.logits(hidden);
        let right = vlhub_sdk::tch::no_grad(|| logits.argmax(-1, false).eq_tensor(targets).sum(Kind::Int64));
        (cross_entropy_sum(&logits, targets), right.int64_value(&[]) as f64)
    }
}

/// From the first to the last true value of each row of `[B, L]`. The id that fills texts up may stand inside one as a word (CLIP's 0 is `!`);
/// what fills up lies outside.
fn inside(real: &Tensor) -> Tensor {
    let upwards = |from: &Tensor| from.cumsum(1, Kind::Int64).gt(0);
    upwards(real).logical_and(&upwards(&real.flip([1])).flip([1]))
}

impl Objective for Caption {
    fn scope(&self) -> Scope {
        Scope::Sample
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::image(VIEW).tokens(), Need::text(VIEW).tokens()]
    }

    fn weight(&self, batch: &Batch) -> f64 {
        // The engine refuses what is no number, with the objective's name.
        self.targets(batch).map_or(f64::NAN, |(_, counted)| counted.sum(Kind::Int64).int64_value(&[]) as f64)
    }

    fn loss(&self, features: &Features, batch: &Batch) -> Result<Loss> {
        let (images, texts) = (&features.image_tokens(VIEW)?.values, &features.text_tokens(VIEW)?.values);
        let (targets, counted) = self.targets(batch)?;
        let (given, wanted) = (texts.size()[1], targets.size()[1] + 1);
        if given != wanted {
            return Err(Error::invalid(format!("the text tower gives {given} tokens for {wanted} ids; captioning needs one for each")));
        }
        if wanted > self.context {
            return Err(Error::invalid(format!("captions of {wanted} tokens are longer than `context` = {}", self.context)));
        }
        let places = counted.flatten(0, -1).nonzero().squeeze_dim(1);
        let count = places.size()[0];
        if count == 0 {
            return Ok(Loss::from((images.sum(Kind::Float) + texts.sum(Kind::Float)) * 0.0).with("caption_accuracy", 0.0));
        }
        let hidden = self.decoder.forward(images, &texts.narrow(1, 0, wanted - 1));
        // Padding is half of a batch and more, and its logits are as wide as the vocabulary: they are never made.
        let hidden = hidden.flatten(0, 1).index_select(0, &places);
        let targets = targets.flatten(0, -1).index_select(0, &places);
        if targets.device() == Device::Cpu && targets.max().int64_value(&[]) >= self.vocab {
            return Err(Error::invalid(format!(
                "token id {} is outside of the decoder's vocabulary 0..{}; set `objective.caption.vocab` to the tokenizer's",
                targets.max().int64_value(&[]),
                self.vocab
            )));
        }
        let (sum, right) = self.score(&hidden, &targets);
        Ok(Loss::from(sum / count as f64).with("caption_accuracy", right / count as f64))
    }

    fn skills(&self) -> Skills<'_> {
        Skills { captioner: Some(self), ..Skills::default() }
    }
}

impl Captioner for Caption {
    fn context(&self) -> Option<i64> {
        Some(self.context)
    }

    fn caption(&self, images: &Encoded, seeds: &[u64], text: &TextSide<'_>, how: &Captioning) -> Result<Tensor> {
        let tokens =
            images.tokens.as_ref().ok_or_else(|| Error::invalid("captions are written from image tokens; encode images with them"))?;
        let text = TextSide { encode: text.encode, start: self.start.unwrap_or(text.start), end: self.end.unwrap_or(text.end) };
        let writer = Writer { decoder: &self.decoder, images: &tokens.values, text, pad: self.pad, vocab: self.vocab };
        let _no_grad = vlhub_sdk::tch::no_grad_guard();
        writer.write(seeds, how, self.context)
    }
}

register!(dyn Objective, "caption", CaptionConfig);
