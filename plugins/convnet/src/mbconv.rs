//! The blocks of EfficientNets, and the strings that describe a stage of them.

use vlhub_sdk::nn::{BatchNorm, Conv2d, ConvConfig, Path, drop_path, normal};
use vlhub_sdk::prelude::*;

use crate::tower::conv;

/// The kinds of block, by the word that begins a stage's string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `cn`: one convolution.
    Plain,
    /// `ds`: depthwise, then pointwise.
    Separable,
    /// `ir`: pointwise expansion, depthwise, pointwise (MBConv, arXiv 1801.04381).
    Inverted,
    /// `er`: expansion by a full convolution, then pointwise (fused MBConv, arXiv 2104.00298).
    Edge,
}

/// A stage in timm's words: `ir_r2_k3_s2_e6_c24_se0.25` is two inverted residuals of 3 × 3 kernels, the first with stride 2, 6 times as
/// wide inside, with 24 channels at the end and squeeze-and-excitation by a quarter of the channels that come in. `skip` adds the input of
/// a `cn`, `noskip` leaves it out elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stage {
    pub kind: Kind,
    pub repeats: i64,
    pub kernel: i64,
    pub stride: i64,
    pub expand: f64,
    pub channels: i64,
    pub squeeze: f64,
    pub skip: bool,
}

impl Stage {
    /// Reads a stage's string.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split('_');
        let kind = match parts.next() {
            Some("cn") => Kind::Plain,
            Some("ds") => Kind::Separable,
            Some("ir") => Kind::Inverted,
            Some("er") => Kind::Edge,
            _ => return Err("it does not begin with `cn_`, `ds_`, `ir_` or `er_`".into()),
        };
        let (repeats, channels, skip) = (0, 0, kind != Kind::Plain);
        let mut stage = Self { kind, repeats, kernel: 0, stride: 0, expand: 1.0, channels, squeeze: 0.0, skip };
        for part in parts {
            let digits = part.find(|letter: char| letter.is_ascii_digit()).unwrap_or(part.len());
            let (key, value) = part.split_at(digits);
            let whole = || value.parse::<i64>().map_err(|_| format!("`{part}` does not end with a whole number"));
            let number = || value.parse::<f64>().map_err(|_| format!("`{part}` does not end with a number"));
            match key {
                "skip" | "noskip" if value.is_empty() => stage.skip = key == "skip",
                "r" => stage.repeats = whole()?,
                "k" => stage.kernel = whole()?,
                "s" => stage.stride = whole()?,
                "c" => stage.channels = whole()?,
                "e" => stage.expand = number()?,
                "se" if kind != Kind::Plain => stage.squeeze = number()?,
                _ => return Err(format!("`{part}` is none of r, k, s, e, c and se (not for `cn`) with a number, skip and noskip")),
            }
        }
        let Self { repeats, kernel, stride, expand, channels, .. } = stage;
        let complete = repeats >= 1 && channels >= 1 && kernel % 2 == 1 && (1..=2).contains(&stride) && expand > 0.0;
        if complete { Ok(stage) } else { Err("it needs r and c of at least 1, an odd k, s1 or s2, and e above 0".into()) }
    }
}

/// The nearest multiple of 8, at least 8, and at least nine tenths of the number: how channels are scaled.
pub(crate) fn divisible(channels: f64) -> i64 {
    let near = ((channels + 4.0) as i64 / 8 * 8).max(8);
    if (near as f64) < 0.9 * channels { near + 8 } else { near }
}

/// What all convolutions and norms of a network have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// Pad as TensorFlow does: the more at the right and the bottom, and no more than the kernel needs.
    pub same_padding: bool,
    /// ε of the batch norms.
    pub epsilon: f64,
}

/// A convolution without bias, batch norm, and SiLU (or nothing).
#[derive(Debug)]
pub(crate) struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
    activate: bool,
    /// Kernel and stride, where the padding depends on the size of the map.
    same: Option<[i64; 2]>,
}

impl ConvNorm {
    /// Makes the parameters, under two names of `path`; `config.padding` does not count.
    pub fn new(path: &Path<'_>, names: [&str; 2], config: ConvConfig, style: Style, activate: bool) -> Result<Self> {
        let ConvConfig { output, kernel, stride, groups, .. } = config;
        let same = style.same_padding && stride > 1;
        let padding = if same { 0 } else { (stride + kernel) / 2 - 1 };
        let fan_out = kernel * kernel * output / groups;
        Ok(Self {
            conv: conv(&path.sub(names[0]), ConvConfig { padding, bias: false, ..config }, normal((2.0 / fan_out as f64).sqrt()))?,
            norm: BatchNorm::new(&path.sub(names[1]), output, style.epsilon)?,
            activate,
            same: same.then_some([kernel, stride]),
        })
    }

    /// `[B, C, H, W]` to `[B, C', H', W']`.
    pub fn forward(&self, x: &Tensor, noise: Option<&Noise>) -> Tensor {
        let x = match self.same {
            Some([kernel, stride]) => {
                let size = x.size();
                let lacking = |side: i64| ((side - 1) / stride * stride + kernel - side).max(0);
                let (height, width) = (lacking(size[2]), lacking(size[3]));
                self.conv.forward(&x.constant_pad_nd([width / 2, width - width / 2, height / 2, height - height / 2]))
            }
            None => self.conv.forward(x),
        };
        let x = self.norm.forward(&x, noise);
        if self.activate { x.silu() } else { x }
    }
}

/// Weighs channels by a small network of their means (arXiv 1709.01507).
#[derive(Debug)]
struct SqueezeExcite {
    reduce: Conv2d,
    expand: Conv2d,
}

