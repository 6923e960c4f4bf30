//! The CLIP text transformer.

use vlhub_sdk::nn::{LayerNorm, Mask, Start, Transformer, normal, parameter, up_to};
use vlhub_sdk::ops::gather_rows;
use vlhub_sdk::prelude::*;

use crate::options::{Dimensions, Problems};

/// Causal text transformer, pooled at the end token (CLIP, arXiv 2103.00020).
///
/// Parameters are named as in open_clip's `CLIP`. The end token is the largest id of a row, as in CLIP's vocabulary. What follows it changes
/// nothing, so shorter matrices than `context` are read too. Tokens are the outputs of `ln_final`, up to and including the end token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct TextConfig {
    /// Longest text, in tokens, start and end included.
    pub context: i64,
    /// Number of token ids.
    pub vocab: i64,
    /// Width of a token.
    pub width: i64,
    /// Number of blocks.
    pub layers: i64,
    /// Attention heads of each block; they share the width equally.
    pub heads: i64,
    /// Width inside the MLP, as a multiple of `width`.
    pub mlp_ratio: f64,
    /// Share of the MLP's inner elements that is zeroed while training.
    pub dropout: f64,
    /// Use x·σ(1.702 x) instead of GELU, as OpenAI's weights want it.
    pub quick_gelu: bool,
    /// Id that fills up short texts; below the end token's.
    pub pad: i64,
}

impl Default for TextConfig {
    /// The text tower of CLIP ViT-B: width 512, 12 blocks, 8 heads.
    fn default() -> Self {
        Self { context: 77, vocab: 49408, width: 512, layers: 12, heads: 8, mlp_ratio: 4.0, dropout: 0.0, quick_gelu: false, pad: 0 }
    }
}

impl TextConfig {
    /// For a CPU and seconds: width 128, 4 blocks, 2 heads; with CLIP's vocabulary, 7.1 million parameters, of which 6.3 are the vocabulary's.
    pub fn tiny() -> Self {
        Self { width: 128, layers: 4, heads: 2, ..Self::default() }
    }
    /// The text tower of CLIP ViT-S: width 384, 12 blocks, 6 heads.
    pub fn s() -> Self {
        Self { width: 384, heads: 6, ..Self::default() }
    }
    /// The text tower of CLIP ViT-L: width 768, 12 blocks, 12 heads.
    pub fn l() -> Self {
        Self { width: 768, heads: 12, ..Self::default() }
    }

    fn dimensions(&self) -> Dimensions {
        let Self { width, layers, heads, mlp_ratio, quick_gelu, dropout, .. } = *self;
        Dimensions { width, layers, heads, mlp_ratio, quick_gelu, dropout }
    }

    /// # Errors
    /// Everything that is wrong, at once.
    fn check(&self) -> Result<()> {
        let mut problems = Problems::default();
        problems.at_least_one(&[("context", self.context), ("vocab", self.vocab)]);
        if !(0..self.vocab).contains(&self.pad) {
            problems.add(format!("`pad` = {} is no id of a vocabulary of `vocab` = {}", self.pad, self.vocab));
        }
        self.dimensions().check(&mut problems);
        problems.finish()
    }
}

impl Config<dyn Backbone> for TextConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check()?;
        let (path, width) = (&cx.path, self.width);
        let start = Start::Clip { layers: self.layers };
        Ok(Box::new(TextTransformer {
            token_embedding: parameter(&path.sub("token_embedding"), "weight", &[self.vocab, width], normal(0.02))?,
            positional_embedding: parameter(path, "positional_embedding", &[self.context, width], normal(0.01))?,
            transformer: Transformer::new(&path.sub("transformer"), self.layers, &self.dimensions().block(start))?,
            ln_final: LayerNorm::new(&path.sub("ln_final"), width)?,
            config: self.clone(),
        }))
    }
}

/// The tower that [`TextConfig`] builds.
#[derive(Debug)]
pub struct TextTransformer {
    token_embedding: Tensor,
    positional_embedding: Tensor,
    transformer: Transformer,
    ln_final: LayerNorm,
    config: TextConfig,
}

impl TextTransformer {
    fn check(&self, ids: &Tensor) -> Result<()> {
        let TextConfig { context, vocab, .. } = self.config;
        let size = ids.size();
        if ids.kind() != Kind::Int64 || size.len() != 2 || size[1] < 1 {
            return Err(Error::invalid(format!("the text tower reads int64 ids [B, L], not {:?} {size:?}", ids.kind())));
        }
        if size[1] > context {
            return Err(Error::invalid(format!("texts of {} tokens are longer than the text tower's `context` = {context}", size[1])));
        }
        // On a GPU this would wait for all work in flight; ids come from the host, which makes them from a vocabulary of this size.
        if ids.device() == Device::Cpu && ids.numel() > 0 {
            let (least, most) = (ids.min().int64_value(&[]), ids.max().int64_value(&[]));
            if least < 0 || most >= vocab {
                let wrong = if least < 0 { least } else { most };
                return Err(Error::invalid(format!("token id {wrong} is outside of the text tower's vocabulary 0..{vocab}")));
            }
        }
        Ok(())
    }
}

