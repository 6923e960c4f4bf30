//! MaxViT (arXiv 2204.01697).

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::nn::{Activation, BatchNorm, Conv2d, LayerNorm, Linear};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;

use crate::attention::Flavour;
use crate::block::{Block, BlockConfig};
use crate::layers::Start;
use crate::mbconv::{EPSILON, MbConv, conv, same};
use crate::options::{Common, Pool, rising};
use crate::tower::{Net, Tower};
use crate::windows::Windows;

/// MaxViT (arXiv 2204.01697) in timm's `tf` variants: each block is a convolution, attention in windows and attention over a grid of the
/// whole map.
///
/// Parameters are named as in timm's `MaxxVit`, under `trunk`. Tokens are the places of the last map, row by row, as the last block leaves
/// them. Batch norm couples the rows of a batch while training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct MaxVitConfig {
    /// Height and width of the picture, in pixels. Windows must divide the map of each stage.
    pub image_size: i64,
    /// Channels of the first convolutions.
    pub stem_width: i64,
    /// Width of each stage, a multiple of 32: heads are 32 wide.
    pub embed_dim: Vec<i64>,
    /// Number of blocks of each stage.
    pub depths: Vec<i64>,
    /// Windows and grids are `image_size` divided by this wide and high, in places.
    pub partition_ratio: i64,
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

impl Default for MaxVitConfig {
    /// For a CPU: 32 px, two stages of one block, widths 32 and 64; 0.3 million parameters.
    fn default() -> Self {
        Self {
            image_size: 32,
            stem_width: 16,
            embed_dim: vec![32, 64],
            depths: vec![1, 1],
            partition_ratio: 8,
            pool: Pool::Avg,
            proj: Proj::Linear,
            proj_bias: false,
            drop_path: 0.0,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }
}

impl MaxVitConfig {
    fn sized(stem_width: i64, embed_dim: i64, depths: [i64; 4]) -> Self {
        let embed_dim = (0..4).map(|stage| embed_dim << stage).collect();
        Self { image_size: 224, stem_width, embed_dim, depths: depths.to_vec(), partition_ratio: 32, ..Self::default() }
    }

    /// MaxViT-T: 224 px, widths from 64 to 512.
    pub fn tiny() -> Self {
        Self::sized(64, 64, [2, 2, 5, 2])
    }

    /// MaxViT-S: 224 px, widths from 96 to 768.
    pub fn small() -> Self {
        Self::sized(64, 96, [2, 2, 5, 2])
    }

    /// MaxViT-B: as MaxViT-S, with more blocks.
    pub fn base() -> Self {
        Self::sized(64, 96, [2, 6, 14, 2])
    }

    /// MaxViT-L: 224 px, widths from 128 to 1024.
    pub fn large() -> Self {
        Self::sized(128, 128, [2, 6, 14, 2])
    }

    /// MaxViT-XL: 224 px, widths from 192 to 1536.
    pub fn xlarge() -> Self {
        Self::sized(192, 192, [2, 6, 14, 2])
    }

    fn common(&self) -> Common {
        let Self { image_size, proj, proj_bias, drop_path, mean, std, .. } = *self;
        Common { image_size, proj, proj_bias, drop_path, mean, std }
    }

    /// # Errors
    /// Everything that is wrong, at once.
    fn check(&self) -> Result<()> {
        let (mut problems, stages) = (OptionProblems::default(), self.depths.len());
        self.common().check(&mut problems, (self.partition_ratio, "its `partition_ratio`"));
        problems.at_least("partition_ratio", self.partition_ratio, 1);
        problems.at_least("stem_width", self.stem_width, 1);
        problems.each_at_least_one("depths", &self.depths);
        problems.each_at_least_one("embed_dim", &self.embed_dim);
        if stages == 0 || stages > 8 {
            problems.push(format!("`depths` has {stages} stages; there are 1 to 8"));
        } else {
            problems.one_for_each_stage("embed_dim", self.embed_dim.len(), ("depths", stages));
            // The stem and each stage halve the map; the last one is then a whole number of windows, and so is each before it.
            problems.multiple("partition_ratio", self.partition_ratio, 2 << stages, "by which the stem and the stages divide a picture");
        }
        for width in &self.embed_dim {
            problems.multiple("embed_dim", *width, HEAD, "the width of a head");
        }
        problems.finish()
    }
}

/// Width of a head.
const HEAD: i64 = 32;

impl Config<dyn Backbone> for MaxVitConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check()?;
        let path = cx.path.sub("trunk");
        let (stem, head) = (path.sub("stem"), path.sub("head"));
        let mut rates = rising(self.drop_path, &self.depths);
        let (mut stages, mut input) = (Vec::new(), self.stem_width);
        for (index, (depth, width)) in self.depths.iter().zip(&self.embed_dim).enumerate() {
            let mut blocks = Vec::new();
            for (block, drop_path) in (0..*depth).zip(&mut rates) {
                let at = path.sub("stages").sub(index).sub("blocks").sub(block);
                let side = self.image_size / self.partition_ratio;
                let attention = |name: &str, grid: bool| Block::new(&at.sub(name), attention(*width, side, grid, drop_path));
                blocks.push(MaxVitBlock {
                    conv: MbConv::new(&at.sub("conv"), input, *width, block == 0, drop_path)?,
                    window: attention("attn_block", false)?,
                    grid: attention("attn_grid", true)?,
                });
                input = *width;
            }
            stages.push(blocks);
        }
        let net = MaxVit {
            conv1: conv(&stem.sub("conv1"), same(3, self.stem_width, 3, 2))?,
            norm1: BatchNorm::new(&stem.sub("norm1"), self.stem_width, EPSILON)?,
            conv2: conv(&stem.sub("conv2"), same(self.stem_width, self.stem_width, 3, 1))?,
            stages,
            norm: LayerNorm::new(&head.sub("norm"), input)?,
            pre_logits: Start::Torch.linear(&head.sub("pre_logits").sub("fc"), input, input)?,
            pool: self.pool,
        };
        Ok(Tower::boxed(net, self.common(), input, "trunk.head.fc", cx.embed))
    }
}

