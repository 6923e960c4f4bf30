use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::*;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    op: String,
    source: Option<(u32, u32, u32)>,
    arguments: Vec<Value>,
    size: (u32, u32),
    first: Vec<u8>,
    sha256: String,
}

/// The picture that `tests/golden/pixels.py` draws with the same formula.
fn picture(width: u32, height: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([0u32, 1, 2].map(|channel| {
            let mut hash = x.wrapping_mul(0x9E37_79B1)
                ^ y.wrapping_mul(0x85EB_CA77)
                ^ channel.wrapping_mul(0xC2B2_AE3D)
                ^ seed.wrapping_mul(0x27D4_EB2F);
            hash ^= hash >> 15;
            hash = hash.wrapping_mul(0x2C1B_3C6D);
            hash ^= hash >> 12;
            (x * 5 + y * 3 + channel * 40 + (hash & 127)) as u8
        }))
    })
}

fn all_colours() -> RgbImage {
    let levels: Vec<u8> = (0..=255).step_by(5).collect();
    let count = levels.len() as u32;
    RgbImage::from_fn(count * count, count, |x, y| {
        image::Rgb([levels[y as usize], levels[(x / count) as usize], levels[(x % count) as usize]])
    })
}

fn run(case: &Case) -> RgbImage {
    let image = case.source.map_or_else(all_colours, |(width, height, seed)| picture(width, height, seed));
    let whole = |at: usize| case.arguments[at].as_u64().expect("a whole number") as u32;
    let real = |at: usize| case.arguments[at].as_f64().expect("a number");
    let filter = |at: usize| serde_json::from_value::<Filter>(case.arguments[at].clone()).expect("a filter");
    let interpolation = |at: usize| serde_json::from_value::<Interpolation>(case.arguments[at].clone()).expect("an interpolation");
    let pair = |at: usize| serde_json::from_value::<[f64; 2]>(case.arguments[at].clone()).expect("two numbers");
    let fill = [9, 80, 200];
    match case.op.as_str() {
        "resize" => resize(&image, whole(0), whole(1), filter(2)),
        "resize_pillow13" => resize(&image, whole(0), whole(1), Sampling { filter: filter(2), pass_order: PassOrder::Pillow13 }),
        "rotate" => rotate(&image, real(0), interpolation(1), fill),
        "affine" => affine(&image, [0, 1, 2, 3, 4, 5].map(real), interpolation(6), fill),
        "torchvision_affine" => {
            affine(&image, inverse_affine_matrix(pair(0), real(1), pair(2), real(3), pair(4)), Interpolation::Bilinear, fill)
        }
        "invert" => invert(&image),
        "autocontrast" => autocontrast(&image),
        "equalize" => equalize(&image),
        "posterize" => posterize(&image, whole(0) as u8),
        "sharpness" => sharpness(&image, real(0)),
        "resized_crop" => {
            let region = Region { x: whole(0), y: whole(1), width: whole(2), height: whole(3) };
            let cut = resized_crop(&image, region, whole(4), whole(5), filter(6));
            assert_eq!(cut, resize(&crop(&image, region), whole(4), whole(5), filter(6)), "a crop without its copy");
            cut
        }
        "prepare" => {
            let fit = serde_json::from_value(case.arguments[2].clone()).expect("a fit");
            prepare(&image, (whole(0), whole(1)), fit, filter(3), 0)
        }
        "center_crop" => center_crop(&image, (whole(0), whole(1))),
        "greyscale" => greyscale(&image),
        "flip" => flip(&image),
        "brightness" => brightness(&image, real(0)),
        "contrast" => contrast(&image, real(0)),
        "saturation" => saturation(&image, real(0)),
        "hue" => hue(&image, real(0)),
        "solarize" => solarize(&image, whole(0) as u8),
        "gaussian_blur" => gaussian_blur(&image, real(0)),
        other => panic!("the golden file has an operation `{other}` that this test does not know"),
    }
}

fn compare(text: &str, at_least: usize) {
    let golden: Golden = serde_json::from_str(text).expect("the golden file");
    assert!(golden.cases.len() > at_least, "only {} cases: is the golden file whole?", golden.cases.len());
    let mut wrong = Vec::new();
    for case in &golden.cases {
        let out = run(case);
        let digest: String = Sha256::digest(out.as_raw()).iter().map(|byte| format!("{byte:02x}")).collect();
        let first = &out.as_raw()[..case.first.len().min(out.len())];
        if out.dimensions() != case.size || digest != case.sha256 {
            let at = (case.op.as_str(), case.source, &case.arguments);
            wrong.push(format!("{at:?}: size {:?}, starts {first:?}; wanted {:?}, {:?}", out.dimensions(), case.size, case.first));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), golden.cases.len(), wrong.join("\n"));
}

