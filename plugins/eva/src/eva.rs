//! The tower.

use vlhub_sdk::nn::{Conv2d, ConvConfig, LayerNorm, Path, Recomputed, check_pictures, normal, parameter};
use vlhub_sdk::prelude::*;

use crate::block::Block;
use crate::options::{EvaConfig, Pool};
use crate::pool::AttentionPool;
use crate::rope::{Angles, Rope};

/// The tower that [`EvaConfig`] builds.
#[derive(Debug)]
pub struct Eva {
    patch_embed: Conv2d,
    /// Class and register tokens, `[1, count, width]` each.
    prefix: Vec<Tensor>,
    pos_embed: Option<Tensor>,
    rope: Option<Rope>,
    norm_pre: Option<LayerNorm>,
    blocks: Vec<Recomputed<Block>>,
    norm: Option<LayerNorm>,
    attn_pool: Option<AttentionPool>,
    fc_norm: Option<LayerNorm>,
    config: EvaConfig,
    embed: i64,
}

impl Config<dyn Backbone> for EvaConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check()?;
        Ok(Box::new(Eva::new(&cx.path.sub("trunk"), self.clone(), cx.embed)?))
    }
}

impl Eva {
    fn new(path: &Path<'_>, config: EvaConfig, embed: i64) -> Result<Self> {
        let EvaConfig { width, patch_size, .. } = config;
        let patch = ConvConfig {
            input: 3,
            output: width,
            kernel: patch_size,
            stride: patch_size,
            bias: !config.use_pre_transformer_norm,
            ..ConvConfig::default()
        };
        let mut prefix = Vec::new();
        for (name, count) in [("cls_token", i64::from(config.class_token)), ("reg_token", config.num_reg_tokens)] {
            if count > 0 {
                prefix.push(parameter(path, name, &[1, count, width], normal(0.02))?);
            }
        }
        let positions = config.grid() * config.grid() + if config.no_embed_class { 0 } else { config.prefix() };
        let norm = |there: bool, name: &str| if there { config.norm(&path.sub(name), width).map(Some) } else { Ok(None) };
        let (after_blocks, after_pooling) = config.norms();
        let blocks = path.sub("blocks");
        Ok(Self {
            patch_embed: Conv2d::new(&path.sub("patch_embed").sub("proj"), patch)?,
            prefix,
            pos_embed: config.use_abs_pos_emb.then(|| parameter(path, "pos_embed", &[1, positions, width], normal(0.02))).transpose()?,
            rope: config.use_rot_pos_emb.then(|| Rope::new(&config)),
            norm_pre: norm(config.use_pre_transformer_norm, "norm_pre")?,
            blocks: (0..config.layers)
                .map(|layer| Block::new(&blocks.sub(layer), &config, layer).map(Recomputed::new))
                .collect::<Result<_>>()?,
            norm: norm(after_blocks, "norm")?,
            attn_pool: match config.pool {
                Pool::Map => Some(AttentionPool::new(&path.sub("attn_pool"), &config)?),
                _ => None,
            },
            fc_norm: norm(after_pooling, "fc_norm")?,
            config,
            embed,
        })
    }

    /// `[B, 3, H, W]` to `[B, prefix + patches, width]`, class and register tokens first.
    fn embed(&self, images: &Tensor) -> Tensor {
        let patches = self.patch_embed.forward(images).flatten(2, 3).transpose(1, 2);
        let positions = |x: Tensor| self.pos_embed.as_ref().map_or_else(|| x.shallow_clone(), |positions| &x + positions);
        let patches = if self.config.no_embed_class { positions(patches) } else { patches };
        let rows = patches.size()[0];
        let mut parts: Vec<Tensor> = self.prefix.iter().map(|token| token.to_kind(patches.kind()).expand([rows, -1, -1], false)).collect();
        parts.push(patches);
        let x = Tensor::cat(&parts, 1);
        if self.config.no_embed_class { x } else { positions(x) }
    }

