//! Options that the three families share, and what they must fulfil.

use vlhub_sdk::nn::Activation;
use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::prelude::*;

/// CLIP's mean and standard deviation of each channel, which open_clip takes for towers of timm too.
pub(crate) const MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
pub(crate) const STD: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

/// What becomes of the tokens: timm's `global_pool`.
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

/// What stands between the two maps of an MLP: timm's `act_layer`.
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
            /// Start of the learned scale of each branch (layer scale, arXiv 2103.17239); 0 leaves the scale out.
            pub init_values: f64,
            $($(#[$field_about])* pub $field: $kind,)*
            /// open_clip's `timm_pool`: replaces `global_pool`. Norms stay where `global_pool` puts them, unless the network projects by
            /// itself (`proj` is classifier or none), as in open_clip. Without it the network pools as it was made to.
            pub pool: Option<Pool>,
            /// Share of the pictures for which the last block's branches are left out while training (stochastic depth, arXiv 1603.09382);
            /// from block to block it rises linearly from 0 to this.
            pub drop_path: f64,
            /// What maps the pooled output into the joint space.
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
    pub fn check(&self, problems: &mut Problems) {
        let sizes = [("image_size", self.image_size), ("patch_size", self.patch_size), ("width", self.width)];
        for (name, value) in sizes.into_iter().chain([("layers", self.layers), ("heads", self.heads)]) {
            problems.unless(value >= 1, || format!("`{name}` = {value} must be at least 1"));
        }
        problems.unless(self.patch_size <= self.image_size, || {
            format!("`patch_size` = {} is larger than `image_size` = {}", self.patch_size, self.image_size)
        });
        problems.unless(self.heads < 1 || self.width % self.heads == 0, || {
            format!("`heads` = {} does not divide `width` = {}", self.heads, self.width)
        });
        problems.unless(self.mlp_width() >= 1, || format!("`mlp_ratio` = {} leaves no width inside the MLP", self.mlp_ratio));
        problems.unless(self.init_values.is_finite(), || format!("`init_values` = {} is not a finite number", self.init_values));
        problems.share("drop_path", self.drop_path);
        problems.unless(self.std.iter().all(|std| *std > 0.0), || format!("`std` = {:?} must be above 0 in each channel", self.std));
    }
}

/// Everything that is wrong with a table of options, to be told at once.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    pub fn unless(&mut self, fine: bool, problem: impl FnOnce() -> String) {
        if !fine {
            self.0.push(problem());
        }
    }

    pub fn share(&mut self, name: &str, value: f64) {
        self.unless((0.0..1.0).contains(&value), || format!("`{name}` = {value} must be at least 0 and below 1"));
    }

    /// A pooling that the network cannot do.
    pub fn pool(&mut self, pool: Pool, class_token: bool) {
        self.unless(pool != Pool::Token || class_token, || {
            "the pooling `token` reads the class token, and `class_token` is false: use `avg`, or add the token".into()
        });
    }

    /// A pooling that this family does not have.
    pub fn no_map(&mut self, pool: Pool) {
        self.unless(matches!(pool, Pool::Token | Pool::Avg), || {
            format!("the pooling {pool:?} is for `timm_vit`; here it is `token` or `avg`")
        });
    }

    pub fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Options(self.0.join("; "))) }
    }
}
