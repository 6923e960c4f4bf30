//! The options of the image tower.

use vlhub_sdk::nn::{AttentionExtras, BlockExtras};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;

use crate::options::{Dimensions, zero_if_null};

/// ViT image tower with a class token (arXiv 2010.11929), as in CLIP and CoCa.
///
/// Parameters are named as in open_clip's `visual`. Tokens are those that open_clip returns: of the patches, row by row, normalised by
/// `ln_post` unless that comes after the pool; with `attentional_pool` the queries' outputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct VitConfig {
    /// Height and width of the picture, in pixels, as one number or as `[height, width]`; multiples of `patch_size`.
    pub image_size: ImageSize,
    /// Height and width of a patch, in pixels.
    pub patch_size: i64,
    /// Width of a token.
    pub width: i64,
    /// Number of blocks.
    pub layers: i64,
    /// Attention heads of each block; they share the width equally (open_clip: width / head_width).
    pub heads: i64,
    /// Width inside the MLP, as a multiple of `width`.
    pub mlp_ratio: f64,
    /// Patch dropout: share of the patches that is left out of each picture while training, drawn anew each time (FLIP, arXiv 2212.00794);
    /// the class token stays. 0 keeps all.
    pub patch_dropout: f64,
    /// Dropout: share of the MLP's inner elements that is zeroed while training.
    pub dropout: f64,
    /// QuickGELU: use x·σ(1.702 x) instead of GELU, as OpenAI's weights want it.
    pub quick_gelu: bool,
    /// Compute GELU by the hyperbolic tangent (open_clip: `act_kwargs`).
    pub gelu_tanh: bool,
    /// Layer scale: initial factor of each residual branch (CaiT, arXiv 2103.17239; open_clip: `ls_init_value`). 0 or null leaves the
    /// factors out.
    #[serde(deserialize_with = "zero_if_null")]
    pub layer_scale: f64,
    /// ε of the layer norms, added to the variance (open_clip: `norm_kwargs`); the attentional poolers keep 1e-5.
    pub norm_eps: f64,
    /// Leave out the norm between the embedding and the blocks.
    pub no_ln_pre: bool,
    /// Position embedding.
    pub position: Position,
    /// Register tokens (arXiv 2309.16588): further learned tokens without a place, which no output reads. Parameter: `register_tokens`.
    pub registers: i64,
    /// Pooling: where the pooled output comes from.
    pub pool: Pool,
    /// Normalise the pooled output instead of all tokens; tokens then come as the last block gives them.
    pub final_ln_after_pool: bool,
    /// Attentional pooling (CoCa, arXiv 2205.01917): learned queries look at the tokens of the last block. The tower is then as wide as the
    /// joint space.
    pub attentional_pool: AttentionalPool,
    /// Queries of the attentional pool.
    pub attn_pooler_queries: i64,
    /// Attention heads of the attentional pool; they share the width of the joint space equally.
    pub attn_pooler_heads: i64,
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
    /// Mean of each channel, for values in 0..1.
    pub mean: [f64; 3],
    /// Standard deviation of each channel, for values in 0..1.
    pub std: [f64; 3],
}

/// Height and width, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a number of pixels, or [height, width]", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum ImageSize {
    /// Both are this.
    Square(i64),
    /// Height, then width.
    Sides([i64; 2]),
}

impl ImageSize {
    /// Height and width.
    pub fn sides(self) -> [i64; 2] {
        match self {
            Self::Square(side) => [side, side],
            Self::Sides(sides) => sides,
        }
    }
}

/// Position embedding of an image tower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Position {
    /// Trained.
    Learned,
    /// A fixed table of sines and cosines (MoCo v3, arXiv 2104.02057), which is saved with the weights; for square pictures.
    #[serde(rename = "sin_cos_2d")]
    SinCos2d,
}

/// Pooling: where the pooled output comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Pool {
    /// The class token, or the first query of an attentional pool.
    Tok,
    /// The mean over the patches, or over all queries of an attentional pool but the first.
    Avg,
    /// Nothing is pooled in open_clip: tokens include the class token or the first query. The tower gives that one as the pooled output.
    None,
}

/// Whether and how queries pool the tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "false, true, \"parallel\" or \"cascade\"", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum AttentionalPool {
    /// Not at all; or `attn_pooler_queries` queries look at the tokens, and `pool` says which of them is the pooled output.
    Switch(bool),
    /// Another query of its own gives the pooled output.
    Contrastive(Contrastive),
}

/// What the query of the pooled output looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Contrastive {
    /// The same tokens as the other queries.
    Parallel,
    /// The outputs of the other queries.
    Cascade,
}

