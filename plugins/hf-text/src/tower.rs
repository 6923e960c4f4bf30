//! The tower around each encoder: checks of ids, pooling, and tokens.

use vlhub_sdk::nn::{Init, Path, parameter};
use vlhub_sdk::ops::masked_mean;
use vlhub_sdk::prelude::*;
use vlhub_sdk::tch::no_grad;

use crate::options::{Common, Pooling};

/// A table of vectors, one for each id, of which one may stand for padding: it starts at zero and learns nothing.
#[derive(Debug)]
pub(crate) struct Embedding {
    weight: Tensor,
    padding: Option<i64>,
}

impl Embedding {
    /// Makes `weight` `[count, width]`.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn new(path: &Path<'_>, count: i64, width: i64, start: Init, padding: Option<i64>) -> Result<Self> {
        let weight = parameter(path, "weight", &[count, width], start)?;
        if let Some(row) = padding {
            no_grad(|| {
                let _ = weight.narrow(0, row, 1).zero_();
            });
        }
        Ok(Self { weight, padding })
    }

    /// `[…]` int64 ids to `[…, width]`.
    pub fn forward(&self, ids: &Tensor) -> Tensor {
        Tensor::embedding(&self.weight, ids, self.padding.unwrap_or(-1), false, false)
    }

    /// The vector of one id, `[width]`.
    pub fn row(&self, id: i64) -> Tensor {
        self.weight.get(id)
    }
}

/// Whether `ids` are what the tower reads.
///
/// # Errors
/// Says what they are and what the tower wants.
pub(crate) fn check(ids: &Tensor, common: &Common) -> Result<()> {
    let Common { context, vocab, .. } = *common;
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

/// Which tokens count, `[B, L]` bool: those that are not padding. In a row of nothing but padding all count: otherwise its attention and
/// its mean would be 0 / 0.
pub(crate) fn counted(ids: &Tensor, pad: i64) -> Tensor {
    let real = ids.not_equal(pad);
    let empty = real.sum_dim_intlist([1i64].as_slice(), true, Kind::Int64).eq(0);
    real.bitwise_or_tensor(&empty)
}

/// Positions as fairseq counts them, `[B, L]` int64: the first token has `pad + 1`, and padding has `pad`.
pub(crate) fn positions(ids: &Tensor, pad: i64) -> Tensor {
    let real = ids.not_equal(pad).to_kind(Kind::Int64);
    real.cumsum(1, Kind::Int64) * real + pad
}

/// Pools the outputs `[B, L, width]` of the last layer, of which those where `counted` is true count. `pooler` is the network's own layer.
pub(crate) fn pool(values: Tensor, counted: &Tensor, pooling: Pooling, pooler: Option<impl Fn(&Tensor) -> Tensor>, tokens: bool) -> Hidden {
    let pooled = match (pooling, pooler) {
        (Pooling::Mean, _) => masked_mean(&values, counted),
        (Pooling::Max, _) => values.masked_fill(&counted.bitwise_not().unsqueeze(-1), f64::NEG_INFINITY).amax([1i64].as_slice(), false),
        (Pooling::Cls, Some(pooler)) => pooler(&values.select(1, 0)),
        (Pooling::Cls | Pooling::ClsLast, _) => values.select(1, 0),
    };
    let tokens = tokens.then(|| {
        let skipped = i64::from(pooling == Pooling::Cls);
        let length = counted.size()[1] - skipped;
        Tokens { mask: counted.narrow(1, skipped, length), values: values.narrow(1, skipped, length) }
    });
    Hidden { pooled, tokens }
}
