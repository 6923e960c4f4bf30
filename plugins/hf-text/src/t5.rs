//! The encoder of T5 1.1 and mT5.

use vlhub_sdk::nn::{Init, Linear, Path, Recomputed, dropout, normal, parameter};
use vlhub_sdk::prelude::*;

use crate::attention::Attention;
use crate::options::{Act, Common, Pooling, Proj};
use crate::tower::{self, Embedding};

/// Encoder of T5 (arXiv 1910.10683) and mT5 (arXiv 2010.11934): RMS norm before each part, no biases, attention that is not scaled, and a
/// learnt number for each head and distance, which all layers share. Parameters of transformers' `MT5Stack` under `transformer`.
///
/// Padding is not looked at and not pooled. Tokens are the outputs of the last norm; with `pooling = "cls"` without the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct T5Config {
    /// Context length: the longest text, in tokens, end included.
    pub context: i64,
    /// Vocabulary size.
    pub vocab: i64,
    /// Padding id, which fills up short texts.
    pub pad: i64,
    /// Width of a token (`d_model`).
    pub width: i64,
    /// Number of layers (`num_layers`).
    pub layers: i64,
    /// Attention heads of each layer (`num_heads`).
    pub heads: i64,
    /// Width of a head (`d_kv`).
    pub head_width: i64,
    /// Width inside the MLP (`d_ff`).
    pub hidden: i64,
    /// Activation function inside the MLP (`dense_act_fn`).
    pub activation: Act,
    /// Whether a second map gates the inside of the MLP: T5 1.1 and mT5, but not the first T5 (`is_gated_act`).
    pub gated: bool,
    /// Classes of distances between tokens, half of them for either direction (`relative_attention_num_buckets`).
    pub buckets: i64,
    /// Distance, in tokens, from which on all are one class (`relative_attention_max_distance`).
    pub max_distance: i64,
    /// ε of the norms (`layer_norm_epsilon`).
    pub epsilon: f64,
    /// Pooling of the outputs of the last norm.
    pub pooling: Pooling,
    /// Projection head: what maps the pooled output into the joint space.
    pub proj: Proj,
    /// Dropout: share of the elements that is zeroed while training: embeddings, inside the MLP, and after each part (`dropout_rate`).
    pub dropout: f64,
    /// Attention dropout: share of the attention weights that is zeroed while training (`dropout_rate`).
    pub attention_dropout: f64,
}

impl Default for T5Config {
    /// A model for a CPU and seconds: 32,000 ids at width 64, 2 layers, 2 heads; 2.1 million parameters.
    fn default() -> Self {
        Self { vocab: 32_000, width: 64, layers: 2, heads: 2, head_width: 32, hidden: 128, ..Self::mt5_base() }
    }
}

impl T5Config {
    /// `google/mt5-small`: width 512, 8 layers, 6 heads of width 64.
    pub fn mt5_small() -> Self {
        Self { width: 512, layers: 8, heads: 6, hidden: 1024, ..Self::mt5_base() }
    }
    /// `google/mt5-base`: width 768, 12 layers, 12 heads of width 64.
    pub fn mt5_base() -> Self {
        Self {
            context: 77,
            vocab: 250_112,
            pad: 0,
            width: 768,
            layers: 12,
            heads: 12,
            head_width: 64,
            hidden: 2048,
            activation: Act::GeluNew,
            gated: true,
            buckets: 32,
            max_distance: 128,
            epsilon: 1e-6,
            pooling: Pooling::Mean,
            proj: Proj::Mlp,
            dropout: 0.1,
            attention_dropout: 0.1,
        }
    }
    /// `google/mt5-large`: width 1024, 24 layers, 16 heads of width 64.
    pub fn mt5_large() -> Self {
        Self { width: 1024, layers: 24, heads: 16, hidden: 2816, ..Self::mt5_base() }
    }
    /// `google/mt5-xl`: width 2048, 24 layers, 32 heads of width 64.
    pub fn mt5_xl() -> Self {
        Self { width: 2048, layers: 24, heads: 32, hidden: 5120, ..Self::mt5_base() }
    }

    fn common(&self) -> Common {
        let Self { context, vocab, pad, width, layers, heads, hidden, proj, dropout, attention_dropout, .. } = *self;
        Common { context, vocab, pad, width, layers, heads, hidden, proj, dropout, attention_dropout }
    }

