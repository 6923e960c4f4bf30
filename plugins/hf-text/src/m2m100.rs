//! The encoder of M2M-100 and NLLB-200.

use vlhub_sdk::nn::{Init, LayerNorm, Linear, Path, Recomputed, dropout, normal};
use vlhub_sdk::prelude::*;

use crate::attention::Attention;
use crate::options::{Act, Common, Pooling, Proj};
use crate::tower::{self, Embedding};

/// Encoder of M2M-100 (arXiv 2010.11125) and NLLB-200 (arXiv 2207.04672): layer norm before each part, scaled embeddings, and positions
/// from sines and cosines, which are no parameters. Parameters of transformers' `M2M100Encoder` under `transformer`.
///
/// Padding is not looked at and not pooled. Tokens are the outputs of the last norm; with `pooling = "cls"` without the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct M2m100Config {
    /// Context length: the longest text, in tokens, language and end included.
    pub context: i64,
    /// Vocabulary size.
    pub vocab: i64,
    /// Padding id, which fills up short texts; positions are counted from the next number.
    pub pad: i64,
    /// Width of a token (`d_model`).
    pub width: i64,
    /// Number of layers (`encoder_layers`).
    pub layers: i64,
    /// Attention heads of each layer; they share the width equally (`encoder_attention_heads`).
    pub heads: i64,
    /// Width inside the MLP (`encoder_ffn_dim`).
    pub hidden: i64,
    /// Activation function inside the MLP (`activation_function`).
    pub activation: Act,
    /// Whether embeddings are multiplied with the square root of `width` (`scale_embedding`).
    pub scale_embedding: bool,
    /// Pooling of the outputs of the last norm.
    pub pooling: Pooling,
    /// Projection head: what maps the pooled output into the joint space.
    pub proj: Proj,
    /// Dropout: share of the elements that is zeroed while training, after the embeddings and after each part.
    pub dropout: f64,
    /// Attention dropout: share of the attention weights that is zeroed while training.
    pub attention_dropout: f64,
    /// Dropout inside the MLP: share of the elements that is zeroed while training.
    pub activation_dropout: f64,
}

impl Default for M2m100Config {
    /// A model for a CPU and seconds: 32,000 ids at width 64, 2 layers, 2 heads; 2.1 million parameters.
    fn default() -> Self {
        Self { vocab: 32_000, width: 64, layers: 2, heads: 2, hidden: 256, ..Self::nllb_200_distilled_600m() }
    }
}

impl M2m100Config {
    /// `facebook/nllb-200-distilled-600M`: width 1024, 12 layers, 16 heads.
    pub fn nllb_200_distilled_600m() -> Self {
        Self {
            context: 77,
            vocab: 256_206,
            pad: 1,
            width: 1024,
            layers: 12,
            heads: 16,
            hidden: 4096,
            activation: Act::Relu,
            scale_embedding: true,
            pooling: Pooling::Cls,
            proj: Proj::Linear,
            dropout: 0.1,
            attention_dropout: 0.1,
            activation_dropout: 0.0,
        }
    }
    /// `facebook/nllb-200-distilled-1.3B`: width 1024, 24 layers, 16 heads.
    pub fn nllb_200_distilled_1_3b() -> Self {
        Self { layers: 24, hidden: 8192, ..Self::nllb_200_distilled_600m() }
    }

    fn common(&self) -> Common {
        let Self { context, vocab, pad, width, layers, heads, hidden, proj, dropout, attention_dropout, .. } = *self;
        Common { context, vocab, pad, width, layers, heads, hidden, proj, dropout, attention_dropout }
    }

    /// # Errors
    /// Everything that is wrong, at once.
    fn check(&self) -> Result<()> {
        let mut problems = self.common().problems();
        problems.divides(("heads", self.heads), ("width", self.width));
        problems.share("activation_dropout", self.activation_dropout);
        if self.width < 4 || self.width % 2 != 0 {
            problems.push(format!("`width` = {} must be even and at least 4: half of a position are sines, half cosines", self.width));
        }
        problems.finish()
    }
}

/// A linear layer as NLLB's start.
fn linear(path: &Path<'_>, input: i64, output: i64) -> Result<Linear> {
    Linear::new(path, input, output, normal(0.02), Init::Const(0.0))
}

/// One layer: `self_attn`, `self_attn_layer_norm`, `fc1`, `fc2`, `final_layer_norm`.
#[derive(Debug)]
struct Layer {
    self_attn: Attention,
    self_attn_layer_norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    final_layer_norm: LayerNorm,
    activation: Act,
    dropout: f64,
    activation_dropout: f64,
}

