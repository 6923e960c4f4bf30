//! TIFF files of palettes, which the `image` crate does not read: their pixels are read as grey levels, which are places in the palette.

use std::io::Cursor;

use image::{DynamicImage, RgbImage};
use tiff::TiffError;
use tiff::decoder::ifd::Value;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;

/// The tag that says what samples mean, and its values for places in a palette and for grey levels.
const PHOTOMETRIC: u16 = 262;
const PALETTE: u16 = 3;
const BLACK_IS_ZERO: u16 = 1;

/// The first page of a TIFF file, if its pixels are places in a palette of 256 colours. `allowed` looks at its width and height before anything
/// is allocated.
///
/// # Errors
/// What the decoder says, or `allowed`.
pub(super) fn decode<E: From<TiffError>>(bytes: &[u8], allowed: impl FnOnce(u32, u32) -> Result<(), E>) -> Result<Option<DynamicImage>, E> {
    let mut limits = Limits::default();
    limits.ifd_value_size = 1 << 20;
    let mut decoder = Decoder::new(Cursor::new(bytes))?.with_limits(limits.clone());
    // The decoder gives no colour type to palettes, so it is asked for the tags.
    let photometric = decoder.find_tag_unsigned::<u16>(Tag::PhotometricInterpretation)?;
    let bits = decoder.find_tag_unsigned_vec::<u16>(Tag::BitsPerSample)?;
    if photometric != Some(PALETTE) || bits.as_deref() != Some(&[8][..]) {
        return Ok(None);
    }
    let (width, height) = decoder.dimensions()?;
    allowed(width, height)?;
    // All reds, then all greens, then all blues, each of 16 bits, as many as the palette is long.
    let colours = decoder.get_tag(Tag::ColorMap).and_then(Value::into_u16_vec)?;
    let Some(grey) = as_grey(bytes) else { return Ok(None) };
    limits.decoding_buffer_size = width as usize * height as usize;
    limits.intermediate_buffer_size = limits.decoding_buffer_size.max(1 << 20);
    let mut decoder = Decoder::new(Cursor::new(&grey))?.with_limits(limits);
    let DecodingResult::U8(places) = decoder.read_image()? else { return Ok(None) };
    let size = colours.len() / 3;
    let level = |place: usize, channel: usize| colours.get(channel * size + place).map_or(0, |level| (level >> 8) as u8);
    let pixels = places.into_iter().flat_map(|place| [0, 1, 2].map(|channel| level(usize::from(place), channel))).collect();
    Ok(RgbImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgb8))
}

/// The same file, whose first page says that its samples are grey levels. `None` when the tag is not where classic TIFF has it.
fn as_grey(bytes: &[u8]) -> Option<Vec<u8>> {
    let little = match bytes.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| -> Option<u16> {
        let field: [u8; 2] = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(field) } else { u16::from_be_bytes(field) })
    };
    let offset: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
    let page = if little { u32::from_le_bytes(offset) } else { u32::from_be_bytes(offset) } as usize;
    // Twelve bytes each: tag, type, count and value.
    let mut entries = (0..usize::from(short(page)?)).map(|entry| page + 2 + 12 * entry);
    let value = entries.find(|at| short(*at) == Some(PHOTOMETRIC))? + 8;
    let mut grey = bytes.to_vec();
    let level = if little { BLACK_IS_ZERO.to_le_bytes() } else { BLACK_IS_ZERO.to_be_bytes() };
    grey.get_mut(value..value + 2)?.copy_from_slice(&level);
    Some(grey)
}
