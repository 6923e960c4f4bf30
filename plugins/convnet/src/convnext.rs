//! ConvNeXt (arXiv 2201.03545) and ConvNeXt V2 (arXiv 2301.00808).

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::nn::{Conv2d, ConvConfig, Init, LayerNorm, Path, Recomputed, drop_path, normal, parameter};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;

use crate::tower::{Common, Pictures, Pool, Trunk, conv, places};

/// Pixels between neighbouring places of the last map: the stem's 4, and three times 2.
const REDUCTION: i64 = 32;

/// Four stages of depthwise 7 × 7 convolutions and MLPs (ConvNeXt, arXiv 2201.03545; V2 with global response norm, arXiv 2301.00808).
///
/// Parameters are named as in timm's `ConvNeXt`. Tokens are the places of the last map, row by row, before the head's layer norm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct ConvNextConfig {
    /// Height and width of a picture in pixels, at least 32.
    pub image_size: i64,
    /// Number of blocks of each stage.
    pub depths: [i64; 4],
    /// Channels of each stage.
    pub dims: [i64; 4],
    /// Global response normalisation in each MLP, as in V2.
    pub use_grn: bool,
    /// Layer scale: what the gain of each branch starts at; 0 leaves the gains out, as V2 does.
    pub ls_init_value: f64,
    /// Keep the MLPs' weights in the shape of 1 × 1 convolutions, as timm's smallest networks do; the numbers are the same.
    pub conv_mlp: bool,
    /// ε of all layer norms.
    pub norm_eps: f64,
    /// Pooling: how the places of the last map become one vector.
    pub pool: Pool,
    /// Projection head: what maps the pooled output into the joint space.
    pub proj: Proj,
    /// Whether that map has a bias.
    pub proj_bias: bool,
    /// Stochastic depth: share of rows that the last block's branch is left out for while training; it grows linearly from 0 at the first.
    pub drop_path: f64,
    /// Mean of each channel, for values in 0..1.
    pub mean: [f64; 3],
    /// Standard deviation of each channel.
    pub std: [f64; 3],
}

impl Default for ConvNextConfig {
    /// A model for a CPU and seconds: 64 px, 5 blocks of 16 to 128 channels; 0.27 million parameters.
    fn default() -> Self {
        Self {
            image_size: 64,
            depths: [1, 1, 2, 1],
            dims: [16, 32, 64, 128],
            use_grn: false,
            ls_init_value: 1e-6,
            conv_mlp: false,
            norm_eps: 1e-6,
            pool: Pool::Avg,
            proj: Proj::Linear,
            proj_bias: false,
            drop_path: 0.0,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }
}

impl ConvNextConfig {
    /// A published size: the third stage has most of the blocks, and each stage has twice the channels of the one before.
    fn v1(first: i64, third: i64, dim: i64) -> Self {
        Self { image_size: 224, depths: [first, first, third, first], dims: [1, 2, 4, 8].map(|times| times * dim), ..Self::default() }
    }

    /// The same size of V2.
    fn v2(first: i64, third: i64, dim: i64) -> Self {
        Self { use_grn: true, ls_init_value: 0.0, ..Self::v1(first, third, dim) }
    }

    /// A network that timm keeps as convolutions throughout.
    fn conv_mlp(self) -> Self {
        Self { conv_mlp: true, ..self }
    }

    /// The largest network that LAION trained: 256 px, and torch's ε.
    fn xxlarge() -> Self {
        Self { image_size: 256, depths: [3, 4, 30, 3], norm_eps: 1e-5, ..Self::v1(3, 30, 384) }
    }

    fn common(&self) -> Common {
        let Self { image_size: side, pool, proj, proj_bias, drop_path, mean, std, .. } = *self;
        Common { pictures: Pictures { side, mean, std }, pool, proj, proj_bias, drop_path }
    }

    /// # Errors
    /// Everything that is wrong, at once.
    fn check(&self) -> Result<()> {
        let mut problems = OptionProblems::default();
        self.common().check(REDUCTION, &mut problems);
        problems.ensure(self.pool != Pool::AbsAttn, || "`pool` = \"abs_attn\" does not go with ConvNeXt's norm behind the pool".into());
        for (name, values) in [("depths", self.depths), ("dims", self.dims)] {
            problems.ensure(values.iter().all(|value| *value >= 1), || format!("`{name}` = {values:?} must be at least 1 each"));
        }
        problems.positive("norm_eps", self.norm_eps);
        problems.finish()
    }
}

impl Config<dyn Backbone> for ConvNextConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check()?;
        let width = self.dims[3];
        let trunk = ConvNext::new(&cx.path.sub("trunk"), self)?;
        self.common().tower(Box::new(trunk), cx, (width, self.image_size / REDUCTION), "trunk.head.fc")
    }
}

/// The trunk that [`ConvNextConfig`] describes.
#[derive(Debug)]
struct ConvNext {
    stem: (Conv2d, LayerNorm),
    stages: Vec<Stage>,
    norm: LayerNorm,
}

