//! The residual attention block of CLIP with everything that open_clip can add to it, and a stack of them.

use tch::nn::{Init, Path};
use tch::{Kind, Tensor};

use super::{
    Activation, Attention, AttentionExtras, KeysValues, LayerNorm, Linear, Mask, Recomputed, default_bound, dropout, normal, parameter,
};
use crate::ops::gather_rows;
use crate::{Noise, Result};

/// What the blocks of a transformer have in common. `..BlockConfig::default()` is the plain block of CLIP.
#[derive(Clone, Copy, Debug)]
pub struct BlockConfig {
    /// Width of a token.
    pub width: i64,
    /// Attention heads; they share the width equally.
    pub heads: i64,
    /// Width between the two maps of the MLP.
    pub mlp_width: i64,
    /// Activation function between the two maps of the MLP.
    pub activation: Activation,
    /// Dropout: share of the MLP's inner elements that is zeroed while training.
    pub dropout: f64,
    /// Layer scale: the initial factor of each branch (arXiv 2103.17239), if branches are scaled.
    pub layer_scale: Option<f64>,
    /// ε of every layer norm.
    pub epsilon: f64,
    /// What open_clip's custom block adds to the plain one.
    pub extras: BlockExtras,
    /// How the matrices start.
    pub start: Start,
}

impl Default for BlockConfig {
    fn default() -> Self {
        Self {
            width: 512,
            heads: 8,
            mlp_width: 2048,
            activation: Activation::Gelu,
            dropout: 0.0,
            layer_scale: None,
            epsilon: 1e-5,
            extras: BlockExtras::default(),
            start: Start::Torch,
        }
    }
}

/// What open_clip's `CustomResidualAttentionBlock` adds to `ResidualAttentionBlock`.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlockExtras {
    /// Inside attention.
    pub attention: AttentionExtras,
    /// Layer norm behind attention.
    pub scale_attn: bool,
    /// Layer norm inside the MLP.
    pub scale_fc: bool,
}

impl BlockExtras {
    /// Whether open_clip takes its custom block, which starts from other values.
    fn any(self) -> bool {
        let Self { attention: AttentionExtras { qk_norm, scaled_cosine, scale_heads, scale_inner }, scale_attn, scale_fc } = self;
        qk_norm || scaled_cosine || scale_heads || scale_inner || scale_attn || scale_fc
    }
}

/// How the matrices of a block start. Biases of the MLP always start as torch's do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// As torch's layers do: open_clip's image towers.
    Torch,
    /// As CLIP's text towers do: normal, with outputs scaled down by the square root of twice this number of blocks.
    Clip {
        /// Blocks in the stack.
        layers: i64,
    },
}

impl BlockConfig {
    /// Initial values of `attn.in_proj_weight`, `attn.out_proj.weight`, `mlp.c_fc.weight` and `mlp.c_proj.weight`.
    fn matrices(&self) -> [Init; 4] {
        let (width, fan_in) = (self.width as f64, default_bound(self.width));
        match self.start {
            Start::Torch => {
                let custom = normal((width / self.heads as f64).powf(-0.5));
                let in_proj = if self.extras.any() { custom } else { Attention::xavier(self.width) };
                [in_proj, fan_in, fan_in, default_bound(self.mlp_width)]
            }
            Start::Clip { layers } => {
                let attention = width.powf(-0.5);
                let output = attention * ((2 * layers) as f64).powf(-0.5);
                [normal(attention), normal(output), normal((2.0 * width).powf(-0.5)), normal(output)]
            }
        }
    }
}

/// A residual attention block, normalised before each part. Parameters: `ln_1`, `attn`, `ln_2`, `mlp.c_fc`, `mlp.c_proj`; and `ln_attn`,
/// `ls_1.gamma`, `mlp.ln`, `ls_2.gamma`, where the options ask for them.
#[derive(Debug)]
pub struct Block {
    ln_1: LayerNorm,
    attn: Attention,
    ln_attn: Option<LayerNorm>,
    ln_2: LayerNorm,
    c_fc: Linear,
    ln_fc: Option<LayerNorm>,
    c_proj: Linear,
    gammas: Option<[Tensor; 2]>,
    activation: Activation,
    dropout: f64,
}

