//! Everything that was encoded, in chunks, and the scores between two chunks.

use vlhub_sdk::Scorer;
use vlhub_sdk::ops::normalize;
use vlhub_sdk::prelude::*;

/// Rows of a tile of cosine similarities.
const TILE: i64 = 2048;

/// One chunk of pictures or texts.
pub(crate) struct Chunk {
    /// Its place among all.
    pub start: i64,
    /// How many.
    pub rows: i64,
    encoded: Encoded,
}

/// Pictures, or texts.
pub(crate) struct Pool {
    pub chunks: Vec<Chunk>,
    pub rows: i64,
}

/// How pictures and texts are compared.
pub(crate) enum Measure<'a> {
    /// Cosine similarity of the joint embeddings.
    Cosine,
    /// The model's own.
    Own(&'a dyn Scorer),
}

impl Measure<'_> {
    pub(crate) fn tokens(&self) -> bool {
        matches!(self, Self::Own(scorer) if scorer.tokens())
    }

    /// What is kept of an encoded batch.
    pub(crate) fn keep(&self, encoded: Encoded) -> Encoded {
        match self {
            Self::Own(_) => encoded,
            Self::Cosine => {
                let embed = normalize(&encoded.embed.to_kind(Kind::Float));
                Encoded { pooled: embed.shallow_clone(), embed, tokens: None }
            }
        }
    }

    /// `[images, texts]`. The same two chunks give the same bits each time: ranks compare a score with itself.
    pub(crate) fn scores(&self, images: &Chunk, texts: &Chunk) -> Result<Tensor> {
        let scores = match self {
            Self::Cosine => images.encoded.embed.matmul(&texts.encoded.embed.tr()),
            Self::Own(scorer) => scorer.score(&images.encoded, &texts.encoded)?,
        };
        if scores.size() != [images.rows, texts.rows] {
            let wanted = [images.rows, texts.rows];
            return Err(Error::invalid(format!("scores have shape {:?}; {wanted:?} was expected", scores.size())));
        }
        // A NaN is neither greater nor equal, so it would rank first.
        if scores.isfinite().all().int64_value(&[]) == 0 {
            let (from, to) = (images.start, images.start + images.rows);
            return Err(Error::invalid(format!("the model's scores of pictures {from}..{to} are not finite")));
        }
        Ok(scores)
    }
}

impl Pool {
    /// Joins encoded batches. Embeddings alone are cut anew into large tiles; tokens stay as they came, because they may differ in length.
    pub(crate) fn new(parts: Vec<Encoded>, measure: &Measure<'_>) -> Self {
        let mut pool = Self { chunks: Vec::new(), rows: 0 };
        let parts = match measure {
            Measure::Own(_) => parts,
            Measure::Cosine if parts.is_empty() => parts,
            Measure::Cosine => {
                let all = Tensor::cat(&parts.iter().map(|part| part.embed.shallow_clone()).collect::<Vec<_>>(), 0);
                let cut = all.split(TILE, 0).into_iter();
                cut.map(|embed| Encoded { pooled: embed.shallow_clone(), embed, tokens: None }).collect()
            }
        };
        for encoded in parts {
            let rows = encoded.embed.size()[0];
            pool.chunks.push(Chunk { start: pool.rows, rows, encoded });
            pool.rows += rows;
        }
        pool
    }
}
