//! The network of [`crate::resnetv2`]: blocks with norm and activation before each convolution.

use vlhub_sdk::nn::{BatchNorm, Conv2d, ConvConfig, Init, Path, drop_path, parameter};
use vlhub_sdk::prelude::*;

use crate::layers::{fan_out, halve, max_pool, same, standardised};
use crate::options::drop_rate;
use crate::resnetv2::{NormLayer, ResNetV2Config, StemTypeV2};
use crate::tower::Trunk;

impl ResNetV2Config {
    /// Makes the parameters under `path`.
    ///
    /// # Errors
    /// When a name is taken.
    pub(crate) fn trunk(&self, path: &Path<'_>) -> Result<ResNetV2> {
        let stem = self.stem(&path.sub("stem"))?;
        let (count, mut input) = (self.layers.iter().sum(), self.wide(self.stem_chs));
        let mut blocks = Vec::new();
        for (stage, (layers, channels)) in self.layers.iter().zip(self.channels).enumerate() {
            for index in 0..*layers {
                let path = path.sub("stages").sub(stage.to_string()).sub("blocks").sub(index.to_string());
                let (output, first) = (self.wide(channels), index == 0);
                let stride = if stage > 0 && first { 2 } else { 1 };
                let drop_path = drop_rate(self.drop_path, blocks.len() as i64, count);
                blocks.push(self.block(&path, [input, output], stride, first, drop_path)?);
                input = output;
            }
        }
        Ok(ResNetV2 { stem, blocks, norm: self.norm(&path.sub("norm"), input)?, layers: self.layers })
    }

    fn conv(&self, path: &Path<'_>, shape: ConvConfig) -> Result<Conv> {
        let start = fan_out(shape.output, shape.kernel);
        Ok(Conv { conv: Conv2d::with(path, shape, start)?, epsilon: Some(self.std_conv_eps).filter(|epsilon| *epsilon > 0.0) })
    }

    fn norm(&self, path: &Path<'_>, channels: i64) -> Result<Norm> {
        Ok(match self.norm_layer {
            NormLayer::BatchNorm => Norm::Batch(BatchNorm::new(path, channels, 1e-5)?),
            NormLayer::GroupNorm => Norm::Group {
                weight: parameter(path, "weight", &[channels], Init::Const(1.0))?,
                bias: parameter(path, "bias", &[channels], Init::Const(0.0))?,
            },
        })
    }

    fn stem(&self, path: &Path<'_>) -> Result<Stem> {
        let width = self.wide(self.stem_chs);
        let fixed = self.stem_type == StemTypeV2::Fixed;
        let first = match self.stem_type {
            StemTypeV2::Plain | StemTypeV2::Fixed => {
                return Ok(Stem { first: self.conv(&path.sub("conv"), same(3, width, 7, 2))?, rest: Vec::new(), fixed });
            }
            StemTypeV2::Deep => width / 2,
            StemTypeV2::Tiered => 3 * width / 8,
        };
        let rest = |at: i64, input, output| -> Result<_> {
            let conv = self.conv(&path.sub(format!("conv{at}")), same(input, output, 3, 1))?;
            Ok((self.norm(&path.sub(format!("norm{}", at - 1)), input)?, conv))
        };
        let rest = vec![rest(2, first, width / 2)?, rest(3, width / 2, width)?];
        Ok(Stem { first: self.conv(&path.sub("conv1"), same(3, first, 3, 2))?, rest, fixed })
    }

    fn block(&self, path: &Path<'_>, [input, output]: [i64; 2], stride: i64, first: bool, drop_path: f64) -> Result<Block> {
        let inside = self.inside(output);
        let shapes = if self.basic {
            vec![same(input, inside, 3, stride), same(inside, output, 3, 1)]
        } else {
            vec![same(input, inside, 1, 1), same(inside, inside, 3, stride), same(inside, output, 1, 1)]
        };
        let mut layers = Vec::new();
        for (shape, at) in shapes.into_iter().zip(1..) {
            let norm = self.norm(&path.sub(format!("norm{at}")), shape.input)?;
            layers.push((norm, self.conv(&path.sub(format!("conv{at}")), shape)?));
        }
        // A bottleneck that opens a stage has a convolution on its shortcut even where nothing changes shape.
        let shortcut = if first && (!self.basic || stride != 1 || input != output) {
            let stride = if self.avg_down { 1 } else { stride };
            Some(self.conv(&path.sub("downsample").sub("conv"), same(input, output, 1, stride))?)
        } else {
            None
        };
        Ok(Block { layers, halve: self.avg_down && stride > 1, shortcut, drop_path })
    }
}

#[derive(Debug)]
struct Conv {
    conv: Conv2d,
    epsilon: Option<f64>,
}

impl Conv {
    fn forward(&self, x: &Tensor) -> Tensor {
        match self.epsilon {
            Some(epsilon) => self.conv.forward_with(x, &standardised(&self.conv.weight, None, epsilon)),
            None => self.conv.forward(x),
        }
    }
}

#[derive(Debug)]
enum Norm {
    Group { weight: Tensor, bias: Tensor },
    Batch(BatchNorm),
}

impl Norm {
    /// The norm, and ReLU.
    fn forward(&self, x: &Tensor, noise: Option<&Noise>) -> Tensor {
        match self {
            Self::Group { weight, bias } => x.group_norm(32, Some(weight), Some(bias), 1e-5, true).relu(),
            Self::Batch(norm) => norm.forward(x, noise).relu(),
        }
    }
}

#[derive(Debug)]
struct Stem {
    first: Conv,
    rest: Vec<(Norm, Conv)>,
    fixed: bool,
}

#[derive(Debug)]
struct Block {
    layers: Vec<(Norm, Conv)>,
    halve: bool,
    shortcut: Option<Conv>,
    drop_path: f64,
}

impl Block {
    fn forward(&self, x: &Tensor, noise: Option<&Noise>) -> Tensor {
        let (mut inner, mut shortcut) = (x.shallow_clone(), x.shallow_clone());
        for (index, (norm, conv)) in self.layers.iter().enumerate() {
            inner = norm.forward(&inner, noise);
            if let (0, Some(map)) = (index, &self.shortcut) {
                shortcut = if self.halve { map.forward(&halve(&inner)) } else { map.forward(&inner) };
            }
            inner = conv.forward(&inner);
        }
        drop_path(inner, self.drop_path, noise) + shortcut
    }
}

#[derive(Debug)]
pub(crate) struct ResNetV2 {
    stem: Stem,
    blocks: Vec<Block>,
    norm: Norm,
    layers: [i64; 4],
}

impl Trunk for ResNetV2 {
    fn map(&self, images: &Tensor, noise: Option<&Noise>) -> Tensor {
        let first = self.stem.first.forward(images);
        let stem = self.stem.rest.iter().fold(first, |x, (norm, conv)| conv.forward(&norm.forward(&x, noise)));
        let small = if self.stem.fixed { max_pool(&stem.constant_pad_nd([1, 1, 1, 1]), 2, 0) } else { max_pool(&stem, 2, 1) };
        self.norm.forward(&self.blocks.iter().fold(small, |x, block| block.forward(&x, noise)), noise)
    }

    fn stages(&self) -> Vec<String> {
        let blocks = self.layers.iter().enumerate();
        let blocks = blocks.flat_map(|(stage, count)| (0..*count).map(move |index| format!("stages.{stage}.blocks.{index}")));
        std::iter::once(String::from("stem")).chain(blocks).chain([String::from("norm")]).collect()
    }
}
