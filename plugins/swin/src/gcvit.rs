//! Global Context ViT (arXiv 2206.09959).

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::nn::{Activation, Conv2d, ConvConfig, LayerNorm};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;

use crate::attention::Flavour;
use crate::block::{Block, BlockConfig};
use crate::fused::{Downsample, MbConv};
use crate::layers::Start;
use crate::options::{Common, Pool, check_heads, rising};
use crate::tower::{Net, Tower};
use crate::windows::Windows;

/// Global Context ViT (arXiv 2206.09959): blocks of attention in windows by turns with blocks whose queries come from the whole map.
///
/// Parameters are named as in timm's `GlobalContextVit`, under `trunk`. Tokens are the places of the last map, row by row, normalised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct GcVitConfig {
    /// Height and width of the picture, in pixels; a multiple of each `window_ratio`.
    pub image_size: i64,
    /// Width of the first stage; it doubles from stage to stage.
    pub embed_dim: i64,
    /// Number of blocks of each stage.
    pub depths: Vec<i64>,
    /// Attention heads of each stage's blocks; they share the width equally.
    pub num_heads: Vec<i64>,
    /// The windows of a stage are `image_size` divided by this wide and high, in places. A map, which is `image_size` divided by 4, 8, 16 …,
    /// must be a power of 2 times as wide.
    pub window_ratio: Vec<i64>,
    /// Width inside the MLPs, as a multiple of their outer width.
    pub mlp_ratio: f64,
    /// Layer scale (arXiv 2103.17239): initial value of a factor for each channel of both branches of a block; none by default.
    pub layer_scale: Option<f64>,
    /// Pooling: how the last map becomes the pooled output.
    pub pool: Pool,
    /// Projection head: what maps the pooled output into the joint space.
    pub proj: Proj,
    /// Whether the last layer of `proj` has a bias.
    pub proj_bias: bool,
    /// Stochastic depth (arXiv 1603.09382): the probability to leave out a branch of the last block; earlier blocks have less.
    pub drop_path: f64,
    /// Mean of each channel, for values in 0..1.
    pub mean: [f64; 3],
    /// Standard deviation of each channel, for values in 0..1.
    pub std: [f64; 3],
}

impl Default for GcVitConfig {
    /// For a CPU: 32 px, two stages of two blocks, width 32; 0.2 million parameters.
    fn default() -> Self {
        Self {
            image_size: 32,
            embed_dim: 32,
            depths: vec![2, 2],
            num_heads: vec![2, 4],
            window_ratio: vec![8, 8],
            mlp_ratio: 3.0,
            layer_scale: None,
            pool: Pool::Avg,
            proj: Proj::Linear,
            proj_bias: false,
            drop_path: 0.0,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }
}

impl GcVitConfig {
    fn sized(depths: [i64; 4]) -> Self {
        Self {
            image_size: 224,
            embed_dim: 64,
            depths: depths.to_vec(),
            num_heads: vec![2, 4, 8, 16],
            window_ratio: vec![32, 32, 16, 32],
            ..Self::default()
        }
    }

    /// GC ViT-XXT: 224 px, width 64, 12 blocks.
    pub fn xxtiny() -> Self {
        Self::sized([2, 2, 6, 2])
    }

    /// GC ViT-XT: 18 blocks.
    pub fn xtiny() -> Self {
        Self::sized([3, 4, 6, 5])
    }

    /// GC ViT-T: 31 blocks.
    pub fn tiny() -> Self {
        Self::sized([3, 4, 19, 5])
    }

    /// GC ViT-S: width 96, branches scaled.
    pub fn small() -> Self {
        Self { embed_dim: 96, num_heads: vec![3, 6, 12, 24], mlp_ratio: 2.0, layer_scale: Some(1e-5), ..Self::tiny() }
    }

    /// GC ViT-B: width 128.
    pub fn base() -> Self {
        Self { embed_dim: 128, num_heads: vec![4, 8, 16, 32], ..Self::small() }
    }