impl Block {
    /// Makes the parameters.
    ///
    /// # Errors
    /// When a name is taken, or the heads do not divide the width.
    pub fn new(path: &Path<'_>, config: &BlockConfig) -> Result<Self> {
        let BlockConfig { width, heads, mlp_width, activation, dropout, layer_scale, epsilon, extras, .. } = *config;
        let [in_proj, out_proj, c_fc, c_proj] = config.matrices();
        let out_bias = if extras.any() { default_bound(width) } else { Init::Const(0.0) };
        let mlp = path.sub("mlp");
        let norm = |path: &Path<'_>, name: &str, width| LayerNorm::with_epsilon(&path.sub(name), width, epsilon);
        let gamma = |name: &str, value| parameter(&path.sub(name), "gamma", &[width], Init::Const(value));
        Ok(Self {
            ln_1: norm(path, "ln_1", width)?,
            attn: Attention::with(&path.sub("attn"), [width, heads], in_proj, [out_proj, out_bias], extras.attention, epsilon)?,
            ln_attn: extras.scale_attn.then(|| norm(path, "ln_attn", width)).transpose()?,
            ln_2: norm(path, "ln_2", width)?,
            c_fc: Linear::new(&mlp.sub("c_fc"), width, mlp_width, c_fc, default_bound(width))?,
            ln_fc: extras.scale_fc.then(|| norm(&mlp, "ln", mlp_width)).transpose()?,
            c_proj: Linear::new(&mlp.sub("c_proj"), mlp_width, width, c_proj, default_bound(mlp_width))?,
            gammas: if let Some(value) = layer_scale { Some([gamma("ls_1", value)?, gamma("ls_2", value)?]) } else { None },
            activation,
            dropout,
        })
    }

    /// `[B, T, width]` to the same shape.
    pub fn forward(&self, x: &Tensor, mask: Mask<'_>, noise: Option<&Noise>) -> Tensor {
        self.rest(x, self.attn.forward(&self.ln_1.forward(x), mask), noise)
    }

    /// The output for the token `at[b]` of each row alone, `[B, width]`: equal to those rows of [`Block::forward`], but queries, output map
    /// and MLP are computed for one token of each row instead of all. `mask` is that token's own, `[…, 1, tokens]` if it is given.
    pub fn forward_at(&self, x: &Tensor, at: &Tensor, mask: Mask<'_>, noise: Option<&Noise>) -> Tensor {
        let tokens = self.ln_1.forward(x);
        let seen = self.attn.attend(&gather_rows(&tokens, at).unsqueeze(1), &tokens, mask);
        self.rest(&gather_rows(x, at), seen.squeeze_dim(1), noise)
    }

    /// [`Block::forward`] under a causal mask for tokens `[1, P, width]` with which every row begins, and what later tokens look at.
    pub fn forward_prefix(&self, x: &Tensor) -> (Tensor, KeysValues) {
        let (seen, shared) = self.attn.forward_prefix(&self.ln_1.forward(x));
        (self.rest(x, seen, None), shared)
    }

    /// [`Block::forward`] for tokens `[B, T, width]` behind a prefix; `mask` covers both.
    pub fn forward_after(&self, prefix: &KeysValues, x: &Tensor, mask: Mask<'_>) -> Tensor {
        let tokens = self.ln_1.forward(x);
        self.rest(x, self.attn.attend_after(prefix, &tokens, &tokens, mask), None)
    }

    /// [`Block::forward_at`] for tokens behind a prefix.
    pub fn forward_after_at(&self, prefix: &KeysValues, x: &Tensor, at: &Tensor, mask: Mask<'_>) -> Tensor {
        let tokens = self.ln_1.forward(x);
        let seen = self.attn.attend_after(prefix, &gather_rows(&tokens, at).unsqueeze(1), &tokens, mask);
        self.rest(&gather_rows(x, at), seen.squeeze_dim(1), None)
    }

    /// What follows attention.
    fn rest(&self, x: &Tensor, seen: Tensor, noise: Option<&Noise>) -> Tensor {
        let x = x + self.scaled(0, LayerNorm::optional(&self.ln_attn, seen));
        let inner = self.activation.forward(&self.c_fc.forward(&self.ln_2.forward(&x)));
        let out = self.c_proj.forward(&dropout(LayerNorm::optional(&self.ln_fc, inner), self.dropout, noise));
        x + self.scaled(1, out)
    }

    fn scaled(&self, branch: usize, x: Tensor) -> Tensor {
        if let Some(gammas) = &self.gammas { x * &gammas[branch] } else { x }
    }
}

/// A stack of [`Block`]s, each under gradient checkpointing where a run asks for it. Parameters: `resblocks.N`.
#[derive(Debug)]
pub struct Transformer {
    blocks: Vec<Recomputed<Block>>,
}