impl ConvNext {
    fn new(path: &Path<'_>, config: &ConvNextConfig) -> Result<Self> {
        let (dims, epsilon) = (config.dims, config.norm_eps);
        let stem = path.sub("stem");
        let patches = ConvConfig { input: 3, output: dims[0], kernel: 4, stride: 4, ..ConvConfig::default() };
        let stages = path.sub("stages");
        let stage = |index: usize| Stage::new(&stages.sub(index), index, config);
        Ok(Self {
            stem: (conv(&stem.sub("0"), patches, normal(0.02))?, LayerNorm::with_epsilon(&stem.sub("1"), dims[0], epsilon)?),
            stages: (0..4).map(stage).collect::<Result<_>>()?,
            norm: LayerNorm::with_epsilon(&path.sub("head").sub("norm"), dims[3], epsilon)?,
        })
    }
}

impl Trunk for ConvNext {
    fn features(&self, images: &Tensor, noise: Option<&Noise>) -> Tensor {
        let mut x = over_channels(&self.stem.1, &self.stem.0.forward(images));
        for stage in &self.stages {
            if let Some((norm, conv)) = &stage.downsample {
                x = conv.forward(&over_channels(norm, &x));
            }
            for block in &stage.blocks {
                x = block.forward(&[&x], noise, |block, inputs, noise| block.forward(&inputs[0], noise));
            }
        }
        places(&x)
    }

    fn head(&self, pooled: Tensor) -> Tensor {
        self.norm.forward(&pooled)
    }

    fn recomputes(&self) -> bool {
        true
    }

    fn stages(&self) -> Vec<String> {
        let mut names = vec![String::from("stem")];
        for (index, stage) in self.stages.iter().enumerate() {
            names.extend(stage.downsample.as_ref().map(|_| format!("stages.{index}.downsample")));
            names.extend((0..stage.blocks.len()).map(|block| format!("stages.{index}.blocks.{block}")));
        }
        names.push("head.norm".into());
        names
    }
}

/// Layer norm over the channels of `[B, C, H, W]`.
fn over_channels(norm: &LayerNorm, x: &Tensor) -> Tensor {
    norm.forward(&x.permute([0, 2, 3, 1])).permute([0, 3, 1, 2])
}

/// Blocks on maps of one size, behind a 2 × 2 convolution that halves the map before; the first stage has none.
#[derive(Debug)]
struct Stage {
    downsample: Option<(LayerNorm, Conv2d)>,
    blocks: Vec<Recomputed<Block>>,
}

impl Stage {
    fn new(path: &Path<'_>, index: usize, config: &ConvNextConfig) -> Result<Self> {
        let ConvNextConfig { depths, dims, norm_eps, .. } = *config;
        let downsample = if index > 0 {
            let input = dims[index - 1];
            let halves = ConvConfig { input, output: dims[index], kernel: 2, stride: 2, ..ConvConfig::default() };
            let path = path.sub("downsample");
            Some((LayerNorm::with_epsilon(&path.sub("0"), input, norm_eps)?, conv(&path.sub("1"), halves, normal(0.02))?))
        } else {
            None
        };
        let before: i64 = depths[..index].iter().sum();
        let last = (depths.iter().sum::<i64>() - 1).max(1);
        let blocks = path.sub("blocks");
        let block = |block: i64| {
            let drop_path = config.drop_path * (before + block) as f64 / last as f64;
            Block::new(&blocks.sub(block), dims[index], drop_path, config).map(Recomputed::new)
        };
        Ok(Self { downsample, blocks: (0..depths[index]).map(block).collect::<Result<_>>()? })
    }
}

/// A depthwise convolution and an MLP of each place, added to what came in.
#[derive(Debug)]
struct Block {
    conv_dw: Conv2d,
    norm: LayerNorm,
    fc1: Pointwise,
    grn: Option<ResponseNorm>,
    fc2: Pointwise,
    gamma: Option<Tensor>,
    drop_path: f64,
}

impl Block {
    fn new(path: &Path<'_>, width: i64, drop_path: f64, config: &ConvNextConfig) -> Result<Self> {
        let depthwise = ConvConfig { input: width, output: width, kernel: 7, padding: 3, groups: width, ..ConvConfig::default() };
        let (mlp, scale, inside) = (path.sub("mlp"), config.ls_init_value, 4 * width);
        Ok(Self {
            conv_dw: conv(&path.sub("conv_dw"), depthwise, normal(0.02))?,
            norm: LayerNorm::with_epsilon(&path.sub("norm"), width, config.norm_eps)?,
            fc1: Pointwise::new(&mlp.sub("fc1"), width, inside, config.conv_mlp)?,
            grn: if config.use_grn { Some(ResponseNorm::new(&mlp.sub("grn"), inside)?) } else { None },
            fc2: Pointwise::new(&mlp.sub("fc2"), inside, width, config.conv_mlp)?,
            gamma: if scale == 0.0 { None } else { Some(parameter(path, "gamma", &[width], Init::Const(scale))?) },
            drop_path,
        })
    }