    fn common(&self) -> Common {
        let Self { image_size, proj, proj_bias, drop_path, mean, std, .. } = *self;
        Common { image_size, proj, proj_bias, drop_path, mean, std }
    }

    /// How often the map of a stage must be halved to be a window, if it can be.
    fn levels(&self, stage: usize) -> Option<u32> {
        let (ratio, reduction) = (*self.window_ratio.get(stage)?, 4i64 << stage);
        let windows = ratio / reduction;
        (ratio % reduction == 0 && windows > 0 && windows.count_ones() == 1).then(|| windows.trailing_zeros())
    }

    /// # Errors
    /// Everything that is wrong, at once.
    fn check(&self) -> Result<()> {
        let (mut problems, stages) = (OptionProblems::default(), self.depths.len());
        let largest = self.window_ratio.iter().copied().max().unwrap_or(1);
        self.common().check(&mut problems, (largest, "its largest `window_ratio`"));
        problems.at_least("embed_dim", self.embed_dim, 1);
        problems.each_at_least_one("depths", &self.depths);
        problems.mlp_ratio("mlp_ratio", self.embed_dim, self.mlp_ratio);
        if stages == 0 || stages > 8 {
            problems.push(format!("`depths` has {stages} stages; there are 1 to 8"));
            return problems.finish();
        }
        problems.one_for_each_stage("num_heads", self.num_heads.len(), ("depths", stages));
        check_heads(&mut problems, (0..stages).map(|stage| self.embed_dim << stage), &self.num_heads);
        problems.one_for_each_stage("window_ratio", self.window_ratio.len(), ("depths", stages));
        for (stage, ratio) in self.window_ratio.iter().take(stages).enumerate() {
            if self.levels(stage).is_none() {
                problems.push(format!("`window_ratio` = {ratio} of stage {stage} must be a power of 2 times {}", 4i64 << stage));
            }
        }
        if let Some(depth) = self.depths.iter().find(|depth| **depth == 1) {
            problems.push(format!("`depths` has a stage of {depth} block; the queries of the whole map are for a second one"));
        }
        problems.finish()
    }
}

impl Config<dyn Backbone> for GcVitConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check()?;
        let path = cx.path.sub("trunk");
        let stem = path.sub("stem");
        let mut rates = rising(self.drop_path, &self.depths);
        let mut stages = Vec::new();
        for (index, depth) in self.depths.iter().enumerate() {
            let (at, width) = (path.sub("stages").sub(index), self.embed_dim << index);
            let levels = self.levels(index).unwrap_or_default();
            let block = |(block, drop_path): (i64, f64)| {
                let config = BlockConfig {
                    width,
                    heads: self.num_heads[index],
                    mlp_ratio: self.mlp_ratio,
                    windows: Windows { side: self.image_size / self.window_ratio[index], shift: 0, grid: false },
                    flavour: Flavour::GcVit { global: block % 2 == 1 },
                    activation: Activation::Gelu,
                    start: Start::Torch,
                    layer_scale: self.layer_scale,
                    drop_path,
                };
                Block::new(&at.sub("blocks").sub(block), config)
            };
            let query = |level: u32| MbConv::new(&at.sub("global_block").sub("blocks").sub(format!("conv{}", level + 1)), width);
            stages.push(Stage {
                downsample: if index > 0 { Some(Downsample::new(&at.sub("downsample"), width / 2, width)?) } else { None },
                query: (0..levels.max(1)).map(query).collect::<Result<_>>()?,
                halves: levels > 0,
                blocks: (0..*depth).zip(&mut rates).map(block).collect::<Result<_>>()?,
            });
        }
        let (last, width) = (self.depths.len() - 1, self.embed_dim << (self.depths.len() - 1));
        let first = ConvConfig { input: 3, output: self.embed_dim, kernel: 3, stride: 2, padding: 1, ..ConvConfig::default() };
        let net = GcVit {
            conv1: Conv2d::new(&stem.sub("conv1"), first)?,
            down: Downsample::new(&stem.sub("down"), self.embed_dim, self.embed_dim)?,
            stages,
            norm: LayerNorm::new(&path.sub("stages").sub(last).sub("norm"), width)?,
            pool: self.pool,
        };
        Ok(Tower::boxed(net, self.common(), width, "trunk.head.fc", cx.embed))
    }
}