/// A mask whose tensor, if it has one, is an input of a block.
#[derive(Clone, Copy, Debug)]
struct MaskKind {
    is_causal: bool,
}

impl MaskKind {
    /// The kind of a mask, and its tensor.
    fn of(mask: Mask<'_>) -> (Self, Option<&Tensor>) {
        let given = match mask {
            Mask::Given(given) => Some(given),
            Mask::Full | Mask::Causal => None,
        };
        (Self { is_causal: matches!(mask, Mask::Causal) }, given)
    }

    /// A mask of this kind, with its tensor.
    fn mask(self, given: Option<&Tensor>) -> Mask<'_> {
        match given {
            Some(given) => Mask::Given(given),
            None if self.is_causal => Mask::Causal,
            None => Mask::Full,
        }
    }
}

/// [`Block::forward`] of a block in a stack.
fn forward(block: &Recomputed<Block>, x: &Tensor, mask: Mask<'_>, noise: Option<&Noise>) -> Tensor {
    let (kind, given) = MaskKind::of(mask);
    let inputs: Vec<&Tensor> = std::iter::once(x).chain(given).collect();
    block.forward(&inputs, noise, move |block, inputs, noise| block.forward(&inputs[0], kind.mask(inputs.get(1)), noise))
}

impl Transformer {
    /// Makes `layers` blocks.
    ///
    /// # Errors
    /// When a name is taken, or the heads do not divide the width.
    pub fn new(path: &Path<'_>, layers: i64, config: &BlockConfig) -> Result<Self> {
        let path = path.sub("resblocks");
        let blocks = (0..layers).map(|layer| Block::new(&path.sub(layer), config).map(Recomputed::new)).collect::<Result<_>>()?;
        Ok(Self { blocks })
    }

    /// `[B, T, width]` to the same shape.
    pub fn forward(&self, x: &Tensor, mask: Mask<'_>, noise: Option<&Noise>) -> Tensor {
        self.blocks.iter().fold(x.shallow_clone(), |x, block| forward(block, &x, mask, noise))
    }

    /// The output for the token `at[b]` of each row alone, `[B, width]`; see [`Block::forward_at`]. `mask` is that of all tokens, `own`
    /// that of the token.
    pub fn forward_at(&self, x: &Tensor, at: &Tensor, mask: Mask<'_>, own: Mask<'_>, noise: Option<&Noise>) -> Tensor {
        let Some((last, before)) = self.blocks.split_last() else { return gather_rows(x, at) };
        let x = before.iter().fold(x.shallow_clone(), |x, block| forward(block, &x, mask, noise));
        let (kind, given) = MaskKind::of(own);
        let inputs: Vec<&Tensor> = [&x, at].into_iter().chain(given).collect();
        last.forward(&inputs, noise, move |last, inputs, noise| last.forward_at(&inputs[0], &inputs[1], kind.mask(inputs.get(2)), noise))
    }

    /// [`Transformer::forward_at`] under a causal mask, in evaluation, for rows that begin alike: with `prefix` `[1, P, width]`, and then each
    /// with its row of `x` `[B, T, width]`, in which the token `at[b]` is asked for.
    pub fn forward_after(&self, prefix: &Tensor, x: &Tensor, at: &Tensor) -> Tensor {
        let (before, length) = (prefix.size()[1], x.size()[1]);
        let Some((last, blocks)) = self.blocks.split_last() else { return gather_rows(x, at) };
        let places = Tensor::arange_start(before, before + length, (Kind::Int64, x.device()));
        let causal = up_to(&places, before + length);
        let (mut prefix, mut x) = (prefix.shallow_clone(), x.shallow_clone());
        for block in blocks {
            let block = block.layer();
            let (next, shared) = block.forward_prefix(&prefix);
            x = block.forward_after(&shared, &x, Mask::Given(&causal));
            prefix = next;
        }
        let own = up_to(&(at + before), before + length).unsqueeze(1).unsqueeze(1);
        let last = last.layer();
        last.forward_after_at(&last.forward_prefix(&prefix).1, &x, at, Mask::Given(&own))
    }

    /// Prefixes of the blocks' parameters, from input to output, when the stack was made on `path`.
    pub fn stages<'a>(&'a self, path: &'a str) -> impl Iterator<Item = String> + 'a {
        (0..self.blocks.len()).map(move |layer| format!("{path}.resblocks.{layer}"))
    }
}

