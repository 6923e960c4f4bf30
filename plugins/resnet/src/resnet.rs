//! timm's `ResNet`: basic and bottleneck blocks, deep stems, anti-aliasing and groups.

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::nn::{ConvConfig, Path};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;

use crate::layers::{AntiAlias, ConvNorm, SqueezeExcite, divisible, fan_out, max_pool, same, zero};
use crate::modified::layer_stages;
use crate::options::{Common, Pool, drop_rate};
use crate::residual::{Residual, Shortcut, through};
use crate::tower::{Tower, Trunk, halved};

/// ResNet of timm (arXiv 1512.03385), with the variants ResNeXt (arXiv 1611.05431), wide (arXiv 1605.07146), D (arXiv 1812.01187) and those
/// against aliasing (arXiv 1904.11486).
///
/// Parameters are named as in timm's `ResNet`, under `trunk`. Tokens are the places of the last map, row by row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct ResNetConfig {
    /// Height and width of the picture, in pixels.
    pub image_size: i64,
    /// Kind of all blocks.
    pub block: BlockKind,
    /// Number of blocks of each stage.
    pub layers: [i64; 4],
    /// Channels inside the blocks of each stage; a bottleneck gives four times as many.
    pub channels: [i64; 4],
    /// The first convolutions.
    pub stem_type: StemType,
    /// Half of the channels after a deep stem. A plain one has 64 channels.
    pub stem_width: i64,
    /// Cardinality: groups of the bottlenecks' inner convolution.
    pub cardinality: i64,
    /// Channels inside a bottleneck of the first stage, in each group.
    pub base_width: i64,
    /// Make shortcuts smaller by the mean of two by two places instead of a stride.
    pub avg_down: bool,
    /// Anti-aliasing: what makes maps smaller instead of strides and of the max pool's stride.
    pub aa_layer: AntiAliasing,
    /// Squeeze-and-excitation (arXiv 1709.01507): weigh the channels of each block.
    pub se: bool,
    /// Pooling: how the last map becomes one vector.
    pub pool: Pool,
    /// Projection head: what maps the pooled output into the joint space.
    pub proj: Proj,
    /// Whether the last layer of `proj` = "linear" or "mlp" has a bias.
    pub proj_bias: bool,
    /// Stochastic depth (arXiv 1603.09382): probability with which the last block is left out while training; it grows from 0 by the block.
    pub drop_path: f64,
    /// Mean of each channel, for values in 0..1.
    pub mean: [f64; 3],
    /// Standard deviation of each channel, for values in 0..1.
    pub std: [f64; 3],
}

/// Kind of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum BlockKind {
    /// Two convolutions of three by three.
    Basic,
    /// One of three by three between two of one by one.
    Bottleneck,
}

/// The first convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum StemType {
    /// One of seven by seven; timm's empty word.
    Plain,
    /// Three of three by three.
    Deep,
    /// Three of three by three, the first a quarter narrower.
    DeepTiered,
}

/// What makes maps smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum AntiAliasing {
    /// Strides.
    None,
    /// The mean of two by two places; the picture's side must be a multiple of 32.
    Avg,
    /// A binomial filter of three by three.
    Blur,
}

impl Default for ResNetConfig {
    /// A model for experiments on small pictures: 64 px, one basic block a stage, 32 to 256 channels; 1.2 million parameters.
    fn default() -> Self {
        Self {
            image_size: 64,
            block: BlockKind::Basic,
            layers: [1; 4],
            channels: [32, 64, 128, 256],
            stem_type: StemType::Plain,
            stem_width: 32,
            cardinality: 1,
            base_width: 64,
            avg_down: false,
            aa_layer: AntiAliasing::None,
            se: false,
            pool: Pool::Avg,
            proj: Proj::Linear,
            proj_bias: false,
            drop_path: 0.0,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }
}

impl ResNetConfig {
    fn common(&self) -> Common {
        let Self { image_size, pool, proj, proj_bias, drop_path, mean, std, .. } = *self;
        Common { image_size, pool, proj, proj_bias, drop_path, mean, std }
    }

    /// Channels that a block gives, for each that it has inside.
    fn expansion(&self) -> i64 {
        if self.block == BlockKind::Basic { 1 } else { 4 }
    }

    /// # Errors
    /// Everything that is wrong, at once.
    fn check(&self) -> Result<()> {
        let mut problems = OptionProblems::default();
        self.common().check(self.channels[3] * self.expansion(), &mut problems);
        problems.at_least_one(&[("stem_width", self.stem_width), ("cardinality", self.cardinality), ("base_width", self.base_width)]);
        problems.each_at_least_one("layers", &self.layers);
        problems.each_at_least_one("channels", &self.channels);
        if self.block == BlockKind::Basic && (self.cardinality, self.base_width) != (1, 64) {
            problems.push(String::from(
                "`block` = \"basic\" has neither groups nor another width inside: `cardinality` = 1, `base_width` = 64",
            ));
        }
        if self.stem_type == StemType::DeepTiered && self.stem_width < 4 {
            problems.push(format!("`stem_type` = \"deep_tiered\" needs a `stem_width` of at least 4, not {}", self.stem_width));
        }
        if self.aa_layer == AntiAliasing::Avg && self.image_size % 32 != 0 {
            problems.push(format!("`aa_layer` = \"avg\" needs an `image_size` that is a multiple of 32, not {}", self.image_size));
        }
        if self.aa_layer == AntiAliasing::Blur && self.image_size <= 16 {
            problems.push(format!("`aa_layer` = \"blur\" needs an `image_size` above 16, not {}", self.image_size));
        }
        problems.finish()
    }