#[derive(Debug)]
struct GcVit {
    conv1: Conv2d,
    down: Downsample,
    stages: Vec<Stage>,
    norm: LayerNorm,
    pool: Pool,
}

#[derive(Debug)]
struct Stage {
    downsample: Option<Downsample>,
    /// What makes the queries of a window from the whole map.
    query: Vec<MbConv>,
    /// Whether each of them is followed by halving; otherwise the map is one window.
    halves: bool,
    blocks: Vec<Block>,
}

impl Stage {
    /// `[B, C, H, W]` to a map `[B, H, W, C]`.
    fn forward(&self, x: Tensor, noise: Option<&Noise>) -> Tensor {
        let x = self.downsample.as_ref().map_or(x.shallow_clone(), |down| down.forward(&x));
        let query = self.query.iter().fold(x.shallow_clone(), |x, conv| {
            let x = conv.forward(&x);
            if self.halves { x.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false) } else { x }
        });
        let query = query.flatten(2, 3).transpose(1, 2);
        self.blocks.iter().fold(x.permute([0, 2, 3, 1]), |x, block| block.forward(&x, Some(&query), noise))
    }
}

impl Net for GcVit {
    fn forward(&self, images: &Tensor, noise: Option<&Noise>) -> (Tensor, Tensor) {
        let x = self.down.forward(&self.conv1.forward(images));
        let x = self.stages.iter().fold(x, |x, stage| stage.forward(x, noise).permute([0, 3, 1, 2]));
        let places = self.norm.forward(&x.flatten(2, 3).transpose(1, 2));
        (self.pool.forward(&places), places)
    }

    fn stages(&self) -> Vec<String> {
        // Whole, as timm groups them: a stage's global query block is used by all of its blocks.
        std::iter::once(String::from("stem")).chain((0..self.stages.len()).map(|index| format!("stages.{index}"))).collect()
    }
}

register!(dyn Backbone, "gcvit", GcVitConfig);
register!(dyn Backbone, "gcvit_xxtiny", GcVitConfig, GcVitConfig::xxtiny);
register!(dyn Backbone, "gcvit_xtiny", GcVitConfig, GcVitConfig::xtiny);
register!(dyn Backbone, "gcvit_tiny", GcVitConfig, GcVitConfig::tiny);
register!(dyn Backbone, "gcvit_small", GcVitConfig, GcVitConfig::small);
register!(dyn Backbone, "gcvit_base", GcVitConfig, GcVitConfig::base);

#[cfg(test)]
mod tests {
    use vlhub_sdk::tch::nn::VarStore;

    use super::*;

    #[test]
    fn everything_wrong_with_the_options_is_told_at_once() {
        let wrong =
            GcVitConfig { image_size: 30, depths: vec![2, 1], num_heads: vec![3, 4], window_ratio: vec![8, 24], ..GcVitConfig::default() };
        let error =
            wrong.build(&BackboneCx { path: VarStore::new(Device::Cpu).root(), embed: 8 }).expect_err("several mistakes").to_string();
        for part in [
            "`image_size` = 30 is not a multiple of 24",
            "`depths` has a stage of 1 block",
            "`num_heads` = 3 of stage 0",
            "`window_ratio` = 24 of stage 1 must be a power of 2 times 8",
        ] {
            assert!(error.contains(part), "{part} is missing: {error}");
        }
    }
}
