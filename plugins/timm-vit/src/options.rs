//! Options that the three families share, and what they must fulfil.

use vlhub_sdk::nn::Activation;
use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;

/// Pooling of the tokens: timm's `global_pool`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Pool {
    /// The class token; with a distillation token, the mean of both.
    Token,
    /// The mean over the patches.
    Avg,
    /// The largest of the patches, channel by channel.
    Max,
    /// Half of `avg` and half of `max`.
    AvgMax,
    /// A learned query attends to the patches, and an MLP follows: multihead attention pooling (arXiv 2106.04560), as in SigLIP.
    Map,
}

/// Activation function between the two maps of an MLP: timm's `act_layer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Act {
    /// Gaussian error linear unit, exact.
    Gelu,
    /// GELU by the hyperbolic tangent.
    GeluTanh,
    /// `x · σ(1.702 x)`, as OpenAI's weights want it.
    QuickGelu,
}

impl From<Act> for Activation {
    fn from(act: Act) -> Self {
        match act {
            Act::Gelu => Self::Gelu,
            Act::GeluTanh => Self::GeluTanh,
            Act::QuickGelu => Self::QuickGelu,
        }
    }
}

/// A struct of options that has, before its own fields, those which every family has; and its view as [`Common`].
macro_rules! family_options {
    ($(#[$about:meta])* $name:ident { $($(#[$field_about:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
        #[schemars(crate = "vlhub_sdk::schemars")]
        pub struct $name {
            /// Height and width of the picture, in pixels. What is left over behind the last whole patch is not read.
            pub image_size: i64,
            /// Height and width of a patch, in pixels.
            pub patch_size: i64,
            /// Width of a token (timm: embed_dim).
            pub width: i64,
            /// Number of blocks (timm: depth).
            pub layers: i64,
            /// Attention heads of each block; they share the width equally.
            pub heads: i64,
            /// Width inside the MLP, as a multiple of `width`.
            pub mlp_ratio: f64,
            /// Whether queries, keys and values have a bias.
            pub qkv_bias: bool,
            /// Layer scale (arXiv 2103.17239): start of the learned scale of each branch; 0 leaves the scale out.
            pub init_values: f64,
            $($(#[$field_about])* pub $field: $kind,)*
            /// open_clip's `timm_pool`: replaces `global_pool`. Norms stay where `global_pool` puts them, unless the network projects by
            /// itself (`proj` is classifier or none), as in open_clip. Without it the network pools as it was made to.
            pub pool: Option<Pool>,
            /// Stochastic depth (arXiv 1603.09382): share of the pictures for which the last block's branches are left out while training;
            /// from block to block it rises linearly from 0 to this.
            pub drop_path: f64,
            /// Projection head: what maps the pooled output into the joint space.
            pub proj: Proj,
            /// Whether the last layer of `proj` has a bias.
            pub proj_bias: bool,
            /// Mean of each channel, for values in 0..1.
            pub mean: [f64; 3],
            /// Standard deviation of each channel, for values in 0..1.
            pub std: [f64; 3],
        }

        impl $name {
            fn common(&self) -> $crate::options::Common {
                let Self { image_size, patch_size, width, layers, heads, mlp_ratio, qkv_bias, init_values, .. } = *self;
                let Self { drop_path, proj, proj_bias, mean, std, .. } = *self;
                $crate::options::Common {
                    image_size, patch_size, width, layers, heads, mlp_ratio, qkv_bias, init_values, drop_path, proj, proj_bias, mean, std,
                }
            }
        }
    };
}
pub(crate) use family_options;

/// What every family has.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub image_size: i64,
    pub patch_size: i64,
    pub width: i64,
    pub layers: i64,
    pub heads: i64,
    pub mlp_ratio: f64,
    pub qkv_bias: bool,
    pub init_values: f64,
    pub drop_path: f64,
    pub proj: Proj,
    pub proj_bias: bool,
    pub mean: [f64; 3],
    pub std: [f64; 3],
}

impl Common {
    pub fn mlp_width(&self) -> i64 {
        (self.width as f64 * self.mlp_ratio) as i64
    }

    /// Patches in a row, and rows of them.
    pub fn grid(&self) -> i64 {
        self.image_size / self.patch_size
    }

    /// The pooling with which timm makes the network: open_clip replaces it afterwards, except where the network projects by itself.
    pub fn made_with(&self, own: Pool, replaced: Option<Pool>) -> Pool {
        match self.proj {
            Proj::Linear | Proj::Mlp => own,
            Proj::Classifier | Proj::None => replaced.unwrap_or(own),
        }
    }

    /// Adds what is wrong.
    pub fn check(&self, problems: &mut OptionProblems) {
        let Self { image_size, patch_size, width, layers, heads, .. } = *self;
        let sizes = [("image_size", image_size), ("patch_size", patch_size), ("width", width), ("layers", layers), ("heads", heads)];
        problems.at_least_one(&sizes);
        problems.ensure(patch_size <= image_size, || format!("`patch_size` = {patch_size} is larger than `image_size` = {image_size}"));
        problems.divides(("heads", heads), ("width", width));
        problems.mlp_ratio("mlp_ratio", width, self.mlp_ratio);
        problems.finite("init_values", self.init_values);
        problems.share("drop_path", self.drop_path);
        problems.std(self.std);
    }
}

/// Refuses the pooling `token` without a class token.
pub(crate) fn check_class_token(problems: &mut OptionProblems, pool: Pool, class_token: bool) {
    problems.ensure(pool != Pool::Token || class_token, || {
        "the pooling `token` reads the class token, and `class_token` is false: use `avg`, or add the token".into()
    });
}

/// Refuses a pooling that this family does not have.
pub(crate) fn check_token_or_avg(problems: &mut OptionProblems, pool: Pool) {
    problems
        .ensure(matches!(pool, Pool::Token | Pool::Avg), || format!("the pooling {pool:?} is for `timm_vit`; here it is `token` or `avg`"));
}
