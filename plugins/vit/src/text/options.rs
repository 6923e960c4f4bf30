//! The options of the text tower.

use vlhub_sdk::nn::{AttentionExtras, BlockExtras};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;

use crate::options::{Dimensions, zero_if_null};

/// Text transformer of CLIP (arXiv 2103.00020), and of SigLIP, CLIPA and CoCa by its options.
///
/// Parameters are named as in open_clip's `CLIP` and `TextTransformer`. As it stands it is causal and pooled at the end token, which is the
/// largest id of a row, as in CLIP's vocabulary. What follows that changes nothing, so shorter matrices than `context` are read too. Tokens
/// are the outputs of `ln_final`, with `embed_cls` those of the last block; up to and including the end token for the pools that know it,
/// otherwise all but those of `pad`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct TextConfig {
    /// Context length: the longest text, in tokens, start and end included; the class token of `embed_cls` comes on top.
    pub context: i64,
    /// Vocabulary size.
    pub vocab: i64,
    /// Width of a token.
    pub width: i64,
    /// Number of blocks.
    pub layers: i64,
    /// Attention heads of each block; they share the width equally.
    pub heads: i64,
    /// Width inside the MLP, as a multiple of `width`.
    pub mlp_ratio: f64,
    /// Dropout: share of the MLP's inner elements that is zeroed while training.
    pub dropout: f64,
    /// QuickGELU: use x·σ(1.702 x) instead of GELU, as OpenAI's weights want it.
    pub quick_gelu: bool,
    /// Compute GELU by the hyperbolic tangent (open_clip: `act_kwargs`).
    pub gelu_tanh: bool,
    /// Padding id, which fills up short texts; below the end token's where `pool` is `argmax`.
    pub pad: i64,
    /// Layer scale: initial factor of each residual branch (CaiT, arXiv 2103.17239; open_clip: `ls_init_value`). 0 or null leaves the
    /// factors out.
    #[serde(deserialize_with = "zero_if_null")]
    pub layer_scale: f64,
    /// ε of the layer norms, added to the variance (open_clip: `norm_kwargs`).
    pub norm_eps: f64,
    /// Bidirectional attention: let each token look at all others (SigLIP, arXiv 2303.15343), not at those before it alone.
    pub no_causal_mask: bool,
    /// With `no_causal_mask`: let no token look at padding.
    pub use_pad_mask: bool,
    /// Append a learned class token, which is the pooled output whatever `pool` says (CoCa, arXiv 2205.01917), and let no token look at
    /// padding. Parameter: `cls_emb`.
    pub embed_cls: bool,
    /// With `embed_cls`: hide padding at its own place. As it stands, the mask is shifted by one token, as published CoCa weights want it.
    pub correct_cls_mask: bool,
    /// Pooling: where the pooled output comes from.
    pub pool: TextPool,
    /// Id of the end token for `pool` = `eos`.
    pub eos_id: i64,
    /// Projection head: what maps the pooled output into the joint space.
    pub projection: TextProjection,
    /// QK norm: normalise queries and keys of each head (arXiv 2106.04560).
    pub qk_norm: bool,
    /// Scaled cosine attention: attend by cosine, with a learned factor for each head (Swin V2, arXiv 2111.09883).
    pub scaled_cosine_attn: bool,
    /// Scale the output of each attention head by a learned factor (NormFormer, arXiv 2110.09456).
    pub scale_heads: bool,
    /// Normalise before the output map of attention (arXiv 2210.06423).
    pub scale_attn_inner: bool,
    /// Normalise after the output map of attention (NormFormer).
    pub scale_attn: bool,
    /// Normalise inside the MLP, after the activation (NormFormer).
    pub scale_fc: bool,
}

/// Pooling: where the pooled output of a text tower comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum TextPool {
    /// The token of the largest id, the first of several: CLIP's end token.
    Argmax,
    /// The last token of the matrix, padding or not.
    Last,
    /// The first token.
    First,
    /// The first token of the id `eos_id`, and the first token of a row that has none.
    Eos,
    /// Nothing is pooled in open_clip. The tower gives the first token as the pooled output.
    None,
}

/// Projection head: what maps the pooled output of a text tower into the joint space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum TextProjection {
    /// A matrix, `text_projection`.
    Matrix,
    /// A linear layer with bias, `text_projection.weight` and `text_projection.bias` (open_clip: `proj_bias`).
    Linear,
    /// Nothing: `width` is the width of the joint space (open_clip: `proj_type` = `none`).
    None,
}

