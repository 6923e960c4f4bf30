//! FastViT's residual blocks: a mixer of places, and an MLP with a convolution (MetaFormer, arXiv 2111.11418).

use vlhub_sdk::nn::{Activation, BatchNorm, Conv2d, Init, Linear, Path, drop_path, normal, parameter};
use vlhub_sdk::prelude::*;

use crate::fastvit::{FastVitConfig, Norm, TokenMixer};
use crate::layers::{ConvNorm, LayerNorm2d, centred, conv_from_zero, linear};
use crate::mobileone::{Branches, MobileOne};
use crate::transformer::attend;

/// A factor for each channel, `gamma` `[channels, 1, 1]`.
fn layer_scale(path: &Path<'_>, channels: i64, config: &FastVitConfig) -> Result<Tensor> {
    parameter(path, "gamma", &[channels, 1, 1], Init::Const(config.layer_scale_init_value))
}

/// A depthwise convolution and two 1 × 1 convolutions with GELU between them. Parameters: `conv`, `fc1`, `fc2`.
#[derive(Debug)]
struct ConvMlp {
    conv: ConvNorm,
    fc1: Conv2d,
    fc2: Conv2d,
}

impl ConvMlp {
    fn new(path: &Path<'_>, width: i64, hidden: i64) -> Result<Self> {
        let map = |name: &str, input: i64, output: i64| conv_from_zero(&path.sub(name), centred(input, output, 1, 1, 1), normal(0.02));
        Ok(Self {
            conv: ConvNorm::with(&path.sub("conv"), centred(width, width, 7, 1, width), normal(0.02))?,
            fc1: map("fc1", width, hidden)?,
            fc2: map("fc2", hidden, width)?,
        })
    }

    fn forward(&self, x: &Tensor, noise: Option<&Noise>) -> Tensor {
        self.fc2.forward(&Activation::Gelu.forward(&self.fc1.forward(&self.conv.forward(x, noise))))
    }
}

/// The norm before attention.
#[derive(Debug)]
enum MapNorm {
    Batch(BatchNorm),
    Layer(LayerNorm2d),
}

/// What mixes places.
#[derive(Debug)]
enum Mixer {
    /// timm's `RepMixer`: a depthwise convolution of several branches, minus the normalised input.
    Rep { norm: Box<MobileOne>, mixer: Box<MobileOne> },
    /// Attention with heads of 32 channels.
    Attention { norm: MapNorm, qkv: Linear, proj: Linear },
}

/// timm's `RepMixerBlock` or `AttentionBlock`. Parameters: `token_mixer`, `mlp`, `layer_scale`; or `norm`, `token_mixer`, `layer_scale_1`,
/// `mlp`, `layer_scale_2`.
#[derive(Debug)]
pub(crate) struct Block {
    mixer: Mixer,
    mlp: ConvMlp,
    scales: [Tensor; 2],
    drop_path: f64,
}

impl Block {
    /// Makes the parameters.
    pub fn new(path: &Path<'_>, kind: TokenMixer, width: i64, config: &FastVitConfig, drop_path: f64) -> Result<Self> {
        let token_mixer = path.sub("token_mixer");
        let scale = |path: &Path<'_>| layer_scale(path, width, config);
        let (mixer, scales) = match kind {
            TokenMixer::RepMixer => {
                let shape = centred(width, width, 3, 1, width);
                let silent = Branches { activation: false, ..Branches::default() };
                let nothing = Branches { kernel: false, scale: false, ..silent };
                let mixer = Mixer::Rep {
                    norm: Box::new(MobileOne::new(&token_mixer.sub("norm"), shape, nothing)?),
                    mixer: Box::new(MobileOne::new(&token_mixer.sub("mixer"), shape, silent)?),
                };
                (mixer, [scale(&token_mixer.sub("layer_scale"))?, scale(&path.sub("layer_scale"))?])
            }
            TokenMixer::Attention => {
                let norm = path.sub("norm");
                let mixer = Mixer::Attention {
                    norm: match config.norm_layer {
                        Norm::Batch => MapNorm::Batch(BatchNorm::new(&norm, width, 1e-5)?),
                        Norm::Layer => MapNorm::Layer(LayerNorm2d::new(&norm, width, 1e-5)?),
                    },
                    qkv: Linear::without_bias(&token_mixer.sub("qkv"), width, 3 * width, normal(0.02))?,
                    proj: linear(&token_mixer.sub("proj"), width, width)?,
                };
                (mixer, [scale(&path.sub("layer_scale_1"))?, scale(&path.sub("layer_scale_2"))?])
            }
        };
        let hidden = config.mlp_width(width);
        Ok(Self { mixer, mlp: ConvMlp::new(&path.sub("mlp"), width, hidden)?, scales, drop_path })
    }

    /// `[B, C, H, W]` to the same shape.
    pub fn forward(&self, x: &Tensor, noise: Option<&Noise>) -> Tensor {
        let mixed = match &self.mixer {
            Mixer::Rep { norm, mixer } => (mixer.forward(x, noise) - norm.forward(x, noise)) * &self.scales[0],
            Mixer::Attention { norm, qkv, proj } => {
                let seen = match norm {
                    MapNorm::Batch(norm) => norm.forward(x, noise),
                    MapNorm::Layer(norm) => norm.forward(x),
                };
                let qkv = qkv.forward(&seen.flatten(2, 3).transpose(1, 2));
                let heads = x.size()[1] / HEAD;
                let out = proj.forward(&attend(&qkv, heads)).transpose(1, 2).reshape(x.size());
                drop_path(out * &self.scales[0], self.drop_path, noise)
            }
        };
        let x = x + mixed;
        let out = drop_path(self.mlp.forward(&x, noise) * &self.scales[1], self.drop_path, noise);
        x + out
    }
}

/// Channels of an attention head.
pub(crate) const HEAD: i64 = 32;

/// Conditional positions (arXiv 2102.10882): a depthwise 7 × 7 convolution that is added to its input. Parameters: `pos_enc`.
#[derive(Debug)]
pub(crate) struct PosEnc(Conv2d);

impl PosEnc {
    /// Makes the parameters.
    pub fn new(path: &Path<'_>, width: i64) -> Result<Self> {
        Ok(Self(Conv2d::new(&path.sub("pos_enc"), centred(width, width, 7, 1, width))?))
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.0.forward(x) + x
    }
}
