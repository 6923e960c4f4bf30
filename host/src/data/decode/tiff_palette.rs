//! TIFF files of palettes, which the `image` crate does not read.

use std::io::Cursor;

use image::{DynamicImage, RgbImage};
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

/// The first page of a TIFF file, if its pixels are places in a palette of 256 colours. `allowed` looks at its width and height before anything
/// is allocated.
///
/// # Errors
/// What the decoder says, or `allowed`.
pub(super) fn decode<E: From<TiffError>>(bytes: &[u8], allowed: impl FnOnce(u32, u32) -> Result<(), E>) -> Result<Option<DynamicImage>, E> {
    let mut limits = Limits::default();
    limits.ifd_value_size = 1 << 20;
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(E::from)?.with_limits(limits.clone());
    if decoder.colortype().map_err(E::from)? != ColorType::Palette(8) {
        return Ok(None);
    }
    let (width, height) = decoder.dimensions().map_err(E::from)?;
    allowed(width, height)?;
    limits.decoding_buffer_size = width as usize * height as usize;
    limits.intermediate_buffer_size = limits.decoding_buffer_size.max(1 << 20);
    let mut decoder = decoder.with_limits(limits);
    // All reds, then all greens, then all blues, each of 16 bits, as wide as the palette is long.
    let colours = decoder.get_tag(Tag::ColorMap).and_then(tiff::decoder::ifd::Value::into_u16_vec).map_err(E::from)?;
    let DecodingResult::U8(places) = decoder.read_image().map_err(E::from)? else { return Ok(None) };
    let size = colours.len() / 3;
    let level = |place: usize, channel: usize| colours.get(channel * size + place).map_or(0, |level| (level >> 8) as u8);
    let pixels = places.into_iter().flat_map(|place| [0, 1, 2].map(|channel| level(usize::from(place), channel))).collect();
    Ok(RgbImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgb8))
}
