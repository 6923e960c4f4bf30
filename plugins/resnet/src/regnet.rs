//! timm's `RegNet`: X, and Y with squeeze and excitation.

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::nn::{ConvConfig, Init, Path, normal};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;

use crate::layers::{ConvNorm, SqueezeExcite, divisible, same, zero};
use crate::options::{Common, Pool, drop_rate};
use crate::residual::{Residual, Shortcut, through};
use crate::tower::{Tower, Trunk, halved};

/// RegNet of timm (arXiv 2003.13678): a line of block widths, rounded to four stages of bottlenecks with groups.
///
/// Parameters are named as in timm's `RegNet`, under `trunk`. Tokens are the places of the last map, row by row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct RegNetConfig {
    /// Height and width of the picture, in pixels.
    pub image_size: i64,
    /// Number of blocks of all stages.
    pub depth: i64,
    /// Width of the first block, before rounding; a multiple of 8.
    pub w0: i64,
    /// What each block adds to the width, before rounding.
    pub wa: f64,
    /// Ratio of the widths of neighbouring stages, before rounding to multiples of 8.
    pub wm: f64,
    /// Channels of a group of the inner convolution.
    pub group_size: i64,
    /// Channels inside a block, as a share of those that it gives.
    pub bottle_ratio: f64,
    /// Channels inside squeeze and excitation, as a share of those that go into the block; 0 leaves it out (RegNetX).
    pub se_ratio: f64,
    /// Above 0, round the channels inside to multiples of the group as torchvision does: losing no more than a tenth. As in timm, nothing
    /// else depends on the number.
    pub group_min_ratio: f64,
    /// Channels of the first convolution.
    pub stem_width: i64,
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

impl Default for RegNetConfig {
    /// A RegNetY for experiments on small pictures: 64 px, 8 blocks of 24 to 192 channels; 0.4 million parameters.
    fn default() -> Self {
        Self {
            image_size: 64,
            depth: 8,
            w0: 24,
            wa: 24.0,
            wm: 2.0,
            group_size: 8,
            bottle_ratio: 1.0,
            se_ratio: 0.25,
            group_min_ratio: 0.0,
            stem_width: 32,
            pool: Pool::Avg,
            proj: Proj::Linear,
            proj_bias: false,
            drop_path: 0.0,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }
}

/// Blocks of one width.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stage {
    depth: i64,
    width: i64,
    inside: i64,
    group: i64,
}

impl RegNetConfig {
    /// RegNetX at 224 px.
    pub(crate) fn x(depth: i64, w0: i64, wa: f64, wm: f64, group_size: i64) -> Self {
        Self { image_size: 224, depth, w0, wa, wm, group_size, se_ratio: 0.0, ..Self::default() }
    }

    /// RegNetY at 224 px.
    pub(crate) fn y(depth: i64, w0: i64, wa: f64, wm: f64, group_size: i64) -> Self {
        Self { se_ratio: 0.25, ..Self::x(depth, w0, wa, wm, group_size) }
    }

    /// Groups rounded as torchvision rounds them.
    pub(crate) fn tv(self) -> Self {
        Self { group_min_ratio: 0.9, ..self }
    }

    fn common(&self) -> Common {
        let Self { image_size, pool, proj, proj_bias, drop_path, mean, std, .. } = *self;
        Common { image_size, pool, proj, proj_bias, drop_path, mean, std }
    }

    /// The widths of the paper's section 3.3, each with its number of blocks: in single precision, as timm computes them.
    fn widths(&self) -> Vec<(i64, i64)> {
        let (w0, wa, wm) = (self.w0 as f32, self.wa as f32, self.wm as f32);
        let mut widths: Vec<(i64, i64)> = Vec::new();
        for block in 0..self.depth {
            let power = ((block as f32 * wa + w0) / w0).ln() / self.wm.ln() as f32;
            let width = (w0 * wm.powf(power.round_ties_even()) / 8.0).round_ties_even() as i64 * 8;
            match widths.last_mut() {
                Some((last, count)) if *last == width => *count += 1,
                _ => widths.push((width, 1)),
            }
        }
        widths
    }

    /// Widths that the groups divide.
    fn stage(&self, (width, depth): (i64, i64)) -> Stage {
        let inside = (width as f64 * self.bottle_ratio) as i64;
        let group = self.group_size.min(inside);
        let inside = if self.group_min_ratio > 0.0 {
            divisible(inside as f64, group, 0.9)
        } else {
            ((inside as f64 / group as f64).round_ties_even() as i64) * group
        };
        let width = (inside as f64 / self.bottle_ratio) as i64;
        Stage { depth, width, inside: (width as f64 * self.bottle_ratio).round_ties_even() as i64, group }
    }

