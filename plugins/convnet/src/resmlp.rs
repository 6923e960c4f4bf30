//! ResMLP (arXiv 2105.03404).

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::nn::{Conv2d, ConvConfig, Init, Linear, Path, Recomputed, drop_path, normal, parameter};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;

use crate::tower::{Common, Pictures, Pool, Trunk, conv, places};

/// Patches that a linear map mixes, and an MLP of each patch; affine maps instead of norms (ResMLP, arXiv 2105.03404).
///
/// Parameters are named as in timm's `MlpMixer` of `ResBlock`s. The mixing is of a fixed number of patches, so weights fit pictures of one
/// size. Tokens are the patches behind the last affine map; their mean is the pooled output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct ResMlpConfig {
    /// Height and width of a picture in pixels.
    pub image_size: i64,
    /// Height and width of a patch in pixels; divides `image_size`.
    pub patch_size: i64,
    /// Width of a patch's token.
    pub width: i64,
    /// Number of blocks.
    pub layers: i64,
    /// Width inside the MLP, as a multiple of `width`.
    pub mlp_ratio: f64,
    /// Layer scale: what the gain of each branch starts at.
    pub init_values: f64,
    /// Projection head: what maps the pooled output into the joint space.
    pub proj: Proj,
    /// Whether that map has a bias.
    pub proj_bias: bool,
    /// Stochastic depth: share of rows that a branch is left out for while training, alike in all blocks.
    pub drop_path: f64,
    /// Mean of each channel, for values in 0..1.
    pub mean: [f64; 3],
    /// Standard deviation of each channel.
    pub std: [f64; 3],
}

impl Default for ResMlpConfig {
    /// A model for a CPU and seconds: 32 px in 8 px patches, width 64, 4 blocks; 0.15 million parameters.
    fn default() -> Self {
        Self {
            image_size: 32,
            patch_size: 8,
            width: 64,
            layers: 4,
            mlp_ratio: 4.0,
            init_values: 1e-4,
            proj: Proj::Linear,
            proj_bias: false,
            drop_path: 0.0,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }
}

impl ResMlpConfig {
    /// A published size of 16 px patches and width 384.
    fn s(layers: i64, init_values: f64) -> Self {
        Self { image_size: 224, patch_size: 16, width: 384, layers, init_values, ..Self::default() }
    }

    /// ResMLP-B24: 8 px patches, width 768.
    fn big_24() -> Self {
        Self { patch_size: 8, width: 768, ..Self::s(24, 1e-6) }
    }

    fn common(&self) -> Common {
        let Self { image_size: side, proj, proj_bias, drop_path, mean, std, .. } = *self;
        Common { pictures: Pictures { side, mean, std }, pool: Pool::Avg, proj, proj_bias, drop_path }
    }

    fn mlp_width(&self) -> i64 {
        (self.width as f64 * self.mlp_ratio) as i64
    }

    /// # Errors
    /// Everything that is wrong, at once.
    fn check(&self) -> Result<()> {
        let mut problems = OptionProblems::default();
        self.common().check(1, &mut problems);
        problems.at_least_one(&[("patch_size", self.patch_size), ("width", self.width), ("layers", self.layers)]);
        problems.divides(("patch_size", self.patch_size), ("image_size", self.image_size));
        problems.mlp_ratio("mlp_ratio", self.width, self.mlp_ratio);
        problems.finish()
    }
}

impl Config<dyn Backbone> for ResMlpConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check()?;
        let path = cx.path.sub("trunk");
        let (side, patch, width) = (self.image_size, self.patch_size, self.width);
        let patches = ConvConfig { input: 3, output: width, kernel: patch, stride: patch, ..ConvConfig::default() };
        let blocks = path.sub("blocks");
        let trunk = ResMlp {
            // timm cuts this normal distribution at two standard deviations and widens it to the same variance.
            stem: conv(&path.sub("stem").sub("proj"), patches, normal(((3 * patch * patch) as f64).powf(-0.5)))?,
            blocks: (0..self.layers).map(|index| Block::new(&blocks.sub(index), self).map(Recomputed::new)).collect::<Result<_>>()?,
            norm: Affine::new(&path.sub("norm"), width)?,
        };
        self.common().tower(Box::new(trunk), cx, (width, side / patch), "trunk.head")
    }
}

