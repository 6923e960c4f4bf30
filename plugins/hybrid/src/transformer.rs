//! timm's `VisionTransformer` behind a convolutional stem.

use std::fmt::Debug;

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::nn::{Activation, LayerNorm, Linear, Path, check_pictures, drop_path, normal, parameter};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;

use crate::layers::{Pool, linear};

/// What the towers of this kind have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Common {
    pub image_size: i64,
    pub width: i64,
    pub layers: i64,
    pub heads: i64,
    pub mlp_ratio: f64,
    /// Whether the MLP has a gate, and a norm of its own.
    pub gated: bool,
    pub class_token: bool,
    pub pos_embed: bool,
    pub pool: Pool,
    pub fc_norm: Option<bool>,
    pub patch_dropout: f64,
    pub drop_path: f64,
    pub proj: Proj,
    pub proj_bias: bool,
    pub mean: [f64; 3],
    pub std: [f64; 3],
}

impl Common {
    /// Adds what is wrong.
    pub fn check(&self, problems: &mut OptionProblems) {
        let Self { image_size, width, layers, heads, mlp_ratio, .. } = *self;
        problems.at_least_one(&[("image_size", image_size), ("width", width), ("layers", layers), ("heads", heads)]);
        problems.divides(("heads", heads), ("width", width));
        problems.mlp_ratio("mlp_ratio", width, mlp_ratio);
        problems.ensure(self.pool != Pool::Token || self.class_token, || {
            "`pool` = \"token\" reads a class token, and this network has none; use \"avg\", \"max\" or \"avgmax\"".into()
        });
        problems.share("patch_dropout", self.patch_dropout);
        problems.share("drop_path", self.drop_path);
        problems.std(self.std);
    }

    fn mlp_width(&self) -> i64 {
        (self.width as f64 * self.mlp_ratio) as i64
    }

    fn norm(&self, path: &Path<'_>) -> Result<LayerNorm> {
        LayerNorm::with_epsilon(path, self.width, 1e-6)
    }
}

/// What makes a map of tokens of a picture.
pub(crate) trait Stem: Debug + Send {
    /// `[B, 3, H, W]` to `[B, width, h, w]`.
    fn forward(&self, images: &Tensor, noise: Option<&Noise>) -> Tensor;
}

/// Two maps with GELU between them, or ViTamin's `GeGluMlp`: normalised, with a gate (arXiv 2002.05202).
#[derive(Debug)]
enum Mlp {
    Plain { fc1: Linear, fc2: Linear },
    Gated { norm: LayerNorm, w0: Linear, w1: Linear, w2: Linear },
}

impl Mlp {
    fn new(path: &Path<'_>, common: &Common) -> Result<Self> {
        let (width, hidden) = (common.width, common.mlp_width());
        let map = |name: &str, input: i64, output: i64| linear(&path.sub(name), input, output);
        Ok(if common.gated {
            Self::Gated {
                norm: common.norm(&path.sub("norm"))?,
                w0: map("w0", width, hidden)?,
                w1: map("w1", width, hidden)?,
                w2: map("w2", hidden, width)?,
            }
        } else {
            Self::Plain { fc1: map("fc1", width, hidden)?, fc2: map("fc2", hidden, width)? }
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let gelu = |x: Tensor| Activation::Gelu.forward(&x);
        match self {
            Self::Plain { fc1, fc2 } => fc2.forward(&gelu(fc1.forward(x))),
            Self::Gated { norm, w0, w1, w2 } => {
                let x = norm.forward(x);
                w2.forward(&(gelu(w0.forward(&x)) * w1.forward(&x)))
            }
        }
    }
}

/// A residual block. Parameters: `norm1`, `attn.qkv`, `attn.proj`, `norm2`, `mlp`.
#[derive(Debug)]
struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    mlp: Mlp,
    heads: i64,
    drop_path: f64,
}

impl Block {
    fn new(path: &Path<'_>, common: &Common, layer: i64) -> Result<Self> {
        let (attn, width) = (path.sub("attn"), common.width);
        Ok(Self {
            norm1: common.norm(&path.sub("norm1"))?,
            qkv: linear(&attn.sub("qkv"), width, 3 * width)?,
            proj: linear(&attn.sub("proj"), width, width)?,
            norm2: common.norm(&path.sub("norm2"))?,
            mlp: Mlp::new(&path.sub("mlp"), common)?,
            heads: common.heads,
            drop_path: common.drop_path * layer as f64 / (common.layers - 1).max(1) as f64,
        })
    }

