//! Attention masks of texts.

use vlhub_sdk::nn::{Mask, up_to};
use vlhub_sdk::prelude::*;

use super::TextConfig;

/// The masks of a batch of texts.
#[derive(Debug)]
pub(super) struct Sight {
    causal: bool,
    /// The tokens that may be looked at, `[B, 1, 1, tokens]`, if not all may.
    keys: Option<Tensor>,
    /// Both together, `[B, 1, tokens, tokens]`.
    both: Option<Tensor>,
}

impl Sight {
    /// For ids `[B, L]`, to which a class token may be appended.
    pub fn new(config: &TextConfig, ids: &Tensor) -> Self {
        let causal = !config.no_causal_mask;
        let keys = (config.use_pad_mask || config.embed_cls).then(|| {
            let valid = ids.not_equal(config.pad);
            let keys = if config.embed_cls {
                let class = Tensor::ones([ids.size()[0], 1], (Kind::Bool, ids.device()));
                Tensor::cat(&if config.correct_cls_mask { [valid, class] } else { [class, valid] }, 1)
            } else {
                valid
            };
            keys.unsqueeze(1).unsqueeze(1)
        });
        let both = keys.as_ref().filter(|_| causal).map(|keys| {
            let length = keys.size()[3];
            up_to(&Tensor::arange(length, (Kind::Int64, ids.device())), length).unsqueeze(0).unsqueeze(0).bitwise_and_tensor(keys)
        });
        Self { causal, keys, both }
    }

    /// Of all tokens.
    pub fn all(&self) -> Mask<'_> {
        match (&self.both, &self.keys) {
            (Some(mask), _) | (None, Some(mask)) => Mask::Given(mask),
            (None, None) if self.causal => Mask::Causal,
            (None, None) => Mask::Full,
        }
    }

    /// Of the token `at[b]` alone among `length`: what it may look at, `[B, 1, 1, length]`, if not at everything.
    pub fn of(&self, at: &Tensor, length: i64) -> Option<Tensor> {
        let before = self.causal.then(|| up_to(at, length).unsqueeze(1).unsqueeze(1));
        match (before, &self.keys) {
            (Some(before), Some(keys)) => Some(before.bitwise_and_tensor(keys)),
            (before, keys) => before.or_else(|| keys.as_ref().map(Tensor::shallow_clone)),
        }
    }
}
