//! Factorised attention and convolutional positions, of which CoaT is made.
//!
//! Tokens are the class token and the places of a map `[H, W]`, row by row.

use vlhub_sdk::nn::{Activation, Conv2d, ConvConfig, LayerNorm, Linear, Path, drop_path};
use vlhub_sdk::prelude::*;

use crate::layers::{Mlp, Start};

/// Attention heads of every block.
pub(crate) const HEADS: i64 = 8;

/// Sides of the kernels of relative positions, each with the number of heads that have it.
const KERNELS: [(i64, i64); 3] = [(3, 2), (5, 3), (7, 3)];

/// timm's ε in this family, but for its patches.
pub(crate) const EPSILON: f64 = 1e-6;

/// The class token `[B, 1, C]` and the map `[B, C, H, W]`; maps are square.
pub(crate) fn apart(x: &Tensor) -> (Tensor, Tensor) {
    let (size, places) = (x.size(), x.size()[1] - 1);
    let side = (places as f64).sqrt().round() as i64;
    (x.narrow(1, 0, 1), x.narrow(1, 1, places).transpose(1, 2).reshape([size[0], size[2], side, side]))
}

/// The inverse of [`apart`].
pub(crate) fn together(class: &Tensor, map: &Tensor) -> Tensor {
    Tensor::cat(&[class, &map.flatten(2, 3).transpose(1, 2)], 1)
}

/// What the blocks of a scale share: convolutions of positions, and of positions relative to a query.
#[derive(Debug)]
pub(crate) struct Positions {
    absolute: Conv2d,
    relative: Vec<Conv2d>,
}

impl Positions {
    /// Makes the parameters `cpeN` and `crpeN` of the scale N.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, scale: usize, width: i64) -> Result<Self> {
        let each = |channels: i64, kernel: i64| ConvConfig {
            input: channels,
            output: channels,
            kernel,
            padding: kernel / 2,
            groups: channels,
            ..ConvConfig::default()
        };
        let relative = path.sub(format!("crpe{scale}")).sub("conv_list");
        let kernels = KERNELS.iter().enumerate();
        Ok(Self {
            absolute: Conv2d::new(&path.sub(format!("cpe{scale}")).sub("proj"), each(width, 3))?,
            relative: kernels
                .map(|(index, (kernel, heads))| Conv2d::new(&relative.sub(index), each(heads * (width / HEADS), *kernel)))
                .collect::<Result<_>>()?,
        })
    }

    /// Adds its convolution to the map.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (class, map) = apart(x);
        together(&class, &(self.absolute.forward(&map) + map))
    }

    /// For queries and values `[B, heads, tokens, C / heads]`: each place's query times the convolution of the values around it; nothing for
    /// the class token.
    fn relative(&self, q: &Tensor, v: &Tensor) -> Tensor {
        let (_, map) = apart(&v.transpose(1, 2).flatten(2, 3));
        let width = map.size()[1];
        let mut first = 0;
        let convolve = |(conv, (_, heads)): (&Conv2d, &(i64, i64))| {
            let channels = heads * (width / HEADS);
            first += channels;
            conv.forward(&map.narrow(1, first - channels, channels))
        };
        let convolved: Vec<Tensor> = self.relative.iter().zip(&KERNELS).map(convolve).collect();
        let places = q.size()[2] - 1;
        let values = Tensor::cat(&convolved, 1).reshape([q.size()[0], HEADS, width / HEADS, places]).transpose(2, 3);
        (q.narrow(2, 1, places) * values).constant_pad_nd([0, 0, 1, 0])
    }
}

/// A norm and attention that sums keys and values first, so that its cost is linear in the places. Parameters: `qkv`, `proj`.
#[derive(Debug)]
pub(crate) struct Attention {
    norm: LayerNorm,
    qkv: Linear,
    proj: Linear,
}

impl Attention {
    /// Makes the parameters of the norm and of the attention on these paths.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(norm: &Path<'_>, path: &Path<'_>, width: i64) -> Result<Self> {
        Ok(Self {
            norm: LayerNorm::with_epsilon(norm, width, EPSILON)?,
            qkv: Start::Normal.linear(&path.sub("qkv"), width, 3 * width)?,
            proj: Start::Normal.linear(&path.sub("proj"), width, width)?,
        })
    }

    /// `[B, tokens, C]` to the same shape.
    pub fn forward(&self, x: &Tensor, positions: &Positions) -> Tensor {
        let size = x.size();
        let head = size[2] / HEADS;
        let qkv = self.qkv.forward(&self.norm.forward(x)).view([size[0], size[1], 3, HEADS, head]).permute([2, 0, 3, 1, 4]);
        let (q, k, v) = (qkv.get(0), qkv.get(1), qkv.get(2));
        let seen = q.matmul(&k.softmax(2, None::<Kind>).transpose(2, 3).matmul(&v)) * (head as f64).powf(-0.5);
        self.proj.forward(&(seen + positions.relative(&q, &v)).transpose(1, 2).flatten(2, 3))
    }
}