    fn forward(&self, x: &Tensor, noise: Option<&Noise>) -> Tensor {
        let seen = self.proj.forward(&attend(&self.qkv.forward(&self.norm1.forward(x)), self.heads));
        let x = x + drop_path(seen, self.drop_path, noise);
        let out = drop_path(self.mlp.forward(&self.norm2.forward(&x)), self.drop_path, noise);
        x + out
    }
}

/// Attention of the tokens of a row with each other: `[B, T, 3 · width]`, queries, keys and values, to `[B, T, width]`.
pub(crate) fn attend(qkv: &Tensor, heads: i64) -> Tensor {
    let qkv = qkv.unflatten(-1, [3, heads, -1].as_slice()).permute([2, 0, 3, 1, 4]);
    let seen = Tensor::scaled_dot_product_attention(&qkv.get(0), &qkv.get(1), &qkv.get(2), None::<Tensor>, 0.0, false, None, false);
    seen.transpose(1, 2).flatten(2, 3)
}

/// The tower. Parameters: those of the stem, `pos_embed`, `cls_token`, `blocks`, `norm` or `fc_norm`.
#[derive(Debug)]
pub(crate) struct Transformer {
    stem: Box<dyn Stem>,
    pos_embed: Option<Tensor>,
    cls_token: Option<Tensor>,
    blocks: Vec<Block>,
    norm: LayerNorm,
    /// Whether `norm` comes after pooling.
    fc_norm: bool,
    common: Common,
    embed: i64,
}

impl Transformer {
    /// Makes the parameters behind a stem of `places` tokens.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, stem: Box<dyn Stem>, places: i64, common: Common, embed: i64) -> Result<Self> {
        let token = |there: bool, name: &str, count: i64, start: f64| {
            if there { parameter(path, name, &[1, count, common.width], normal(start)).map(Some) } else { Ok(None) }
        };
        let (blocks, fc_norm) = (path.sub("blocks"), common.fc_norm.unwrap_or(common.pool != Pool::Token));
        Ok(Self {
            stem,
            pos_embed: token(common.pos_embed, "pos_embed", places, 0.02)?,
            cls_token: token(common.class_token, "cls_token", 1, 1e-6)?,
            blocks: (0..common.layers).map(|layer| Block::new(&blocks.sub(layer), &common, layer)).collect::<Result<_>>()?,
            norm: common.norm(&path.sub(if fc_norm { "fc_norm" } else { "norm" }))?,
            fc_norm,
            common,
            embed,
        })
    }

    /// `[B, 3, H, W]` to `[B, T, width]`, the class token first.
    fn embed(&self, images: &Tensor, noise: Option<&Noise>) -> Tensor {
        let x = self.stem.forward(images, noise).flatten(2, 3).transpose(1, 2);
        let x = self.pos_embed.as_ref().map_or_else(|| x.shallow_clone(), |positions| &x + positions);
        let x = match noise {
            Some(noise) if self.common.patch_dropout > 0.0 => self.drop_patches(&x, noise),
            _ => x,
        };
        match &self.cls_token {
            Some(token) => Tensor::cat(&[token.to_kind(x.kind()).expand([x.size()[0], -1, -1], false), x], 1),
            None => x,
        }
    }

    /// A random share of the tokens, at least one: as many in each row, but other ones.
    fn drop_patches(&self, x: &Tensor, noise: &Noise) -> Tensor {
        let size = x.size();
        let kept = ((size[1] as f64 * (1.0 - self.common.patch_dropout)) as i64).max(1);
        let (_, places) = noise.uniform(&[size[1]]).topk(kept, -1, true, true);
        x.gather(1, &places.unsqueeze(-1).expand([-1, -1, size[2]], false), false)
    }
}

impl Backbone for Transformer {
    fn input(&self) -> InputSpec {
        let Common { image_size, mean, std, .. } = self.common;
        InputSpec::Image { size: (image_size, image_size), mean, std }
    }

    fn width(&self) -> i64 {
        self.common.width
    }

    fn encode(&self, input: &Tensor, tokens: bool, noise: Option<&Noise>) -> Result<Hidden> {
        check_pictures(input, [self.common.image_size; 2])?;
        let norm = |here: bool, x: &Tensor| if here { self.norm.forward(x) } else { x.shallow_clone() };
        let x = self.blocks.iter().fold(self.embed(input, noise), |x, block| block.forward(&x, noise));
        let x = norm(!self.fc_norm, &x);
        let class = i64::from(self.common.class_token);
        let patches = x.narrow(1, class, x.size()[1] - class);
        let pooled = norm(self.fc_norm, &self.common.pool.places(&patches).unwrap_or_else(|| x.select(1, 0)));
        Ok(Hidden { pooled, tokens: tokens.then(|| Tokens::unmasked(patches)) })
    }

    fn stages(&self) -> Vec<String> {
        let before = [("patch_embed", true), ("cls_token", self.common.class_token), ("pos_embed", self.common.pos_embed)];
        let before = before.into_iter().filter(|(_, there)| *there).map(|(name, _)| format!("trunk.{name}"));
        let blocks = (0..self.blocks.len()).map(|layer| format!("trunk.blocks.{layer}"));
        let norm = if self.fc_norm { "trunk.fc_norm" } else { "trunk.norm" };
        before.chain(blocks).chain([norm.into()]).collect()
    }

    fn projection(&self) -> Projection {
        self.common.proj.projection(self.common.proj_bias, "trunk.head", self.embed)
    }
}