impl Default for TextConfig {
    /// The text tower of CLIP ViT-B: width 512, 12 blocks, 8 heads.
    fn default() -> Self {
        Self {
            context: 77,
            vocab: 49408,
            width: 512,
            layers: 12,
            heads: 8,
            mlp_ratio: 4.0,
            dropout: 0.0,
            quick_gelu: false,
            gelu_tanh: false,
            pad: 0,
            layer_scale: 0.0,
            norm_eps: 1e-5,
            no_causal_mask: false,
            use_pad_mask: false,
            embed_cls: false,
            correct_cls_mask: false,
            pool: TextPool::Argmax,
            eos_id: 2,
            projection: TextProjection::Matrix,
            qk_norm: false,
            scaled_cosine_attn: false,
            scale_heads: false,
            scale_attn_inner: false,
            scale_attn: false,
            scale_fc: false,
        }
    }
}

impl TextConfig {
    /// A model for a CPU and seconds: width 128, 4 blocks, 2 heads; with CLIP's vocabulary, 7.1 million parameters, of which 6.3 are the
    /// vocabulary's.
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
    /// The text tower of open_clip's CoCa ViT-B/32: width 512, 12 blocks, 8 heads, and a class token after 76 others.
    pub fn coca() -> Self {
        Self { context: 76, embed_cls: true, ..Self::default() }
    }
    /// The text tower of SigLIP ViT-B (arXiv 2303.15343): width 768, 12 blocks, 12 heads, 64 tokens of a vocabulary of 32 000.
    pub fn siglip_b() -> Self {
        Self {
            context: 64,
            vocab: 32000,
            pad: 1,
            no_causal_mask: true,
            pool: TextPool::Last,
            projection: TextProjection::Linear,
            norm_eps: 1e-6,
            gelu_tanh: true,
            ..Self::l()
        }
    }

    pub(super) fn dimensions(&self) -> Dimensions {
        let Self { width, layers, heads, mlp_ratio, quick_gelu, gelu_tanh, dropout, layer_scale, norm_eps, .. } = *self;
        let Self { qk_norm, scaled_cosine_attn, scale_heads, scale_attn_inner, scale_attn, scale_fc, .. } = *self;
        let attention = AttentionExtras { qk_norm, scaled_cosine: scaled_cosine_attn, scale_heads, scale_inner: scale_attn_inner };
        let extras = BlockExtras { attention, scale_attn, scale_fc };
        Dimensions { width, layers, heads, mlp_ratio, quick_gelu, gelu_tanh, dropout, layer_scale, norm_eps, extras }
    }

    /// Whether each token looks at those before it and at nothing else, and the pooled one is the end token.
    pub(super) fn is_plainly_causal(&self) -> bool {
        let masked = self.no_causal_mask || self.use_pad_mask || self.embed_cls;
        !masked && self.truncates() && matches!(self.pool, TextPool::Argmax | TextPool::Eos)
    }

    /// Whether trailing padding changes nothing.
    pub(super) fn truncates(&self) -> bool {
        // A class token moves with the length, and open_clip's mask for it depends on what stands at the last place.
        let sees_padding = self.embed_cls || (self.no_causal_mask && !self.use_pad_mask);
        !sees_padding
            && match self.pool {
                TextPool::Argmax | TextPool::First | TextPool::None => true,
                // Where one id is both, the first padding is the end token, and would be cut off.
                TextPool::Eos => self.eos_id != self.pad,
                TextPool::Last => false,
            }
    }

    /// # Errors
    /// Everything that is wrong, at once.
    pub(super) fn check(&self) -> Result<()> {
        let mut problems = OptionProblems::default();
        problems.at_least_one(&[("context", self.context), ("vocab", self.vocab)]);
        let ids = [("pad", self.pad, true), ("eos_id", self.eos_id, self.pool == TextPool::Eos)];
        for (name, id, used) in ids {
            if used && !(0..self.vocab).contains(&id) {
                problems.push(format!("`{name}` = {id} is no id of a vocabulary of `vocab` = {}", self.vocab));
            }
        }
        if self.use_pad_mask && !self.no_causal_mask {
            problems.push("`use_pad_mask` has no meaning without `no_causal_mask`: a causal text does not see what follows");
        }
        if self.correct_cls_mask && !self.embed_cls {
            problems.push("`correct_cls_mask` has no meaning without `embed_cls`");
        }
        self.dimensions().check(&mut problems);
        problems.finish()
    }
}