impl Layer {
    fn new(path: &Path<'_>, config: &M2m100Config) -> Result<Self> {
        let M2m100Config { width, heads, hidden, .. } = *config;
        let attention = path.sub("self_attn");
        let map = |name: &str| linear(&attention.sub(name), width, width);
        Ok(Self {
            self_attn: Attention {
                query: map("q_proj")?,
                key: map("k_proj")?,
                value: map("v_proj")?,
                out: map("out_proj")?,
                heads,
                scale: ((width / heads) as f64).powf(-0.5),
                dropout: config.attention_dropout,
                context: config.context,
            },
            self_attn_layer_norm: LayerNorm::new(&path.sub("self_attn_layer_norm"), width)?,
            fc1: linear(&path.sub("fc1"), width, hidden)?,
            fc2: linear(&path.sub("fc2"), hidden, width)?,
            final_layer_norm: LayerNorm::new(&path.sub("final_layer_norm"), width)?,
            activation: config.activation,
            dropout: config.dropout,
            activation_dropout: config.activation_dropout,
        })
    }

    fn forward(&self, x: &Tensor, mask: &Tensor, noise: Option<&Noise>) -> Tensor {
        let seen = self.self_attn.forward(&self.self_attn_layer_norm.forward(x), mask, noise);
        let x = x + dropout(seen, self.dropout, noise);
        let inner = self.activation.forward(&self.fc1.forward(&self.final_layer_norm.forward(&x)));
        let output = self.fc2.forward(&dropout(inner, self.activation_dropout, noise));
        x + dropout(output, self.dropout, noise)
    }
}

/// The tower that [`M2m100Config`] builds.
#[derive(Debug)]
pub struct M2m100Encoder {
    embed_tokens: Embedding,
    layers: Vec<Recomputed<Layer>>,
    layer_norm: LayerNorm,
    projection: Projection,
    config: M2m100Config,
}

impl Config<dyn Backbone> for M2m100Config {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check()?;
        let path = cx.path.sub("transformer");
        let layers = path.sub("layers");
        Ok(Box::new(M2m100Encoder {
            embed_tokens: Embedding::new(&path.sub("embed_tokens"), self.vocab, self.width, normal(0.02), Some(self.pad))?,
            layers: (0..self.layers)
                .map(|layer| Layer::new(&layers.sub(layer.to_string()), self).map(Recomputed::new))
                .collect::<Result<_>>()?,
            layer_norm: LayerNorm::new(&path.sub("layer_norm"), self.width)?,
            projection: self.common().projection(cx.embed),
            config: self.clone(),
        }))
    }
}

impl M2m100Encoder {
    /// Sines and cosines of each token's position, `[B, L, width]`; padding has none.
    fn places(&self, ids: &Tensor) -> Tensor {
        let half = self.config.width / 2;
        let step = -(10_000f64.ln() / (half - 1) as f64);
        let float = (Kind::Float, ids.device());
        let frequency = (Tensor::arange(half, float) * step).exp();
        let angle = tower::positions(ids, self.config.pad).to_kind(Kind::Float).unsqueeze(-1) * frequency;
        let waves = Tensor::cat(&[angle.sin(), angle.cos()], -1);
        waves * ids.not_equal(self.config.pad).unsqueeze(-1).to_kind(Kind::Float)
    }

    fn embed(&self, ids: &Tensor, noise: Option<&Noise>) -> Tensor {
        let words = self.embed_tokens.forward(ids);
        let words = if self.config.scale_embedding { words * (self.config.width as f64).sqrt() } else { words };
        let places = self.places(ids).to_kind(words.kind());
        dropout(words + places, self.config.dropout, noise)
    }
}

impl Backbone for M2m100Encoder {
    fn input(&self) -> InputSpec {
        self.config.common().input()
    }

    fn width(&self) -> i64 {
        self.config.width
    }

    fn encode(&self, input: &Tensor, tokens: bool, noise: Option<&Noise>) -> Result<Hidden> {
        tower::check(input, &self.config.common())?;
        let counted = tower::counted(input, self.config.pad);
        let mask = counted.view([-1, 1, 1, input.size()[1]]);
        let embedded = self.embed(input, noise);
        let x = self.layers.iter().fold(embedded, |x, layer| {
            layer.forward(&[&x, &mask], noise, |layer, inputs, noise| layer.forward(&inputs[0], &inputs[1], noise))
        });
        let values = self.layer_norm.forward(&x);
        Ok(tower::pool(values, &counted, self.config.pooling, None::<fn(&Tensor) -> Tensor>, tokens))
    }

    fn recomputes(&self) -> bool {
        true
    }

    fn stages(&self) -> Vec<String> {
        let layers = (0..self.layers.len()).map(|layer| format!("transformer.layers.{layer}"));
        let [first, last] = ["transformer.embed_tokens", "transformer.layer_norm"].map(String::from);
        std::iter::once(first).chain(layers).chain([last]).collect()
    }

    fn projection(&self) -> Projection {
        self.projection.clone()
    }
}

register!(dyn Backbone, "m2m100_encoder", M2m100Config);
register!(dyn Backbone, "nllb_200_distilled_600m", M2m100Config, M2m100Config::nllb_200_distilled_600m);
register!(dyn Backbone, "nllb_200_distilled_1_3b", M2m100Config, M2m100Config::nllb_200_distilled_1_3b);
