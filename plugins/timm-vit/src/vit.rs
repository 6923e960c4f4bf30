//! timm's `VisionTransformer`, and DeiT's with a distillation token.

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;

use crate::net::{Absolute, Net, Plan, Style};
use crate::options::{Act, Pool, check_class_token, family_options};

family_options! {
    /// Vision transformer (arXiv 2010.11929) with timm's options; DeiT, DeiT III, CLIP's and SigLIP's towers are settings of it.
    ///
    /// Parameters are named as in timm's `VisionTransformer`, under `trunk`. Tokens are those of the patches, row by row, normalised where
    /// the norm comes before the pooling.
    TimmVitConfig {
        /// QK norm: whether queries and keys are normalised, head by head.
        qk_norm: bool,
        /// Pooling of the tokens.
        global_pool: Pool,
        /// Whether a learned token stands before the patches.
        class_token: bool,
        /// Whether a distillation token follows the class token (DeiT, arXiv 2012.12877); then the pooled output is the mean of both.
        distilled: bool,
        /// Register tokens (arXiv 2309.16588): learned tokens before the patches that nothing reads.
        reg_tokens: i64,
        /// Whether only the patches have a learned position, and not the tokens before them.
        no_embed_class: bool,
        /// Whether a norm comes before the blocks, as in CLIP; then the patch embedding has no bias.
        pre_norm: bool,
        /// Whether a norm comes behind the blocks.
        final_norm: bool,
        /// Whether that norm comes behind the pooling; if not given, where `global_pool` is avg, max or avgmax.
        fc_norm: Option<bool>,
        /// Activation function between the two maps of an MLP.
        act_layer: Act,
        /// ε of the norms; timm's is 1e-6, and 1e-5 for CLIP's towers.
        norm_eps: f64,
        /// Patch dropout: share of the patches that is left out of each picture while training, drawn anew each time (FLIP, arXiv
        /// 2212.00794).
        patch_drop: f64,
    }
}

impl Default for TimmVitConfig {
    /// A model for experiments on small pictures: 64 px in 8 px patches, width 192, 6 blocks, 3 heads; 2.7 million parameters.
    fn default() -> Self {
        Self {
            image_size: 64,
            patch_size: 8,
            width: 192,
            layers: 6,
            heads: 3,
            mlp_ratio: 4.0,
            qkv_bias: true,
            init_values: 0.0,
            qk_norm: false,
            global_pool: Pool::Token,
            class_token: true,
            distilled: false,
            reg_tokens: 0,
            no_embed_class: false,
            pre_norm: false,
            final_norm: true,
            fc_norm: None,
            act_layer: Act::Gelu,
            norm_eps: 1e-6,
            patch_drop: 0.0,
            pool: None,
            drop_path: 0.0,
            proj: Proj::Linear,
            proj_bias: false,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }
}

impl TimmVitConfig {
    /// The published sizes: pixels of a picture and of a patch, width, blocks, heads.
    pub(crate) fn sized(image_size: i64, patch_size: i64, [width, layers, heads]: [i64; 3]) -> Self {
        Self { image_size, patch_size, width, layers, heads, ..Self::default() }
    }

    /// SigLIP's: no class token, and a learned query pools (arXiv 2303.15343).
    pub(crate) fn siglip(self, act_layer: Act) -> Self {
        Self { class_token: false, global_pool: Pool::Map, act_layer, ..self }
    }

    /// CLIP's: a norm before the blocks (arXiv 2103.00020).
    pub(crate) fn clip(self) -> Self {
        Self { pre_norm: true, norm_eps: 1e-5, ..self }
    }

    /// The pooling, and whether the norm comes behind it.
    fn pooling(&self) -> (Pool, bool) {
        let made_with = self.common().made_with(self.global_pool, self.pool);
        let behind = self.fc_norm.unwrap_or(matches!(made_with, Pool::Avg | Pool::Max | Pool::AvgMax));
        (self.pool.unwrap_or(self.global_pool), behind)
    }

    /// # Errors
    /// Everything that is wrong, at once.
    fn check(&self) -> Result<()> {
        let mut problems = OptionProblems::default();
        let common = self.common();
        common.check(&mut problems);
        problems.share("patch_drop", self.patch_drop);
        problems.at_least("reg_tokens", self.reg_tokens, 0);
        problems.positive("norm_eps", self.norm_eps);
        let (pool, behind) = self.pooling();
        check_class_token(&mut problems, pool, self.class_token);
        problems.ensure(pool != Pool::Map || common.made_with(self.global_pool, self.pool) == Pool::Map, || {
            "`pool` = map cannot be added to a network that was made without it: set `global_pool` = map".into()
        });
        let plain = self.class_token && self.reg_tokens == 0 && !self.no_embed_class && pool == Pool::Token && !behind;
        problems.ensure(!self.distilled || plain && self.proj != Proj::Classifier, || {
            "`distilled` wants the class token, the pooling token, a `proj` that is not classifier, and neither `reg_tokens`, `no_embed_class` \
             nor `fc_norm`"
                .into()
        });
        problems.finish()
    }
}

impl Config<dyn Backbone> for TimmVitConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check()?;
        let (pool, behind) = self.pooling();
        let plan = Plan {
            common: self.common(),
            style: Style::Vit,
            activation: self.act_layer.into(),
            epsilon: self.norm_eps,
            class_token: self.class_token,
            distilled: self.distilled,
            reg_tokens: self.reg_tokens,
            absolute: Some(if self.no_embed_class { Absolute::Patches } else { Absolute::All }),
            relative: None,
            shared_relative: false,
            qk_norm: self.qk_norm,
            pre_norm: self.pre_norm,
            norm: self.final_norm && !behind,
            fc_norm: self.final_norm && behind,
            pool,
            patch_drop: self.patch_drop,
        };
        Ok(Box::new(Net::new(cx, plan)?))
    }
}

register!(dyn Backbone, "timm_vit", TimmVitConfig);
