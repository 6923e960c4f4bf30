//! Encoded bytes to pixels, as Pillow's `convert("RGB")` gives them: alpha is dropped, not composited; an orientation tag is ignored; of an
//! animation the first frame counts, and the others are not decoded. 16-bit channels are scaled to 8 bits (Pillow takes the upper byte or clamps, by
//! mode). Each of these is one of the [`PictureOptions`].
//!
//! The format is read from the bytes, never from a name. The header is looked at before anything is allocated, and threads together decode
//! no more than [`memory::DECODED`] at a time. A decoder that panics makes one bad sample. Of a TIFF file with several pages the first counts.

mod jpeg;
pub mod memory;
mod options;
mod orientation;
mod tiff_palette;

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use image::error::LimitErrorKind;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};

use vlhub_core::{Bad, Picture, Raw};

use memory::Taken;
pub use options::{AlphaPolicy, ExifPolicy, PictureOptions, SixteenBitPolicy};

/// Most pixels of a picture, unless one says otherwise: Pillow's limit, twice its `MAX_IMAGE_PIXELS`.
pub const MAX_PIXELS: u64 = 178_956_970;
/// Pictures of more pixels are warned of, once: Pillow's `MAX_IMAGE_PIXELS`.
const MANY_PIXELS: u64 = 89_478_485;

/// Why bytes are no picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Class of reason.
    pub reason: &'static str,
    /// The particular case.
    pub detail: String,
}

fn flaw(reason: &'static str, detail: impl Into<String>) -> Flaw {
    Flaw { reason, detail: detail.into() }
}

/// The file name extension for encoded bytes, by their content.
pub fn extension(bytes: &[u8]) -> Option<&'static str> {
    match image::guess_format(bytes).ok()? {
        ImageFormat::Jpeg => Some("jpg"),
        ImageFormat::Png => Some("png"),
        ImageFormat::WebP => Some("webp"),
        ImageFormat::Gif => Some("gif"),
        ImageFormat::Bmp => Some("bmp"),
        ImageFormat::Tiff => Some("tif"),
        _ => None,
    }
}

/// Decodes a picture as the options say.
///
/// # Errors
/// The class of reason and the particular case.
pub fn decode(bytes: &[u8], options: PictureOptions) -> Result<RgbImage, Flaw> {
    decode_held(bytes, options).map(Decoded::into_image)
}

/// Pixels, and their part of the memory that decoded pictures may take.
#[derive(Debug)]
pub struct Decoded {
    image: RgbImage,
    memory: Option<Taken<'static>>,
}

impl Decoded {
    /// The pixels and what to drop when they are dropped or made smaller.
    pub fn into_parts(self) -> (RgbImage, Option<Taken<'static>>) {
        (self.image, self.memory)
    }

    /// The pixels, which no longer count.
    pub fn into_image(self) -> RgbImage {
        self.image
    }

    /// The pixels.
    pub fn image(&self) -> &RgbImage {
        &self.image
    }
}

/// [`decode`] for pictures that are kept as they are for some time: what they take counts until it is dropped.
///
/// # Errors
/// As [`decode`].
pub fn decode_held(bytes: &[u8], options: PictureOptions) -> Result<Decoded, Flaw> {
    guarded(|| {
        let (image, mut memory) = dynamic(bytes, options)?;
        let image = turned(options.rgb(image), bytes, options);
        if image.width() == 0 || image.height() == 0 {
            return Err(flaw("empty image", "it has no pixels"));
        }
        memory.shrink(image.as_raw().len() as u64);
        Ok(Decoded { image, memory: Some(memory) })
    })
}

/// Decodes a picture that has an alpha channel and lays it on a colour. `None` when it has none.
///
/// # Errors
/// As [`decode`].
pub fn flatten(bytes: &[u8], options: PictureOptions, colour: [u8; 3]) -> Result<Option<RgbImage>, Flaw> {
    guarded(|| {
        let (image, _memory) = dynamic(bytes, options)?;
        if !image.color().has_alpha() {
            return Ok(None);
        }
        Ok(Some(turned(options::over(image, colour), bytes, options)))
    })
}

/// The pixels upright, where that is asked for.
fn turned(image: RgbImage, bytes: &[u8], options: PictureOptions) -> RgbImage {
    match (options.exif, image::guess_format(bytes)) {
        (ExifPolicy::Apply, Ok(format)) => orientation::upright(image, bytes, format),
        _ => image,
    }
}

/// The pixels of a sample's picture.
///
/// # Errors
/// Names the sample.
pub fn pixels(raw: &Raw, options: PictureOptions) -> Result<Decoded, Bad> {
    let image = match &raw.picture {
        Some(Picture::Encoded(bytes)) => decode_held(bytes, options),
        Some(Picture::Decoded(image)) if image.width() == 0 || image.height() == 0 => Err(flaw("empty image", "it has no pixels")),
        Some(Picture::Decoded(image)) => Ok(Decoded { image: image.clone(), memory: None }),
        None => Err(flaw("no image", "")),
    };
    image.map_err(|flaw| Bad { key: raw.key.clone(), place: raw.key.clone(), reason: flaw.reason, detail: flaw.detail })
}

