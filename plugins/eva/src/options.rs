//! Options of timm's `Eva`.

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::nn::{LayerNorm, Path};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;

/// Vision transformer with the parts that EVA (arXiv 2211.07636), EVA-02 (arXiv 2303.11331) and the Perception Encoder (arXiv 2504.13181)
/// add to it, as timm's `Eva`.
///
/// Parameters are named as in open_clip's `visual`. Tokens are those of the patches, row by row, after the last block, normalised where the
/// network normalises before it pools.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct EvaConfig {
    /// Height and width of the picture, in pixels; a multiple of `patch_size`.
    pub image_size: i64,
    /// Height and width of a patch, in pixels.
    pub patch_size: i64,
    /// Width of a token.
    pub width: i64,
    /// Number of blocks.
    pub layers: i64,
    /// Attention heads of each block; they share the width equally.
    pub heads: i64,
    /// Width inside the MLP, as a multiple of `width`.
    pub mlp_ratio: f64,
    /// SwiGLU MLP (arXiv 2002.05202): a gate, SiLU of one map times another.
    pub swiglu_mlp: bool,
    /// Layer norm inside the MLP.
    pub scale_mlp: bool,
    /// Layer norm between the heads' outputs and the output map of attention.
    pub scale_attn_inner: bool,
    /// Whether the maps to queries and values have a bias; those to keys have one with `attn_type` = `rope` alone.
    pub qkv_bias: bool,
    /// Keep the maps to queries, keys and values in one matrix.
    pub qkv_fused: bool,
    /// Which of timm's attention layers the blocks have.
    pub attn_type: AttnType,
    /// Layer scale (arXiv 2103.17239): where the factors of a learned scale of each branch start; none without a value.
    pub init_values: Option<f64>,
    /// Whether there is a class token.
    pub class_token: bool,
    /// Number of register tokens, further learned ones (arXiv 2309.16588).
    pub num_reg_tokens: i64,
    /// Leave class and register tokens without a learned position.
    pub no_embed_class: bool,
    /// Absolute position embedding: add a learned position to each token.
    pub use_abs_pos_emb: bool,
    /// Rotary position embedding (RoFormer, arXiv 2104.09864): turn queries and keys by the place of their patch.
    pub use_rot_pos_emb: bool,
    /// Height and width of the map, in patches, over whose coordinates a map of any size is stretched; 0 leaves coordinates as they are.
    pub ref_feat_shape: i64,
    /// Added to each coordinate.
    pub rope_grid_offset: f64,
    /// Which coordinate turns the first half of the channels.
    pub rope_grid_indexing: GridIndexing,
    /// The slowest pair of channels turns about this many times slower than the fastest.
    pub rope_temperature: f64,
    /// Post-norm: normalise after each branch instead of before it.
    pub use_post_norm: bool,
    /// Layer norm before the first block; the patches' map has no bias then.
    pub use_pre_transformer_norm: bool,
    /// Layer norm after the last block; without a value, where there is none after pooling.
    pub use_post_transformer_norm: Option<bool>,
    /// Layer norm after pooling; without a value, for `pool` = `avg` alone.
    pub use_fc_norm: Option<bool>,
    /// Heads of the attention that pools (`pool` = `map`); without a value, `heads`.
    pub attn_pool_num_heads: Option<i64>,
    /// Width inside its MLP, as a multiple of `width`; without a value, `mlp_ratio`.
    pub attn_pool_mlp_ratio: Option<f64>,
    /// ε of the layer norms, added to the variance.
    pub norm_eps: f64,
    /// Pooling: where the pooled output comes from.
    pub pool: Pool,
    /// Projection head: what maps the pooled output into the joint space.
    pub proj: Proj,
    /// Whether that map has a bias.
    pub proj_bias: bool,
    /// Patch dropout: share of the patches that is left out of each picture while training (FLIP, arXiv 2212.00794); 0 keeps all.
    pub patch_dropout: f64,
    /// Stochastic depth (arXiv 1603.09382): probability of leaving out a branch of the last block for a row while training; less in earlier
    /// blocks.
    pub drop_path: f64,
    /// Mean of each channel, for values in 0..1.
    pub mean: [f64; 3],
    /// Standard deviation of each channel, for values in 0..1.
    pub std: [f64; 3],
}

/// timm's attention layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum AttnType {
    /// `EvaAttention`: keys have no bias.
    Eva,
    /// `AttentionRope`: keys have one.
    Rope,
}

/// The order of a place's coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum GridIndexing {
    /// Row first.
    Ij,
    /// Column first.
    Xy,
}

/// Pooling: where the pooled output comes from: timm's `global_pool`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Pool {
    /// The class token.
    Token,
    /// The mean over the patches.
    Avg,
    /// The largest value of each channel over the patches.
    Max,
    /// The mean of these two.
    Avgmax,
    /// A learned query that looks at all tokens.
    Map,
}