fn attention(width: i64, side: i64, grid: bool, drop_path: f64) -> BlockConfig {
    BlockConfig {
        width,
        heads: width / HEAD,
        mlp_ratio: 4.0,
        windows: Windows { side, shift: 0, grid },
        flavour: Flavour::MaxVit,
        activation: Activation::GeluTanh,
        start: Start::Xavier,
        layer_scale: None,
        drop_path,
    }
}

#[derive(Debug)]
struct MaxVit {
    conv1: Conv2d,
    norm1: BatchNorm,
    conv2: Conv2d,
    stages: Vec<Vec<MaxVitBlock>>,
    norm: LayerNorm,
    pre_logits: Linear,
    pool: Pool,
}

#[derive(Debug)]
struct MaxVitBlock {
    conv: MbConv,
    window: Block,
    grid: Block,
}

impl MaxVitBlock {
    /// `[B, C, H, W]` to the same, or to half the height and width.
    fn forward(&self, x: &Tensor, noise: Option<&Noise>) -> Tensor {
        let x = self.conv.forward(x, noise).permute([0, 2, 3, 1]);
        self.grid.forward(&self.window.forward(&x, None, noise), None, noise).permute([0, 3, 1, 2])
    }
}

impl Net for MaxVit {
    fn forward(&self, images: &Tensor, noise: Option<&Noise>) -> (Tensor, Tensor) {
        // TensorFlow's padding of an even side puts the one zero at the end.
        let x = self.norm1.forward(&self.conv1.forward(&images.constant_pad_nd([0, 1, 0, 1])), noise);
        let x = self.conv2.forward(&Activation::GeluTanh.forward(&x));
        let x = self.stages.iter().flatten().fold(x, |x, block| block.forward(&x, noise));
        let places = x.flatten(2, 3).transpose(1, 2);
        let pooled = self.pre_logits.forward(&self.norm.forward(&self.pool.forward(&places))).tanh();
        (pooled, places)
    }

    fn stages(&self) -> Vec<String> {
        // Whole, as timm groups them.
        let stages = (0..self.stages.len()).map(|index| format!("stages.{index}"));
        ["stem".into()].into_iter().chain(stages).chain(["head.norm".into(), "head.pre_logits".into()]).collect()
    }
}

register!(dyn Backbone, "maxvit", MaxVitConfig);
register!(dyn Backbone, "maxvit_tiny_tf_224", MaxVitConfig, MaxVitConfig::tiny);
register!(dyn Backbone, "maxvit_small_tf_224", MaxVitConfig, MaxVitConfig::small);
register!(dyn Backbone, "maxvit_base_tf_224", MaxVitConfig, MaxVitConfig::base);
register!(dyn Backbone, "maxvit_large_tf_224", MaxVitConfig, MaxVitConfig::large);
register!(dyn Backbone, "maxvit_xlarge_tf_224", MaxVitConfig, MaxVitConfig::xlarge);

#[cfg(test)]
mod tests {
    use vlhub_sdk::tch::nn::VarStore;

    use super::*;

    #[test]
    fn everything_wrong_with_the_options_is_told_at_once() {
        let wrong =
            MaxVitConfig { image_size: 30, embed_dim: vec![40, 64, 64], partition_ratio: 12, stem_width: 0, ..MaxVitConfig::default() };
        let error =
            wrong.build(&BackboneCx { path: VarStore::new(Device::Cpu).root(), embed: 8 }).expect_err("several mistakes").to_string();
        for part in [
            "`image_size` = 30 is not a multiple of 12",
            "`embed_dim` has 3 values",
            "`embed_dim` = 40 is not a multiple of 32",
            "`partition_ratio` = 12 is not a multiple of 8",
            "`stem_width` = 0",
        ] {
            assert!(error.contains(part), "{part} is missing: {error}");
        }
    }
}
