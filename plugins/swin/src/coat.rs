//! CoaT (arXiv 2104.06399).

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::nn::{Conv2d, ConvConfig, LayerNorm, Path, default_bound, normal, parameter};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;

use crate::conv_attention::{EPSILON, HEADS, ParallelBlock, Positions, SerialBlock, apart, together};
use crate::options::Common;
use crate::tower::{Net, Tower};

/// Co-Scale Conv-Attentional Image Transformer (arXiv 2104.06399): four scales one after the other, and in CoaT (not CoaT-Lite) then blocks
/// that exchange what the last three of them see.
///
/// Parameters are named as in timm's `CoaT`, under `trunk`, each one once: timm's state dict repeats those that blocks share. Tokens are the
/// places of the last scale, row by row, normalised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct CoatConfig {
    /// Height and width of the picture, in pixels; a multiple of 8 times `patch_size`.
    pub image_size: i64,
    /// Height and width of a patch of the first scale, in pixels.
    pub patch_size: i64,
    /// Width of each scale, a multiple of 8, the number of heads. With parallel blocks the last three are equal.
    pub embed_dims: [i64; 4],
    /// Number of blocks of each scale.
    pub serial_depths: [i64; 4],
    /// Number of blocks of the last three scales together; 0 is CoaT-Lite.
    pub parallel_depth: i64,
    /// Width inside the MLPs of each scale, as a multiple of their outer width. With parallel blocks the last three are equal.
    pub mlp_ratios: [f64; 4],
    /// Pooling: where the pooled output comes from.
    pub pool: CoatPool,
    /// Projection head: what maps the pooled output into the joint space.
    pub proj: Proj,
    /// Whether the last layer of `proj` has a bias.
    pub proj_bias: bool,
    /// Stochastic depth (arXiv 1603.09382): the probability to leave out a branch of any block.
    pub drop_path: f64,
    /// Mean of each channel, for values in 0..1.
    pub mean: [f64; 3],
    /// Standard deviation of each channel, for values in 0..1.
    pub std: [f64; 3],
}

/// Pooling: where the pooled output comes from: timm's `global_pool`. With parallel blocks it is a weighted sum over the last three scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum CoatPool {
    /// The class token.
    Token,
    /// The mean over the places.
    Avg,
}

impl Default for CoatConfig {
    /// For a CPU: 64 px, widths 16 and 24, one block a scale and one for all; 0.1 million parameters.
    fn default() -> Self {
        Self {
            image_size: 64,
            patch_size: 4,
            embed_dims: [16, 24, 24, 24],
            serial_depths: [1; 4],
            parallel_depth: 1,
            mlp_ratios: [4.0; 4],
            pool: CoatPool::Token,
            proj: Proj::Linear,
            proj_bias: false,
            drop_path: 0.0,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }
}

impl CoatConfig {
    fn parallel(width: i64) -> Self {
        Self { image_size: 224, embed_dims: [152, width, width, width], serial_depths: [2; 4], parallel_depth: 6, ..Self::default() }
    }

    fn lite(embed_dims: [i64; 4], serial_depths: [i64; 4]) -> Self {
        Self { image_size: 224, embed_dims, serial_depths, parallel_depth: 0, mlp_ratios: [8.0, 8.0, 4.0, 4.0], ..Self::default() }
    }

    /// CoaT Tiny: 224 px, width 152.
    pub fn tiny() -> Self {
        Self::parallel(152)
    }

    /// CoaT Mini: width 216.
    pub fn mini() -> Self {
        Self::parallel(216)
    }

    /// CoaT Small: width 320.
    pub fn small() -> Self {
        Self::parallel(320)
    }

    /// CoaT-Lite Tiny: widths from 64 to 320.
    pub fn lite_tiny() -> Self {
        Self::lite([64, 128, 256, 320], [2; 4])
    }

    /// CoaT-Lite Mini: widths from 64 to 512.
    pub fn lite_mini() -> Self {
        Self::lite([64, 128, 320, 512], [2; 4])
    }

    /// CoaT-Lite Small: as CoaT-Lite Mini, with more blocks.
    pub fn lite_small() -> Self {
        Self::lite([64, 128, 320, 512], [3, 4, 6, 3])
    }

    /// CoaT-Lite Medium: widths from 128 to 512.
    pub fn lite_medium() -> Self {
        Self { mlp_ratios: [4.0; 4], ..Self::lite([128, 256, 320, 512], [3, 6, 10, 8]) }
    }

    /// CoaT-Lite Medium at 384 px.
    pub fn lite_medium_384() -> Self {
        Self { image_size: 384, ..Self::lite_medium() }
    }

    fn common(&self) -> Common {
        let Self { image_size, proj, proj_bias, drop_path, mean, std, .. } = *self;
        Common { image_size, proj, proj_bias, drop_path, mean, std }
    }