    /// # Errors
    /// Everything that is wrong, at once.
    fn check(&self) -> Result<()> {
        let mut problems = self.common().problems();
        problems.at_least_one(&[("head_width", self.head_width)]);
        problems.positive("epsilon", self.epsilon);
        let Self { buckets, max_distance, .. } = *self;
        if buckets < 4 || buckets % 4 != 0 {
            problems.push(format!("`buckets` = {buckets} must be a multiple of 4: two directions, each with near and far distances"));
        }
        if max_distance <= buckets / 4 {
            problems.push(format!("`max_distance` = {max_distance} must be above a quarter of `buckets` = {buckets}"));
        }
        problems.finish()
    }

    /// The class of the distance from a token to another: one for each near distance, and classes that grow with the distance for far ones.
    fn bucket(&self, distance: i64) -> i64 {
        let each = self.buckets / 2;
        let near = each / 2;
        let (direction, distance) = (if distance > 0 { each } else { 0 }, distance.abs());
        if distance < near {
            return direction + distance;
        }
        // In single precision and in this order, as the reference: a class must not change where a quotient is nearly whole.
        let growth = (self.max_distance as f64 / near as f64).ln() as f32;
        let far = (distance as f32 / near as f32).ln() / growth * (each - near) as f32;
        direction + (near + far as i64).min(each - 1)
    }
}

/// Root-mean-square norm without bias (arXiv 1910.07467).
#[derive(Debug)]
struct RmsNorm {
    weight: Tensor,
    epsilon: f64,
}

impl RmsNorm {
    fn new(path: &Path<'_>, config: &T5Config) -> Result<Self> {
        Ok(Self { weight: parameter(path, "weight", &[config.width], Init::Const(1.0))?, epsilon: config.epsilon })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        // Squares of half-precision numbers overflow.
        let square = x.to_kind(Kind::Float).square().mean_dim([-1i64].as_slice(), true, None::<Kind>);
        (x * (square + self.epsilon).rsqrt()).to_kind(self.weight.kind()) * &self.weight
    }
}

/// One layer: `layer.0.SelfAttention`, `layer.0.layer_norm`, `layer.1.DenseReluDense`, `layer.1.layer_norm`.
#[derive(Debug)]
struct Layer {
    attention: Attention,
    attention_norm: RmsNorm,
    inner: Linear,
    gate: Option<Linear>,
    output: Linear,
    mlp_norm: RmsNorm,
    activation: Act,
    dropout: f64,
}

impl Layer {
    fn new(path: &Path<'_>, config: &T5Config) -> Result<Self> {
        let T5Config { width, heads, head_width, hidden, gated, .. } = *config;
        let (first, second) = (path.sub("layer").sub("0"), path.sub("layer").sub("1"));
        let (attention, mlp) = (first.sub("SelfAttention"), second.sub("DenseReluDense"));
        let inside = heads * head_width;
        let spread = |width: i64| normal((width as f64).powf(-0.5));
        let into = |name: &str, start| Linear::without_bias(&attention.sub(name), width, inside, start);
        let wide = |name: &str| Linear::without_bias(&mlp.sub(name), width, hidden, spread(width));
        Ok(Self {
            attention: Attention {
                // Attention is not scaled, so the queries start smaller.
                query: into("q", spread(width * head_width))?,
                key: into("k", spread(width))?,
                value: into("v", spread(width))?,
                out: Linear::without_bias(&attention.sub("o"), inside, width, spread(inside))?,
                heads,
                scale: 1.0,
                dropout: config.attention_dropout,
                context: config.context,
            },
            attention_norm: RmsNorm::new(&first.sub("layer_norm"), config)?,
            inner: wide(if gated { "wi_0" } else { "wi" })?,
            gate: if gated { Some(wide("wi_1")?) } else { None },
            output: Linear::without_bias(&mlp.sub("wo"), hidden, width, spread(hidden))?,
            mlp_norm: RmsNorm::new(&second.sub("layer_norm"), config)?,
            activation: config.activation,
            dropout: config.dropout,
        })
    }

    fn forward(&self, x: &Tensor, mask: &Tensor, noise: Option<&Noise>) -> Tensor {
        let seen = self.attention.forward(&self.attention_norm.forward(x), mask, noise);
        let x = x + dropout(seen, self.dropout, noise);
        let normal = self.mlp_norm.forward(&x);
        let inner = self.activation.forward(&self.inner.forward(&normal));
        let inner = self.gate.iter().fold(inner, |inner, gate| inner * gate.forward(&normal));
        let output = self.output.forward(&dropout(inner, self.dropout, noise));
        x + dropout(output, self.dropout, noise)
    }
}

