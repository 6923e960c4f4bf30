//! A model that remembers the embeddings of pictures, so that suites which read the same pictures encode them once.

use std::cell::RefCell;
use std::collections::HashMap;

use image::RgbImage;
use tch::Tensor;
use vlhub_core::{Captioning, Encoded, Model, Result, Skills};
use vlhub_torch_ext::tensor_bytes;
use xxhash_rust::xxh3::xxh3_128;

/// Bytes of embeddings that are remembered; later pictures are encoded each time.
const MOST_BYTES: usize = 1 << 30;

/// Remembers what `model` makes of each picture, by its pixels. Token outputs are not kept: they are large.
pub struct EncodeOnce<'a> {
    model: &'a dyn Model,
    known: RefCell<Known>,
}

#[derive(Default)]
struct Known {
    /// Place of each picture's embedding, by a hash of its size and pixels.
    places: HashMap<u128, usize>,
    /// `embed` and `pooled` of one picture each.
    rows: Vec<(Tensor, Tensor)>,
    bytes: usize,
}

impl<'a> EncodeOnce<'a> {
    /// Nothing is known yet. The weights of `model` must not change while this lives.
    pub fn new(model: &'a dyn Model) -> Self {
        Self { model, known: RefCell::default() }
    }
}

fn key(image: &RgbImage) -> u128 {
    xxh3_128(image.as_raw()) ^ (u128::from(image.width()) << 64 | u128::from(image.height()))
}

impl Model for EncodeOnce<'_> {
    fn images(&self, images: &[RgbImage], tokens: bool) -> Result<Encoded> {
        if tokens {
            return self.model.images(images, true);
        }
        let keys: Vec<u128> = images.iter().map(key).collect();
        let known = &mut *self.known.borrow_mut();
        let new: Vec<usize> = (0..images.len()).filter(|at| !known.places.contains_key(&keys[*at])).collect();
        if new.len() == images.len() && known.bytes >= MOST_BYTES {
            return self.model.images(images, false);
        }
        let encoded = if new.is_empty() {
            None
        } else {
            Some(self.model.images(&new.iter().map(|at| images[*at].clone()).collect::<Vec<_>>(), false)?)
        };
        let mut fresh = HashMap::new();
        for (row, at) in new.iter().enumerate() {
            let Some(encoded) = &encoded else { break };
            let one = |rows: &Tensor| rows.f_get(row as i64);
            let both = (one(&encoded.embed)?, one(&encoded.pooled)?);
            if known.bytes < MOST_BYTES {
                known.bytes += tensor_bytes(&both.0) + tensor_bytes(&both.1);
                known.places.insert(keys[*at], known.rows.len());
                // A copy of its own: a view would keep the whole batch in memory.
                known.rows.push((both.0.copy(), both.1.copy()));
            } else {
                fresh.insert(keys[*at], both);
            }
        }
        let row = |key: &u128| known.places.get(key).map_or_else(|| &fresh[key], |place| &known.rows[*place]);
        let all = |pick: fn(&(Tensor, Tensor)) -> &Tensor| Tensor::f_stack(&keys.iter().map(|key| pick(row(key))).collect::<Vec<_>>(), 0);
        Ok(Encoded { embed: all(|row| &row.0)?, pooled: all(|row| &row.1)?, tokens: None })
    }

    fn texts(&self, texts: &[String], tokens: bool) -> Result<Encoded> {
        self.model.texts(texts, tokens)
    }

    fn prototypes(&self, groups: &[Vec<String>]) -> Result<Tensor> {
        self.model.prototypes(groups)
    }

    fn skills(&self) -> Skills<'_> {
        self.model.skills()
    }

    fn captions(&self, images: &[RgbImage], how: &Captioning) -> Result<Vec<String>> {
        self.model.captions(images, how)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use image::Rgb;
    use tch::Kind;

    use super::*;

    /// Embeds a picture as its first pixel, and counts pictures.
    struct FirstPixel(Cell<usize>);

    impl Model for FirstPixel {
        fn images(&self, images: &[RgbImage], _tokens: bool) -> Result<Encoded> {
            self.0.set(self.0.get() + images.len());
            let values: Vec<f32> = images.iter().flat_map(|image| image.get_pixel(0, 0).0.map(f32::from)).collect();
            let embed = Tensor::from_slice(&values).view([-1, 3]);
            Ok(Encoded { pooled: &embed * 2.0, embed, tokens: None })
        }
        fn texts(&self, _texts: &[String], _tokens: bool) -> Result<Encoded> {
            Err(vlhub_core::Error::invalid("no texts"))
        }
        fn skills(&self) -> Skills<'_> {
            Skills { images: true, ..Skills::default() }
        }
    }

    #[test]
    fn a_picture_is_encoded_once_and_comes_out_in_its_place() {
        let model = FirstPixel(Cell::default());
        let once = EncodeOnce::new(&model);
        let image = |red: u8, width: u32| RgbImage::from_pixel(width, 1, Rgb([red, 0, 0]));
        let first = once.images(&[image(1, 2), image(2, 2), image(1, 2)], false).expect("encodes");
        assert_eq!(Vec::<f32>::try_from(first.embed.select(1, 0)).expect("numbers"), [1.0, 2.0, 1.0]);
        let again = once.images(&[image(3, 2), image(2, 2), image(1, 2)], false).expect("encodes");
        assert_eq!(Vec::<f32>::try_from(again.pooled.select(1, 0)).expect("numbers"), [6.0, 4.0, 2.0]);
        assert_eq!(again.embed.kind(), Kind::Float);
        assert_eq!(model.0.get(), 3 + 1, "a repetition within the first batch is encoded with it");
        once.images(&[image(1, 3)], false).expect("encodes");
        assert_eq!(model.0.get(), 5, "the same pixels in another shape are another picture");
    }
}