/// Runs a decoder and turns its panic into a flaw.
fn guarded<T>(decode: impl FnOnce() -> Result<T, Flaw>) -> Result<T, Flaw> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|panic| Err(flaw("panic", panic_text(panic.as_ref()))))
}

/// The first line of what a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.and_then(|text| text.lines().next()).unwrap_or("without a message").to_owned()
}

fn dynamic(bytes: &[u8], options: PictureOptions) -> Result<(DynamicImage, Taken<'static>), Flaw> {
    let PictureOptions { max_pixels, .. } = options;
    if bytes.is_empty() {
        return Err(flaw("empty file", "it has no bytes"));
    }
    if extension(bytes).is_none() {
        return Err(flaw("not an image", looks_like(bytes)));
    }
    let format = image::guess_format(bytes).map_err(|error| refused(&error))?;
    // The memory is taken before the pixels are.
    let mut memory = None;
    let mut allowed = |width, height, bytes_a_pixel: u64| {
        memory = Some(memory::DECODED.take(within(width, height, max_pixels)? * bytes_a_pixel));
        Ok::<(), Flaw>(())
    };
    let image = match format {
        ImageFormat::Tiff => tiff_palette::decode(bytes, |width, height| allowed(width, height, 4))?,
        // What the decoder gives, the copy in RGB, and the coefficients of a progressive file.
        ImageFormat::Jpeg => jpeg::decode(bytes, |width, height| allowed(width, height, 13))?,
        _ => None,
    };
    if let (Some(image), Some(memory)) = (image, memory.take()) {
        return Ok((image, memory));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    // Four channels of 16 bits, and as much again for a decoder's own buffers.
    limits.max_alloc = Some(max_pixels.saturating_mul(16).max(1 << 20));
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| refused(&error))?;
    let (width, height) = decoder.dimensions();
    let pixels = within(width, height, max_pixels)?;
    // What the decoder gives, the copy in RGB, and the coefficients of a progressive JPEG.
    let own = if format == ImageFormat::Jpeg { 9 } else { 3 };
    let memory = memory::DECODED.take(decoder.total_bytes().saturating_add(pixels * own));
    let image = DynamicImage::from_decoder(decoder).map_err(|error| refused(&error))?;
    Ok((image, memory))
}

/// The number of pixels that a header promises, if so many may be decoded.
fn within(width: u32, height: u32, max_pixels: u64) -> Result<u64, Flaw> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(flaw("empty image", format!("its header says {width}×{height} pixels")));
    }
    if pixels > max_pixels {
        return Err(flaw(
            "too many pixels",
            format!(
                "its header says {width}×{height}, and `max_pixels` allows {max_pixels}, because a file of few bytes may claim any number"
            ),
        ));
    }
    if pixels > MANY_PIXELS {
        static TOLD: Once = Once::new();
        TOLD.call_once(|| {
            tracing::warn!("a picture of {width}×{height} pixels takes much memory; `max_pixels` sets the most. Others are not mentioned");
        });
    }
    Ok(pixels)
}

/// Whether a decoder says that its input ended too early.
fn ended(text: &str) -> bool {
    ["end of file", "unexpected eof", "unexpected end", "failed to fill", "truncated", "no more bytes", "not enough", "exhausted"]
        .iter()
        .any(|words| text.to_lowercase().contains(words))
}

impl From<tiff::TiffError> for Flaw {
    fn from(error: tiff::TiffError) -> Self {
        let detail = error.to_string();
        let reason = match &error {
            tiff::TiffError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => "truncated image",
            tiff::TiffError::UnsupportedError(_) => "unsupported image",
            tiff::TiffError::LimitsExceeded => "too many pixels",
            _ if ended(&detail) => "truncated image",
            _ => "corrupt image",
        };
        flaw(reason, detail)
    }
}

fn refused(error: &ImageError) -> Flaw {
    let text = error.to_string();
    let detail = text.lines().next().unwrap_or_default().to_owned();
    let reason = match error {
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => "truncated image",
        ImageError::Limits(limit) => match limit.kind() {
            LimitErrorKind::DimensionError | LimitErrorKind::InsufficientMemory => "too many pixels",
            _ => "corrupt image",
        },
        ImageError::Unsupported(_) => "unsupported image",
        _ if ended(&text) => "truncated image",
        _ => "corrupt image",
    };
    flaw(reason, detail)
}

fn looks_like(bytes: &[u8]) -> String {
    let start = bytes.trim_ascii_start();
    let start = String::from_utf8_lossy(&start[..start.len().min(64)]).to_lowercase();
    match () {
        () if start.starts_with("<!doctype html") || start.starts_with("<html") => "it is a web page".into(),
        () if start.contains("<svg") || start.starts_with("<?xml") => "it is SVG or XML, which is not read".into(),
        () if start.starts_with('{') => "it is JSON".into(),
        () => format!("its first bytes are {:02x?}", &bytes[..bytes.len().min(8)]),
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
