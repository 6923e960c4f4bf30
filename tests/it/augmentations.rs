//! Augmentations and the order of a resize's passes through the command line.

use std::collections::BTreeMap;
use std::path::Path;

use vlhub_host::formats::{read_safetensors, write_safetensors};
use vlhub_sdk::image::{Rgb, RgbImage};
use vlhub_sdk::tch::{Device, Kind, Tensor};

use crate::program::{Ran, SMALL, SMALL_DATA, must, run};

const VIEW: &str = "[view.image.main]\naugment = [{ use = \"random_resized_crop\" }, { use = \"flip\" }]\n";

fn with_view(folder: &Path, name: &str, view: &str) {
    let file = SMALL.replace(VIEW, view);
    assert_ne!(file, SMALL, "the view was replaced");
    std::fs::write(folder.join(name), file).expect("written");
}

fn bytes(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn a_run_file_lists_augmentations() {
    let folder = tempfile::tempdir().expect("a folder");
    let crop = "{ use = \"random_resized_crop\" }";
    let list = |steps: &str| format!("[view.image.main]\naugment = [{crop}, {steps}]\n");
    let alone = format!("[view.image.main]\naugment = [{crop}]\n");
    with_view(folder.path(), "alone.toml", &alone);
    must(folder.path(), &["data", "preview", "alone.toml", "--out", "alone.png"]);
    for (name, steps) in [
        ("rand", "{ use = \"rand_augment\", magnitude = 12 }"),
        ("timm", "{ use = \"timm_rand_augment\", policy = \"rand-m9-n3-mstd0.5-inc1\" }"),
        ("augreg", "\"augreg_strong1\""),
        ("erased", "{ use = \"random_erasing\", p = 1.0, mode = \"pixel\" }"),
        ("jpeg", "{ use = \"jpeg_compression\", quality = [10, 30] }"),
        ("turned", "{ use = \"affine\" }, { use = \"rotate\" }"),
        ("vlhub", "\"color_jitter\", \"greyscale\", { use = \"blur\", kernel = 5 }, \"flip\""),
        ("toned", "\"equalize\", \"autocontrast\", \"invert\", \"posterize\", \"sharpness\""),
    ] {
        let file = format!("{name}.toml");
        with_view(folder.path(), &file, &list(steps));
        must(folder.path(), &["data", "preview", &file, "--out", "first.png"]);
        must(folder.path(), &["data", "preview", &file, "--out", "second.png"]);
        assert_eq!(bytes(folder.path(), "first.png"), bytes(folder.path(), "second.png"), "{name}: the same draws");
        assert_ne!(bytes(folder.path(), "first.png"), bytes(folder.path(), "alone.png"), "{name}: it changes the pictures");
    }
}

#[test]
fn a_wrong_policy_is_told_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let view = "[view.image.main]\naugment = [{ use = \"timm_rand_augment\", policy = \"rand-m9-mstdinf\" }]\n";
    with_view(folder.path(), "run.toml", view);
    let ran = run(folder.path(), &["train", "run.toml", "--dry-run"]);
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
    let told = format!("{}{}", ran.out, ran.err);
    assert!(told.contains("view.image.main.augment.0: `policy`: `mstdinf`") && told.contains("`mstd` wants a number"), "{told}");
}

#[test]
fn the_order_of_the_passes_decides_pixels_and_is_kept_with_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..16u8 {
        let path = folder.path().join(format!("pictures/{}/{number}.png", number % 2));
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("room");
        // Tall: the orders of Pillow 12 and 13 differ.
        let noise = |x: u32, y: u32| (x.wrapping_mul(97) ^ y.wrapping_mul(193)).wrapping_mul(u32::from(number) + 7) as u8;
        RgbImage::from_fn(24, 90, |x, y| Rgb([noise(x, y), noise(y, x), noise(x + 5, y)])).save(path).expect("room");
    }
    let file = SMALL.replace(VIEW, "").replace(SMALL_DATA, "[data.train]\nuse = \"imagefolder\"\npath = \"pictures\"\n");
    std::fs::write(folder.path().join("run.toml"), file.replace("steps = 14", "steps = 1")).expect("written");
    for order in ["horizontal", "pillow12", "pillow13"] {
        let option = format!("preprocess.pass_order=\"{order}\"");
        must(folder.path(), &["data", "preview", "run.toml", &option, "--out", &format!("{order}.png")]);
    }
    must(folder.path(), &["data", "preview", "run.toml", "--out", "default.png"]);
    let [horizontal, twelve, thirteen, default] =
        ["horizontal", "pillow12", "pillow13", "default"].map(|name| bytes(folder.path(), &format!("{name}.png")));
    assert_eq!(twelve, default);
    assert_eq!(horizontal, twelve, "less than 100 times as tall as wide");
    assert_ne!(twelve, thirteen);
    must(folder.path(), &["train", "run.toml", "preprocess.pass_order=\"pillow13\"", "schedule.warmup=0"]);
    let config = std::fs::read_to_string(folder.path().join("logs/small/config.toml")).expect("a config");
    assert!(config.contains("pass_order = \"pillow13\""), "{config}");
    let ran = run(folder.path(), &["check", "run.toml", "preprocess.pass_order=\"pillow14\""]);
    assert!(ran.code == 2 && ran.err.contains("pass_order"), "{}{}", ran.out, ran.err);
}

fn tried(folder: &Path, given: &[(&str, Tensor)], args: &[&str]) -> Ran {
    let tensors: Vec<_> = given.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.shallow_clone())).collect();
    write_safetensors(&folder.join("in.safetensors"), &tensors, &BTreeMap::new()).expect("written");
    run(folder, &[&["plugins", "try"][..], args, &["--input", "in.safetensors", "--out", "out.safetensors"]].concat())
}

#[test]
fn plugins_try_augments_every_picture_of_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let picture = |height: i64, width: i64| {
        (Tensor::arange(height * width * 3, (Kind::Int64, Device::Cpu)) * 7).remainder(256).to_kind(Kind::Uint8).view([height, width, 3])
    };
    let given = [("image.a", picture(6, 9)), ("image.b", picture(20, 5)), ("size", Tensor::from_slice(&[4i64, 8]))];
    let ran = tried(folder.path(), &given, &["augmentation/random_resized_crop"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let out: BTreeMap<_, _> = read_safetensors(&folder.path().join("out.safetensors")).expect("it was written").into_iter().collect();
    assert!(out.len() == 2 && out.values().all(|picture| picture.size() == [4, 8, 3]), "the size of the tower: {out:?}");
    let ran = tried(folder.path(), &given[..2], &["augmentation/invert", "p=1.0"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let out: BTreeMap<_, _> = read_safetensors(&folder.path().join("out.safetensors")).expect("it was written").into_iter().collect();
    for (name, picture) in &given[..2] {
        assert_eq!(out[*name], 255 - picture, "{name}");
    }
    for (given, reason) in [
        (vec![("image", Tensor::zeros([3, 4, 5], (Kind::Uint8, Device::Cpu)))], "[H, W, 3] uint8 is wanted"),
        (vec![("picture", picture(2, 2))], "no tensor `image`"),
        (vec![("image", picture(2, 2)), ("size", Tensor::from_slice(&[0i64, 8]))], "`size` is [0, 8]"),
    ] {
        let ran = tried(folder.path(), &given, &["augmentation/flip"]);
        assert!(ran.code == 2 && ran.err.contains(reason), "{reason}: {}{}", ran.out, ran.err);
    }
}
