//! The ResNet of CLIP.

use vlhub_sdk::nn::{ConvConfig, Linear, Path, channels_last, check_pictures, default_bound, normal, parameter};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;

use crate::layers::{AntiAlias, ConvNorm, same, zero};
use crate::options::places;
use crate::residual::{Residual, Shortcut, through};

/// ResNet of CLIP with attention for a pool (arXiv 2103.00020, section 2.4).
///
/// Three convolutions and a mean stand for the first convolution and its max pool, means of two by two for strides, and the mean of the
/// last map attends to all of its places.
///
/// Parameters are named as in open_clip's `visual`; tokens are the places of the last map, row by row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct ModifiedResNetConfig {
    /// Height and width of the picture, in pixels; a multiple of 32. It sets the number of positions of the pool alone.
    pub image_size: i64,
    /// Channels of the first stage; the last map has 32 times as many.
    pub width: i64,
    /// Number of blocks of each stage.
    pub layers: [i64; 4],
    /// Attention heads of the pool; they share its 32 · `width` channels equally (open_clip: 32 · width / head_width).
    pub heads: i64,
    /// Mean of each channel, for values in 0..1.
    pub mean: [f64; 3],
    /// Standard deviation of each channel, for values in 0..1.
    pub std: [f64; 3],
}

impl Default for ModifiedResNetConfig {
    /// A model for experiments on small pictures: 64 px, width 16, one block a stage; 1.3 million parameters.
    fn default() -> Self {
        Self { image_size: 64, width: 16, layers: [1; 4], heads: 8, mean: CLIP_MEAN, std: CLIP_STD }
    }
}

impl ModifiedResNetConfig {
    /// A published size: heads are 64 wide.
    fn published(image_size: i64, width: i64, layers: [i64; 4]) -> Self {
        Self { image_size, width, layers, heads: width / 2, ..Self::default() }
    }

    /// # Errors
    /// Everything that is wrong, at once.
    fn check(&self) -> Result<()> {
        let mut problems = OptionProblems::default();
        problems.at_least_one(&[("image_size", self.image_size)]);
        problems.std(self.std);
        problems.at_least_one(&[("width", self.width), ("heads", self.heads)]);
        problems.each_at_least_one("layers", &self.layers);
        if self.image_size % 32 != 0 {
            problems.push(format!("`image_size` = {} must be a multiple of 32", self.image_size));
        }
        if self.width % 2 != 0 {
            problems.push(format!("`width` = {} must be even: the first convolutions have half of it", self.width));
        }
        if self.heads > 0 && 32 * self.width % self.heads != 0 {
            problems.push(format!("`heads` = {} does not divide 32 · `width` = {}", self.heads, 32 * self.width));
        }
        problems.finish()
    }
}

impl Config<dyn Backbone> for ModifiedResNetConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check()?;
        let (path, width) = (&cx.path, self.width);
        let layer = |index: i64, input, output, stride| conv(path, index, same(input, output, 3, stride));
        let stem = [layer(1, 3, width / 2, 2)?, layer(2, width / 2, width / 2, 1)?, layer(3, width / 2, width, 1)?];
        let mut blocks = Vec::new();
        let mut input = width;
        for (stage, count) in self.layers.iter().enumerate() {
            let planes = width << stage;
            for index in 0..*count {
                let path = path.sub(format!("layer{}", stage + 1)).sub(index.to_string());
                blocks.push(block(&path, input, planes, stage > 0 && index == 0)?);
                input = 4 * planes;
            }
        }
        let side = self.image_size / 32;
        let pool = AttentionPool::new(&path.sub("attnpool"), input, self.heads, side * side)?;
        Ok(Box::new(ModifiedResNet { stem, blocks, pool, config: self.clone() }))
    }
}

/// `conv{index}` and `bn{index}`, started as torch does.
fn conv(path: &Path<'_>, index: i64, config: ConvConfig) -> Result<ConvNorm> {
    let start = default_bound(config.input * config.kernel * config.kernel);
    ConvNorm::new(&path.sub(format!("conv{index}")), &path.sub(format!("bn{index}")), config, start)
}

/// A bottleneck; its last norm starts at zero, so that it starts as the identity.
fn block(path: &Path<'_>, input: i64, planes: i64, shrinks: bool) -> Result<Residual> {
    let output = 4 * planes;
    let layers = vec![
        conv(path, 1, same(input, planes, 1, 1))?,
        conv(path, 2, same(planes, planes, 3, 1))?,
        conv(path, 3, same(planes, output, 1, 1))?,
    ];
    zero(&path.sub("bn3"), "weight");
    let down = path.sub("downsample");
    let shortcut = if shrinks || input != output {
        Some(Shortcut {
            halve: shrinks,
            conv: ConvNorm::new(&down.sub("0"), &down.sub("1"), same(input, output, 1, 1), default_bound(input))?,
        })
    } else {
        None
    };
    Ok(Residual { layers, anti_alias: shrinks.then_some((1, AntiAlias::Avg)), squeeze: None, shortcut, drop_path: 0.0 })
}

