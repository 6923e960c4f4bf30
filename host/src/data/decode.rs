//! Encoded bytes to pixels, as Pillow's `convert("RGB")` gives them: alpha is dropped, not composited; an orientation tag is ignored; of an
//! animation the first frame counts. 16-bit channels are scaled to 8 bits (Pillow takes the upper byte or clamps, by mode).
//!
//! The format is read from the bytes, never from a name. The header is looked at before anything is allocated, and threads together decode
//! no more than [`memory::DECODED`] at a time. A decoder that panics makes one bad sample. Of a TIFF file with several pages the first counts.

pub mod memory;
mod tiff_palette;

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use image::error::LimitErrorKind;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};

use vlhub_core::{Bad, Picture, Raw};

use memory::Taken;

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

/// Decodes a picture of at most `max_pixels` pixels.
///
/// # Errors
/// The class of reason and the particular case.
pub fn decode(bytes: &[u8], max_pixels: u64) -> Result<RgbImage, Flaw> {
    decode_held(bytes, max_pixels).map(Decoded::into_image)
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
pub fn decode_held(bytes: &[u8], max_pixels: u64) -> Result<Decoded, Flaw> {
    guarded(|| {
        let (image, mut memory) = dynamic(bytes, max_pixels)?;
        let image = image.into_rgb8();
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
pub fn flatten(bytes: &[u8], max_pixels: u64, colour: [u8; 3]) -> Result<Option<RgbImage>, Flaw> {
    guarded(|| {
        let (image, _memory) = dynamic(bytes, max_pixels)?;
        if !image.color().has_alpha() {
            return Ok(None);
        }
        let image = image.into_rgba8();
        Ok(Some(RgbImage::from_fn(image.width(), image.height(), |x, y| {
            let [red, green, blue, alpha] = image.get_pixel(x, y).0;
            let mix = |over: u8, under: u8| {
                let alpha = u32::from(alpha);
                ((u32::from(over) * alpha + u32::from(under) * (255 - alpha) + 127) / 255) as u8
            };
            image::Rgb([mix(red, colour[0]), mix(green, colour[1]), mix(blue, colour[2])])
        })))
    })
}

/// The pixels of a sample's picture.
///
/// # Errors
/// Names the sample.
pub fn pixels(raw: &Raw, max_pixels: u64) -> Result<Decoded, Bad> {
    let image = match &raw.picture {
        Some(Picture::Encoded(bytes)) => decode_held(bytes, max_pixels),
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

fn dynamic(bytes: &[u8], max_pixels: u64) -> Result<(DynamicImage, Taken<'static>), Flaw> {
    if bytes.is_empty() {
        return Err(flaw("empty file", "it has no bytes"));
    }
    if extension(bytes).is_none() {
        return Err(flaw("not an image", looks_like(bytes)));
    }
    let format = image::guess_format(bytes).map_err(|error| refused(&error))?;
    if format == ImageFormat::Tiff {
        // The memory is taken before the pixels are.
        let mut memory = None;
        let allowed = |width, height| {
            within(width, height, max_pixels)?;
            memory = Some(memory::DECODED.take(u64::from(width) * u64::from(height) * 4));
            Ok::<(), Flaw>(())
        };
        if let (Some(image), Some(memory)) = (tiff_palette::decode(bytes, allowed)?, memory) {
            return Ok((image, memory));
        }
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    // Four channels of 16 bits, and as much again for a decoder's own buffers.
    limits.max_alloc = Some(max_pixels.saturating_mul(16).max(1 << 20));
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| refused(&error))?;
    let (width, height) = decoder.dimensions();
    let pixels = within(width, height, max_pixels)?;
    if format == ImageFormat::Jpeg {
        whole_jpeg(bytes)?;
    }
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

/// More scans than this are an attack: a progressive picture has about ten, and each costs as much as the picture.
const MOST_SCANS: usize = 200;

/// A decoder fills the rest of a cut JPEG with grey and says nothing; the end mark says whether it was cut. Marks cannot occur inside the coded
/// data, which stuff every 0xFF, but they do in the thumbnails of the segments before them.
fn whole_jpeg(bytes: &[u8]) -> Result<(), Flaw> {
    let scans = &bytes[first_scan(bytes)..];
    let marks = |kind: u8| scans.windows(2).filter(move |pair| *pair == [0xFF, kind]);
    if marks(0xDA).nth(MOST_SCANS).is_some() {
        return Err(flaw("corrupt image", format!("a jpg with more than {MOST_SCANS} scans")));
    }
    if marks(0xD9).next().is_none() { Err(flaw("truncated image", "a jpg without an end mark")) } else { Ok(()) }
}

/// Where the first scan begins; the end when there is none, and the start when segments are not where they should be, for the decoder to judge.
fn first_scan(bytes: &[u8]) -> usize {
    let mut at = 2;
    while let Some(&[mark, kind, high, low]) = bytes.get(at..at + 4).and_then(|head| <&[u8; 4]>::try_from(head).ok()) {
        match (mark, kind) {
            (0xFF, 0xDA) => return at,
            (0xFF, 0xFF) => at += 1,
            (0xFF, 0x01 | 0xD0..=0xD8) => at += 2,
            (0xFF, _) => at += 2 + usize::from(u16::from_be_bytes([high, low])),
            _ => return 0,
        }
    }
    bytes.len()
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
mod tests {
    use super::*;
    use image::{ExtendedColorType, Rgb};

    fn picture() -> RgbImage {
        RgbImage::from_fn(40, 30, |x, y| Rgb([(x * 6) as u8, (y * 8) as u8, (x * y) as u8]))
    }

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture().write_to(&mut bytes, format).expect("memory does not fail");
        bytes.into_inner()
    }

    const FORMATS: [ImageFormat; 6] =
        [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::Tiff];

    fn reason(bytes: &[u8]) -> &'static str {
        decode(bytes, MAX_PIXELS).map_or_else(|flaw| flaw.reason, |_| "none")
    }

    #[test]
    fn every_format_is_known_by_its_content() {
        for format in FORMATS {
            let image = decode(&encoded(format), MAX_PIXELS).expect("it is whole");
            assert_eq!(image.dimensions(), (40, 30), "{format:?}");
        }
        for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff] {
            assert_eq!(decode(&encoded(format), MAX_PIXELS).expect("it is whole"), picture(), "{format:?} is lossless");
        }
    }

    #[test]
    fn pixels_are_those_of_pillow() {
        use base64::Engine as _;
        // `tests/golden/pictures.py` wrote the file and says with which Pillow.
        let golden = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/pictures.json")).expect("it is there");
        let golden: serde_json::Value = serde_json::from_slice(&golden).expect("it is JSON");
        let bytes = |value: &serde_json::Value| base64::prelude::BASE64_STANDARD.decode(value.as_str()?).ok();
        let cases = golden["cases"].as_object().expect("it is an object");
        assert!(cases.len() > 20, "the golden file was cut");
        let mut differences = Vec::new();
        for (name, case) in cases {
            let image = decode(&bytes(&case["file"]).expect("base64"), MAX_PIXELS);
            match (image, bytes(&case["pixels"])) {
                (Ok(image), Some(expected)) => {
                    assert_eq!(serde_json::json!(image.dimensions()), case["size"], "{name}");
                    let pairs = image.as_raw().iter().zip(&expected);
                    let difference = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap_or_default();
                    // Pillow's JPEG decoder rounds otherwise, and halves colours by another filter; every other format is lossless.
                    let allowed = if name.contains("halved") || name.contains("CMYK") {
                        8
                    } else if name.starts_with("jpg") {
                        3
                    } else {
                        0
                    };
                    if difference > allowed {
                        differences.push(format!("{name}: {difference}"));
                    }
                }
                (Err(flaw), None) => assert_eq!(flaw.reason, "truncated image", "{name}"),
                (image, expected) => differences.push(format!("{name}: {:?} against {:?}", image.err(), expected.map(|bytes| bytes.len()))),
            }
        }
        assert!(differences.is_empty(), "{differences:#?}");
    }

    /// Mean and largest difference of two pictures' levels.
    fn distance(one: &[u8], other: &[u8]) -> (f64, u8) {
        let off: Vec<u8> = one.iter().zip(other).map(|(a, b)| a.abs_diff(*b)).collect();
        let sum: u64 = off.iter().map(|off| u64::from(*off)).sum();
        (sum as f64 / off.len().max(1) as f64, off.into_iter().max().unwrap_or_default())
    }

    /// `tests/golden/picture_modes.py` wrote what open_clip makes of each picture; the table of the differences is documentation.
    #[test]
    fn the_table_of_picture_modes_is_what_is_so() {
        use base64::Engine as _;
        let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden"));
        let golden = std::fs::read(folder.join("picture_modes.json")).expect("it is there");
        let golden: serde_json::Value = serde_json::from_slice(&golden).expect("it is JSON");
        let size = golden["size"].as_u64().expect("a size") as u32;
        let mut page = format!(
            "# Pixels by the mode of a picture\n\nMean and largest difference, in levels of 0 to 255, of what a tower reads at {size} × {size} pixels. \
             open_clip resizes a picture in the mode in which it comes: a CSV and the code of its README open a file as Pillow does, an image \
             folder and WebDataset convert it to RGB first. VL Hub converts first, whatever the source, and scales 16 bits to 8. \
             {}; the last two columns are kept by a test.\n\n\
             | picture | Pillow's mode | open_clip: CSV against folder | ours against open_clip's folder | ours against open_clip's CSV |\n\
             |---|---|---|---|---|\n",
            golden["origin"].as_str().expect("a text")
        );
        for case in golden["cases"].as_array().expect("a list") {
            let name = case["name"].as_str().expect("a name");
            let bytes = |key: &str| base64::prelude::BASE64_STANDARD.decode(case[key].as_str().expect("a text")).expect("base64");
            let image = decode(&bytes("file"), MAX_PIXELS).unwrap_or_else(|flaw| panic!("{name}: {flaw:?}"));
            let ours = vlhub_sdk::pixels::eval_transform(&image, (size, size)).into_raw();
            let (opened, converted) = (bytes("opened"), bytes("converted"));
            let cell = |(mean, most): (f64, u8)| format!("{mean:.2}, {most}");
            let (theirs, folder, csv) = (distance(&opened, &converted), distance(&ours, &converted), distance(&ours, &opened));
            let exact = !name.contains("JPEG") && !name.contains("16-bit") && !name.contains("CMYK");
            assert!(!exact || folder == (0.0, 0), "{name}: lossless pictures are equal to the bit: {folder:?}");
            let mode = case["mode"].as_str().expect("a mode");
            page += &format!("| {name} | {mode} | {} | {} | {} |\n", cell(theirs), cell(folder), cell(csv));
        }
        let path = folder.join("picture_modes.md");
        if std::fs::read_to_string(&path).unwrap_or_default() != page {
            std::fs::write(&path, page).expect("written");
            panic!("tests/golden/picture_modes.md was stale and has been written again; commit it");
        }
    }

    #[test]
    fn no_prefix_passes_for_the_whole_or_panics() {
        for format in FORMATS {
            let bytes = encoded(format);
            let steps = (0..bytes.len()).step_by(37).chain([bytes.len() - 1]);
            for length in steps {
                match decode(&bytes[..length], MAX_PIXELS) {
                    Err(flaw) => assert_ne!(flaw.reason, "panic", "{format:?}, {length} of {}: {}", bytes.len(), flaw.detail),
                    // The last bytes of a file may be a trailer without pixels.
                    Ok(image) => {
                        assert!(length + 16 > bytes.len() && image.dimensions() == (40, 30), "{format:?}, {length} of {}", bytes.len())
                    }
                }
            }
        }
        let jpeg = encoded(ImageFormat::Jpeg);
        assert_eq!(reason(&jpeg[..jpeg.len() - 40]), "truncated image");
        let png = encoded(ImageFormat::Png);
        assert_eq!(reason(&png[..png.len() / 2]), "truncated image");
    }

    #[test]
    fn a_thumbnail_does_not_pass_for_the_end_of_a_jpg() {
        let jpeg = encoded(ImageFormat::Jpeg);
        let segment = [&[0xFF, 0xE1, 0, 6][..], &[0xFF, 0xD9, 0, 0]].concat();
        let whole = [&jpeg[..2], &segment, &jpeg[2..]].concat();
        assert_eq!(reason(&whole), "none");
        assert_eq!(reason(&whole[..whole.len() - 40]), "truncated image");
    }

    #[test]
    fn a_jpg_of_thousands_of_scans_is_refused() {
        let jpeg = encoded(ImageFormat::Jpeg);
        let (head, end) = jpeg.split_at(jpeg.len() - 2);
        let bytes = [head, &[0xFF, 0xDA].repeat(300), end].concat();
        let flaw = decode(&bytes, MAX_PIXELS).expect_err("it costs too much");
        assert!(flaw.detail.contains("more than 200 scans"), "{flaw:?}");
    }

    #[test]
    fn rubbish_in_the_middle_never_panics() {
        use rand_core::RngCore;
        for format in FORMATS {
            for seed in 0..60 {
                let mut bytes = encoded(format);
                let mut rng = crate::data::philox::Philox::new([seed, format as u64]);
                for _ in 0..8 {
                    let at = rng.next_u64() as usize % bytes.len();
                    bytes[at] = rng.next_u32() as u8;
                }
                assert_ne!(reason(&bytes), "panic", "{format:?}, seed {seed}");
            }
        }
    }

    #[test]
    fn what_is_no_picture_says_what_it_looks_like() {
        for (bytes, wanted, detail) in [
            (&b""[..], "empty file", "no bytes"),
            (b"<!DOCTYPE html><html>404</html>", "not an image", "web page"),
            (b"\n<html>", "not an image", "web page"),
            (b"<svg xmlns=''/>", "not an image", "SVG"),
            (b"{\"error\": 1}", "not an image", "JSON"),
            (b"\0\0\0\0\0\0\0\0\0", "not an image", "first bytes"),
            (b"\x89PNG\r\n\x1a\n", "truncated image", ""),
        ] {
            let flaw = decode(bytes, MAX_PIXELS).expect_err("it is no picture");
            assert_eq!(flaw.reason, wanted, "{flaw:?}");
            assert!(flaw.detail.contains(detail), "{flaw:?}");
        }
    }

    #[test]
    fn a_bomb_is_refused_by_its_header() {
        let mut png = encoded(ImageFormat::Png);
        png[16..20].copy_from_slice(&65_000u32.to_be_bytes());
        png[20..24].copy_from_slice(&65_000u32.to_be_bytes());
        let sum = crc(&png[12..29]);
        png[29..33].copy_from_slice(&sum.to_be_bytes());
        let mut gif = encoded(ImageFormat::Gif);
        gif[6..10].copy_from_slice(&[0xFF; 4]);
        let mut bmp = encoded(ImageFormat::Bmp);
        bmp[18..22].copy_from_slice(&60_000i32.to_le_bytes());
        bmp[22..26].copy_from_slice(&60_000i32.to_le_bytes());
        let mut jpeg = encoded(ImageFormat::Jpeg);
        let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).expect("a baseline frame");
        jpeg[frame + 5..frame + 9].copy_from_slice(&[0xFF; 4]);
        for (bytes, why) in [(png, "png"), (gif, "gif"), (bmp, "bmp"), (jpeg, "jpg")] {
            let start = std::time::Instant::now();
            assert_eq!(reason(&bytes), "too many pixels", "{why}");
            assert!(start.elapsed().as_millis() < 500, "{why}: {:?}", start.elapsed());
        }
        assert_eq!(decode(&encoded(ImageFormat::Png), 1199).expect_err("one pixel too many").reason, "too many pixels");
    }

    fn crc(bytes: &[u8]) -> u32 {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum()
    }

    #[test]
    fn alpha_is_dropped_and_sixteen_bits_are_scaled() {
        let png = |data: &[u8], color| {
            let mut bytes = Cursor::new(Vec::new());
            image::write_buffer_with_format(&mut bytes, data, 1, 1, color, ImageFormat::Png).expect("memory does not fail");
            decode(&bytes.into_inner(), MAX_PIXELS).expect("it is whole").into_raw()
        };
        assert_eq!(png(&[10, 20, 30, 0], ExtendedColorType::Rgba8), [10, 20, 30], "a transparent pixel keeps its colour");
        assert_eq!(png(&[7, 0], ExtendedColorType::La8), [7, 7, 7], "grey with alpha");
        let sixteen: Vec<u8> = [0u16, 0x8080, 0xFFFF].iter().flat_map(|value| value.to_ne_bytes()).collect();
        assert_eq!(png(&sixteen, ExtendedColorType::Rgb16), [0, 0x80, 0xFF], "sixteen bits");
    }

    #[test]
    fn a_transparent_picture_can_be_laid_on_a_colour() {
        let mut bytes = Cursor::new(Vec::new());
        let image = image::RgbaImage::from_raw(3, 1, vec![10, 20, 30, 0, 10, 20, 30, 255, 0, 0, 0, 128]).expect("the length is right");
        image.write_to(&mut bytes, ImageFormat::Png).expect("memory does not fail");
        let flat = flatten(&bytes.into_inner(), MAX_PIXELS, [255; 3]).expect("it is whole").expect("it has alpha");
        assert_eq!(flat.into_raw(), [255, 255, 255, 10, 20, 30, 127, 127, 127]);
        assert_eq!(flatten(&encoded(ImageFormat::Png), MAX_PIXELS, [0; 3]).expect("it is whole"), None, "nothing to lay");
    }

    #[test]
    fn a_panic_is_a_flaw() {
        let flaw = guarded::<()>(|| panic!("the decoder is broken\nsecond line")).expect_err("it panicked");
        assert_eq!((flaw.reason, flaw.detail.as_str()), ("panic", "the decoder is broken"));
    }
}