    /// # Errors
    /// Everything that is wrong, at once.
    fn check(&self) -> Result<[Stage; 4]> {
        let mut problems = OptionProblems::default();
        problems.at_least_one(&[("depth", self.depth), ("w0", self.w0), ("group_size", self.group_size), ("stem_width", self.stem_width)]);
        let Self { w0, wa, wm, bottle_ratio, se_ratio, .. } = *self;
        if w0 % 8 != 0 {
            problems.push(format!("`w0` = {w0} must be a multiple of 8"));
        }
        for (name, value, least) in [("wa", wa, 0.0), ("se_ratio", se_ratio, 0.0), ("group_min_ratio", self.group_min_ratio, 0.0)] {
            if value < least {
                problems.push(format!("`{name}` = {value} must be at least {least}"));
            }
        }
        if wm <= 1.0 {
            problems.push(format!("`wm` = {wm} must be above 1"));
        }
        if bottle_ratio * 8.0 < 1.0 {
            problems.push(format!("`bottle_ratio` = {bottle_ratio} must be at least 1/8"));
        }
        let Common { image_size, std, .. } = self.common();
        problems.at_least_one(&[("image_size", image_size)]);
        problems.std(std);
        problems.finish()?;
        let widths = self.widths();
        let stages: Vec<_> = widths.iter().map(|width| self.stage(*width)).collect();
        let Ok(stages) = <[Stage; 4]>::try_from(stages) else {
            let found: Vec<_> = widths.iter().map(|(width, _)| width).collect();
            return Err(Error::Options(format!("a RegNet has four stages; `depth`, `w0`, `wa` and `wm` give the widths {found:?}")));
        };
        let mut problems = OptionProblems::default();
        self.common().check(stages[3].width, &mut problems);
        problems.finish()?;
        Ok(stages)
    }

    /// A block; its last norm starts at zero, so that it starts as the identity.
    fn block(&self, path: &Path<'_>, input: i64, stage: Stage, stride: i64, drop_path: f64) -> Result<Residual> {
        let Stage { width, inside, group, .. } = stage;
        let middle = ConvConfig { groups: inside / group, ..same(inside, inside, 3, stride) };
        let layers = vec![
            conv(&path.sub("conv1"), same(input, inside, 1, 1))?,
            conv(&path.sub("conv2"), middle)?,
            conv(&path.sub("conv3"), same(inside, width, 1, 1))?,
        ];
        zero(&path.sub("conv3").sub("bn"), "weight");
        let squeezed = match (input as f64 * self.se_ratio).round_ties_even() as i64 {
            0 => divisible(inside as f64 / 16.0, 8, 0.0),
            squeezed => squeezed,
        };
        let squeeze = if self.se_ratio > 0.0 {
            Some((1, SqueezeExcite::new(&path.sub("se"), inside, squeezed, true, |_, output| start(output, 1, 1))?))
        } else {
            None
        };
        let shortcut = if stride != 1 || input != width {
            Some(Shortcut { halve: false, conv: conv(&path.sub("downsample"), same(input, width, 1, stride))? })
        } else {
            None
        };
        Ok(Residual { layers, anti_alias: None, squeeze, shortcut, drop_path })
    }
}

/// Normal, over a filter's outputs in its own group.
fn start(output: i64, kernel: i64, groups: i64) -> Init {
    normal((2.0 / (kernel * kernel * output / groups) as f64).sqrt())
}

fn conv(path: &Path<'_>, shape: ConvConfig) -> Result<ConvNorm> {
    ConvNorm::new(&path.sub("conv"), &path.sub("bn"), shape, start(shape.output, shape.kernel, shape.groups))
}

impl Config<dyn Backbone> for RegNetConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        let stages = self.check()?;
        let path = cx.path.sub("trunk");
        let stem = conv(&path.sub("stem"), same(3, self.stem_width, 3, 2))?;
        let (mut input, mut blocks, mut names) = (self.stem_width, Vec::new(), Vec::new());
        for (stage, at) in stages.into_iter().zip(1..) {
            for index in 0..stage.depth {
                let name = format!("s{at}.b{}", index + 1);
                let path = path.sub(format!("s{at}")).sub(format!("b{}", index + 1));
                let drop_path = drop_rate(self.drop_path, blocks.len() as i64, self.depth);
                blocks.push(self.block(&path, input, stage, if index == 0 { 2 } else { 1 }, drop_path)?);
                names.push(name);
                input = stage.width;
            }
        }
        Tower::around(RegNet { stem, blocks, names }, cx, self.common(), (input, halved(self.image_size, 5)), "trunk.head.fc")
    }
}

#[derive(Debug)]
struct RegNet {
    stem: ConvNorm,
    blocks: Vec<Residual>,
    names: Vec<String>,
}

impl Trunk for RegNet {
    fn map(&self, images: &Tensor, noise: Option<&Noise>) -> Tensor {
        through(&self.blocks, self.stem.forward(images, noise).relu(), noise)
    }

    fn stages(&self) -> Vec<String> {
        std::iter::once(String::from("stem")).chain(self.names.iter().cloned()).collect()
    }
}

register!(dyn Backbone, "regnet", RegNetConfig);
