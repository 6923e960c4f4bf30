//! JPEG as Pillow's libjpeg-turbo decodes it, to the bit: the accurate inverse transform, interpolated colours, CMYK by Pillow's formula.
//!
//! `libjpeg-turbo-rs` does the work. Two things are ours. It takes colours for RGB or YCbCr by one mark alone, where libjpeg looks at three
//! ([`Head::rgb`]); such a file gets a mark that says what libjpeg sees. And it reads no colours of RGB and no black of CMYK at half size;
//! those few files are left to the other decoder, a few levels apart.

use std::borrow::Cow;

use image::{DynamicImage, GrayImage, RgbImage};
use libjpeg_turbo_rs::{DecodeLimits, Decoder, JpegError, PixelFormat};

use super::{Flaw, flaw};

/// More scans than this are an attack: a progressive picture has about ten, and each costs as much as the picture.
const MOST_SCANS: usize = 200;
/// More than [`PLAIN_SCANS`] scans of together more pixels than this are one too: some seconds of work in a file of a few kilobytes.
const MOST_SCANNED: u64 = 200_000_000;
/// As many scans may have any size: more than encoders write (libjpeg 10, mozjpeg up to 16).
const PLAIN_SCANS: usize = 32;

/// Decodes a JPEG. `allowed` hears its width and height before its pixels take memory, and may refuse. `None` when this decoder would give
/// other pixels than libjpeg, or none, where it reads the file at all.
///
/// # Errors
/// What is wrong with the file, or what `allowed` says.
pub(super) fn decode(bytes: &[u8], allowed: impl FnOnce(u32, u32) -> Result<(), Flaw>) -> Result<Option<DynamicImage>, Flaw> {
    let head = Head::of(bytes);
    whole(&bytes[head.scan..], head.pixels)?;
    if !head.exact() {
        return Ok(None);
    }
    let bytes = head.with_plain_colours(bytes);
    let limits =
        DecodeLimits { max_scans: MOST_SCANS, max_width: usize::MAX, max_height: usize::MAX, max_pixels: u64::MAX, max_memory: None };
    let mut decoder = match Decoder::new_with_limits(&bytes, limits) {
        Ok(decoder) => decoder,
        Err(JpegError::Unsupported(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (width, height) = (u32::from(decoder.header().width), u32::from(decoder.header().height));
    allowed(width, height)?;
    let format = match head.components.len() {
        1 => PixelFormat::Grayscale,
        4 => PixelFormat::Cmyk,
        _ => PixelFormat::Rgb,
    };
    decoder.set_output_format(format);
    // As libjpeg does where a progressive file lacks its last scans.
    decoder.set_block_smoothing(true);
    let data = match decoder.decode_image() {
        Ok(image) => image.data,
        Err(JpegError::Unsupported(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let image = match format {
        PixelFormat::Grayscale => GrayImage::from_raw(width, height, data).map(DynamicImage::from),
        PixelFormat::Cmyk => RgbImage::from_raw(width, height, rgb_of_cmyk(&data)).map(DynamicImage::from),
        _ => RgbImage::from_raw(width, height, data).map(DynamicImage::from),
    };
    image.map(Some).ok_or_else(|| flaw("corrupt image", "a jpg that gives fewer pixels than its header says"))
}

impl From<JpegError> for Flaw {
    fn from(error: JpegError) -> Self {
        let reason = match &error {
            JpegError::UnexpectedEof => "truncated image",
            JpegError::Unsupported(_) => "unsupported image",
            _ => "corrupt image",
        };
        flaw(reason, error.to_string())
    }
}

/// RGB of CMYK as it stands in JPEG, inverted, by Pillow's `cmyk2rgb`.
fn rgb_of_cmyk(data: &[u8]) -> Vec<u8> {
    let colour = |ink: u8, black: u8| {
        // Both are inverted, so `black` is the light that it leaves; the product is rounded as Pillow's MULDIV255.
        let product = u32::from(255 - ink) * u32::from(black) + 128;
        black - ((product + (product >> 8)) >> 8) as u8
    };
    data.as_chunks::<4>()
        .0
        .iter()
        .flat_map(|&[cyan, magenta, yellow, black]| [cyan, magenta, yellow].map(|ink| colour(ink, black)))
        .collect()
}

/// Marks cannot occur inside the coded data, which stuff every 0xFF. A decoder fills the rest of a cut JPEG and says nothing; the end mark says
/// whether it was cut.
fn whole(scans: &[u8], pixels: u64) -> Result<(), Flaw> {
    let (mut starts, mut ends) = (0, 0);
    for at in memchr::memchr_iter(0xFF, scans) {
        match scans.get(at + 1) {
            Some(0xDA) => starts += 1,
            Some(0xD9) => ends += 1,
            _ => (),
        }
    }
    if starts > MOST_SCANS {
        return Err(flaw("corrupt image", format!("a jpg with more than {MOST_SCANS} scans")));
    }
    if starts > PLAIN_SCANS && pixels.saturating_mul(starts as u64) > MOST_SCANNED {
        return Err(flaw("corrupt image", format!("a jpg with {starts} scans of {pixels} pixels, which would take long")));
    }
    if ends == 0 { Err(flaw("truncated image", "a jpg without an end mark")) } else { Ok(()) }
}

/// One component (colour) of a frame: its id, and its width and height as shares of the largest one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Component {
    id: u8,
    sampling: u8,
}

/// What stands before the first scan.
#[derive(Debug, Default)]
struct Head {
    /// Where the first scan begins; the end when there is none, and the start when segments are not where they should be, for the decoder to
    /// judge. What looks like a mark before it may belong to a thumbnail.
    scan: usize,
    components: Vec<Component>,
    /// Width times height.
    pixels: u64,
    jfif: bool,
    /// The transform that Adobe's segment names.
    adobe: Option<u8>,
}

impl Head {
    fn of(bytes: &[u8]) -> Self {
        let mut head = Self { scan: bytes.len(), ..Self::default() };
        let mut at = 2;
        while let Some(&[mark, kind, high, low]) = bytes.get(at..at + 4).and_then(|start| <&[u8; 4]>::try_from(start).ok()) {
            match (mark, kind) {
                (0xFF, 0xDA) => {
                    head.scan = at;
                    break;
                }
                (0xFF, 0xFF) => at += 1,
                (0xFF, 0x01 | 0xD0..=0xD8) => at += 2,
                (0xFF, _) => {
                    let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
                    head.read(kind, bytes.get(at + 4..end).unwrap_or_default());
                    at = end;
                }
                _ => {
                    head.scan = 0;
                    break;
                }
            }
        }
        head
    }

    fn read(&mut self, kind: u8, segment: &[u8]) {
        match kind {
            0xE0 => self.jfif |= segment.starts_with(b"JFIF\0"),
            0xEE if segment.starts_with(b"Adobe") => self.adobe = segment.get(11).copied().or(self.adobe),
            // Frames; the others of this range are tables.
            0xC0..=0xCF if !matches!(kind, 0xC4 | 0xC8 | 0xCC) => {
                let components = segment.get(6..).unwrap_or_default().as_chunks::<3>().0;
                let side = |at: usize| segment.get(at..at + 2).map_or(0, |side| u64::from(side[0]) << 8 | u64::from(side[1]));
                self.pixels = side(1) * side(3);
                self.components = components.iter().map(|&[id, sampling, _]| Component { id, sampling }).collect();
            }
            _ => (),
        }
    }

    /// Whether three components are RGB and not YCbCr, as libjpeg decides it: by JFIF, Adobe's segment and the components' ids, in this order.
    fn rgb(&self) -> bool {
        match (self.jfif, self.adobe) {
            (true, _) => false,
            (false, Some(transform)) => transform == 0,
            (false, None) => self.components.iter().map(|component| component.id).eq(*b"RGB"),
        }
    }

    /// Whether the decoder's pixels are libjpeg's.
    fn exact(&self) -> bool {
        let same = |one: &Component, other: &Component| one.sampling == other.sampling;
        let real = |component: &Component| component.sampling >> 4 != 0 && component.sampling & 15 != 0;
        match self.components.as_slice() {
            components if !components.iter().all(real) => false,
            [red, green, blue] if self.rgb() => same(red, green) && same(red, blue),
            [first, second, third, black] => same(first, black) && same(second, third),
            components => matches!(components.len(), 1 | 3),
        }
    }

    /// The file with a mark of Adobe's that says what libjpeg decides, where the decoder would decide otherwise.
    fn with_plain_colours<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.components.len() != 3 || self.rgb() == (self.adobe == Some(0)) {
            return Cow::Borrowed(bytes);
        }
        let mark = *b"\xFF\xEE\0\x0EAdobe\0\x64\0\0\0\0";
        let transform = u8::from(!self.rgb());
        let (head, scans) = bytes.split_at(self.scan);
        Cow::Owned([head, &mark, &[transform], scans].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(marks: &[&[u8]], ids: &[u8]) -> Head {
        let frame: Vec<u8> = [0xFF, 0xC0, 0, 8 + 3 * ids.len() as u8, 8, 0, 1, 0, 1, ids.len() as u8]
            .into_iter()
            .chain(ids.iter().flat_map(|id| [*id, 0x11, 0]))
            .collect();
        Head::of(&[&[0xFF, 0xD8], marks.concat().as_slice(), &frame, &[0xFF, 0xDA, 0, 0]].concat())
    }

    #[test]
    fn colours_are_told_as_libjpeg_tells_them() {
        let jfif: &[u8] = b"\xFF\xE0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0";
        let adobe = |transform: u8| [b"\xFF\xEE\0\x0EAdobe\0\x64\0\0\0\0".as_slice(), &[transform]].concat();
        for (marks, ids, rgb) in [
            (vec![jfif], [1, 2, 3], false),
            (vec![jfif, &adobe(0)], *b"RGB", false),
            (vec![adobe(0).as_slice()], [1, 2, 3], true),
            (vec![adobe(1).as_slice()], *b"RGB", false),
            (vec![], *b"RGB", true),
            (vec![], [1, 2, 3], false),
            (vec![], [0, 1, 2], false),
        ] {
            let head = head(&marks, &ids);
            assert_eq!(head.rgb(), rgb, "{head:?}");
        }
    }

    #[test]
    fn what_the_decoder_reads_otherwise_is_left_to_the_other_one() {
        let of = |samplings: &[u8], adobe| Head {
            components: samplings.iter().map(|&sampling| Component { id: 0, sampling }).collect(),
            adobe,
            ..Head::default()
        };
        for (samplings, adobe, exact) in [
            (&[0x11][..], None, true),
            (&[0x22, 0x11, 0x11], None, true),
            (&[0x22, 0x11, 0x11], Some(0), false),
            (&[0x11, 0x11, 0x11], Some(0), true),
            (&[0x22, 0x11, 0x11, 0x22], Some(2), true),
            (&[0x22, 0x11, 0x11, 0x11], Some(0), false),
            (&[0x11, 0x11], None, false),
            (&[0x11, 0x10, 0x11], None, false),
        ] {
            assert_eq!(of(samplings, adobe).exact(), exact, "{samplings:x?}, {adobe:?}");
        }
    }

    #[test]
    fn inks_become_light_by_pillows_formula() {
        // The values are Pillow 12.3.0's, of `Image.new("CMYK", (1, 1), ink).convert("RGB")`; JPEG has inks inverted.
        for (ink, rgb) in [
            ([0, 0, 0, 0], [255; 3]),
            ([255, 0, 0, 0], [0, 255, 255]),
            ([10, 100, 200, 50], [197, 125, 44]),
            ([1, 128, 254, 254], [1, 0, 0]),
        ] {
            assert_eq!(rgb_of_cmyk(&ink.map(|value: u8| 255 - value)), rgb, "{ink:?}");
        }
    }
}
