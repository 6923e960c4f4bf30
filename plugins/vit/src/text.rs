//! The text transformer.

mod mask;
mod options;
#[cfg(test)]
mod tests;

use vlhub_sdk::nn::{LayerNorm, Mask, Start, Transformer, normal, parameter, up_to};
use vlhub_sdk::ops::gather_rows;
use vlhub_sdk::prelude::*;

use self::mask::Sight;
pub use self::options::{TextConfig, TextPool, TextProjection};

impl Config<dyn Backbone> for TextConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check()?;
        let (path, width) = (&cx.path, self.width);
        let start = Start::Clip { layers: self.layers };
        let places = self.context + i64::from(self.embed_cls);
        Ok(Box::new(TextTransformer {
            token_embedding: parameter(&path.sub("token_embedding"), "weight", &[self.vocab, width], normal(0.02))?,
            positional_embedding: parameter(path, "positional_embedding", &[places, width], normal(0.01))?,
            cls_emb: self.embed_cls.then(|| parameter(path, "cls_emb", &[width], normal(0.01))).transpose()?,
            transformer: Transformer::new(&path.sub("transformer"), self.layers, &self.dimensions().block(start))?,
            ln_final: LayerNorm::with_epsilon(&path.sub("ln_final"), width, self.norm_eps)?,
            config: self.clone(),
        }))
    }
}

/// The tower that [`TextConfig`] builds.
#[derive(Debug)]
pub struct TextTransformer {
    token_embedding: Tensor,
    positional_embedding: Tensor,
    cls_emb: Option<Tensor>,
    transformer: Transformer,
    ln_final: LayerNorm,
    config: TextConfig,
}

impl TextTransformer {
    fn check(&self, ids: &Tensor) -> Result<()> {
        let TextConfig { context, vocab, .. } = self.config;
        let size = ids.size();
        if ids.kind() != Kind::Int64 || size.len() != 2 || size[1] < 1 {
            return Err(Error::invalid(format!("the text tower reads int64 ids [B, L], not {:?} {size:?}", ids.kind())));
        }
        if size[1] > context {
            return Err(Error::invalid(format!("texts of {} tokens are longer than the text tower's `context` = {context}", size[1])));
        }
        // On a GPU this would wait for all work in flight; ids come from the host, which makes them from a vocabulary of this size.
        if ids.device() == Device::Cpu && ids.numel() > 0 {
            let (least, most) = (ids.min().int64_value(&[]), ids.max().int64_value(&[]));
            if least < 0 || most >= vocab {
                let wrong = if least < 0 { least } else { most };
                return Err(Error::invalid(format!("token id {wrong} is outside of the text tower's vocabulary 0..{vocab}")));
            }
        }
        Ok(())
    }

    /// `[B, L]` to `[B, L, width]`, or one token more with a class token, which comes last.
    fn embed(&self, ids: &Tensor) -> Tensor {
        let mut x = Tensor::embedding(&self.token_embedding, ids, -1, false, false);
        if let Some(class) = &self.cls_emb {
            x = Tensor::cat(&[&x, &class.to_kind(x.kind()).view([1, 1, -1]).expand([x.size()[0], -1, -1], false)], 1);
        }
        &x + self.positional_embedding.narrow(0, 0, x.size()[1])
    }

    /// The place of the pooled output in each row, `[B]`.
    fn place(&self, ids: &Tensor) -> Tensor {
        let size = ids.size();
        let everywhere = |place| Tensor::full([size[0]], place, (Kind::Int64, ids.device()));
        match self.config.pool {
            _ if self.config.embed_cls => everywhere(size[1]),
            TextPool::Argmax => ids.argmax(-1, false),
            TextPool::Eos => ids.eq(self.config.eos_id).to_kind(Kind::Int).argmax(-1, false),
            TextPool::Last => everywhere(size[1] - 1),
            TextPool::First | TextPool::None => everywhere(0),
        }
    }

