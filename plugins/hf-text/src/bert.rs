//! BERT, RoBERTa and XLM-R.

use vlhub_sdk::nn::{Init, LayerNorm, Linear, Path, Recomputed, dropout, normal};
use vlhub_sdk::prelude::*;

use crate::attention::Attention;
use crate::options::{Act, Common, Pooling, Proj};
use crate::tower::{self, Embedding};

/// Position ids: how tokens are numbered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Positions {
    /// By their place in the row, from 0.
    #[default]
    Absolute,
    /// Those that are not padding, from `pad + 1`; padding has the position `pad`.
    Roberta,
}

/// Encoder normalised after each part (BERT, arXiv 1810.04805; RoBERTa, arXiv 1907.11692; XLM-R, arXiv 1911.02116), with the parameters of
/// transformers' `BertModel` or `RobertaModel` under `transformer`.
///
/// Padding is not looked at and not pooled. Tokens are the outputs of the last layer; with `pooling = "cls"` without the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct BertConfig {
    /// Context length: the longest text, in tokens, start and end included.
    pub context: i64,
    /// Vocabulary size.
    pub vocab: i64,
    /// Padding id, which fills up short texts.
    pub pad: i64,
    /// Width of a token (`hidden_size`).
    pub width: i64,
    /// Number of layers (`num_hidden_layers`).
    pub layers: i64,
    /// Attention heads of each layer; they share the width equally (`num_attention_heads`).
    pub heads: i64,
    /// Width inside the MLP (`intermediate_size`).
    pub hidden: i64,
    /// Position ids: how tokens are numbered.
    pub positions: Positions,
    /// Positions that the checkpoint has (`max_position_embeddings`).
    pub max_positions: i64,
    /// Kinds of segments that the checkpoint has; the first is used (`type_vocab_size`).
    pub types: i64,
    /// ε of the layer norms (`layer_norm_eps`).
    pub epsilon: f64,
    /// Activation function inside the MLP (`hidden_act`).
    pub activation: Act,
    /// Pooling of the outputs of the last layer.
    pub pooling: Pooling,
    /// With `pooling = "cls"`: whether the first token goes through the pooler layer, a linear map and tanh. No other pooling has it.
    pub pooler: bool,
    /// Projection head: what maps the pooled output into the joint space.
    pub proj: Proj,
    /// Dropout: share of the elements that is zeroed while training, after the embeddings and after each part (`hidden_dropout_prob`).
    pub dropout: f64,
    /// Attention dropout: share of the attention weights that is zeroed while training (`attention_probs_dropout_prob`).
    pub attention_dropout: f64,
}

impl Default for BertConfig {
    /// A model for a CPU and seconds: BERT's vocabulary at width 64, 2 layers, 2 heads; 2.1 million parameters.
    fn default() -> Self {
        Self { width: 64, layers: 2, heads: 2, hidden: 256, ..Self::bert_base() }
    }
}