    /// # Errors
    /// Everything that is wrong, at once.
    fn check(&self) -> Result<()> {
        let mut problems = OptionProblems::default();
        self.common().check(&mut problems, (8 * self.patch_size, "8 times its `patch_size`"));
        problems.at_least("patch_size", self.patch_size, 1);
        problems.each_at_least_one("embed_dims", &self.embed_dims);
        problems.each_at_least_one("serial_depths", &self.serial_depths);
        for (width, ratio) in self.embed_dims.iter().zip(self.mlp_ratios) {
            problems.multiple("embed_dims", *width, HEADS, "the number of heads");
            problems.mlp_ratio("mlp_ratios", *width, ratio);
        }
        if self.parallel_depth < 0 {
            problems.push(format!("`parallel_depth` = {} must be at least 0", self.parallel_depth));
        }
        let (dims, ratios) = (self.embed_dims, self.mlp_ratios);
        for (name, equal) in [
            ("embed_dims", dims[1..].iter().all(|dim| *dim == dims[3])),
            ("mlp_ratios", ratios[1..].iter().all(|ratio| *ratio == ratios[3])),
        ] {
            if self.parallel_depth > 0 && !equal {
                problems.push(format!("the last three of `{name}` must be equal with parallel blocks (`parallel_depth` above 0)"));
            }
        }
        problems.finish()
    }
}

impl Config<dyn Backbone> for CoatConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check()?;
        let path = cx.path.sub("trunk");
        let mut scales = Vec::new();
        for (index, width) in self.embed_dims.into_iter().enumerate() {
            let (input, side) = if index == 0 { (3, self.patch_size) } else { (self.embed_dims[index - 1], 2) };
            let at = path.sub(format!("patch_embed{}", index + 1));
            let patch = ConvConfig { input, output: width, kernel: side, stride: side, ..ConvConfig::default() };
            scales.push(Scale {
                proj: Conv2d::new(&at.sub("proj"), patch)?,
                norm: LayerNorm::new(&at.sub("norm"), width)?,
                class: parameter(&path, &format!("cls_token{}", index + 1), &[1, 1, width], normal(0.02))?,
                blocks: self.serial(&path, index)?,
            });
        }
        let positions = |(index, width): (usize, &i64)| Positions::new(&path, index + 1, *width);
        let (width, parallel) = (self.embed_dims[3], path.sub("parallel_blocks"));
        let block = |block: i64| ParallelBlock::new(&parallel.sub(block), width, self.mlp_ratios[3], self.drop_path);
        let several = self.parallel_depth > 0;
        let norms = if several { 2..=4 } else { 4..=4 };
        let net = Coat {
            scales,
            positions: self.embed_dims.iter().enumerate().map(positions).collect::<Result<_>>()?,
            parallel: (0..self.parallel_depth).map(block).collect::<Result<_>>()?,
            norms: norms.map(|scale| LayerNorm::with_epsilon(&path.sub(format!("norm{scale}")), width, EPSILON)).collect::<Result<_>>()?,
            aggregate: if several { Some(Aggregate::new(&path.sub("aggregate"))?) } else { None },
            pool: self.pool,
        };
        Ok(Tower::boxed(net, self.common(), width, "trunk.head", cx.embed))
    }
}

impl CoatConfig {
    fn serial(&self, path: &Path<'_>, index: usize) -> Result<Vec<SerialBlock>> {
        let path = path.sub(format!("serial_blocks{}", index + 1));
        let block = |block: i64| SerialBlock::new(&path.sub(block), self.embed_dims[index], self.mlp_ratios[index], self.drop_path);
        (0..self.serial_depths[index]).map(block).collect()
    }
}

#[derive(Debug)]
struct Coat {
    scales: Vec<Scale>,
    positions: Vec<Positions>,
    parallel: Vec<ParallelBlock>,
    /// Of the last scale, or of the last three.
    norms: Vec<LayerNorm>,
    aggregate: Option<Aggregate>,
    pool: CoatPool,
}

#[derive(Debug)]
struct Scale {
    proj: Conv2d,
    norm: LayerNorm,
    class: Tensor,
    blocks: Vec<SerialBlock>,
}

impl Scale {
    /// A map `[B, C, H, W]` to the tokens of this scale.
    fn forward(&self, map: &Tensor, positions: &Positions, noise: Option<&Noise>) -> Tensor {
        let map = self.norm.forward(&self.proj.forward(map).permute([0, 2, 3, 1])).permute([0, 3, 1, 2]);
        let class = self.class.to_kind(map.kind()).expand([map.size()[0], -1, -1], false);
        self.blocks.iter().fold(together(&class, &map), |x, block| block.forward(&x, positions, noise))
    }
}