impl SqueezeExcite {
    fn new(path: &Path<'_>, width: i64, inside: i64) -> Result<Self> {
        let layer = |name, input, output| {
            let config = ConvConfig { input, output, ..ConvConfig::default() };
            conv(&path.sub(name), config, normal((2.0 / output as f64).sqrt()))
        };
        Ok(Self { reduce: layer("conv_reduce", width, inside)?, expand: layer("conv_expand", inside, width)? })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let means = x.mean_dim([2i64, 3].as_slice(), true, None::<vlhub_sdk::tch::Kind>);
        x * self.expand.forward(&self.reduce.forward(&means).silu()).sigmoid()
    }
}

/// One block of a stage.
#[derive(Debug)]
pub(crate) struct Block {
    convs: Vec<ConvNorm>,
    /// Before the last convolution.
    squeeze: Option<SqueezeExcite>,
    skip: bool,
    drop_path: f64,
}

impl Block {
    /// Makes a block of `input` channels to the stage's channels; `stage.stride` is the block's own.
    pub fn new(path: &Path<'_>, input: i64, stage: &Stage, style: Style, drop_path: f64) -> Result<Self> {
        let Stage { kind, kernel, stride, expand, channels: output, .. } = *stage;
        // The squeezed share is of the channels that come in, not of the expanded ones.
        let (inside, ratio) = match kind {
            Kind::Plain | Kind::Separable => (input, stage.squeeze),
            Kind::Inverted | Kind::Edge => (divisible(input as f64 * expand), stage.squeeze / expand),
        };
        let base = ConvConfig { input: inside, output: inside, ..ConvConfig::default() };
        let full = ConvConfig { input, kernel, stride, ..base };
        let depthwise = ConvConfig { groups: inside, input: inside, ..full };
        let last = ConvConfig { output, ..base };
        let plan = match kind {
            Kind::Plain => vec![("conv", ConvConfig { output, ..full })],
            Kind::Separable => vec![("conv_dw", depthwise), ("conv_pw", last)],
            Kind::Inverted => vec![("conv_pw", ConvConfig { input, ..base }), ("conv_dw", depthwise), ("conv_pwl", last)],
            Kind::Edge => vec![("conv_exp", full), ("conv_pwl", last)],
        };
        let count = plan.len();
        let layer = |(index, (name, config)): (usize, (&str, ConvConfig))| {
            let activate = index + 1 < count || kind == Kind::Plain;
            ConvNorm::new(path, [name, &format!("bn{}", index + 1)], config, style, activate)
        };
        // The reference's rounding takes halves to even numbers.
        let squeezed = (inside as f64 * ratio).round_ties_even() as i64;
        Ok(Self {
            convs: plan.into_iter().enumerate().map(layer).collect::<Result<_>>()?,
            squeeze: if stage.squeeze > 0.0 { Some(SqueezeExcite::new(&path.sub("se"), inside, squeezed.max(1))?) } else { None },
            skip: stage.skip && stride == 1 && input == output,
            drop_path,
        })
    }

    /// `[B, C, H, W]` to `[B, C', H', W']`.
    pub fn forward(&self, input: &Tensor, noise: Option<&Noise>) -> Tensor {
        let mut x = input.shallow_clone();
        for (index, conv) in self.convs.iter().enumerate() {
            if let (Some(squeeze), true) = (&self.squeeze, index + 1 == self.convs.len()) {
                x = squeeze.forward(&x);
            }
            x = conv.forward(&x, noise);
        }
        if self.skip { drop_path(x, self.drop_path, noise) + input } else { x }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_read_from_its_string() {
        let wanted = Stage { kind: Kind::Inverted, repeats: 2, kernel: 5, stride: 2, expand: 6.0, channels: 40, squeeze: 0.25, skip: true };
        assert_eq!(Stage::parse("ir_r2_k5_s2_e6_c40_se0.25"), Ok(wanted));
        assert_eq!(Stage::parse("ir_r2_k5_s2_e6_c40_se0.25_noskip"), Ok(Stage { skip: false, ..wanted }));
        let plain = Stage { kind: Kind::Plain, repeats: 1, kernel: 3, stride: 1, expand: 1.0, channels: 16, squeeze: 0.0, skip: false };
        assert_eq!(Stage::parse("cn_r1_k3_s1_e1_c16"), Ok(plain));
        assert_eq!(Stage::parse("cn_r1_k3_s1_e1_c16_skip"), Ok(Stage { skip: true, ..plain }));
    }

    #[test]
    fn a_wrong_string_is_refused_with_its_wrong_part() {
        for (text, part) in [
            ("mb_r1_k3_s1_c16", "`ir_`"),
            ("ir_r1_k3_s1_cc4", "`cc4`"),
            ("ir_rx_k3_s1_c16", "`rx`"),
            ("ir_r1.5_k3_s1_c16", "whole number"),
            ("cn_r1_k3_s1_c16_se0.25", "`se0.25`"),
            ("ir_r1_k4_s1_c16", "odd k"),
            ("ir_r1_k3_s3_c16", "s1 or s2"),
            ("ir_k3_s1_c16", "r and c"),
        ] {
            let error = Stage::parse(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn channels_are_rounded_as_in_the_reference() {
        for (given, wanted) in [(16.0, 16), (1.0, 8), (17.6, 16), (35.2, 32), (19.2, 24), (137.6, 136), (12.0, 16), (44.0, 48)] {
            assert_eq!(divisible(given), wanted, "{given}");
        }
    }
}