impl BertConfig {
    /// `bert-base-uncased`: width 768, 12 layers, 12 heads.
    pub fn bert_base() -> Self {
        Self {
            context: 77,
            vocab: 30_522,
            pad: 0,
            width: 768,
            layers: 12,
            heads: 12,
            hidden: 3072,
            positions: Positions::Absolute,
            max_positions: 512,
            types: 2,
            epsilon: 1e-12,
            activation: Act::Gelu,
            pooling: Pooling::Mean,
            pooler: true,
            proj: Proj::Mlp,
            dropout: 0.1,
            attention_dropout: 0.1,
        }
    }
    /// `bert-large-uncased`: width 1024, 24 layers, 16 heads.
    pub fn bert_large() -> Self {
        Self { width: 1024, layers: 24, heads: 16, hidden: 4096, ..Self::bert_base() }
    }
    /// `sentence-transformers/all-MiniLM-L6-v2` (MiniLM, arXiv 2002.10957): width 384, 6 layers, 12 heads.
    pub fn minilm_l6() -> Self {
        Self { width: 384, layers: 6, hidden: 1536, ..Self::bert_base() }
    }
    /// `roberta-base`: width 768, 12 layers, 12 heads.
    pub fn roberta_base() -> Self {
        Self { vocab: 50_265, pad: 1, positions: Positions::Roberta, max_positions: 514, types: 1, epsilon: 1e-5, ..Self::bert_base() }
    }
    /// `roberta-large`: width 1024, 24 layers, 16 heads.
    pub fn roberta_large() -> Self {
        Self { width: 1024, layers: 24, heads: 16, hidden: 4096, ..Self::roberta_base() }
    }
    /// `xlm-roberta-base`: RoBERTa base with a vocabulary for 100 languages.
    pub fn xlm_roberta_base() -> Self {
        Self { vocab: 250_002, ..Self::roberta_base() }
    }
    /// `xlm-roberta-large`: RoBERTa large with a vocabulary for 100 languages.
    pub fn xlm_roberta_large() -> Self {
        Self { vocab: 250_002, ..Self::roberta_large() }
    }

    fn common(&self) -> Common {
        let Self { context, vocab, pad, width, layers, heads, hidden, proj, dropout, attention_dropout, .. } = *self;
        Common { context, vocab, pad, width, layers, heads, hidden, proj, dropout, attention_dropout }
    }

    /// # Errors
    /// Everything that is wrong, at once.
    fn check(&self) -> Result<()> {
        let mut problems = self.common().problems();
        problems.at_least_one(&[("types", self.types)]);
        problems.divides(("heads", self.heads), ("width", self.width));
        problems.positive("epsilon", self.epsilon);
        let first = if self.positions == Positions::Roberta { self.pad + 1 } else { 0 };
        if first + self.context > self.max_positions {
            let Self { context, max_positions, .. } = self;
            problems
                .push(format!("`max_positions` = {max_positions} has no place for `context` = {context} tokens from position {first} on"));
        }
        problems.finish()
    }
}

/// A linear layer as BERT's start.
fn linear(path: &Path<'_>, input: i64, output: i64) -> Result<Linear> {
    Linear::new(path, input, output, normal(0.02), Init::Const(0.0))
}

/// One layer: `attention.self`, `attention.output`, `intermediate`, `output`.
#[derive(Debug)]
struct Layer {
    attention: Attention,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
    activation: Act,
    dropout: f64,
}

impl Layer {
    fn new(path: &Path<'_>, config: &BertConfig) -> Result<Self> {
        let BertConfig { width, hidden, heads, epsilon, .. } = *config;
        let attention = path.sub("attention");
        let (own, out, output) = (attention.sub("self"), attention.sub("output"), path.sub("output"));
        Ok(Self {
            attention: Attention {
                query: linear(&own.sub("query"), width, width)?,
                key: linear(&own.sub("key"), width, width)?,
                value: linear(&own.sub("value"), width, width)?,
                out: linear(&out.sub("dense"), width, width)?,
                heads,
                scale: ((width / heads) as f64).powf(-0.5),
                dropout: config.attention_dropout,
                context: config.context,
            },
            attention_norm: LayerNorm::with_epsilon(&out.sub("LayerNorm"), width, epsilon)?,
            intermediate: linear(&path.sub("intermediate").sub("dense"), width, hidden)?,
            output: linear(&output.sub("dense"), hidden, width)?,
            output_norm: LayerNorm::with_epsilon(&output.sub("LayerNorm"), width, epsilon)?,
            activation: config.activation,
            dropout: config.dropout,
        })
    }

    fn forward(&self, x: &Tensor, mask: &Tensor, noise: Option<&Noise>) -> Tensor {
        let seen = dropout(self.attention.forward(x, mask, noise), self.dropout, noise);
        let x = self.attention_norm.forward(&(seen + x));
        let inner = self.activation.forward(&self.intermediate.forward(&x));
        self.output_norm.forward(&(dropout(self.output.forward(&inner), self.dropout, noise) + x))
    }
}

