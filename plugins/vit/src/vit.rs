//! The ViT image tower.

mod options;
#[cfg(test)]
mod tests;

use vlhub_sdk::nn::{LayerNorm, Mask, Start, Transformer, check_pictures, default_bound, normal, parameter};
use vlhub_sdk::prelude::*;

pub use self::options::{AttentionalPool, Contrastive, ImageSize, Pool, Position, VitConfig};
use crate::pool::AttentionalPooler;
use crate::positions::sin_cos_2d;

impl Config<dyn Backbone> for VitConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check(cx.embed)?;
        let (path, width) = (&cx.path, self.width);
        let norm = |name: &str, width| LayerNorm::with_epsilon(&path.sub(name), width, self.norm_eps);
        let [rows, columns] = self.image_size.sides().map(|side| side / self.patch_size);
        let scale = normal((width as f64).powf(-0.5));
        let patch = default_bound(3 * self.patch_size * self.patch_size);
        let start = normal(1e-6);
        let poolers = Poolers::new(self, cx)?;
        let pooled = if matches!(poolers, Poolers::None) { width } else { cx.embed };
        Ok(Box::new(Vit {
            conv1: parameter(&path.sub("conv1"), "weight", &[width, 3, self.patch_size, self.patch_size], patch)?,
            class_embedding: parameter(path, "class_embedding", &[width], scale)?,
            positional_embedding: match self.position {
                Position::Learned => parameter(path, "positional_embedding", &[rows * columns + 1, width], scale)?,
                Position::SinCos2d => sin_cos_2d(path, rows, width)?,
            },
            registers: match self.registers {
                0 => None,
                count => Some(parameter(path, "register_tokens", &[1, count, width], start)?),
            },
            ln_pre: if self.no_ln_pre { None } else { Some(norm("ln_pre", width)?) },
            transformer: Transformer::new(&path.sub("transformer"), self.layers, &self.dimensions().block(Start::Torch))?,
            ln_post: norm("ln_post", pooled)?,
            poolers,
            width: pooled,
            config: self.clone(),
        }))
    }
}

/// The tower that [`VitConfig`] builds.
#[derive(Debug)]
pub struct Vit {
    conv1: Tensor,
    class_embedding: Tensor,
    positional_embedding: Tensor,
    registers: Option<Tensor>,
    ln_pre: Option<LayerNorm>,
    transformer: Transformer,
    poolers: Poolers,
    ln_post: LayerNorm,
    /// Of what comes out.
    width: i64,
    config: VitConfig,
}

/// The attentional poolers, `attn_pool` and `attn_pool_contrastive`.
#[derive(Debug)]
enum Poolers {
    None,
    One(AttentionalPooler),
    Two(Contrastive, [AttentionalPooler; 2]),
}

impl Poolers {
    fn new(config: &VitConfig, cx: &BackboneCx<'_>) -> Result<Self> {
        let pooler =
            |name: &str, count| AttentionalPooler::new(&cx.path.sub(name), [cx.embed, config.width], config.attn_pooler_heads, count);
        let main = || pooler("attn_pool", config.attn_pooler_queries);
        Ok(match config.attentional_pool {
            AttentionalPool::Switch(false) => Self::None,
            AttentionalPool::Switch(true) => Self::One(main()?),
            AttentionalPool::Contrastive(looks_at) => Self::Two(looks_at, [main()?, pooler("attn_pool_contrastive", 1)?]),
        })
    }
}

impl Vit {
    /// `[B, 3, H, W]` to `[B, 1 + patches kept + registers, width]`, the class token first.
    fn embed(&self, images: &Tensor, noise: Option<&Noise>) -> Tensor {
        let side = self.config.patch_size;
        let patches = images.conv2d(&self.conv1, None::<&Tensor>, [side, side], [0, 0], [1, 1], 1).flatten(2, 3).transpose(1, 2);
        let class = self.class_embedding.to_kind(patches.kind()).view([1, 1, -1]).expand([patches.size()[0], -1, -1], false);
        let mut x = Tensor::cat(&[class, patches], 1) + &self.positional_embedding;
        if let Some(noise) = noise
            && self.config.patch_dropout > 0.0
        {
            x = self.drop_patches(&x, noise);
        }
        if let Some(registers) = &self.registers {
            // Attention does not know the order, so they may come last, where nothing has to step around them.
            x = Tensor::cat(&[&x, &registers.to_kind(x.kind()).expand([x.size()[0], -1, -1], false)], 1);
        }
        LayerNorm::optional(&self.ln_pre, x)
    }

    /// Keeps the class token and a random share of the patches, at least one: as many in each row, but other ones, in the order of the draw.
    fn drop_patches(&self, x: &Tensor, noise: &Noise) -> Tensor {
        let size = x.size();
        let (rows, patches) = (size[0], size[1] - 1);
        let kept = ((patches as f64 * (1.0 - self.config.patch_dropout)) as i64).max(1);
        let (_, chosen) = noise.uniform(&[patches]).topk(kept, -1, true, true);
        let places = Tensor::cat(&[Tensor::zeros([rows, 1], (Kind::Int64, x.device())), chosen + 1], 1);
        x.gather(1, &places.unsqueeze(-1).expand([-1, -1, size[2]], false), false)
    }