impl Backbone for TextTransformer {
    fn input(&self) -> InputSpec {
        let TextConfig { context, vocab, pad, .. } = self.config;
        InputSpec::Text { context, vocab, pad, truncates: true }
    }

    fn width(&self) -> i64 {
        self.config.width
    }

    fn encode(&self, input: &Tensor, tokens: bool, noise: Option<&Noise>) -> Result<Hidden> {
        self.check(input)?;
        let length = input.size()[1];
        let places = self.positional_embedding.narrow(0, 0, length);
        let x = Tensor::embedding(&self.token_embedding, input, -1, false, false) + places;
        let end = input.argmax(-1, false);
        if !tokens {
            // Nothing but the end token is read after the last block, so only that is computed there.
            let pooled = self.ln_final.forward(&self.transformer.forward_at(&x, &end, Mask::Causal, noise));
            return Ok(Hidden { pooled, tokens: None });
        }
        let values = self.ln_final.forward(&self.transformer.forward(&x, Mask::Causal, noise));
        Ok(Hidden { pooled: gather_rows(&values, &end), tokens: Some(Tokens { mask: up_to(&end, length), values }) })
    }

    fn stages(&self) -> Vec<String> {
        let embedding = ["token_embedding", "positional_embedding"].map(String::from);
        embedding.into_iter().chain(self.transformer.stages("transformer")).chain([String::from("ln_final")]).collect()
    }

    fn projection(&self) -> Projection {
        Projection::Matrix("text_projection")
    }
}