/// The tower that [`BertConfig`] builds.
#[derive(Debug)]
pub struct Bert {
    words: Embedding,
    places: Embedding,
    types: Embedding,
    norm: LayerNorm,
    layers: Vec<Recomputed<Layer>>,
    pooler: Option<Linear>,
    projection: Projection,
    config: BertConfig,
}

impl Config<dyn Backbone> for BertConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check()?;
        let path = cx.path.sub("transformer");
        let (embeddings, encoder) = (path.sub("embeddings"), path.sub("encoder").sub("layer"));
        let table = |name: &str, count: i64, padding| Embedding::new(&embeddings.sub(name), count, self.width, normal(0.02), padding);
        let with_pooler = self.pooling == Pooling::Cls && self.pooler;
        Ok(Box::new(Bert {
            words: table("word_embeddings", self.vocab, Some(self.pad))?,
            places: table("position_embeddings", self.max_positions, (self.positions == Positions::Roberta).then_some(self.pad))?,
            types: table("token_type_embeddings", self.types, None)?,
            norm: LayerNorm::with_epsilon(&embeddings.sub("LayerNorm"), self.width, self.epsilon)?,
            layers: (0..self.layers)
                .map(|layer| Layer::new(&encoder.sub(layer.to_string()), self).map(Recomputed::new))
                .collect::<Result<_>>()?,
            pooler: if with_pooler { Some(linear(&path.sub("pooler").sub("dense"), self.width, self.width)?) } else { None },
            projection: self.common().projection(cx.embed),
            config: self.clone(),
        }))
    }
}

impl Bert {
    fn embed(&self, ids: &Tensor, noise: Option<&Noise>) -> Tensor {
        let places = match self.config.positions {
            Positions::Absolute => Tensor::arange(ids.size()[1], (Kind::Int64, ids.device())).unsqueeze(0),
            Positions::Roberta => tower::positions(ids, self.config.pad),
        };
        let x = self.words.forward(ids) + self.types.row(0) + self.places.forward(&places);
        dropout(self.norm.forward(&x), self.config.dropout, noise)
    }
}

impl Backbone for Bert {
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
        let values = self.layers.iter().fold(embedded, |x, layer| {
            layer.forward(&[&x, &mask], noise, |layer, inputs, noise| layer.forward(&inputs[0], &inputs[1], noise))
        });
        let pooler = self.pooler.as_ref().map(|dense| |first: &Tensor| dense.forward(first).tanh());
        Ok(tower::pool(values, &counted, self.config.pooling, pooler, tokens))
    }

    fn recomputes(&self) -> bool {
        true
    }

    fn stages(&self) -> Vec<String> {
        let layers = (0..self.layers.len()).map(|layer| format!("transformer.encoder.layer.{layer}"));
        let pooler = self.pooler.iter().map(|_| String::from("transformer.pooler"));
        std::iter::once(String::from("transformer.embeddings")).chain(layers).chain(pooler).collect()
    }

    fn projection(&self) -> Projection {
        self.projection.clone()
    }
}

register!(dyn Backbone, "bert", BertConfig);
register!(dyn Backbone, "bert_base", BertConfig, BertConfig::bert_base);
register!(dyn Backbone, "bert_large", BertConfig, BertConfig::bert_large);
register!(dyn Backbone, "minilm_l6", BertConfig, BertConfig::minilm_l6);
register!(dyn Backbone, "roberta_base", BertConfig, BertConfig::roberta_base);
register!(dyn Backbone, "roberta_large", BertConfig, BertConfig::roberta_large);
register!(dyn Backbone, "xlm_roberta_base", BertConfig, BertConfig::xlm_roberta_base);
register!(dyn Backbone, "xlm_roberta_large", BertConfig, BertConfig::xlm_roberta_large);