    fn anti_alias(&self) -> Option<AntiAlias> {
        match self.aa_layer {
            AntiAliasing::None => None,
            AntiAliasing::Avg => Some(AntiAlias::Avg),
            AntiAliasing::Blur => Some(AntiAlias::Blur),
        }
    }

    /// The stem's convolutions, each with its norm, and the channels that it gives.
    fn stem(&self, path: &Path<'_>) -> Result<(Vec<ConvNorm>, i64)> {
        let (conv1, norm) = (path.sub("conv1"), path.sub("bn1"));
        let first = match self.stem_type {
            StemType::Plain => return Ok((vec![ConvNorm::new(&conv1, &norm, same(3, 64, 7, 2), fan_out(64, 7))?], 64)),
            StemType::Deep => self.stem_width,
            StemType::DeepTiered => 3 * (self.stem_width / 4),
        };
        let (second, third) = (self.stem_width, 2 * self.stem_width);
        let layer = |at: &str, norm: &Path<'_>, input, output, stride| {
            ConvNorm::new(&conv1.sub(at), norm, same(input, output, 3, stride), fan_out(output, 3))
        };
        let layers = vec![
            layer("0", &conv1.sub("1"), 3, first, 2)?,
            layer("3", &conv1.sub("4"), first, second, 1)?,
            layer("6", &norm, second, third, 1)?,
        ];
        Ok((layers, third))
    }

    /// A block; its last norm starts at zero, so that it starts as the identity.
    fn block(&self, path: &Path<'_>, input: i64, planes: i64, stride: i64, drop_path: f64) -> Result<Residual> {
        let (output, groups) = (planes * self.expansion(), self.cardinality);
        let anti_alias = self.anti_alias().filter(|_| stride > 1);
        let inner_stride = if anti_alias.is_some() { 1 } else { stride };
        let shapes = match self.block {
            BlockKind::Basic => vec![same(input, planes, 3, inner_stride), same(planes, output, 3, 1)],
            BlockKind::Bottleneck => {
                let inside = (planes as f64 * (self.base_width as f64 / 64.0)) as i64 * groups;
                let middle = ConvConfig { groups, ..same(inside, inside, 3, inner_stride) };
                vec![same(input, inside, 1, 1), middle, same(inside, output, 1, 1)]
            }
        };
        let (count, strided) = (shapes.len(), shapes.len() - 2);
        let mut layers = Vec::new();
        for (shape, at) in shapes.into_iter().zip(1..) {
            let start = fan_out(shape.output, shape.kernel);
            layers.push(ConvNorm::new(&path.sub(format!("conv{at}")), &path.sub(format!("bn{at}")), shape, start)?);
        }
        zero(&path.sub(format!("bn{count}")), "weight");
        let squeeze = if self.se {
            let inside = divisible(output as f64 / 16.0, 8, 0.0);
            Some((count - 1, SqueezeExcite::new(&path.sub("se"), output, inside, false, |_, output| fan_out(output, 1))?))
        } else {
            None
        };
        let shortcut = if stride != 1 || input != output { Some(self.shortcut(path, input, output, stride)?) } else { None };
        Ok(Residual { layers, anti_alias: anti_alias.map(|how| (strided, how)), squeeze, shortcut, drop_path })
    }

    fn shortcut(&self, path: &Path<'_>, input: i64, output: i64, stride: i64) -> Result<Shortcut> {
        let path = path.sub("downsample");
        // The mean over places is the first element of timm's sequence, and has no parameters.
        let ([conv, norm], stride, halve) = if self.avg_down { (["1", "2"], 1, stride > 1) } else { (["0", "1"], stride, false) };
        let conv = ConvNorm::new(&path.sub(conv), &path.sub(norm), same(input, output, 1, stride), fan_out(output, 1))?;
        Ok(Shortcut { halve, conv })
    }
}

impl Config<dyn Backbone> for ResNetConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check()?;
        let path = cx.path.sub("trunk");
        let (stem, mut input) = self.stem(&path)?;
        let (count, mut blocks) = (self.layers.iter().sum(), Vec::new());
        for (stage, (layers, planes)) in self.layers.iter().zip(self.channels).enumerate() {
            for index in 0..*layers {
                let path = path.sub(format!("layer{}", stage + 1)).sub(index.to_string());
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let drop_path = drop_rate(self.drop_path, blocks.len() as i64, count);
                blocks.push(self.block(&path, input, planes, stride, drop_path)?);
                input = planes * self.expansion();
            }
        }
        let trunk = ResNet { stem, anti_alias: self.anti_alias(), blocks, layers: self.layers };
        Tower::around(trunk, cx, self.common(), (input, halved(self.image_size, 5)), "trunk.fc")
    }
}

#[derive(Debug)]
struct ResNet {
    stem: Vec<ConvNorm>,
    anti_alias: Option<AntiAlias>,
    blocks: Vec<Residual>,
    layers: [i64; 4],
}

impl Trunk for ResNet {
    fn map(&self, images: &Tensor, noise: Option<&Noise>) -> Tensor {
        let stem = self.stem.iter().fold(images.shallow_clone(), |x, layer| layer.forward(&x, noise).relu());
        let small = match self.anti_alias {
            None => max_pool(&stem, 2, 1),
            Some(mean @ AntiAlias::Avg) => mean.forward(&stem),
            Some(blur @ AntiAlias::Blur) => blur.forward(&max_pool(&stem, 1, 1)),
        };
        through(&self.blocks, small, noise)
    }

    fn stages(&self) -> Vec<String> {
        ["conv1", "bn1"].map(String::from).into_iter().chain(layer_stages(&self.layers)).collect()
    }
}

register!(dyn Backbone, "resnet", ResNetConfig);