register!(dyn Backbone, "text_transformer", TextConfig);
register!(dyn Backbone, "text_tiny", TextConfig, TextConfig::tiny);
register!(dyn Backbone, "text_s", TextConfig, TextConfig::s);
register!(dyn Backbone, "text_l", TextConfig, TextConfig::l);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{apart, build, noise, spread, stages_of_each};

    fn small() -> TextConfig {
        TextConfig { context: 16, vocab: 50, width: 32, layers: 2, heads: 2, ..TextConfig::default() }
    }

    /// Rows that end after 4, 9 and 6 tokens, in a matrix of `length`.
    fn ids(length: i64) -> Tensor {
        let ids = Tensor::randint_low(1, 48, [3, length], (Kind::Int64, Device::Cpu));
        for (row, end) in [(0, 3), (1, 8), (2, 5)] {
            let _ = ids.i((row, end..)).fill_(0);
            let _ = ids.i((row, end)).fill_(49);
        }
        ids
    }

    #[test]
    fn parameters_start_as_in_open_clip() -> Result<()> {
        let (store, _) = build(&TextConfig { context: 64, vocab: 200, width: 64, layers: 8, heads: 2, ..TextConfig::default() })?;
        let block = |name: &str| format!("transformer.resblocks.5.{name}");
        let output = 64f64.powf(-0.5) * 16f64.powf(-0.5);
        for (name, std, why) in [
            ("token_embedding.weight".into(), 0.02, "fixed"),
            ("positional_embedding".into(), 0.01, "fixed"),
            (block("attn.in_proj_weight"), 64f64.powf(-0.5), "width^-0.5"),
            (block("attn.out_proj.weight"), output, "width^-0.5 (2 layers)^-0.5"),
            (block("mlp.c_fc.weight"), 128f64.powf(-0.5), "(2 width)^-0.5"),
            (block("mlp.c_proj.weight"), output, "width^-0.5 (2 layers)^-0.5"),
        ] {
            let (found, most) = spread(&store, &name);
            assert!((found - std).abs() <= 0.08 * std, "{name}: standard deviation {found}, not {std}: {why}");
            assert!(most > 2.5 * std, "{name}: normal, not uniform");
        }
        for (name, most, why) in [
            (block("attn.in_proj_bias"), 0.0, "zero"),
            (block("attn.out_proj.bias"), 0.0, "zero"),
            (block("mlp.c_fc.bias"), 64f64.powf(-0.5), "torch's linear map of 64 inputs"),
            (block("mlp.c_proj.bias"), 256f64.powf(-0.5), "torch's linear map of 256 inputs"),
        ] {
            let (_, found) = spread(&store, &name);
            assert!(found <= most * 1.0001 && found >= 0.7 * most, "{name}: largest magnitude {found}, not {most}: {why}");
        }
        Ok(())
    }

    #[test]
    fn every_parameter_is_in_exactly_one_stage() -> Result<()> {
        let (store, tower) = build(&TextConfig { layers: 12, ..small() })?;
        for (name, count) in stages_of_each(&store, &*tower) {
            assert_eq!(count, 1, "{name}");
        }
        assert_eq!(tower.stages().len(), 2 + 12 + 1);
        Ok(())
    }

    #[test]
    fn cutting_to_the_longest_text_changes_nothing_with_and_without_dropout() -> Result<()> {
        let (_, tower) = build(&TextConfig { dropout: 0.3, ..small() })?;
        let whole = ids(16);
        for (length, why) in [(9, "the longest text"), (12, "some padding left")] {
            let cut = whole.narrow(1, 0, length);
            for tokens in [false, true] {
                for seeds in [None, Some([1i64, 2, 3])] {
                    let seeded = || seeds.map(|seeds| noise(&seeds));
                    let long = tower.encode(&whole, tokens, seeded().as_ref())?;
                    let short = tower.encode(&cut, tokens, seeded().as_ref())?;
                    let apart = apart(&long.pooled, &short.pooled);
                    assert!(apart < 1e-5, "{why}, tokens {tokens}, seeds {seeds:?}: {apart}");
                    let lengths = |hidden: Hidden| hidden.tokens.map(|tokens| tokens.mask.sum(Kind::Int64).int64_value(&[]));
                    assert_eq!(lengths(long), lengths(short), "{why}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn what_follows_the_end_token_changes_nothing_and_what_precedes_it_does() -> Result<()> {
        let (_, tower) = build(&small())?;
        let plain = ids(16);
        for (place, changes, why) in [(12, false, "after the ends of all rows"), (1, true, "before the ends of all rows")] {
            let other = plain.copy();
            let _ = other.i((.., place)).fill_(48);
            for tokens in [false, true] {
                let apart = apart(&tower.encode(&plain, tokens, None)?.pooled, &tower.encode(&other, tokens, None)?.pooled);
                assert_eq!(apart > 1e-5, changes, "{why}, tokens {tokens}: {apart}");
            }
        }
        assert_eq!(tower.input(), InputSpec::Text { context: 16, vocab: 50, pad: 0, truncates: true });
        Ok(())
    }

    #[test]
    fn dropout_is_on_in_training_alone_and_is_a_matter_of_the_rows_seeds() -> Result<()> {
        let (_, tower) = build(&TextConfig { dropout: 0.5, ..small() })?;
        let x = ids(16);
        let plain = tower.encode(&x, false, None)?.pooled;
        assert!(plain.equal(&tower.encode(&x, false, None)?.pooled), "evaluation is deterministic");
        let trained = tower.encode(&x, false, Some(&noise(&[1, 2, 3])))?.pooled;
        let part = tower.encode(&x.narrow(0, 2, 1), false, Some(&noise(&[3])))?.pooled;
        assert!(apart(&trained.narrow(0, 2, 1), &part) < 1e-5, "a chunk sees what the batch saw");
        assert!(apart(&plain, &trained) > 1e-3);
        assert!(apart(&trained, &tower.encode(&x, false, Some(&noise(&[4, 5, 6])))?.pooled) > 1e-3, "other seeds");
        Ok(())
    }

    #[test]
    fn wrong_ids_are_refused_with_the_numbers() -> Result<()> {
        let (_, tower) = build(&small())?;
        let zeros = |size: &[i64], kind| Tensor::zeros(size, (kind, Device::Cpu));
        for (input, wanted, why) in [
            (zeros(&[2, 17], Kind::Int64), ["17", "`context` = 16"], "too long"),
            (zeros(&[2, 8], Kind::Float), ["int64 ids [B, L]", "Float [2, 8]"], "not ids"),
            (zeros(&[8], Kind::Int64), ["int64 ids [B, L]", "Int64 [8]"], "no rows"),
            (zeros(&[2, 0], Kind::Int64), ["int64 ids [B, L]", "Int64 [2, 0]"], "no tokens"),
            (zeros(&[2, 8], Kind::Int64) + 50, ["token id 50", "0..50"], "one above the vocabulary"),
            (zeros(&[2, 8], Kind::Int64) - 1, ["token id -1", "0..50"], "below the vocabulary"),
        ] {
            let error = tower.encode(&input, false, None).expect_err(why).to_string();
            assert!(wanted.iter().all(|part| error.contains(part)), "{why}: {error}");
        }
        let error = build(&TextConfig { pad: 50, heads: 3, ..small() }).expect_err("two mistakes").to_string();
        assert!(error.contains("`pad` = 50") && error.contains("`heads` = 3"), "{error}");
        Ok(())
    }
}