/// The tower that [`ModifiedResNetConfig`] builds.
#[derive(Debug)]
pub struct ModifiedResNet {
    stem: [ConvNorm; 3],
    blocks: Vec<Residual>,
    pool: AttentionPool,
    config: ModifiedResNetConfig,
}

impl Backbone for ModifiedResNet {
    fn input(&self) -> InputSpec {
        let ModifiedResNetConfig { image_size, mean, std, .. } = self.config;
        InputSpec::Image { size: (image_size, image_size), mean, std }
    }

    fn width(&self) -> i64 {
        32 * self.config.width
    }

    fn encode(&self, input: &Tensor, tokens: bool, noise: Option<&Noise>) -> Result<Hidden> {
        check_pictures(input, [self.config.image_size; 2])?;
        let stem = self.stem.iter().fold(channels_last(input), |x, layer| layer.forward(&x, noise).relu());
        let map = through(&self.blocks, AntiAlias::Avg.forward(&stem), noise);
        let places = places(&map);
        Ok(Hidden { pooled: self.pool.forward(&places.values), tokens: tokens.then_some(places) })
    }

    fn stages(&self) -> Vec<String> {
        let stem = ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3"].map(String::from);
        stem.into_iter().chain(layer_stages(&self.config.layers)).chain(AttentionPool::stages()).collect()
    }

    fn projection(&self) -> Projection {
        Projection::Linear { name: "attnpool.c_proj", bias: true }
    }
}

/// The blocks of `layer1` to `layer4`.
pub(crate) fn layer_stages(layers: &[i64; 4]) -> Vec<String> {
    layers.iter().zip(1..).flat_map(|(count, stage)| (0..*count).map(move |index| format!("layer{stage}.{index}"))).collect()
}

/// The mean of all places attends to them and to itself; the map after it, `c_proj`, is the host's.
#[derive(Debug)]
struct AttentionPool {
    positional_embedding: Tensor,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    heads: i64,
}

impl AttentionPool {
    fn new(path: &Path<'_>, width: i64, heads: i64, places: i64) -> Result<Self> {
        let start = || normal((width as f64).powf(-0.5));
        let linear = |name: &str| Linear::new(&path.sub(name), width, width, start(), default_bound(width));
        Ok(Self {
            positional_embedding: parameter(path, "positional_embedding", &[places + 1, width], start())?,
            q_proj: linear("q_proj")?,
            k_proj: linear("k_proj")?,
            v_proj: linear("v_proj")?,
            heads,
        })
    }

    /// `[B, places, width]` to `[B, width]`.
    fn forward(&self, places: &Tensor) -> Tensor {
        let mean = places.mean_dim([1i64].as_slice(), true, None::<Kind>);
        let x = Tensor::cat(&[mean, places.shallow_clone()], 1) + &self.positional_embedding;
        let size = x.size();
        let heads = |x: Tensor| x.view([size[0], -1, self.heads, size[2] / self.heads]).transpose(1, 2);
        let q = heads(self.q_proj.forward(&x.narrow(1, 0, 1)));
        let (k, v) = (heads(self.k_proj.forward(&x)), heads(self.v_proj.forward(&x)));
        let seen = Tensor::scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, 0.0, false, None, false);
        seen.transpose(1, 2).reshape([size[0], size[2]])
    }

    /// One by one: `attnpool.c_proj` belongs to the host.
    fn stages() -> impl Iterator<Item = String> {
        ["positional_embedding", "k_proj", "q_proj", "v_proj"].into_iter().map(|name| format!("attnpool.{name}"))
    }
}

register!(dyn Backbone, "modified_resnet", ModifiedResNetConfig);
register!(dyn Backbone, "rn50", ModifiedResNetConfig, || ModifiedResNetConfig::published(224, 64, [3, 4, 6, 3]));
register!(dyn Backbone, "rn101", ModifiedResNetConfig, || ModifiedResNetConfig::published(224, 64, [3, 4, 23, 3]));
register!(dyn Backbone, "rn50x4", ModifiedResNetConfig, || ModifiedResNetConfig::published(288, 80, [4, 6, 10, 6]));
register!(dyn Backbone, "rn50x16", ModifiedResNetConfig, || ModifiedResNetConfig::published(384, 96, [6, 8, 18, 8]));
register!(dyn Backbone, "rn50x64", ModifiedResNetConfig, || ModifiedResNetConfig::published(448, 128, [3, 15, 36, 10]));