    /// The pooled output and the tokens, of the last block's `[B, 1 + patches, width]`; without `tokens`, only some of the latter may come.
    fn pool(&self, x: &Tensor, tokens: bool) -> (Tensor, Tensor) {
        match &self.poolers {
            Poolers::None if self.config.final_ln_after_pool => {
                let (pooled, tokens) = self.select(x);
                (self.ln_post.forward(&pooled), tokens)
            }
            Poolers::None => self.select(&self.ln_post.forward(x)),
            Poolers::One(attn_pool) => {
                let first_alone = !tokens && self.config.pool != Pool::Avg;
                self.select(&self.ln_post.forward(&attn_pool.forward(x, first_alone.then_some(1))))
            }
            Poolers::Two(looks_at, [attn_pool, contrastive]) => {
                let x = self.ln_post.forward(x);
                let queried = if tokens || *looks_at == Contrastive::Cascade { attn_pool.forward(&x, None) } else { x.shallow_clone() };
                let seen = if *looks_at == Contrastive::Cascade { &queried } else { &x };
                (contrastive.forward(seen, None).squeeze_dim(1), queried)
            }
        }
    }

    /// The pooled output and the tokens, among those that may be either.
    fn select(&self, x: &Tensor) -> (Tensor, Tensor) {
        let rest = || x.narrow(1, 1, x.size()[1] - 1);
        match self.config.pool {
            Pool::Tok => (x.select(1, 0), rest()),
            Pool::Avg => (rest().mean_dim([1i64].as_slice(), false, None::<Kind>), rest()),
            Pool::None => (x.select(1, 0), x.shallow_clone()),
        }
    }

    fn check(&self, images: &Tensor, tokens: bool) -> Result<()> {
        check_pictures(images, self.config.image_size.sides())?;
        if tokens && matches!(self.poolers, Poolers::One(_)) && self.config.pool == Pool::Tok && self.config.attn_pooler_queries == 1 {
            let way_out = "set it to 2 or more, or `pool` to \"none\"";
            return Err(Error::invalid(format!("with `attn_pooler_queries` = 1 the pooled output leaves no tokens: {way_out}")));
        }
        Ok(())
    }
}

impl Backbone for Vit {
    fn input(&self) -> InputSpec {
        let VitConfig { image_size, mean, std, .. } = self.config;
        let [height, width] = image_size.sides();
        InputSpec::Image { size: (height, width), mean, std }
    }

    fn width(&self) -> i64 {
        self.width
    }

    fn encode(&self, input: &Tensor, tokens: bool, noise: Option<&Noise>) -> Result<Hidden> {
        self.check(input, tokens)?;
        let x = self.embed(input, noise);
        if !tokens && matches!(self.poolers, Poolers::None) && self.config.pool != Pool::Avg {
            // Nothing but the class token is read after the last block, so only that is computed there.
            let class = Tensor::zeros([x.size()[0]], (Kind::Int64, x.device()));
            let pooled = self.ln_post.forward(&self.transformer.forward_at(&x, &class, Mask::Full, Mask::Full, noise));
            return Ok(Hidden { pooled, tokens: None });
        }
        let x = self.transformer.forward(&x, Mask::Full, noise);
        let (pooled, values) = self.pool(&x.narrow(1, 0, x.size()[1] - self.config.registers), tokens);
        Ok(Hidden { pooled, tokens: tokens.then(|| Tokens::unmasked(values)) })
    }

    fn recomputes(&self) -> bool {
        true
    }

    fn stages(&self) -> Vec<String> {
        let learned = self.config.position == Position::Learned;
        let embedding = [
            ("conv1", true),
            ("class_embedding", true),
            ("positional_embedding", learned),
            ("register_tokens", self.registers.is_some()),
            ("ln_pre", self.ln_pre.is_some()),
        ];
        let poolers: &[&str] = match self.poolers {
            Poolers::None => &["ln_post"],
            Poolers::One(_) => &["attn_pool", "ln_post"],
            Poolers::Two(..) => &["ln_post", "attn_pool", "attn_pool_contrastive"],
        };
        let embedding = embedding.into_iter().filter(|(_, made)| *made).map(|(name, _)| name.into());
        embedding.chain(self.transformer.stages("transformer")).chain(poolers.iter().map(|name| String::from(*name))).collect()
    }
}

register!(dyn Backbone, "vit", VitConfig);
register!(dyn Backbone, "vit_tiny_8", VitConfig, VitConfig::tiny_8);
register!(dyn Backbone, "vit_s_32", VitConfig, VitConfig::s_32);
register!(dyn Backbone, "vit_s_16", VitConfig, VitConfig::s_16);
register!(dyn Backbone, "vit_b_32", VitConfig, VitConfig::b_32);
register!(dyn Backbone, "vit_b_16", VitConfig, VitConfig::b_16);
register!(dyn Backbone, "vit_l_14", VitConfig, VitConfig::l_14);
register!(dyn Backbone, "vit_coca_b_32", VitConfig, VitConfig::coca_b_32);
register!(dyn Backbone, "vit_coca_l_14", VitConfig, VitConfig::coca_l_14);
