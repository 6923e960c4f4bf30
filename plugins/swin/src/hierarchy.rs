//! The network that both versions of Swin share: patches, and stages of blocks that halve the map and double the width.

use vlhub_sdk::nn::{Activation, Conv2d, ConvConfig, LayerNorm, Linear, Path, Recomputed};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;

use crate::attention::Flavour;
use crate::block::{Block, BlockConfig};
use crate::layers::Start;
use crate::options::{Common, Pool, check_heads, rising};
use crate::tower::{Net, Tower};
use crate::windows::Windows;

/// What both versions have as options.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub common: Common,
    pub patch_size: i64,
    pub embed_dim: i64,
    pub depths: &'a [i64],
    pub num_heads: &'a [i64],
    pub window_size: i64,
    pub mlp_ratio: f64,
    pub pool: Pool,
    /// The side of the windows of pre-training of each stage, in the second version.
    pub pretrained: Option<&'a [i64]>,
}

impl Plan<'_> {
    fn width(&self, stage: usize) -> i64 {
        self.embed_dim << stage
    }

    fn check(&self) -> Result<()> {
        let mut problems = OptionProblems::default();
        self.common.check(&mut problems, (self.patch_size, "its `patch_size`"));
        problems.at_least("patch_size", self.patch_size, 1);
        problems.at_least("embed_dim", self.embed_dim, 1);
        problems.at_least("window_size", self.window_size, 1);
        problems.each_at_least_one("depths", self.depths);
        if self.depths.is_empty() || self.depths.len() > 8 {
            problems.push(format!("`depths` has {} stages; there are 1 to 8", self.depths.len()));
        } else {
            problems.one_for_each_stage("num_heads", self.num_heads.len(), ("depths", self.depths.len()));
            check_heads(&mut problems, (0..self.depths.len()).map(|stage| self.width(stage)), self.num_heads);
        }
        problems.mlp_ratio("mlp_ratio", self.embed_dim, self.mlp_ratio);
        if let Some(pretrained) = self.pretrained {
            problems.one_for_each_stage("pretrained_window_sizes", pretrained.len(), ("depths", self.depths.len()));
            if pretrained.iter().any(|side| *side < 0) {
                problems.push(format!("`pretrained_window_sizes` = {pretrained:?} must be at least 0; 0 is a stage's own window"));
            }
        }
        problems.finish()
    }

    /// Builds the tower.
    pub fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check()?;
        let (path, side) = (cx.path.sub("trunk"), self.patch_size);
        let embed = path.sub("patch_embed");
        let patch = ConvConfig { input: 3, output: self.embed_dim, kernel: side, stride: side, ..ConvConfig::default() };
        let mut grid = self.common.image_size / side;
        let mut rates = rising(self.common.drop_path, self.depths);
        let mut stages = Vec::new();
        for (index, depth) in self.depths.iter().enumerate() {
            let at = path.sub("layers").sub(index);
            let merge = match index {
                0 => None,
                _ => Some(Merge::new(&at.sub("downsample"), self.width(index - 1), self.pretrained.is_some())?),
            };
            if merge.is_some() {
                grid = (grid + 1) / 2;
            }
            let block = |(block, drop_path): (i64, f64)| {
                Block::new(
                    &at.sub("blocks").sub(block),
                    BlockConfig {
                        width: self.width(index),
                        heads: self.num_heads[index],
                        mlp_ratio: self.mlp_ratio,
                        windows: Windows::within(grid, self.window_size, block % 2 == 1),
                        flavour: self.pretrained.map_or(Flavour::Swin, |sides| Flavour::SwinV2 { pretrained: sides[index] }),
                        activation: Activation::Gelu,
                        start: Start::Normal,
                        layer_scale: None,
                        drop_path,
                    },
                )
                .map(Recomputed::new)
            };
            stages.push(Stage { merge, blocks: (0..*depth).zip(&mut rates).map(block).collect::<Result<_>>()? });
        }
        let width = self.width(self.depths.len() - 1);
        let net = Hierarchy {
            proj: Conv2d::new(&embed.sub("proj"), patch)?,
            embed_norm: LayerNorm::new(&embed.sub("norm"), self.embed_dim)?,
            stages,
            norm: LayerNorm::new(&path.sub("norm"), width)?,
            pool: self.pool,
        };
        Ok(Tower::boxed(net, self.common, width, "trunk.head.fc", cx.embed))
    }
}

#[derive(Debug)]
struct Hierarchy {
    proj: Conv2d,
    embed_norm: LayerNorm,
    stages: Vec<Stage>,
    norm: LayerNorm,
    pool: Pool,
}

#[derive(Debug)]
struct Stage {
    merge: Option<Merge>,
    blocks: Vec<Recomputed<Block>>,
}

/// Four neighbours become one place of twice the width. The second version normalises afterwards.
#[derive(Debug)]
struct Merge {
    norm: LayerNorm,
    reduction: Linear,
    after: bool,
}

impl Merge {
    fn new(path: &Path<'_>, width: i64, after: bool) -> Result<Self> {
        let (input, output) = (4 * width, 2 * width);
        Ok(Self {
            norm: LayerNorm::new(&path.sub("norm"), if after { output } else { input })?,
            reduction: Linear::without_bias(&path.sub("reduction"), input, output, Start::Normal.weight(input, output))?,
            after,
        })
    }

    /// `[B, H, W, C]` to `[B, H / 2, W / 2, 2 C]`; an odd map is filled up with zeros.
    fn forward(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        let (height, width) = ((size[1] + 1) / 2, (size[2] + 1) / 2);
        let x = if (size[1] | size[2]) & 1 == 1 { x.constant_pad_nd([0, 0, 0, size[2] % 2, 0, size[1] % 2]) } else { x.shallow_clone() };
        // timm's order of the four: down the column first.
        let x = x.reshape([size[0], height, 2, width, 2, size[3]]).permute([0, 1, 3, 4, 2, 5]).flatten(3, 5);
        if self.after { self.norm.forward(&self.reduction.forward(&x)) } else { self.reduction.forward(&self.norm.forward(&x)) }
    }
}

impl Net for Hierarchy {
    fn forward(&self, images: &Tensor, noise: Option<&Noise>) -> (Tensor, Tensor) {
        let mut x = self.embed_norm.forward(&self.proj.forward(images).permute([0, 2, 3, 1]));
        for stage in &self.stages {
            if let Some(merge) = &stage.merge {
                x = merge.forward(&x);
            }
            for block in &stage.blocks {
                x = block.forward(&[&x], noise, |block, inputs, noise| block.forward(&inputs[0], None, noise));
            }
        }
        let places = self.norm.forward(&x).flatten(1, 2);
        (self.pool.forward(&places), places)
    }

    fn recomputes(&self) -> bool {
        true
    }

    fn stages(&self) -> Vec<String> {
        let mut names = vec![String::from("patch_embed")];
        for (index, stage) in self.stages.iter().enumerate() {
            names.extend(stage.merge.iter().map(|_| format!("layers.{index}.downsample")));
            names.extend((0..stage.blocks.len()).map(|block| format!("layers.{index}.blocks.{block}")));
        }
        names.push(String::from("norm"));
        names
    }
}