    /// The tokens that are part of the text, `[B, L]`.
    fn valid(&self, ids: &Tensor, pooled: &Tensor) -> Tensor {
        match self.config.pool {
            TextPool::Argmax | TextPool::Eos if !self.config.embed_cls => up_to(pooled, ids.size()[1]),
            _ => ids.not_equal(self.config.pad),
        }
    }
}

impl Backbone for TextTransformer {
    fn input(&self) -> InputSpec {
        let TextConfig { context, vocab, pad, .. } = self.config;
        InputSpec::Text { context, vocab, pad, truncates: self.config.truncates() }
    }

    fn width(&self) -> i64 {
        self.config.width
    }

    fn encode(&self, input: &Tensor, tokens: bool, noise: Option<&Noise>) -> Result<Hidden> {
        self.check(input)?;
        let (x, sight, at) = (self.embed(input), Sight::new(&self.config, input), self.place(input));
        if !tokens {
            // Nothing but the pooled token is read after the last block, so only that is computed there.
            let own = sight.of(&at, x.size()[1]);
            let own = own.as_ref().map_or(Mask::Full, Mask::Given);
            let pooled = self.ln_final.forward(&self.transformer.forward_at(&x, &at, sight.all(), own, noise));
            return Ok(Hidden { pooled, tokens: None });
        }
        let x = self.transformer.forward(&x, sight.all(), noise);
        let mask = self.valid(input, &at);
        if self.config.embed_cls {
            let values = x.narrow(1, 0, input.size()[1]);
            return Ok(Hidden { pooled: self.ln_final.forward(&gather_rows(&x, &at)), tokens: Some(Tokens { mask, values }) });
        }
        let values = self.ln_final.forward(&x);
        Ok(Hidden { pooled: gather_rows(&values, &at), tokens: Some(Tokens { mask, values }) })
    }

    fn encode_after(&self, prefix: &Tensor, rest: &Tensor) -> Result<Option<Hidden>> {
        if !self.config.is_plainly_causal() {
            return Ok(None);
        }
        let before = prefix.numel() as i64;
        let ids = Tensor::cat(&[prefix.unsqueeze(0).expand([rest.size()[0], -1], false), rest.shallow_clone()], 1);
        self.check(&ids)?;
        let at = self.place(&ids) - before;
        if at.numel() > 0 && at.min().int64_value(&[]) < 0 {
            return Ok(None);
        }
        let x = self.embed(&ids);
        let (prefix, rest) = (x.narrow(0, 0, 1).narrow(1, 0, before), x.narrow(1, before, rest.size()[1]));
        let pooled = self.ln_final.forward(&self.transformer.forward_after(&prefix, &rest, &at));
        Ok(Some(Hidden { pooled, tokens: None }))
    }

    fn recomputes(&self) -> bool {
        true
    }

    fn stages(&self) -> Vec<String> {
        let embedding = ["token_embedding", "positional_embedding"].into_iter().chain(self.cls_emb.is_some().then_some("cls_emb"));
        embedding.map(String::from).chain(self.transformer.stages("transformer")).chain([String::from("ln_final")]).collect()
    }

    fn projection(&self) -> Projection {
        match self.config.projection {
            TextProjection::Matrix => Projection::Matrix("text_projection"),
            TextProjection::Linear => Projection::Linear { name: "text_projection", bias: true },
            TextProjection::None => Projection::Identity,
        }
    }
}

register!(dyn Backbone, "text_transformer", TextConfig);
register!(dyn Backbone, "text_tiny", TextConfig, TextConfig::tiny);
register!(dyn Backbone, "text_s", TextConfig, TextConfig::s);
register!(dyn Backbone, "text_l", TextConfig, TextConfig::l);
register!(dyn Backbone, "text_coca", TextConfig, TextConfig::coca);
register!(dyn Backbone, "text_siglip_b", TextConfig, TextConfig::siglip_b);
