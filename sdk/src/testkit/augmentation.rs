//! Laws of augmentations.

use image::{Rgb, RgbImage};
use vlhub_core::{Augmentation, AugmentationCx, Config};

use super::toy::Seeded;
use super::{Law, LawOutcome, Verdict, all, ensure, failed};

/// Options of an augmentation.
pub type AugmentationOptions = dyn Config<dyn Augmentation>;

/// The laws, by name.
pub const LAWS: &[Law<dyn Augmentation>] = &[
    ("same_seed", |entry| with(entry, same_seed)),
    ("odd_pictures", |entry| with(entry, odd_pictures)),
    ("crop", |entry| with(entry, crop)),
];

const SEEDS: u64 = 12;

fn with(entry: &vlhub_core::PluginEntry<dyn Augmentation>, law: fn(&AugmentationOptions) -> Verdict) -> LawOutcome {
    all::default_config(entry).and_then(|config| law(&*config)).into()
}

fn build(config: &AugmentationOptions) -> Result<Box<dyn Augmentation>, String> {
    config.build(&AugmentationCx { size: (8, 8) }).map_err(failed("building with the default options"))
}

fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 11 % 256) as u8, (y * 17 % 256) as u8, ((x * 3 + y * 7) % 256) as u8]))
}

/// One seed is one picture, also for a second plugin of the same options.
pub fn same_seed(config: &AugmentationOptions) -> Verdict {
    let (first, second) = (build(config)?, build(config)?);
    for seed in 0..SEEDS {
        let ours = first.apply(picture(23, 17), &mut Seeded(seed)).map_err(failed("apply"))?;
        let theirs = second.apply(picture(23, 17), &mut Seeded(seed)).map_err(failed("apply"))?;
        ensure(ours == theirs, || format!("two pictures from seed {seed}"))?;
    }
    Ok(())
}

/// Pictures of one pixel, of one line and without colour are survived, and nothing empty comes out.
pub fn odd_pictures(config: &AugmentationOptions) -> Verdict {
    let augmentation = build(config)?;
    let grey = RgbImage::from_fn(30, 20, |x, _| Rgb([(x * 8) as u8; 3]));
    let all = [picture(1, 1), picture(1, 4000), picture(4000, 1), picture(2, 3), grey, RgbImage::new(9, 9)];
    for image in all {
        for seed in 0..SEEDS {
            let (width, height) = image.dimensions();
            let out = augmentation
                .apply(image.clone(), &mut Seeded(seed))
                .map_err(|error| format!("a picture of {width} × {height}, seed {seed}: {error}"))?;
            ensure(out.width() > 0 && out.height() > 0, || format!("a picture of {width} × {height} became empty, seed {seed}"))?;
        }
    }
    Ok(())
}

/// Where an augmentation tells what it cuts out first, cutting and the rest are the whole.
pub fn crop(config: &AugmentationOptions) -> Verdict {
    let augmentation = build(config)?;
    for (width, height) in [(23, 17), (1, 1), (1, 400), (64, 3)] {
        for seed in 0..SEEDS {
            let mut rng = Seeded(seed);
            let Some(crop) = augmentation.crop((width, height), &mut rng) else { continue };
            let vlhub_core::Region { x, y, width: across, height: down } = crop.region;
            ensure(across > 0 && down > 0 && x + across <= width && y + down <= height, || {
                format!("{:?} is not a part of {width} × {height}, seed {seed}", crop.region)
            })?;
            let ours = augmentation.apply_crop(picture(width, height), crop.region, &mut rng).map_err(failed("apply_crop"))?;
            let whole = augmentation.apply(picture(width, height), &mut Seeded(seed)).map_err(failed("apply"))?;
            ensure(ours == whole, || {
                format!("`crop` and `apply_crop` give another picture than `apply`, {width} × {height}, seed {seed}")
            })?;
        }
    }
    Ok(())
}