/// Prefix mask, `[B, length]` bool: true up to and including the place `last[b]`.
pub fn up_to(last: &Tensor, length: i64) -> Tensor {
    Tensor::arange(length, (Kind::Int64, last.device())).unsqueeze(0).le_tensor(&last.unsqueeze(1))
}

#[cfg(test)]
mod tests {
    use tch::{Device, nn::VarStore};

    use super::*;

    fn config(activation: Activation) -> BlockConfig {
        BlockConfig { width: 12, heads: 3, mlp_width: 20, activation, ..BlockConfig::default() }
    }

    #[test]
    fn one_token_of_each_row_comes_out_as_it_does_among_all() {
        for (mask, activation) in [(Mask::Full, Activation::Gelu), (Mask::Causal, Activation::QuickGelu)] {
            let store = VarStore::new(Device::Cpu);
            let stack = Transformer::new(&store.root(), 2, &config(activation)).expect("its names are free");
            let x = Tensor::randn([4, 7, 12], (Kind::Float, Device::Cpu));
            let at = Tensor::from_slice(&[0i64, 6, 3, 2]);
            let whole = gather_rows(&stack.forward(&x, mask, None), &at);
            let before = up_to(&at, 7).unsqueeze(1).unsqueeze(1);
            let own = if matches!(mask, Mask::Causal) { Mask::Given(&before) } else { mask };
            let alone = stack.forward_at(&x, &at, mask, own, None);
            assert_eq!(alone.size(), [4, 12]);
            let apart = (whole - alone).abs().max().double_value(&[]);
            assert!(apart < 1e-5, "{mask:?}: {apart}");
        }
    }

    #[test]
    fn rows_that_begin_alike_come_out_as_they_do_one_by_one() {
        let extras = BlockExtras {
            attention: AttentionExtras { qk_norm: true, scaled_cosine: true, ..AttentionExtras::default() },
            ..BlockExtras::default()
        };
        for extras in [BlockExtras::default(), extras] {
            let store = VarStore::new(Device::Cpu);
            let stack =
                Transformer::new(&store.root(), 3, &BlockConfig { extras, ..config(Activation::Gelu) }).expect("its names are free");
            let prefix = Tensor::randn([1, 3, 12], (Kind::Float, Device::Cpu));
            let rest = Tensor::randn([4, 5, 12], (Kind::Float, Device::Cpu));
            let at = Tensor::from_slice(&[0i64, 4, 3, 2]);
            let whole = Tensor::cat(&[prefix.expand([4, -1, -1], false), rest.shallow_clone()], 1);
            let wanted = gather_rows(&stack.forward(&whole, Mask::Causal, None), &(&at + 3));
            let apart = (wanted - stack.forward_after(&prefix, &rest, &at)).abs().max().double_value(&[]);
            assert!(apart < 1e-5, "{apart}");
        }
    }

    #[test]
    fn a_causal_stack_does_not_see_what_follows_and_a_full_one_does() {
        let store = VarStore::new(Device::Cpu);
        let stack = Transformer::new(&store.root(), 2, &config(Activation::Gelu)).expect("its names are free");
        let x = Tensor::randn([1, 5, 12], (Kind::Float, Device::Cpu));
        let other = Tensor::cat(&[x.narrow(1, 0, 4), Tensor::randn([1, 1, 12], (Kind::Float, Device::Cpu))], 1);
        for (mask, seen, why) in
            [(Mask::Causal, false, "the last token is the only one that differs"), (Mask::Full, true, "all look at all")]
        {
            let apart = stack.forward(&x, mask, None) - stack.forward(&other, mask, None);
            let first = apart.narrow(1, 0, 4).abs().max().double_value(&[]);
            assert_eq!(first > 1e-4, seen, "{mask:?}: {first}, but {why}");
        }
    }

    #[test]
    fn a_second_stack_on_one_path_is_refused_by_name() {
        let store = VarStore::new(Device::Cpu);
        let path = store.root().sub("visual");
        Transformer::new(&path, 1, &config(Activation::Gelu)).expect("its names are free");
        let error = Transformer::new(&path, 1, &config(Activation::Gelu)).expect_err("its names are taken").to_string();
        assert!(error.contains("`visual.resblocks.0.ln_1.weight`"), "{error}");
        let uneven = BlockConfig { heads: 5, ..config(Activation::Gelu) };
        let error = Transformer::new(&store.root().sub("other"), 1, &uneven).expect_err("5 does not divide 12").to_string();
        assert!(error.contains("width 12") && error.contains("5 heads"), "{error}");
    }
}
