//! The network that the three families share.

use vlhub_sdk::nn::{Activation, Conv2d, ConvConfig, LayerNorm, Path, Recomputed, check_pictures, normal, parameter};
use vlhub_sdk::prelude::*;

use crate::block::{Block, Start};
use crate::options::{Common, Pool};
use crate::pool::{MapPool, pool};
use crate::relative::{Positions, Relative, places};

/// Whose names and initial values the network has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// `vision_transformer.py` and `deit.py`.
    Vit,
    /// `vision_transformer_relpos.py`.
    RelPos,
    /// `beit.py`.
    Beit,
}

/// Options as the network needs them, checked.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub common: Common,
    pub style: Style,
    pub activation: Activation,
    pub epsilon: f64,
    pub class_token: bool,
    pub distilled: bool,
    pub reg_tokens: i64,
    /// Learned positions: none, of the patches alone, or of the tokens before them too.
    pub absolute: Option<Absolute>,
    pub relative: Option<Positions>,
    /// All blocks have the same relative positions.
    pub shared_relative: bool,
    pub qk_norm: bool,
    pub pre_norm: bool,
    /// The norm behind the blocks.
    pub norm: bool,
    /// The norm behind the pooling.
    pub fc_norm: bool,
    pub pool: Pool,
    pub patch_drop: f64,
}

/// Which tokens have a learned position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absolute {
    All,
    Patches,
}

impl Plan {
    /// How most linear layers start.
    pub fn start(&self) -> Start {
        if self.style == Style::RelPos { Start::Torch } else { Start::Normal(0.02) }
    }

    /// Tokens before the patches.
    fn prefix(&self) -> i64 {
        i64::from(self.class_token) + i64::from(self.distilled) + self.reg_tokens
    }
}

/// A vision transformer.
#[derive(Debug)]
pub(crate) struct Net {
    patch_embed: Conv2d,
    /// Class, distillation and register tokens, in this order.
    prefix: Vec<Tensor>,
    pos_embed: Option<Tensor>,
    relative: Option<Relative>,
    norm_pre: Option<LayerNorm>,
    blocks: Vec<Recomputed<Block>>,
    norm: Option<LayerNorm>,
    map: Option<MapPool>,
    fc_norm: Option<LayerNorm>,
    stages: Vec<String>,
    embed: i64,
    plan: Plan,
}