/// The trunk that [`ResMlpConfig`] describes.
#[derive(Debug)]
struct ResMlp {
    stem: Conv2d,
    blocks: Vec<Recomputed<Block>>,
    norm: Affine,
}

impl Trunk for ResMlp {
    fn features(&self, images: &Tensor, noise: Option<&Noise>) -> Tensor {
        let x = self.blocks.iter().fold(places(&self.stem.forward(images)), |x, block| {
            block.forward(&[&x], noise, |block, inputs, noise| block.forward(&inputs[0], noise))
        });
        self.norm.forward(&x)
    }

    fn recomputes(&self) -> bool {
        true
    }

    fn stages(&self) -> Vec<String> {
        let blocks = (0..self.blocks.len()).map(|index| format!("blocks.{index}"));
        std::iter::once("stem".into()).chain(blocks).chain(["norm".into()]).collect()
    }
}

/// A gain and an offset of each channel: `alpha` and `beta`, `[1, 1, width]`.
#[derive(Debug)]
struct Affine {
    alpha: Tensor,
    beta: Tensor,
}

impl Affine {
    fn new(path: &Path<'_>, width: i64) -> Result<Self> {
        let constant = |name, value| parameter(path, name, &[1, 1, width], Init::Const(value));
        Ok(Self { alpha: constant("alpha", 1.0)?, beta: constant("beta", 0.0)? })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        x * &self.alpha + &self.beta
    }
}

/// A linear map over the patches and an MLP over the channels, each added with a gain.
#[derive(Debug)]
struct Block {
    norm1: Affine,
    linear_tokens: Linear,
    norm2: Affine,
    fc1: Linear,
    fc2: Linear,
    ls1: Tensor,
    ls2: Tensor,
    drop_path: f64,
}

impl Block {
    fn new(path: &Path<'_>, config: &ResMlpConfig) -> Result<Self> {
        let (width, inside) = (config.width, config.mlp_width());
        let patches = (config.image_size / config.patch_size).pow(2);
        let linear = |path: Path<'_>, input: i64, output: i64, bias: Init| {
            let xavier = (6.0 / (input + output) as f64).sqrt();
            Linear::new(&path, input, output, Init::Uniform { lo: -xavier, up: xavier }, bias)
        };
        let gain = |name| parameter(path, name, &[width], Init::Const(config.init_values));
        let mlp = path.sub("mlp_channels");
        Ok(Self {
            norm1: Affine::new(&path.sub("norm1"), width)?,
            linear_tokens: linear(path.sub("linear_tokens"), patches, patches, Init::Const(0.0))?,
            norm2: Affine::new(&path.sub("norm2"), width)?,
            fc1: linear(mlp.sub("fc1"), width, inside, normal(1e-6))?,
            fc2: linear(mlp.sub("fc2"), inside, width, normal(1e-6))?,
            ls1: gain("ls1")?,
            ls2: gain("ls2")?,
            drop_path: config.drop_path,
        })
    }

    /// `[B, T, width]` to the same.
    fn forward(&self, x: &Tensor, noise: Option<&Noise>) -> Tensor {
        let mixed = self.linear_tokens.forward(&self.norm1.forward(x).transpose(1, 2)).transpose(1, 2);
        let x = x + drop_path(mixed * &self.ls1, self.drop_path, noise);
        let inner = self.fc1.forward(&self.norm2.forward(&x)).gelu("none");
        &x + drop_path(self.fc2.forward(&inner) * &self.ls2, self.drop_path, noise)
    }
}

register!(dyn Backbone, "resmlp", ResMlpConfig);
register!(dyn Backbone, "resmlp_12_224", ResMlpConfig, || ResMlpConfig::s(12, 1e-4));
register!(dyn Backbone, "resmlp_24_224", ResMlpConfig, || ResMlpConfig::s(24, 1e-5));
register!(dyn Backbone, "resmlp_36_224", ResMlpConfig, || ResMlpConfig::s(36, 1e-6));
register!(dyn Backbone, "resmlp_big_24_224", ResMlpConfig, ResMlpConfig::big_24);
register!(dyn Backbone, "resmlp_big_24_224_in22ft1k", ResMlpConfig, ResMlpConfig::big_24);