#[test]
fn every_operation_equals_pillow_to_the_byte() {
    compare(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/pixels.json")), 600);
}

#[test]
fn the_order_of_pillow_13_equals_it_to_the_byte() {
    compare(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/pixels_pillow13.json")), 70);
}

#[test]
fn the_first_direction_is_pillows() {
    use PassOrder::{Horizontal, Pillow12, Pillow13};
    for (before, after, orders, reason) in [
        ((40, 60), (30, 40), [false, false, false], "the height loses twice as many pixels as the width"),
        ((40, 60), (30, 39), [false, false, true], "one more"),
        ((40, 60), (50, 59), [false, false, true], "the width grows"),
        ((40, 60), (50, 61), [false, false, false], "the height grows, by less than the width"),
        ((3, 301), (9, 300), [false, true, true], "more than 100 times as tall as wide"),
        ((3, 300), (9, 299), [false, false, true], "100 times"),
        ((3, 301), (9, 302), [false, false, false], "taller"),
    ] {
        let found = [Horizontal, Pillow12, Pillow13].map(|order| order.vertical_first(before, after));
        assert_eq!(found, orders, "{before:?} to {after:?}: {reason}");
    }
}

#[test]
fn a_window_of_a_resize_is_the_part_of_the_whole_in_every_order() {
    for pass_order in [PassOrder::Horizontal, PassOrder::Pillow12, PassOrder::Pillow13] {
        for filter in [Filter::Nearest, Filter::Box, Filter::Bicubic, Filter::Lanczos] {
            let sampling = Sampling { filter, pass_order };
            let image = picture(31, 200, 5);
            let cut = prepare(&image, (40, 40), Fit::Shortest, sampling, 0);
            assert_eq!(cut, center_crop(&resize(&image, 40, 258, sampling), (40, 40)), "{sampling:?}");
        }
    }
}

#[test]
fn the_blur_of_a_kernel_is_torchvisions() {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/kernel_blur.json"));
    let golden: Value = serde_json::from_str(text).expect("the golden file");
    let cases = golden["cases"].as_array().expect("cases");
    assert!(cases.len() >= 8, "only {} cases", cases.len());
    for case in cases {
        let (width, height): (u32, u32) = serde_json::from_value(case["size"].clone()).expect("a size");
        let wanted: Vec<u8> = serde_json::from_value(case["pixels"].clone()).expect("bytes");
        let (kernel, sigma) = (case["kernel"].as_u64().expect("a number") as u32, case["sigma"].as_f64().expect("a number"));
        let out = gaussian_kernel_blur(&picture(width, height, 1), kernel, sigma);
        assert_eq!(out.as_raw(), &wanted, "{width}x{height}, kernel {kernel}, sigma {sigma}");
    }
}

#[test]
fn the_evaluation_transform_is_the_shorter_side_with_the_bicubic_filter() {
    let image = picture(61, 40, 3);
    assert_eq!(eval_transform(&image, (24, 24)), prepare(&image, (24, 24), Fit::Shortest, Filter::Bicubic, 0));
    assert_ne!(eval_transform(&image, (24, 24)), prepare(&image, (24, 24), Fit::Squash, Filter::Bicubic, 0));
    assert_ne!(eval_transform(&image, (24, 24)), prepare(&image, (24, 24), Fit::Shortest, Filter::Bilinear, 0));
}

#[test]
fn pictures_at_the_extremes_are_prepared_within_bounds_of_memory() {
    for (width, height, reason) in [
        (0, 0, "empty"),
        (0, 5, "no columns"),
        (1, 60_000, "its resized form would take 9 GB, of which the centre alone is made"),
        (60_000, 1, "the same, lying"),
        (1, 1, "one pixel"),
    ] {
        let image = RgbImage::from_pixel(width, height, image::Rgb([200, 100, 50]));
        for fit in [Fit::Shortest, Fit::Longest, Fit::Squash] {
            let out = prepare(&image, (224, 224), fit, Filter::Bicubic, 0);
            assert_eq!(out.dimensions(), (224, 224), "{width}x{height} {fit:?}: {reason}");
            let wanted = if width * height == 0 { [0; 3] } else { [200, 100, 50] };
            assert_eq!(out.get_pixel(111, 111).0, wanted, "{width}x{height} {fit:?}: {reason}");
        }
    }
}

#[test]
fn a_region_outside_the_picture_is_black_where_there_is_nothing() {
    let image = RgbImage::from_pixel(4, 4, image::Rgb([9, 9, 9]));
    let out = crop(&image, Region { x: 2, y: 3, width: 3, height: 2 });
    assert_eq!(out.get_pixel(1, 0).0, [9; 3]);
    assert_eq!((out.get_pixel(2, 0).0, out.get_pixel(0, 1).0), ([0; 3], [0; 3]));
    assert_eq!(crop(&image, Region { x: 9, y: 9, width: 1, height: 1 }).get_pixel(0, 0).0, [0; 3]);
}
