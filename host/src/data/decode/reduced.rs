//! JPEG decoded at a half, a quarter or an eighth of its size, where what is read of it keeps enough pixels: Pillow's `draft` mode, to the bit.
//!
//! The inverse transform then gives fewer pixels of each block. They are means of the picture's, so a resize that follows has less to do and gives
//! nearly, not exactly, the same.

use image::ImageFormat;
use serde::{Deserialize, Serialize};
use vlhub_core::Region;

use super::memory;
use super::{Decoded, ExifPolicy, Flaw, PictureOptions, empty_refused, guarded, jpeg, orientation, within};

/// How exactly training decodes pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecodeMode {
    /// All pixels, as Pillow gives them.
    #[default]
    Exact,
    /// A large JPEG at a half, a quarter or an eighth of its size, where what is read of it keeps at least as many pixels as it becomes.
    Fast,
}

/// How a picture was decoded smaller than it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reduction {
    /// Width and height of the picture in its file.
    pub size: (u32, u32),
    /// By how much both are divided: 2, 4 or 8.
    pub divisor: u32,
}

impl Reduction {
    /// Where a part of the whole picture lies in what was decoded: all pixels that show some of it.
    pub fn part(self, of: Region) -> Region {
        let span = |start: u32, length: u32| {
            let first = start / self.divisor;
            (first, (start + length).div_ceil(self.divisor) - first)
        };
        let ((x, width), (y, height)) = (span(of.x, of.width), span(of.y, of.height));
        Region { x, y, width, height }
    }
}

/// Decodes a JPEG divided by the largest number that `most`, asked with its width and height, allows. `None` where that is less than 2, or it is no
/// JPEG that can be divided: it is then to be decoded whole.
///
/// # Errors
/// As [`super::decode`].
pub fn decode_reduced(
    bytes: &[u8],
    options: PictureOptions,
    most: impl Fn((u32, u32)) -> u32,
) -> Result<Option<(Decoded, Reduction)>, Flaw> {
    // What is to be turned has other sides than its header says.
    let turned = options.exif == ExifPolicy::Apply && !orientation::is_upright(bytes, ImageFormat::Jpeg);
    if turned || !matches!(image::guess_format(bytes), Ok(ImageFormat::Jpeg)) {
        return Ok(None);
    }
    guarded(|| {
        let mut found = None;
        let image = jpeg::decode(bytes, |width, height| {
            let pixels = within(width, height, options.max_pixels)?;
            let most = most((width, height));
            let Some(divisor) = [8, 4, 2].into_iter().find(|divisor| *divisor <= most) else { return Ok(None) };
            // As for a whole picture: the pixels, their copy in RGB, and the coefficients of a progressive file, which are all there.
            let bytes = pixels * 6 + pixels / u64::from(divisor * divisor) * 7;
            found = Some((memory::DECODED.take(bytes), (width, height), divisor));
            Ok(Some(divisor))
        })?;
        let (Some(image), Some((mut memory, size, divisor))) = (image, found) else { return Ok(None) };
        let image = empty_refused(image.into_rgb8())?;
        memory.shrink(image.as_raw().len() as u64);
        Ok(Some((Decoded { image, memory: Some(memory) }, Reduction { size, divisor })))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_whole_is_found_in_the_smaller_picture() {
        let reduction = Reduction { size: (101, 67), divisor: 4 };
        for (of, part) in [
            ((0, 0, 101, 67), (0, 0, 26, 17)),
            ((4, 8, 8, 4), (1, 2, 2, 1)),
            ((3, 7, 6, 2), (0, 1, 3, 2)),
            ((100, 66, 1, 1), (25, 16, 1, 1)),
        ] {
            let region = |(x, y, width, height)| Region { x, y, width, height };
            assert_eq!(reduction.part(region(of)), region(part), "{of:?}");
        }
    }
}