/// The weighted sum of three vectors: timm's convolution of one place.
#[derive(Debug)]
struct Aggregate {
    weight: Tensor,
    bias: Tensor,
}

impl Aggregate {
    fn new(path: &Path<'_>) -> Result<Self> {
        let start = default_bound(3);
        Ok(Self { weight: parameter(path, "weight", &[1, 3, 1], start)?, bias: parameter(path, "bias", &[1], start)? })
    }

    /// `[B, 3, C]` to `[B, C]`.
    fn forward(&self, x: &Tensor) -> Tensor {
        x.transpose(1, 2).linear(&self.weight.view([1, 3]), Some(&self.bias)).squeeze_dim(2)
    }
}

impl Net for Coat {
    fn forward(&self, images: &Tensor, noise: Option<&Noise>) -> (Tensor, Tensor) {
        let mut map = images.shallow_clone();
        let mut all = Vec::new();
        for (scale, positions) in self.scales.iter().zip(&self.positions) {
            let x = scale.forward(&map, positions, noise);
            (_, map) = apart(&x);
            all.push(x);
        }
        let mut last = all.split_off(all.len() - self.norms.len());
        for block in &self.parallel {
            last = block.forward(&last, &self.positions[1..], noise);
        }
        let places = |x: &Tensor| x.narrow(1, 1, x.size()[1] - 1);
        let normed: Vec<Tensor> = self.norms.iter().zip(&last).map(|(norm, x)| norm.forward(x)).collect();
        let pool = |x: &Tensor| match self.pool {
            CoatPool::Token => x.select(1, 0),
            CoatPool::Avg => places(x).mean_dim([1i64].as_slice(), false, None::<Kind>),
        };
        let pooled: Vec<Tensor> = normed.iter().map(pool).collect();
        let pooled = Tensor::stack(&pooled, 1);
        let pooled = self.aggregate.as_ref().map_or_else(|| pooled.squeeze_dim(1), |aggregate| aggregate.forward(&pooled));
        (pooled, places(&normed[normed.len() - 1]))
    }

    fn stages(&self) -> Vec<String> {
        let mut names = Vec::new();
        for (index, scale) in self.scales.iter().enumerate() {
            let stem = ["cls_token", "patch_embed", "cpe", "crpe"].map(|name| format!("{name}{}", index + 1));
            names.extend(stem);
            names.extend((0..scale.blocks.len()).map(|block| format!("serial_blocks{}.{block}", index + 1)));
        }
        names.extend((0..self.parallel.len()).map(|block| format!("parallel_blocks.{block}")));
        names.extend((0..self.norms.len()).map(|norm| format!("norm{}", 5 - self.norms.len() + norm)));
        names.extend(self.aggregate.iter().map(|_| String::from("aggregate")));
        names
    }
}

register!(dyn Backbone, "coat", CoatConfig);
register!(dyn Backbone, "coat_tiny", CoatConfig, CoatConfig::tiny);
register!(dyn Backbone, "coat_mini", CoatConfig, CoatConfig::mini);
register!(dyn Backbone, "coat_small", CoatConfig, CoatConfig::small);
register!(dyn Backbone, "coat_lite_tiny", CoatConfig, CoatConfig::lite_tiny);
register!(dyn Backbone, "coat_lite_mini", CoatConfig, CoatConfig::lite_mini);
register!(dyn Backbone, "coat_lite_small", CoatConfig, CoatConfig::lite_small);
register!(dyn Backbone, "coat_lite_medium", CoatConfig, CoatConfig::lite_medium);
register!(dyn Backbone, "coat_lite_medium_384", CoatConfig, CoatConfig::lite_medium_384);

#[cfg(test)]
mod tests {
    use vlhub_sdk::tch::nn::VarStore;

    use super::*;

    #[test]
    fn everything_wrong_with_the_options_is_told_at_once() {
        let wrong = CoatConfig {
            image_size: 40,
            embed_dims: [16, 24, 20, 24],
            mlp_ratios: [4.0, 4.0, 4.0, 0.0],
            serial_depths: [0, 1, 1, 1],
            ..CoatConfig::default()
        };
        let error =
            wrong.build(&BackboneCx { path: VarStore::new(Device::Cpu).root(), embed: 8 }).expect_err("several mistakes").to_string();
        for part in [
            "`image_size` = 40 is not a multiple of 32",
            "`embed_dims` = 20 is not a multiple of 8",
            "the last three of `embed_dims` must be equal",
            "`mlp_ratios` = 0 leaves",
            "`serial_depths` = [0, 1, 1, 1] must be at least 1",
        ] {
            assert!(error.contains(part), "{part} is missing: {error}");
        }
    }
}