/// A block of one scale. Parameters: `norm1`, `factoratt_crpe`, `norm2`, `mlp`.
#[derive(Debug)]
pub(crate) struct SerialBlock {
    attention: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
    drop_path: f64,
}

impl SerialBlock {
    /// Makes the parameters.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, width: i64, mlp_ratio: f64, drop_path: f64) -> Result<Self> {
        Ok(Self {
            attention: Attention::new(&path.sub("norm1"), &path.sub("factoratt_crpe"), width)?,
            norm2: LayerNorm::with_epsilon(&path.sub("norm2"), width, EPSILON)?,
            mlp: Mlp::new(&path.sub("mlp"), width, mlp_ratio, Activation::Gelu, Start::Normal)?,
            drop_path,
        })
    }

    /// `[B, tokens, C]` to the same shape.
    pub fn forward(&self, x: &Tensor, positions: &Positions, noise: Option<&Noise>) -> Tensor {
        let x = positions.forward(x);
        let x = &x + drop_path(self.attention.forward(&x, positions), self.drop_path, noise);
        &x + drop_path(self.mlp.forward(&self.norm2.forward(&x)), self.drop_path, noise)
    }
}

/// A block of the last three scales at once: what each one sees goes to the others too. Parameters: `norm12` to `norm14`, `factoratt_crpe2` to
/// `factoratt_crpe4`, `norm22` to `norm24`, and `mlp2`, which all share.
#[derive(Debug)]
pub(crate) struct ParallelBlock {
    scales: Vec<(Attention, LayerNorm)>,
    mlp: Mlp,
    drop_path: f64,
}

impl ParallelBlock {
    /// Makes the parameters.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, width: i64, mlp_ratio: f64, drop_path: f64) -> Result<Self> {
        let scale = |scale: i64| {
            let (norm, attention) = (path.sub(format!("norm1{scale}")), path.sub(format!("factoratt_crpe{scale}")));
            let second = LayerNorm::with_epsilon(&path.sub(format!("norm2{scale}")), width, EPSILON)?;
            Ok((Attention::new(&norm, &attention, width)?, second))
        };
        Ok(Self {
            scales: (2..=4).map(scale).collect::<Result<_>>()?,
            mlp: Mlp::new(&path.sub("mlp2"), width, mlp_ratio, Activation::Gelu, Start::Normal)?,
            drop_path,
        })
    }

    /// The tokens of the three scales, from fine to coarse.
    pub fn forward(&self, x: &[Tensor], positions: &[Positions], noise: Option<&Noise>) -> Vec<Tensor> {
        let x: Vec<Tensor> = x.iter().zip(positions).map(|(x, positions)| positions.forward(x)).collect();
        let scales = self.scales.iter().zip(&x).zip(positions);
        let seen: Vec<Tensor> = scales.map(|(((attention, _), x), positions)| attention.forward(x, positions)).collect();
        let mixed = (0..seen.len()).map(|to| (0..seen.len()).map(|from| resized(&seen[from], from, to)).sum::<Tensor>());
        let change = |((x, seen), (_, norm)): ((&Tensor, Tensor), &(Attention, LayerNorm))| {
            let x = x + drop_path(seen, self.drop_path, noise);
            &x + drop_path(self.mlp.forward(&norm.forward(&x)), self.drop_path, noise)
        };
        x.iter().zip(mixed).zip(&self.scales).map(change).collect()
    }
}

/// The tokens of one scale with the map at the size of another, bilinear. Each scale has half the height and width of the one before.
fn resized(x: &Tensor, from: usize, to: usize) -> Tensor {
    if from == to {
        return x.shallow_clone();
    }
    let (class, map) = apart(x);
    let factor = 2f64.powi(from as i32 - to as i32);
    let side = (map.size()[2] as f64 * factor) as i64;
    together(&class, &map.upsample_bilinear2d([side, side], false, factor, factor))
}