    /// Keeps the class and register tokens and a random share of the patches, at least one: as many in each row, but other ones. Also gives
    /// the places of those that stay, `[B, kept]`.
    fn drop_patches(&self, x: &Tensor, noise: &Noise) -> (Tensor, Tensor) {
        let (size, prefix) = (x.size(), self.config.prefix());
        let patches = size[1] - prefix;
        let kept = ((patches as f64 * (1.0 - self.config.patch_dropout)) as i64).max(1);
        let (_, chosen) = noise.uniform(&[patches]).topk(kept, -1, true, true);
        let places = (&chosen + prefix).unsqueeze(-1).expand([-1, -1, size[2]], false);
        (Tensor::cat(&[x.narrow(1, 0, prefix), x.gather(1, &places, false)], 1), chosen)
    }

    fn pool(&self, x: &Tensor, patches: &Tensor) -> Tensor {
        let mean = || patches.mean_dim([1i64].as_slice(), false, None::<Kind>);
        let largest = || patches.amax([1i64].as_slice(), false);
        let pooled = match (&self.attn_pool, self.config.pool) {
            (Some(pool), _) => pool.forward(x),
            (None, Pool::Avg) => mean(),
            (None, Pool::Max) => largest(),
            (None, Pool::Avgmax) => (mean() + largest()) * 0.5,
            (None, Pool::Token | Pool::Map) => x.select(1, 0),
        };
        self.fc_norm.as_ref().map_or_else(|| pooled.shallow_clone(), |norm| norm.forward(&pooled))
    }
}

impl Backbone for Eva {
    fn input(&self) -> InputSpec {
        let EvaConfig { image_size, mean, std, .. } = self.config;
        InputSpec::Image { size: (image_size, image_size), mean, std }
    }

    fn width(&self) -> i64 {
        self.config.width
    }

    fn encode(&self, input: &Tensor, tokens: bool, noise: Option<&Noise>) -> Result<Hidden> {
        check_pictures(input, [self.config.image_size; 2])?;
        let x = self.embed(input);
        let (x, kept) = match noise {
            Some(noise) if self.config.patch_dropout > 0.0 => {
                let (x, kept) = self.drop_patches(&x, noise);
                (x, Some(kept))
            }
            _ => (x, None),
        };
        let angles = self.rope.as_ref().map(|rope| rope.angles(x.device(), kept.as_ref()));
        let norm = |norm: &Option<LayerNorm>, x: Tensor| norm.as_ref().map_or_else(|| x.shallow_clone(), |norm| norm.forward(&x));
        let x = self.blocks.iter().fold(norm(&self.norm_pre, x), |x, block| {
            let angles = angles.as_ref().map(Angles::shallow_clone);
            block.forward(&[&x], noise, move |block, inputs, noise| block.forward(&inputs[0], angles.as_ref(), noise))
        });
        let x = norm(&self.norm, x);
        let patches = x.narrow(1, self.config.prefix(), x.size()[1] - self.config.prefix());
        let pooled = self.pool(&x, &patches);
        Ok(Hidden { pooled, tokens: tokens.then(|| Tokens::unmasked(patches)) })
    }

    fn recomputes(&self) -> bool {
        true
    }

    fn stages(&self) -> Vec<String> {
        let config = &self.config;
        let before = [
            ("patch_embed", true),
            ("cls_token", config.class_token),
            ("reg_token", config.num_reg_tokens > 0),
            ("pos_embed", config.use_abs_pos_emb),
            ("norm_pre", self.norm_pre.is_some()),
        ];
        let after = [("norm", self.norm.is_some()), ("attn_pool", self.attn_pool.is_some()), ("fc_norm", self.fc_norm.is_some())];
        let named = |(name, there): &(&str, bool)| there.then(|| format!("trunk.{name}"));
        let blocks = (0..self.blocks.len()).map(|layer| format!("trunk.blocks.{layer}"));
        before.iter().filter_map(named).chain(blocks).chain(after.iter().filter_map(named)).collect()
    }

    fn projection(&self) -> Projection {
        self.config.proj.projection(self.config.proj_bias, "trunk.head", self.embed)
    }
}
