//! Encoded pictures and texts, and their scores in tiles.

use vlhub_sdk::ops::normalize;
use vlhub_sdk::prelude::*;
use vlhub_sdk::{Scorer, Tokens};

/// Most pictures of a block, where embeddings alone are compared.
const PICTURES: i64 = 1024;
/// Most texts of a block, unless one picture has more: so a tile takes at most 16 MiB.
const TEXTS: i64 = 4096;

/// Pictures, or texts, that are scored at once.
pub(crate) struct Chunk {
    /// The place of the first among all.
    pub start: i64,
    /// How many.
    pub rows: i64,
    encoded: Encoded,
}

impl Chunk {
    fn new(start: i64, encoded: Encoded) -> Self {
        Self { start, rows: encoded.embed.size()[0], encoded }
    }

    /// One of them alone, by its place among all.
    pub(crate) fn one(&self, at: i64) -> Self {
        let row = |rows: &Tensor| rows.narrow(0, at - self.start, 1);
        let Encoded { embed, pooled, tokens } = &self.encoded;
        let tokens = tokens.as_ref().map(|tokens| Tokens { values: row(&tokens.values), mask: row(&tokens.mask) });
        Self { start: at, rows: 1, encoded: Encoded { embed: row(embed), pooled: row(pooled), tokens } }
    }

    fn has(&self, at: i64) -> bool {
        (self.start..self.start + self.rows).contains(&at)
    }
}

/// Some pictures, and all of their texts: with its own block's tiles alone a picture's best text is known.
pub(crate) struct Block {
    pub images: Chunk,
    pub texts: Vec<Chunk>,
}

/// Everything that is compared.
pub(crate) struct Pool {
    pub blocks: Vec<Block>,
    pub images: i64,
    pub texts: i64,
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
            Self::Cosine => of_embedding(normalize(&encoded.embed.to_kind(Kind::Float))),
        }
    }

    /// `[images, texts]`, row by row.
    ///
    /// # Errors
    /// Another shape, or a score that is not finite: it is neither greater nor equal, so it would rank first.
    pub(crate) fn scores(&self, images: &Chunk, texts: &Chunk) -> Result<Vec<f32>> {
        let scores = match self {
            Self::Cosine => images.encoded.embed.f_matmul(&texts.encoded.embed.tr())?,
            Self::Own(scorer) => scorer.score(&images.encoded, &texts.encoded)?,
        };
        if scores.size() != [images.rows, texts.rows] {
            let wanted = [images.rows, texts.rows];
            return Err(Error::invalid(format!("scores have shape {:?}; {wanted:?} was expected", scores.size())));
        }
        let scores = Vec::<f32>::try_from(scores.to_kind(Kind::Float).to_device(Device::Cpu).contiguous().view(-1))?;
        // Without an early end, so that the compiler makes vectors of it.
        if scores.iter().fold(true, |finite, score| finite & score.is_finite()) {
            return Ok(scores);
        }
        let (from, to) = (images.start, images.start + images.rows);
        Err(Error::invalid(format!("the model's scores of pictures {from}..{to} are not finite")))
    }
}

fn of_embedding(embed: Tensor) -> Encoded {
    Encoded { pooled: embed.shallow_clone(), embed, tokens: None }
}

/// Embeddings of several batches as one tensor.
fn joined(parts: &[Encoded]) -> Result<Tensor> {
    Ok(Tensor::f_cat(&parts.iter().map(|part| &part.embed).collect::<Vec<_>>(), 0)?)
}

impl Pool {
    /// Encodes `texts`, those of each picture in the order of the pictures, and puts them together with the pictures' batches `images`.
    /// `encode` takes at most `batch` texts. Embeddings alone are cut anew into large tiles; tokens stay as they came, because they may differ in
    /// length.
    ///
    /// # Errors
    /// What `encode` refuses.
    pub(crate) fn new(
        images: Vec<Encoded>,
        texts: &[Vec<String>],
        measure: &Measure<'_>,
        batch: usize,
        encode: impl Fn(&[String]) -> Result<Encoded>,
    ) -> Result<Self> {
        let all: Vec<String> = texts.iter().flatten().cloned().collect();
        let mut pool = Self { blocks: Vec::new(), images: texts.len() as i64, texts: all.len() as i64 };
        let (mut image, mut text) = (0, 0);
        if matches!(measure, Measure::Own(_)) {
            for encoded in images {
                let images = Chunk::new(image, encoded);
                let own: usize = texts[image as usize..(image + images.rows) as usize].iter().map(Vec::len).sum();
                let mut block = Block { texts: Vec::new(), images };
                for part in all[text as usize..text as usize + own].chunks(batch) {
                    block.texts.push(Chunk::new(text, encode(part)?));
                    text += part.len() as i64;
                }
                image += block.images.rows;
                pool.blocks.push(block);
            }
            return Ok(pool);
        }
        let parts: Vec<Encoded> = all.chunks(batch).map(encode).collect::<Result<_>>()?;
        let (image_rows, text_rows) = (joined(&images)?, joined(&parts)?);
        while image < pool.images {
            let (mut pictures, mut own) = (0, 0);
            for texts in texts[image as usize..].iter().take(PICTURES as usize) {
                if pictures > 0 && own + texts.len() as i64 > TEXTS {
                    break;
                }
                (pictures, own) = (pictures + 1, own + texts.len() as i64);
            }
            let cut = |rows: &Tensor, start, count| Chunk::new(start, of_embedding(rows.narrow(0, start, count)));
            pool.blocks.push(Block { images: cut(&image_rows, image, pictures), texts: vec![cut(&text_rows, text, own)] });
            (image, text) = (image + pictures, text + own);
        }
        Ok(pool)
    }

    /// The texts of all blocks, in order.
    pub(crate) fn text_chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.blocks.iter().flat_map(|block| &block.texts)
    }

    /// The scores of one picture with every text.
    pub(crate) fn of_image(&self, measure: &Measure<'_>, at: i64) -> Result<Vec<f32>> {
        let Some(block) = self.blocks.iter().find(|block| block.images.has(at)) else { return Ok(Vec::new()) };
        let one = block.images.one(at);
        let parts: Result<Vec<_>> = self.text_chunks().map(|texts| measure.scores(&one, texts)).collect();
        Ok(parts?.concat())
    }

    /// The scores of one text with every picture.
    pub(crate) fn of_text(&self, measure: &Measure<'_>, at: i64) -> Result<Vec<f32>> {
        let Some(chunk) = self.text_chunks().find(|chunk| chunk.has(at)) else { return Ok(Vec::new()) };
        let one = chunk.one(at);
        let parts: Result<Vec<_>> = self.blocks.iter().map(|block| measure.scores(&block.images, &one)).collect();
        Ok(parts?.concat())
    }
}