impl Default for EvaConfig {
    /// An EVA-02 for experiments on small pictures: 64 px in 8 px patches, width 192, 4 blocks, 3 heads; 1.8 million parameters.
    fn default() -> Self {
        Self { use_rot_pos_emb: true, ref_feat_shape: 16, swiglu_mlp: true, mlp_ratio: 8.0 / 3.0, ..Self::plain(64, 8, 192, 4, 3) }
    }
}

impl EvaConfig {
    /// timm's defaults for these sizes.
    pub(crate) fn plain(image_size: i64, patch_size: i64, width: i64, layers: i64, heads: i64) -> Self {
        Self {
            image_size,
            patch_size,
            width,
            layers,
            heads,
            mlp_ratio: 4.0,
            swiglu_mlp: false,
            scale_mlp: false,
            scale_attn_inner: false,
            qkv_bias: true,
            qkv_fused: true,
            attn_type: AttnType::Eva,
            init_values: None,
            class_token: true,
            num_reg_tokens: 0,
            no_embed_class: false,
            use_abs_pos_emb: true,
            use_rot_pos_emb: false,
            ref_feat_shape: 0,
            rope_grid_offset: 0.0,
            rope_grid_indexing: GridIndexing::Ij,
            rope_temperature: 10000.0,
            use_post_norm: false,
            use_pre_transformer_norm: false,
            use_post_transformer_norm: None,
            use_fc_norm: None,
            attn_pool_num_heads: None,
            attn_pool_mlp_ratio: None,
            norm_eps: 1e-6,
            pool: Pool::Avg,
            proj: Proj::Linear,
            proj_bias: false,
            patch_dropout: 0.0,
            drop_path: 0.0,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }

    /// Patches in a row of the picture.
    pub(crate) fn grid(&self) -> i64 {
        self.image_size / self.patch_size
    }

    /// Class and register tokens.
    pub(crate) fn prefix(&self) -> i64 {
        i64::from(self.class_token) + self.num_reg_tokens
    }

    pub(crate) fn mlp_width(&self) -> i64 {
        (self.width as f64 * self.mlp_ratio) as i64
    }

    pub(crate) fn pool_heads(&self) -> i64 {
        self.attn_pool_num_heads.unwrap_or(self.heads)
    }

    pub(crate) fn norm(&self, path: &Path<'_>, width: i64) -> Result<LayerNorm> {
        LayerNorm::with_epsilon(path, width, self.norm_eps)
    }

    /// Whether there is a layer norm after the last block, and one after pooling.
    pub(crate) fn norms(&self) -> (bool, bool) {
        let after_pooling = self.use_fc_norm.unwrap_or(self.pool == Pool::Avg);
        (self.use_post_transformer_norm.unwrap_or(!after_pooling), after_pooling)
    }

    /// # Errors
    /// Everything that is wrong, at once.
    pub(crate) fn check(&self) -> Result<()> {
        let Self { image_size, patch_size, width, layers, heads, mlp_ratio, norm_eps, rope_temperature, .. } = *self;
        let mut problems = OptionProblems::default();
        let sizes = [("image_size", image_size), ("patch_size", patch_size), ("width", width), ("layers", layers), ("heads", heads)];
        problems.at_least_one(&sizes);
        problems.at_least_one(&[("attn_pool_num_heads", self.pool_heads())]);
        problems.divides(("patch_size", patch_size), ("image_size", image_size));
        problems.divides(("heads", heads), ("width", width));
        problems.at_least("num_reg_tokens", self.num_reg_tokens, 0);
        problems.at_least("ref_feat_shape", self.ref_feat_shape, 0);
        problems.mlp_ratio("mlp_ratio", width, mlp_ratio);
        problems.positive("norm_eps", norm_eps);
        problems.positive("rope_temperature", rope_temperature);
        problems.ensure(!self.use_rot_pos_emb || heads < 1 || width % heads != 0 || width / heads % 4 == 0, || {
            format!("heads of `width` / `heads` = {} channels have no rotary positions: it must be a multiple of 4", width / heads)
        });
        problems.ensure(self.pool != Pool::Token || self.class_token, || {
            "`pool` = \"token\" reads the class token, which `class_token` = false leaves out".into()
        });
        problems.ensure(!self.use_post_norm || self.init_values.is_none(), || {
            "`init_values` scales branches of blocks that normalise first; leave it out with `use_post_norm`".into()
        });
        if self.pool == Pool::Map {
            problems.divides(("attn_pool_num_heads", self.pool_heads()), ("width", width));
            let ratio = self.attn_pool_mlp_ratio.unwrap_or(mlp_ratio);
            problems
                .ensure(width as f64 * ratio >= 1.0, || format!("`attn_pool_mlp_ratio` = {ratio} leaves no width inside the pool's MLP"));
        }
        problems.share("patch_dropout", self.patch_dropout);
        problems.share("drop_path", self.drop_path);
        problems.std(self.std);
        problems.finish()
    }
}