    /// `[B, C, H, W]` to the same.
    fn forward(&self, x: &Tensor, noise: Option<&Noise>) -> Tensor {
        let y = self.conv_dw.forward(x).permute([0, 2, 3, 1]);
        let y = self.fc1.forward(&self.norm.forward(&y)).gelu("none");
        let y = self.fc2.forward(&self.grn.as_ref().map(|grn| grn.forward(&y)).unwrap_or(y));
        let y = self.gamma.as_ref().map(|gamma| &y * gamma).unwrap_or(y);
        drop_path(y.permute([0, 3, 1, 2]), self.drop_path, noise) + x
    }
}

/// A linear map of the last dimension whose weight is `[output, input]`, or `[output, input, 1, 1]` as a convolution keeps it.
#[derive(Debug)]
struct Pointwise {
    weight: Tensor,
    bias: Tensor,
}

impl Pointwise {
    fn new(path: &Path<'_>, input: i64, output: i64, as_conv: bool) -> Result<Self> {
        let shape = [output, input, 1, 1];
        Ok(Self {
            weight: parameter(path, "weight", if as_conv { &shape } else { &shape[..2] }, normal(0.02))?,
            bias: parameter(path, "bias", &[output], Init::Const(0.0))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight.flatten(1, -1), Some(&self.bias))
    }
}

/// Global response norm (arXiv 2301.00808): each channel is weighted by its length over the whole map, relative to the mean of all
/// channels' lengths.
#[derive(Debug)]
struct ResponseNorm {
    weight: Tensor,
    bias: Tensor,
}

impl ResponseNorm {
    fn new(path: &Path<'_>, width: i64) -> Result<Self> {
        let zeros = |name| parameter(path, name, &[width], Init::Const(0.0));
        Ok(Self { weight: zeros("weight")?, bias: zeros("bias")? })
    }

    /// `[B, H, W, C]` to the same.
    fn forward(&self, x: &Tensor) -> Tensor {
        let length = x.norm_scalaropt_dim(2.0, [1i64, 2].as_slice(), true);
        let relative = &length / (length.mean_dim([-1i64].as_slice(), true, None::<Kind>) + 1e-6);
        x + x * relative * &self.weight + &self.bias
    }
}

register!(dyn Backbone, "convnext", ConvNextConfig);
register!(dyn Backbone, "convnext_atto", ConvNextConfig, || ConvNextConfig::v1(2, 6, 40).conv_mlp());
register!(dyn Backbone, "convnext_femto", ConvNextConfig, || ConvNextConfig::v1(2, 6, 48).conv_mlp());
register!(dyn Backbone, "convnext_pico", ConvNextConfig, || ConvNextConfig::v1(2, 6, 64).conv_mlp());
register!(dyn Backbone, "convnext_nano", ConvNextConfig, || ConvNextConfig::v1(2, 8, 80).conv_mlp());
register!(dyn Backbone, "convnext_tiny", ConvNextConfig, || ConvNextConfig::v1(3, 9, 96));
register!(dyn Backbone, "convnext_small", ConvNextConfig, || ConvNextConfig::v1(3, 27, 96));
register!(dyn Backbone, "convnext_base", ConvNextConfig, || ConvNextConfig::v1(3, 27, 128));
register!(dyn Backbone, "convnext_large", ConvNextConfig, || ConvNextConfig::v1(3, 27, 192));
register!(dyn Backbone, "convnext_xlarge", ConvNextConfig, || ConvNextConfig::v1(3, 27, 256));
register!(dyn Backbone, "convnext_xxlarge", ConvNextConfig, ConvNextConfig::xxlarge);
register!(dyn Backbone, "convnextv2_atto", ConvNextConfig, || ConvNextConfig::v2(2, 6, 40).conv_mlp());
register!(dyn Backbone, "convnextv2_femto", ConvNextConfig, || ConvNextConfig::v2(2, 6, 48).conv_mlp());
register!(dyn Backbone, "convnextv2_pico", ConvNextConfig, || ConvNextConfig::v2(2, 6, 64).conv_mlp());
register!(dyn Backbone, "convnextv2_nano", ConvNextConfig, || ConvNextConfig::v2(2, 8, 80).conv_mlp());
register!(dyn Backbone, "convnextv2_tiny", ConvNextConfig, || ConvNextConfig::v2(3, 9, 96));
register!(dyn Backbone, "convnextv2_small", ConvNextConfig, || ConvNextConfig::v2(3, 27, 96));
register!(dyn Backbone, "convnextv2_base", ConvNextConfig, || ConvNextConfig::v2(3, 27, 128));
register!(dyn Backbone, "convnextv2_large", ConvNextConfig, || ConvNextConfig::v2(3, 27, 192));
register!(dyn Backbone, "convnextv2_huge", ConvNextConfig, || ConvNextConfig { image_size: 384, ..ConvNextConfig::v2(3, 27, 352) });
