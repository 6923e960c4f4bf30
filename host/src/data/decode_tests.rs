use super::*;
use crate::data::testing::golden;
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
    decode(bytes, PictureOptions::default()).map_or_else(|flaw| flaw.reason, |_| "none")
}

#[test]
fn every_format_is_known_by_its_content() {
    for format in FORMATS {
        let image = decode(&encoded(format), PictureOptions::default()).expect("it is whole");
        assert_eq!(image.dimensions(), (40, 30), "{format:?}");
    }
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff] {
        assert_eq!(decode(&encoded(format), PictureOptions::default()).expect("it is whole"), picture(), "{format:?} is lossless");
    }
}

#[test]
fn pixels_are_those_of_pillow() {
    use base64::Engine as _;
    // `tests/golden/pictures.py` wrote the file and says with which Pillow.
    let golden = golden("pictures");
    let bytes = |value: &serde_json::Value| base64::prelude::BASE64_STANDARD.decode(value.as_str()?).ok();
    let cases = golden["cases"].as_object().expect("it is an object");
    assert!(cases.len() > 20, "the golden file was cut");
    let mut differences = Vec::new();
    for (name, case) in cases {
        let image = decode(&bytes(&case["file"]).expect("base64"), PictureOptions::default());
        match (image, bytes(&case["pixels"])) {
            (Ok(image), Some(expected)) => {
                assert_eq!(serde_json::json!(image.dimensions()), case["size"], "{name}");
                let pairs = image.as_raw().iter().zip(&expected);
                let difference = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap_or_default();
                if difference > 0 {
                    differences.push(format!("{name}: {difference}"));
                }
            }
            (Err(flaw), None) => assert_eq!(flaw.reason, "truncated image", "{name}"),
            (image, expected) => differences.push(format!("{name}: {:?} against {:?}", image.err(), expected.map(|bytes| bytes.len()))),
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn what_a_run_chooses_is_what_pillow_does_then() {
    use base64::Engine as _;
    // `tests/golden/picture_policy.py` wrote the file and says with which Pillow.
    let golden = golden("picture_policy");
    let cases = golden["cases"].as_array().expect("a list");
    assert!(cases.len() > 60, "the golden file was cut");
    let mut differences = Vec::new();
    for case in cases {
        let bytes = |key: &str| base64::prelude::BASE64_STANDARD.decode(case[key].as_str().expect("a text")).expect("base64");
        let mut options = serde_json::to_value(PictureOptions::default()).expect("a table");
        options.as_object_mut().expect("a table").extend(case["options"].as_object().expect("a table").clone());
        let options = serde_json::from_value(options).expect("options");
        let image = decode(&bytes("file"), options).unwrap_or_else(|flaw| panic!("{}: {flaw:?}", case["name"]));
        let size = serde_json::json!(image.dimensions());
        if size != case["size"] || *image.as_raw() != bytes("pixels") {
            differences.push(format!("{}: {size}", case["name"]));
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn of_an_animation_one_frame_is_decoded() {
    let mut bytes = Vec::new();
    {
        let mut encoder = image::codecs::gif::GifEncoder::new_with_speed(&mut bytes, 30);
        let frame = |level: u8| image::Frame::new(image::RgbaImage::from_pixel(32, 32, image::Rgba([level, 0, 0, 255])));
        encoder.encode_frames((0..400u32).map(|number| frame(if number == 0 { 200 } else { 10 }))).expect("memory does not fail");
    }
    let time = |bytes: &[u8]| {
        let start = std::time::Instant::now();
        let image = decode(bytes, PictureOptions::default()).expect("it is whole");
        assert_eq!((image.dimensions(), image.get_pixel(5, 5).0), ((32, 32), [200, 0, 0]));
        start.elapsed()
    };
    let best = (0..5).map(|_| time(&bytes)).min().expect("five");
    // One frame takes far less than a millisecond, all of them together some hundred times as long.
    assert!(best.as_millis() < 20, "{best:?}");
    // What is behind the first frame is not even looked at.
    let cut = bytes.len() / 2;
    time(&bytes[..cut]);
}

#[test]
fn many_scans_of_a_large_jpg_are_refused_before_they_cost() {
    let mut jpeg = encoded(ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).expect("a baseline frame");
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0x10, 0x00, 0x10, 0x00]);
    let (head, end) = jpeg.split_at(jpeg.len() - 2);
    let bytes = [head, &[0xFF, 0xDA].repeat(150), end].concat();
    let start = std::time::Instant::now();
    let flaw = decode(&bytes, PictureOptions::default()).expect_err("it costs too much");
    assert!(flaw.detail.contains("151 scans of 16777216 pixels"), "{flaw:?}");
    assert!(start.elapsed().as_millis() < 500, "{:?}", start.elapsed());
}

#[test]
fn pixels_of_jpg_are_those_of_pillow() {
    use base64::Engine as _;
    // `tests/golden/jpeg.py` wrote the files and says with which Pillow.
    let golden = golden("jpeg");
    let cases = golden["cases"].as_array().expect("a list");
    assert!(cases.len() > 60, "the golden file was cut");
    let mut other = Vec::new();
    for case in cases {
        let text = |key: &str| case[key].as_str().expect("a text");
        let bytes = base64::prelude::BASE64_STANDARD.decode(text("file")).expect("base64");
        let image = decode(&bytes, PictureOptions::default()).unwrap_or_else(|flaw| panic!("{}: {flaw:?}", text("name")));
        assert_eq!(serde_json::json!(image.dimensions()), case["size"], "{}", text("name"));
        let digest = sha256(image.as_raw());
        if digest != text("sha256") {
            other.push(text("name"));
        }
    }
    assert!(other.is_empty(), "other pixels than Pillow's: {other:#?}");
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_jpeg_that_is_decoded_smaller_is_pillows_draft_to_the_bit() {
    use base64::Engine as _;
    let golden = golden("jpeg");
    let (mut compared, mut left, mut other) = (0, 0, Vec::new());
    for case in golden["cases"].as_array().expect("a list") {
        let name = case["name"].as_str().expect("a text");
        let bytes = base64::prelude::BASE64_STANDARD.decode(case["file"].as_str().expect("a text")).expect("base64");
        for (divisor, expected) in case["drafts"].as_object().expect("a table") {
            let divisor: u32 = divisor.parse().expect("a number");
            let reduced = decode_reduced(&bytes, PictureOptions::default(), |_| divisor).expect("it is whole");
            let Some((decoded, reduction)) = reduced else {
                left += 1;
                continue;
            };
            let image = decoded.image();
            assert_eq!(image.dimensions(), (reduction.size.0.div_ceil(divisor), reduction.size.1.div_ceil(divisor)), "{name}");
            let digest = sha256(image.as_raw());
            compared += 1;
            if Some(digest.as_str()) != expected.as_str() {
                other.push(format!("{name}, divided by {divisor}"));
            }
        }
    }
    assert!(other.is_empty(), "{} of {compared} are other pixels than Pillow's: {other:#?}", other.len());
    assert!(compared > 100 && left == 0, "{compared} compared, {left} left to the exact decoder");
    let none = decode_reduced(&encoded(ImageFormat::Jpeg), PictureOptions::default(), |_| 1).expect("it is whole");
    assert!(none.is_none(), "it is to be decoded whole");
    assert!(decode_reduced(&encoded(ImageFormat::Png), PictureOptions::default(), |_| 8).expect("it is whole").is_none(), "no JPEG");
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
    let golden = golden("picture_modes");
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
        let image = decode(&bytes("file"), PictureOptions::default()).unwrap_or_else(|flaw| panic!("{name}: {flaw:?}"));
        let ours = vlhub_sdk::pixels::eval_transform(&image, (size, size)).into_raw();
        let (opened, converted) = (bytes("opened"), bytes("converted"));
        let cell = |(mean, most): (f64, u8)| format!("{mean:.2}, {most}");
        let (theirs, folder, csv) = (distance(&opened, &converted), distance(&ours, &converted), distance(&ours, &opened));
        let exact = !name.contains("16-bit");
        assert!(!exact || folder == (0.0, 0), "{name}: what Pillow reads in 8 bits is equal to the bit: {folder:?}");
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
            match decode(&bytes[..length], PictureOptions::default()) {
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
    let flaw = decode(&bytes, PictureOptions::default()).expect_err("it costs too much");
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
        let flaw = decode(bytes, PictureOptions::default()).expect_err("it is no picture");
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
    assert_eq!(
        decode(&encoded(ImageFormat::Png), PictureOptions { max_pixels: 1199, ..PictureOptions::default() })
            .expect_err("one pixel too many")
            .reason,
        "too many pixels"
    );
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
        decode(&bytes.into_inner(), PictureOptions::default()).expect("it is whole").into_raw()
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
    let flat = flatten(&bytes.into_inner(), PictureOptions::default(), [255; 3]).expect("it is whole").expect("it has alpha");
    assert_eq!(flat.into_raw(), [255, 255, 255, 10, 20, 30, 127, 127, 127]);
    assert_eq!(flatten(&encoded(ImageFormat::Png), PictureOptions::default(), [0; 3]).expect("it is whole"), None, "nothing to lay");
}

#[test]
fn a_panic_is_a_flaw() {
    let flaw = guarded::<()>(|| panic!("the decoder is broken\nsecond line")).expect_err("it panicked");
    assert_eq!((flaw.reason, flaw.detail.as_str()), ("panic", "the decoder is broken"));
}
