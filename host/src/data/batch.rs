//! Rows to tensors and back: the one place that knows how pixels, token ids and labels lie in a batch.

use std::sync::Once;

use image::RgbImage;
use tch::{Device, Kind, Tensor};
use vlhub_core::{Batch, Error, Result};

use super::normalise::Levels;
use super::views::ImageInput;

/// Pixels of rows: normalised for one image tower.
#[derive(Debug)]
pub(crate) struct PixelRows {
    input: ImageInput,
    levels: Levels,
}

impl PixelRows {
    /// For a tower that reads `input`.
    pub fn new(input: ImageInput) -> Self {
        Self { input, levels: Levels::new(input.mean, input.std) }
    }

    /// `[B, 3, H, W]` float, normalised, of pictures that have the tower's size.
    ///
    /// # Errors
    /// A picture of another size.
    pub fn tensor<'a>(&self, images: impl ExactSizeIterator<Item = &'a RgbImage>) -> Result<Tensor> {
        let (shape, each) = self.shape(images.len());
        let mut fits = Ok(());
        let tensor = vlhub_torch_ext::filled(&shape, |values| {
            for (image, out) in images.zip(values.chunks_exact_mut(each)) {
                match self.fits(image) {
                    Ok(()) => self.levels.write(image, out),
                    Err(error) => fits = Err(error),
                }
            }
        })?;
        fits.map(|()| tensor)
    }

    /// `[B, 3, H, W]` uint8, of pictures that have the tower's size: to be [normalised](PixelRows::normalise) where the model is.
    ///
    /// # Errors
    /// A picture of another size.
    pub fn bytes<'a>(&self, images: impl ExactSizeIterator<Item = &'a RgbImage>) -> Result<Tensor> {
        let (shape, each) = self.shape(images.len());
        let mut values: Vec<u8> = Vec::with_capacity(images.len() * each);
        for image in images {
            self.fits(image)?;
            for channel in 0..3 {
                values.extend(image.as_raw().iter().skip(channel).step_by(3));
            }
        }
        Ok(Tensor::f_from_slice(&values)?.f_view(shape)?)
    }

    /// What [`PixelRows::tensor`] gives, to the bit, of what [`PixelRows::bytes`] gave, on its device. Anything but uint8 is left as it is.
    ///
    /// # Errors
    /// libtorch's own, as when there is no memory.
    pub fn normalise(&self, pixels: &Tensor) -> Result<Tensor> {
        if pixels.kind() != Kind::Uint8 {
            return Ok(pixels.shallow_clone());
        }
        let channels = |values: [f32; 3]| Tensor::from_slice(&values).view([3, 1, 1]).to_device(pixels.device());
        let ImageInput { mean, std, .. } = self.input;
        let mut values = pixels.f_to_kind(Kind::Float)?;
        // By a tensor: a GPU would multiply by the reciprocal of a plain number, which is another last bit.
        let _ = values.f_div_(&channels([255.0; 3]))?.f_sub_(&channels(mean))?.f_div_(&channels(std))?;
        Ok(values)
    }

    /// The shape of a batch, and numbers of each picture.
    fn shape(&self, rows: usize) -> ([i64; 4], usize) {
        let (height, width) = self.input.size;
        ([rows as i64, 3, i64::from(height), i64::from(width)], (3 * height as usize * width as usize).max(1))
    }

    fn fits(&self, image: &RgbImage) -> Result<()> {
        let (height, width) = self.input.size;
        let (has, wants) = (image.dimensions(), (width, height));
        if has == wants {
            Ok(())
        } else {
            Err(Error::invalid(format!("a picture of {has:?} pixels (width, height) in a batch of {wants:?}")))
        }
    }

    /// The inverse of [`PixelRows::tensor`] and of [`PixelRows::bytes`]: the pictures of `[B, 3, H, W]`.
    ///
    /// # Errors
    /// A tensor of another shape.
    pub fn images(&self, tensor: &Tensor) -> Result<Vec<RgbImage>> {
        let &[_, 3, height, width] = &tensor.size()[..] else {
            return Err(Error::invalid(format!("images have shape {:?}; [B, 3, H, W] is wanted", tensor.size())));
        };
        let bytes = tensor.kind() == Kind::Uint8;
        let values = Vec::<f32>::try_from(tensor.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_reshape([-1])?)?;
        let plane = (height * width) as usize;
        let ImageInput { mean, std, .. } = self.input;
        let picture = |values: &[f32]| {
            RgbImage::from_fn(width as u32, height as u32, |x, y| {
                let at = y as usize * width as usize + x as usize;
                image::Rgb([0, 1, 2].map(|channel| {
                    if bytes {
                        return values[channel * plane + at] as u8;
                    }
                    let level = f64::from(values[channel * plane + at]) * f64::from(std[channel]) + f64::from(mean[channel]);
                    (level * 255.0).round().clamp(0.0, 255.0) as u8
                }))
            })
        };
        Ok(values.chunks_exact((3 * plane).max(1)).map(picture).collect())
    }
}

