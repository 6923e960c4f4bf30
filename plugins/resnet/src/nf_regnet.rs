//! timm's `NormFreeNet` as NF-RegNet: no norm, but standardised kernels and known scales.

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::nn::{Conv2d, ConvConfig, Init, Path, drop_path, normal, parameter};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;

use crate::layers::{SqueezeExcite, divisible, halve, same, standardised, zero};
use crate::options::{Common, Pool, drop_rate};
use crate::tower::{Tower, Trunk, halved};

/// What SiLU must be multiplied with to keep the variance of a standard normal input (arXiv 2101.08692, appendix D).
const GAMMA: f64 = 1.788_129_329_681_396_5;
/// Inside the standardisation's root.
const EPSILON: f64 = 1e-5;
/// Keeps the scale of a block whose channels are weighed.
const SQUEEZE_GAIN: f64 = 2.0;

/// RegNet without normalisation, of timm (arXiv 2101.08692): its activations keep their variance because each block's is known.
///
/// Parameters are named as in timm's `NormFreeNet`, under `trunk`. Tokens are the places of the last map, row by row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct NfRegNetConfig {
    /// Height and width of the picture, in pixels.
    pub image_size: i64,
    /// Number of blocks of each stage.
    pub depths: [i64; 4],
    /// Channels that the blocks of each stage give, before `width_factor`; those of the stem are the first stage's.
    pub channels: [i64; 4],
    /// Factor of all channels; they are rounded to multiples of 8.
    pub width_factor: f64,
    /// Channels inside a block, as a multiple of those that go into it; the first block of all has as many.
    pub bottle_ratio: f64,
    /// Channels of a group of the inner convolution.
    pub group_size: i64,
    /// Channels inside squeeze and excitation, as a share of those inside the block; rounded up to a multiple of 8.
    pub rd_ratio: f64,
    /// Channels of the last convolution, before `width_factor`.
    pub num_features: i64,
    /// Factor of each block's output before it is added.
    pub alpha: f64,
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

impl Default for NfRegNetConfig {
    /// A model for experiments on small pictures: 64 px, one block a stage, 16 to 128 channels; 0.1 million parameters.
    fn default() -> Self {
        Self {
            image_size: 64,
            depths: [1; 4],
            channels: [16, 32, 64, 128],
            width_factor: 1.0,
            bottle_ratio: 2.25,
            group_size: 8,
            rd_ratio: 0.5,
            num_features: 256,
            alpha: 0.2,
            pool: Pool::Avg,
            proj: Proj::Linear,
            proj_bias: false,
            drop_path: 0.0,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }
}

impl NfRegNetConfig {
    /// timm's sizes are three quarters as wide as the paper's.
    fn published(image_size: i64, depths: [i64; 4], channels: [i64; 4]) -> Self {
        Self { image_size, depths, channels, width_factor: 0.75, num_features: 1280 * channels[3] / 440, ..Self::default() }
    }

    fn common(&self) -> Common {
        let Self { image_size, pool, proj, proj_bias, drop_path, mean, std, .. } = *self;
        Common { image_size, pool, proj, proj_bias, drop_path, mean, std }
    }

    /// Channels, as many of them as timm gives.
    fn wide(&self, channels: i64) -> i64 {
        divisible(channels as f64 * self.width_factor, 8, 0.9)
    }

    /// # Errors
    /// Everything that is wrong, at once.
    fn check(&self) -> Result<()> {
        let mut problems = OptionProblems::default();
        self.common().check(self.wide(self.num_features), &mut problems);
        problems.at_least_one(&[("group_size", self.group_size), ("num_features", self.num_features)]);
        problems.each_at_least_one("depths", &self.depths);
        problems.each_at_least_one("channels", &self.channels);
        if self.group_size > 8 || 8 % self.group_size.max(1) != 0 {
            problems.push(format!("`group_size` = {} must divide 8, to which channels are rounded", self.group_size));
        }
        for (name, value) in [("width_factor", self.width_factor), ("bottle_ratio", self.bottle_ratio), ("rd_ratio", self.rd_ratio)] {
            if value <= 0.0 {
                problems.push(format!("`{name}` = {value} must be above 0"));
            }
        }
        problems.finish()
    }

