//! The orientation tag of a picture: in Exif of JPEG, PNG and WebP, in the first page of TIFF; where Exif has none, in XMP, as Pillow looks for it.

use std::io::Cursor;

use image::codecs::jpeg::JpegDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, RgbImage};
use tiff::decoder::Decoder;
use tiff::tags::Tag;

/// A picture turned upright. What has no tag that can be read stays as it is.
pub(super) fn upright(image: RgbImage, bytes: &[u8], format: ImageFormat) -> RgbImage {
    match of(bytes, format) {
        None | Some(Orientation::NoTransforms) => image,
        Some(orientation) => {
            let mut image = DynamicImage::from(image);
            image.apply_orientation(orientation);
            image.into_rgb8()
        }
    }
}

fn of(bytes: &[u8], format: ImageFormat) -> Option<Orientation> {
    let (exif, xmp) = match format {
        ImageFormat::Jpeg => metadata(JpegDecoder::new(Cursor::new(bytes)).ok()?),
        ImageFormat::WebP => metadata(WebPDecoder::new(Cursor::new(bytes)).ok()?),
        ImageFormat::Png => png(bytes),
        ImageFormat::Tiff => {
            let tag = Decoder::new(Cursor::new(bytes)).ok()?.find_tag_unsigned::<u8>(Tag::Orientation).ok()??;
            return Orientation::from_exif(tag);
        }
        _ => return None,
    };
    let of_exif = exif.as_deref().and_then(|exif| Orientation::from_exif_chunk(exif.strip_prefix(b"Exif\0\0").unwrap_or(exif)));
    of_exif.or_else(|| of_xmp(xmp.as_deref()?))
}

type Metadata = (Option<Vec<u8>>, Option<Vec<u8>>);

fn metadata(mut decoder: impl ImageDecoder) -> Metadata {
    (decoder.exif_metadata().ok().flatten(), decoder.xmp_metadata().ok().flatten())
}

/// Exif and XMP of a PNG file. They may stand behind the pixels, which a decoder of pixels does not read.
fn png(bytes: &[u8]) -> Metadata {
    let (mut exif, mut xmp) = (None, None);
    let mut at = 8;
    while let Some(&[a, b, c, d, ref kind @ ..]) = bytes.get(at..at + 8).and_then(|head| <&[u8; 8]>::try_from(head).ok()) {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some(data) = bytes.get(at + 8..at.saturating_add(8).saturating_add(length)) else { break };
        match kind {
            b"eXIf" => exif = Some(data.to_vec()),
            // Keyword, no compression, and two texts that are empty here.
            b"iTXt" => xmp = data.strip_prefix(b"XML:com.adobe.xmp\0\0\0\0\0").map(<[u8]>::to_vec).or(xmp),
            _ => {}
        }
        at += 12 + length;
    }
    (exif, xmp)
}

/// `tiff:Orientation="6"` or `<tiff:Orientation>6<`.
fn of_xmp(xmp: &[u8]) -> Option<Orientation> {
    const NAME: &[u8] = b"tiff:Orientation";
    let at = xmp.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    let rest = xmp.get(at..)?;
    let digit = rest.strip_prefix(b"=\"").or(rest.strip_prefix(b">"))?.first()?;
    Orientation::from_exif(digit.checked_sub(b'0')?)
}