impl Net {
    /// Makes the parameters under `trunk`.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(cx: &BackboneCx<'_>, plan: Plan) -> Result<Self> {
        let path = &cx.path.sub("trunk");
        let Common { patch_size, width, layers, heads, .. } = plan.common;
        let grid = plan.common.grid();
        let mut stages = Vec::new();
        let mut stage = |name: &str| {
            stages.push(format!("trunk.{name}"));
            name.split('.').fold(path.clone(), |path, part| path.sub(part))
        };
        let class = normal(if plan.style == Style::Beit { 0.02 } else { 1e-6 });
        let mut prefix = Vec::new();
        for (name, count, start) in [
            ("cls_token", i64::from(plan.class_token), class),
            ("dist_token", i64::from(plan.distilled), normal(0.02)),
            ("reg_token", plan.reg_tokens, normal(1e-6)),
        ] {
            if count > 0 {
                let _ = stage(name);
                prefix.push(parameter(path, name, &[1, count, width], start)?);
            }
        }
        let positions = |which: Absolute| {
            let before = if which == Absolute::All { plan.prefix() } else { 0 };
            let _ = stage("pos_embed");
            parameter(path, "pos_embed", &[1, grid * grid + before, width], normal(0.02))
        };
        let pos_embed = plan.absolute.map(positions).transpose()?;
        // CLIP's normalises right behind, so its convolution needs no bias.
        let patches =
            ConvConfig { input: 3, output: width, kernel: patch_size, stride: patch_size, bias: !plan.pre_norm, ..ConvConfig::default() };
        let patch_embed = Conv2d::new(&stage("patch_embed").sub("proj"), patches)?;
        let places = plan.relative.map(|positions| places(positions, grid, path.device()));
        let shared = plan.relative.filter(|_| plan.shared_relative).zip(places.as_ref());
        let shared = shared.map(|(positions, places)| Relative::new(&stage("shared_rel_pos"), positions, grid, heads, places));
        let relative = shared.transpose()?;
        let layer_norm = |path: Path<'_>| LayerNorm::with_epsilon(&path, width, plan.epsilon);
        let block = |layer: i64, path: &Path<'_>| Block::new(path, &plan, layer, places.as_ref()).map(Recomputed::new);
        Ok(Self {
            norm_pre: plan.pre_norm.then(|| layer_norm(stage("norm_pre"))).transpose()?,
            blocks: (0..layers).map(|layer| block(layer, &stage(&format!("blocks.{layer}")))).collect::<Result<_>>()?,
            norm: plan.norm.then(|| layer_norm(stage("norm"))).transpose()?,
            map: (plan.pool == Pool::Map).then(|| MapPool::new(&stage("attn_pool"), &plan)).transpose()?,
            fc_norm: plan.fc_norm.then(|| layer_norm(stage("fc_norm"))).transpose()?,
            patch_embed,
            prefix,
            pos_embed,
            relative,
            stages,
            embed: cx.embed,
            plan,
        })
    }

    /// `[B, 3, H, W]` to `[B, prefix + patches kept, width]`.
    fn embed(&self, images: &Tensor, noise: Option<&Noise>) -> Tensor {
        let patches = self.patch_embed.forward(images).flatten(2, 3).transpose(1, 2);
        let with_prefix = |patches: Tensor| {
            let (rows, kind) = (patches.size()[0], patches.kind());
            let all = self.prefix.iter().map(|token| token.to_kind(kind).expand([rows, -1, -1], false)).chain([patches]);
            Tensor::cat(&all.collect::<Vec<_>>(), 1)
        };
        let x = match (&self.pos_embed, self.plan.absolute) {
            (Some(positions), Some(Absolute::Patches)) => with_prefix(patches + positions),
            (Some(positions), _) => with_prefix(patches) + positions,
            (None, _) => with_prefix(patches),
        };
        let x = match noise {
            Some(noise) if self.plan.patch_drop > 0.0 => self.drop_patches(&x, noise),
            _ => x,
        };
        match &self.norm_pre {
            Some(norm) => norm.forward(&x),
            None => x,
        }
    }

    /// Keeps the prefix and a random share of the patches, at least one: as many in each row, but other ones, in the order of the draw.
    fn drop_patches(&self, x: &Tensor, noise: &Noise) -> Tensor {
        let (size, prefix) = (x.size(), self.plan.prefix());
        let patches = size[1] - prefix;
        let kept = ((patches as f64 * (1.0 - self.plan.patch_drop)) as i64).max(1);
        let (_, chosen) = noise.uniform(&[patches]).topk(kept, -1, true, true);
        let before = Tensor::arange(prefix, (Kind::Int64, x.device())).unsqueeze(0).expand([size[0], -1], false);
        let places = Tensor::cat(&[before, chosen + prefix], 1);
        x.gather(1, &places.unsqueeze(-1).expand([-1, -1, size[2]], false), false)
    }
}

impl Backbone for Net {
    fn input(&self) -> InputSpec {
        let Common { image_size, mean, std, .. } = self.plan.common;
        InputSpec::Image { size: (image_size, image_size), mean, std }
    }

    fn width(&self) -> i64 {
        self.plan.common.width
    }

    fn encode(&self, input: &Tensor, tokens: bool, noise: Option<&Noise>) -> Result<Hidden> {
        check_pictures(input, [self.plan.common.image_size; 2])?;
        let x = self.embed(input, noise);
        let shared = self.relative.as_ref().map(|relative| relative.forward(&x, noise));
        // Where nothing but the first tokens is read after the last block, only those are computed there.
        let read = (!tokens && self.plan.pool == Pool::Token).then_some(1 + i64::from(self.plan.distilled));
        let last = self.blocks.len() - 1;
        let each = self.blocks.iter().enumerate();
        let x = each.fold(x, |x, (at, block)| {
            let (inputs, read): (Vec<&Tensor>, _) = ([&x].into_iter().chain(&shared).collect(), read.filter(|_| at == last));
            block.forward(&inputs, noise, move |block, inputs, noise| block.forward(&inputs[0], read, inputs.get(1), noise))
        });
        let normalise = |x: Tensor, norm: &Option<LayerNorm>| match norm {
            Some(norm) => norm.forward(&x),
            None => x,
        };
        let x = normalise(x, &self.norm);
        let prefix = self.plan.prefix();
        let patches = || x.narrow(1, prefix, x.size()[1] - prefix);
        let pooled = match &self.map {
            Some(map) => map.forward(&patches()),
            None => pool(&x, self.plan.pool, prefix, self.plan.distilled),
        };
        let tokens = tokens.then(patches).map(Tokens::unmasked);
        Ok(Hidden { pooled: normalise(pooled, &self.fc_norm), tokens })
    }

    fn recomputes(&self) -> bool {
        true
    }

    fn stages(&self) -> Vec<String> {
        self.stages.clone()
    }

    fn projection(&self) -> Projection {
        self.plan.common.proj.projection(self.plan.common.proj_bias, "trunk.head", self.embed)
    }
}