/// Token ids of rows: filled up with the text tower's padding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenRows {
    /// Most ids of a row.
    pub context: usize,
    /// The id of padding.
    pub pad: i64,
    /// Cut the matrix to its longest row: for towers on whose output padding has no effect.
    pub truncate: bool,
}

impl TokenRows {
    /// `[B, L]` int64.
    ///
    /// # Errors
    /// A row that is longer than the context.
    pub fn tensor(&self, rows: &[&[i64]]) -> Result<Tensor> {
        let longest = rows.iter().map(|ids| ids.len()).max().unwrap_or_default().max(1);
        if longest > self.context {
            return Err(Error::invalid(format!("a text has {longest} token ids; the text tower takes {}", self.context)));
        }
        let length = if self.truncate { longest } else { self.context };
        matrix(rows, length, self.pad)
    }
}

/// Class labels of rows: `[B, K]` int64, -1 behind a row's last label. K is at least 1.
pub(crate) fn labels(rows: &[&[i64]]) -> Result<Tensor> {
    matrix(rows, rows.iter().map(|labels| labels.len()).max().unwrap_or_default().max(1), -1)
}

/// The batch in pinned memory; as it is where no memory can be pinned, which costs time alone.
pub(crate) fn pinned(batch: Batch) -> Batch {
    batch.map(|tensor| Ok(vlhub_torch_ext::pinned(tensor)?)).unwrap_or_else(|error| {
        static TOLD: Once = Once::new();
        TOLD.call_once(|| tracing::warn!("{error}: batches are not in pinned memory, so they are not copied to the GPU while it computes"));
        batch
    })
}

/// `[B, length]` int64: rows of at most that length, filled up.
fn matrix(rows: &[&[i64]], length: usize, fill: i64) -> Result<Tensor> {
    let mut flat = vec![fill; rows.len() * length];
    for (row, into) in rows.iter().zip(flat.chunks_exact_mut(length)) {
        into[..row.len()].copy_from_slice(row);
    }
    Ok(Tensor::f_from_slice(&flat)?.f_view([rows.len() as i64, length as i64])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vlhub_sdk::pixels::{Fit, Sampling};

    fn pixel_rows() -> PixelRows {
        let input = ImageInput {
            size: (3, 2),
            mean: [0.1, 0.5, 0.9],
            std: [0.9, 0.25, 0.3],
            fit: Fit::default(),
            sampling: Sampling::default(),
            fill: 0,
        };
        PixelRows::new(input)
    }

    #[test]
    fn pictures_come_back_as_they_went_in() {
        let images: Vec<RgbImage> =
            (0..3u8).map(|seed| RgbImage::from_fn(2, 3, |x, y| image::Rgb([seed * 80, (x * 99) as u8, 255 - (y * 70) as u8]))).collect();
        let rows = pixel_rows();
        let tensor = rows.tensor(images.iter()).expect("they have the size");
        assert_eq!(tensor.size(), [3, 3, 3, 2]);
        let wanted = (255.0 / 255.0 - 0.9f32) / 0.3;
        assert_eq!(tensor.double_value(&[0, 2, 0, 0]) as f32, wanted);
        assert_eq!(rows.images(&tensor).expect("they are pictures"), images);
        let bytes = rows.bytes(images.iter()).expect("they have the size");
        assert_eq!((bytes.kind(), bytes.size()), (Kind::Uint8, tensor.size()));
        assert_eq!(rows.images(&bytes).expect("they are pictures"), images);
        assert_eq!(rows.normalise(&bytes).expect("there is room"), tensor, "normalised later, the same numbers to the bit");
        assert_eq!(rows.normalise(&tensor).expect("there is room"), tensor, "once");
        for error in [rows.tensor([&RgbImage::new(3, 3)].into_iter()), rows.bytes([&RgbImage::new(3, 3)].into_iter())] {
            assert!(error.expect_err("another size").to_string().contains("(3, 3)"));
        }
    }

    #[test]
    fn token_ids_and_labels_are_filled_up() {
        let rows: [&[i64]; 3] = [&[5, 6], &[], &[7, 8, 9]];
        let tokens = |truncate| TokenRows { context: 4, pad: 1, truncate }.tensor(&rows).expect("they fit");
        assert_eq!(tokens(true), Tensor::from_slice(&[5i64, 6, 1, 1, 1, 1, 7, 8, 9]).view([3, 3]));
        assert_eq!(tokens(false), Tensor::from_slice(&[5i64, 6, 1, 1, 1, 1, 1, 1, 7, 8, 9, 1]).view([3, 4]));
        assert_eq!(labels(&rows).expect("labels"), Tensor::from_slice(&[5i64, 6, -1, -1, -1, -1, 7, 8, 9]).view([3, 3]));
        assert_eq!(labels(&[&[], &[]]).expect("none").size(), [2, 1]);
        let error = TokenRows { context: 2, pad: 1, truncate: true }.tensor(&rows).expect_err("too long").to_string();
        assert!(error.contains("3 token ids") && error.contains("takes 2"), "{error}");
    }
}