/// The tower that [`T5Config`] builds.
#[derive(Debug)]
pub struct T5Encoder {
    embed_tokens: Embedding,
    /// `[buckets, heads]`, added to the logits of every layer.
    distances: Embedding,
    layers: Vec<Recomputed<Layer>>,
    final_layer_norm: RmsNorm,
    projection: Projection,
    config: T5Config,
}

impl Config<dyn Backbone> for T5Config {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check()?;
        let path = cx.path.sub("transformer");
        let block = path.sub("block");
        let shared = block.sub("0").sub("layer").sub("0").sub("SelfAttention").sub("relative_attention_bias");
        Ok(Box::new(T5Encoder {
            embed_tokens: Embedding::new(&path.sub("embed_tokens"), self.vocab, self.width, normal(1.0), None)?,
            distances: Embedding::new(&shared, self.buckets, self.heads, normal((self.width as f64).powf(-0.5)), None)?,
            layers: (0..self.layers)
                .map(|layer| Layer::new(&block.sub(layer.to_string()), self).map(Recomputed::new))
                .collect::<Result<_>>()?,
            final_layer_norm: RmsNorm::new(&path.sub("final_layer_norm"), self)?,
            projection: self.common().projection(cx.embed),
            config: self.clone(),
        }))
    }
}

impl T5Encoder {
    /// What is added to the logits, `[B, heads, T, T]`: the number of each distance, and minus infinity where padding would be looked at.
    fn bias(&self, counted: &Tensor) -> Tensor {
        let length = counted.size()[1];
        let classes: Vec<i64> = (0..length * length).map(|at| self.config.bucket(at % length - at / length)).collect();
        let classes = Tensor::from_slice(&classes).view([length, length]).to_device(counted.device());
        let near = self.distances.forward(&classes).permute([2, 0, 1]).unsqueeze(0);
        near.masked_fill(&counted.bitwise_not().view([-1, 1, 1, length]), f64::NEG_INFINITY)
    }
}

impl Backbone for T5Encoder {
    fn input(&self) -> InputSpec {
        self.config.common().input()
    }

    fn width(&self) -> i64 {
        self.config.width
    }

    fn encode(&self, input: &Tensor, tokens: bool, noise: Option<&Noise>) -> Result<Hidden> {
        tower::check(input, &self.config.common())?;
        let counted = tower::counted(input, self.config.pad);
        let bias = self.bias(&counted);
        let embedded = dropout(self.embed_tokens.forward(input), self.config.dropout, noise);
        let x = self.layers.iter().fold(embedded, |x, layer| {
            layer.forward(&[&x, &bias], noise, |layer, inputs, noise| layer.forward(&inputs[0], &inputs[1], noise))
        });
        let values = dropout(self.final_layer_norm.forward(&x), self.config.dropout, noise);
        Ok(tower::pool(values, &counted, self.config.pooling, None::<fn(&Tensor) -> Tensor>, tokens))
    }

    fn recomputes(&self) -> bool {
        true
    }

    fn stages(&self) -> Vec<String> {
        let blocks = (0..self.layers.len()).map(|layer| format!("transformer.block.{layer}"));
        let ends = ["transformer.embed_tokens", "transformer.final_layer_norm"].map(String::from);
        let [first, last] = ends;
        std::iter::once(first).chain(blocks).chain([last]).collect()
    }

    fn projection(&self) -> Projection {
        self.projection.clone()
    }
}

register!(dyn Backbone, "t5_encoder", T5Config);
register!(dyn Backbone, "mt5_small", T5Config, T5Config::mt5_small);
register!(dyn Backbone, "mt5_base", T5Config, T5Config::mt5_base);
register!(dyn Backbone, "mt5_large", T5Config, T5Config::mt5_large);
register!(dyn Backbone, "mt5_xl", T5Config, T5Config::mt5_xl);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_distances_equal_those_of_the_reference() {
        // `T5Attention._relative_position_bucket` for 32 buckets up to 128.
        let config = T5Config::mt5_base();
        for (first, last, class) in [
            (0, 0, 0),
            (7, 7, 7),
            (8, 11, 8),
            (12, 15, 9),
            (16, 22, 10),
            (23, 31, 11),
            (32, 45, 12),
            (46, 63, 13),
            (64, 90, 14),
            (91, 600, 15),
        ] {
            for distance in first..=last {
                assert_eq!(config.bucket(-distance), class, "{distance} back");
                assert_eq!(config.bucket(distance), if distance > 0 { 16 + class } else { 0 }, "{distance} on");
            }
        }
    }
}