impl Default for VitConfig {
    /// A model for experiments on small pictures: 64 px in 8 px patches, width 192, 6 blocks, 3 heads; 2.7 million parameters.
    fn default() -> Self {
        Self {
            image_size: ImageSize::Square(64),
            patch_size: 8,
            width: 192,
            layers: 6,
            heads: 3,
            mlp_ratio: 4.0,
            patch_dropout: 0.0,
            dropout: 0.0,
            quick_gelu: false,
            gelu_tanh: false,
            layer_scale: 0.0,
            norm_eps: 1e-5,
            no_ln_pre: false,
            position: Position::Learned,
            registers: 0,
            pool: Pool::Tok,
            final_ln_after_pool: false,
            attentional_pool: AttentionalPool::Switch(false),
            attn_pooler_queries: 256,
            attn_pooler_heads: 8,
            qk_norm: false,
            scaled_cosine_attn: false,
            scale_heads: false,
            scale_attn_inner: false,
            scale_attn: false,
            scale_fc: false,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }
}

impl VitConfig {
    /// A model for a CPU and seconds: 32 px in 8 px patches, width 128, 4 blocks, 2 heads; 0.8 million parameters. Not the published ViT-Ti.
    pub fn tiny_8() -> Self {
        Self { image_size: ImageSize::Square(32), patch_size: 8, width: 128, layers: 4, heads: 2, ..Self::default() }
    }
    /// ViT-S/32: 224 px, width 384, 12 blocks, 6 heads.
    pub fn s_32() -> Self {
        Self { image_size: ImageSize::Square(224), patch_size: 32, width: 384, layers: 12, heads: 6, ..Self::default() }
    }
    /// ViT-S/16: 224 px, width 384, 12 blocks, 6 heads.
    pub fn s_16() -> Self {
        Self { patch_size: 16, ..Self::s_32() }
    }
    /// ViT-B/32: 224 px, width 768, 12 blocks, 12 heads.
    pub fn b_32() -> Self {
        Self { width: 768, heads: 12, ..Self::s_32() }
    }
    /// ViT-B/16: 224 px, width 768, 12 blocks, 12 heads.
    pub fn b_16() -> Self {
        Self { patch_size: 16, ..Self::b_32() }
    }
    /// ViT-L/14: 224 px, width 1024, 24 blocks, 16 heads.
    pub fn l_14() -> Self {
        Self { patch_size: 14, width: 1024, layers: 24, heads: 16, ..Self::s_32() }
    }
    /// The image tower of open_clip's CoCa ViT-B/32: ViT-B/32 with 256 queries in 8 heads.
    pub fn coca_b_32() -> Self {
        Self { attentional_pool: AttentionalPool::Switch(true), ..Self::b_32() }
    }
    /// The image tower of open_clip's CoCa ViT-L/14: ViT-L/14 with 256 queries in 8 heads.
    pub fn coca_l_14() -> Self {
        Self { attentional_pool: AttentionalPool::Switch(true), ..Self::l_14() }
    }

    pub(super) fn dimensions(&self) -> Dimensions {
        let Self { width, layers, heads, mlp_ratio, quick_gelu, gelu_tanh, dropout, layer_scale, norm_eps, .. } = *self;
        let Self { qk_norm, scaled_cosine_attn, scale_heads, scale_attn_inner, scale_attn, scale_fc, .. } = *self;
        let attention = AttentionExtras { qk_norm, scaled_cosine: scaled_cosine_attn, scale_heads, scale_inner: scale_attn_inner };
        let extras = BlockExtras { attention, scale_attn, scale_fc };
        Dimensions { width, layers, heads, mlp_ratio, quick_gelu, gelu_tanh, dropout, layer_scale, norm_eps, extras }
    }

    /// # Errors
    /// Everything that is wrong, at once.
    pub(super) fn check(&self, embed: i64) -> Result<()> {
        let mut problems = OptionProblems::default();
        let [height, width] = self.image_size.sides();
        problems.at_least_one(&[("patch_size", self.patch_size)]);
        for side in if height == width { vec![height] } else { vec![height, width] } {
            problems.at_least_one(&[("image_size", side)]);
            problems.divides(("patch_size", self.patch_size), ("image_size", side));
        }
        self.dimensions().check(&mut problems);
        problems.share("patch_dropout", self.patch_dropout);
        problems.at_least("registers", self.registers, 0);
        if self.position == Position::SinCos2d && (height != width || self.width % 4 != 0) {
            let found = format!("here {height} × {width} px and `width` = {}", self.width);
            problems.push(format!("`position` = \"sin_cos_2d\" is for square pictures and a `width` that 4 divides, {found}"));
        }
        if self.attentional_pool != AttentionalPool::Switch(false) {
            self.check_pooler(embed, &mut problems);
        }
        problems.std(self.std);
        problems.finish()
    }

    fn check_pooler(&self, embed: i64, problems: &mut OptionProblems) {
        let (queries, heads) = (self.attn_pooler_queries, self.attn_pooler_heads);
        problems.at_least_one(&[("attn_pooler_queries", queries), ("attn_pooler_heads", heads)]);
        if heads > 0 && embed % heads != 0 {
            problems.push(format!("`attn_pooler_heads` = {heads} does not divide `embed` = {embed}, the width of the attentional pool"));
        }
        if self.final_ln_after_pool {
            problems.push("`final_ln_after_pool` has no meaning with an `attentional_pool`, after which the norm always comes");
        }
        if let AttentionalPool::Contrastive(_) = self.attentional_pool {
            if embed != self.width {
                problems.push(format!("two attentional poolers need `width` = {} to equal `embed` = {embed}", self.width));
            }
            if self.pool != Pool::Tok {
                problems.push("`pool` has no meaning with two attentional poolers: a query of its own gives the pooled output");
            }
        } else if self.pool == Pool::Avg && queries == 1 {
            problems.push("`pool` = \"avg\" leaves out the first query, so `attn_pooler_queries` = 1 is too few");
        }
    }
}
