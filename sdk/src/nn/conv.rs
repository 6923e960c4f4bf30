//! Convolution, batch norm over pictures, and stochastic depth.

use tch::nn::{Init, Path};
use tch::{Device, Tensor};

use super::{default_bound, parameter};
use crate::{Error, Noise, Result};

/// The shape of a [`Conv2d`]. `..ConvConfig::default()` is a 1 × 1 convolution with bias, stride 1 and no padding.
#[derive(Clone, Copy, Debug)]
pub struct ConvConfig {
    /// Channels that go in.
    pub input: i64,
    /// Channels that come out.
    pub output: i64,
    /// Height and width of the kernel.
    pub kernel: i64,
    /// Stride: distance of neighbouring outputs, in inputs.
    pub stride: i64,
    /// Padding: zeros around the picture, on each side.
    pub padding: i64,
    /// Dilation: distance of neighbouring elements of the kernel, in inputs.
    pub dilation: i64,
    /// Groups: sets of channels that do not see each other.
    pub groups: i64,
    /// Whether it has a bias.
    pub bias: bool,
}

impl Default for ConvConfig {
    fn default() -> Self {
        Self { input: 1, output: 1, kernel: 1, stride: 1, padding: 0, dilation: 1, groups: 1, bias: true }
    }
}

/// The same pictures `[B, C, H, W]`, on a GPU with the channels of a place side by side in memory (`channels_last`), which its convolutions want.
/// Convolutions, norms and pools keep that order for what they put out.
///
/// On a CPU they stay as they are. There a ResNet's step would be a fifth shorter, but libtorch adds up the statistics of a batch norm in float32 then:
/// its variances are wrong by 2e-5 instead of 3e-8, and the gradients of a ResNet-50 by 2e-3 (`findings/batch_norm_channels_last.sh`).
pub fn channels_last(x: &Tensor) -> Tensor {
    if x.device() == Device::Cpu { x.shallow_clone() } else { x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]) }
}

/// A convolution over `[B, C, H, W]`. Parameters: `weight` `[output, input / groups, kernel, kernel]`, and `bias`.
#[derive(Debug)]
pub struct Conv2d {
    /// The kernel, for layers that standardise it.
    pub weight: Tensor,
    /// Added to each channel.
    pub bias: Option<Tensor>,
    config: ConvConfig,
}

impl Conv2d {
    /// Makes the parameters, initialised as torch does.
    ///
    /// # Errors
    /// When a name is taken, or `groups` does not divide the channels.
    pub fn new(path: &Path<'_>, config: ConvConfig) -> Result<Self> {
        Self::with(path, config, default_bound(config.input / config.groups.max(1) * config.kernel * config.kernel))
    }

    /// [`Conv2d::new`] with another start for the kernel.
    ///
    /// # Errors
    /// As [`Conv2d::new`].
    pub fn with(path: &Path<'_>, config: ConvConfig, start: Init) -> Result<Self> {
        let ConvConfig { input, output, kernel, groups, bias, .. } = config;
        if groups < 1 || input % groups != 0 || output % groups != 0 {
            return Err(Error::invalid(format!("a convolution of {input} to {output} channels cannot be cut into {groups} groups")));
        }
        let inside = default_bound(input / groups * kernel * kernel);
        Ok(Self {
            weight: parameter(path, "weight", &[output, input / groups, kernel, kernel], start)?,
            bias: if bias { Some(parameter(path, "bias", &[output], inside)?) } else { None },
            config,
        })
    }

    /// The convolution of `[B, input, H, W]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.forward_with(x, &self.weight)
    }

    /// The convolution with another kernel of the same shape.
    pub fn forward_with(&self, x: &Tensor, weight: &Tensor) -> Tensor {
        let ConvConfig { stride, padding, dilation, groups, .. } = self.config;
        x.conv2d(weight, self.bias.as_ref(), [stride; 2], [padding; 2], [dilation; 2], groups)
    }
}

/// Batch norm over `[B, C, H, W]` or `[B, C]`. Parameters: `weight`, `bias`; buffers: `running_mean`, `running_var`.
///
/// In training it uses the mean and variance of the rows it is given, and moves the running ones towards them by a tenth. So it couples rows:
/// under gradient caching a chunk is normalised by itself, and the running statistics move once for each chunk. The host finds the layer by the
/// name of its buffer, warns of that, and makes it use the running ones where `freeze_bn_stats` says so.
#[derive(Debug)]
pub struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    epsilon: f64,
}

impl BatchNorm {
    /// Makes parameters and buffers for `channels`; torch's ε is 1e-5.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, channels: i64, epsilon: f64) -> Result<Self> {
        let weight = parameter(path, "weight", &[channels], Init::Const(1.0))?;
        Ok(Self {
            weight,
            bias: parameter(path, "bias", &[channels], Init::Const(0.0))?,
            running_mean: path.f_zeros_no_train("running_mean", &[channels])?,
            running_var: path.f_ones_no_train("running_var", &[channels])?,
            epsilon,
        })
    }

    /// Normalises each channel: in training (with noise) by the batch's statistics, unless the noise keeps the running ones; otherwise by the
    /// running ones.
    ///
    /// # Panics
    /// In training, with one value in each channel: it has no variance, and libtorch would make the running variance NaN without a word.
    pub fn forward(&self, x: &Tensor, noise: Option<&Noise>) -> Tensor {
        let trains = noise.is_some_and(|noise| !noise.keeps(&self.running_mean));
        let shape = x.size();
        assert!(
            !trains || shape[0] * shape[2..].iter().product::<i64>() > 1,
            "batch norm cannot be trained on one value for each channel, as in {shape:?}: give it a larger batch, chunks that leave none of one row \
             (`train.grad_cache.rows`), larger pictures, or `freeze_bn_stats = \"all\"`"
        );
        let (mean, var) = (Some(&self.running_mean), Some(&self.running_var));
        x.batch_norm(Some(&self.weight), Some(&self.bias), mean, var, trains, 0.1, self.epsilon, true)
    }
}

/// Stochastic depth (arXiv 1603.09382): leaves out a branch `[B, …]` for whole rows with probability `p` while training, and scales what
/// remains by `1 / (1 − p)`.
pub fn drop_path(x: Tensor, p: f64, noise: Option<&Noise>) -> Tensor {
    match noise {
        Some(noise) if p > 0.0 => {
            let keep = noise.uniform(&[1]).ge(p).to_kind(x.kind()) / (1.0 - p);
            let shape: Vec<i64> = x.size().iter().enumerate().map(|(axis, size)| if axis == 0 { *size } else { 1 }).collect();
            x * keep.view(shape.as_slice())
        }
        _ => x,
    }
}