    /// A block; the gain of its last convolution starts at zero, so that it starts as the identity.
    fn block(&self, path: &Path<'_>, [input, output]: [i64; 2], opens: Option<bool>, scales: Scales) -> Result<Block> {
        let first = opens == Some(true);
        let inside = divisible(input as f64 * if first { 1.0 } else { self.bottle_ratio }, 8, 0.9);
        let stride = if opens.is_some() { 2 } else { 1 };
        let middle = ConvConfig { groups: inside / self.group_size, ..same(inside, inside, 3, stride) };
        let convs = [
            Conv::new(&path.sub("conv1"), same(input, inside, 1, 1), 1.0)?,
            Conv::new(&path.sub("conv2"), middle, 1.0)?,
            Conv::new(&path.sub("conv3"), same(inside, output, 1, 1), 0.0)?,
        ];
        let squeezed = divisible(inside as f64 * self.rd_ratio, 8, 0.0);
        let squeeze = SqueezeExcite::new(&path.sub("attn"), inside, squeezed, true, |input, _| normal((input as f64).powf(-0.5)))?;
        let shortcut = if opens.is_some() || input != output {
            Some(Conv::new(&path.sub("downsample").sub("conv"), same(input, output, 1, 1), 1.0)?)
        } else {
            None
        };
        Ok(Block { convs, squeeze, shortcut, halve: stride > 1, scales })
    }
}

impl Config<dyn Backbone> for NfRegNetConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check()?;
        let path = cx.path.sub("trunk");
        let mut input = self.wide(self.channels[0]);
        let stem = Conv::new(&path.sub("stem").sub("conv"), same(3, input, 3, 2), 1.0)?;
        let (count, mut variance, mut blocks) = (self.depths.iter().sum(), 1.0, Vec::new());
        for (stage, (depth, channels)) in self.depths.iter().zip(self.channels).enumerate() {
            for index in 0..*depth {
                let path = path.sub("stages").sub(stage.to_string()).sub(index.to_string());
                let output = self.wide(channels);
                let drop_path = drop_rate(self.drop_path, blocks.len() as i64, count);
                let scales = Scales { alpha: self.alpha, beta: 1.0 / f64::sqrt(variance), drop_path };
                blocks.push(self.block(&path, [input, output], (index == 0).then_some(stage == 0), scales)?);
                // A stage's first block has a shortcut with a standardised kernel, which sets the variance back to 1.
                let before = if index == 0 { 1.0 } else { variance };
                variance = before + self.alpha * self.alpha;
                input = output;
            }
        }
        let width = self.wide(self.num_features);
        let last = Conv::new(&path.sub("final_conv"), same(input, width, 1, 1), 1.0)?;
        let trunk = NfRegNet { stem, blocks, last, depths: self.depths };
        Tower::around(trunk, cx, self.common(), (width, halved(self.image_size, 5)), "trunk.head.fc")
    }
}

/// A convolution with a standardised kernel. Parameters: `weight`, `bias`, `gain`.
#[derive(Debug)]
struct Conv {
    conv: Conv2d,
    gain: Tensor,
    scale: f64,
}

impl Conv {
    fn new(path: &Path<'_>, shape: ConvConfig, gain: f64) -> Result<Self> {
        let fan_in = (shape.input / shape.groups * shape.kernel * shape.kernel) as f64;
        let conv = Conv2d::with(path, ConvConfig { bias: true, ..shape }, normal(fan_in.powf(-0.5)))?;
        zero(path, "bias");
        let gain = parameter(path, "gain", &[shape.output, 1, 1, 1], Init::Const(gain))?;
        Ok(Self { conv, gain, scale: GAMMA * fan_in.powf(-0.5) })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let gain = (&self.gain * self.scale).view(-1);
        self.conv.forward_with(x, &standardised(&self.conv.weight, Some(&gain), EPSILON))
    }
}

/// How a block keeps the variance: `x + alpha · f(beta · SiLU(x))`.
#[derive(Clone, Copy, Debug)]
struct Scales {
    alpha: f64,
    beta: f64,
    drop_path: f64,
}

#[derive(Debug)]
struct Block {
    convs: [Conv; 3],
    squeeze: SqueezeExcite,
    shortcut: Option<Conv>,
    halve: bool,
    scales: Scales,
}

impl Block {
    fn forward(&self, x: &Tensor, noise: Option<&Noise>) -> Tensor {
        let [conv1, conv2, conv3] = &self.convs;
        let Scales { alpha, beta, drop_path: rate } = self.scales;
        let active = x.silu() * beta;
        let shortcut = match &self.shortcut {
            Some(map) if self.halve => map.forward(&halve(&active)),
            Some(map) => map.forward(&active),
            None => x.shallow_clone(),
        };
        let inner = conv2.forward(&conv1.forward(&active).silu());
        let inner = conv3.forward(&(self.squeeze.forward(&inner) * SQUEEZE_GAIN).silu());
        drop_path(inner, rate, noise) * alpha + shortcut
    }
}

#[derive(Debug)]
struct NfRegNet {
    stem: Conv,
    blocks: Vec<Block>,
    last: Conv,
    depths: [i64; 4],
}

impl Trunk for NfRegNet {
    fn map(&self, images: &Tensor, noise: Option<&Noise>) -> Tensor {
        let x = self.blocks.iter().fold(self.stem.forward(images), |x, block| block.forward(&x, noise));
        self.last.forward(&x).silu()
    }

    fn stages(&self) -> Vec<String> {
        let blocks = self.depths.iter().enumerate();
        let blocks = blocks.flat_map(|(stage, count)| (0..*count).map(move |index| format!("stages.{stage}.{index}")));
        std::iter::once(String::from("stem")).chain(blocks).chain([String::from("final_conv")]).collect()
    }
}

register!(dyn Backbone, "nf_regnet", NfRegNetConfig);
register!(dyn Backbone, "nf_regnet_b0", NfRegNetConfig, || NfRegNetConfig::published(192, [1, 3, 6, 6], [48, 104, 208, 440]));
register!(dyn Backbone, "nf_regnet_b1", NfRegNetConfig, || NfRegNetConfig::published(256, [2, 4, 7, 7], [48, 104, 208, 440]));
register!(dyn Backbone, "nf_regnet_b2", NfRegNetConfig, || NfRegNetConfig::published(240, [2, 4, 8, 8], [56, 112, 232, 488]));
register!(dyn Backbone, "nf_regnet_b3", NfRegNetConfig, || NfRegNetConfig::published(288, [2, 5, 9, 9], [56, 128, 248, 528]));
register!(dyn Backbone, "nf_regnet_b4", NfRegNetConfig, || NfRegNetConfig::published(320, [2, 6, 11, 11], [64, 144, 288, 616]));
register!(dyn Backbone, "nf_regnet_b5", NfRegNetConfig, || NfRegNetConfig::published(384, [3, 7, 14, 14], [80, 168, 336, 704]));
