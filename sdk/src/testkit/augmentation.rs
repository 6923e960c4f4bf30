//! Laws of augmentations.

use image::{Rgb, RgbImage};
use vlhub_core::{Augmentation, AugmentationCx, Config};

use super::toy::Seeded;
use super::{Law, Outcome, Verdict, all, ensure, told};

/// Options of an augmentation.
pub type Options = dyn Config<dyn Augmentation>;

/// The laws, by name.
pub const LAWS: &[Law<dyn Augmentation>] = &[
    ("same_seed", |entry| with(entry, same_seed)),
    ("odd_pictures", |entry| with(entry, odd_pictures)),
    ("region", |entry| with(entry, region)),
];

const SEEDS: u64 = 12;

fn with(entry: &vlhub_core::Entry<dyn Augmentation>, law: fn(&Options) -> Verdict) -> Outcome {
    all::default_config(entry).and_then(|config| law(&*config)).into()
}

fn build(config: &Options) -> Result<Box<dyn Augmentation>, String> {
    config.build(&AugmentationCx { size: (8, 8) }).map_err(told("building with the default options"))
}

fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 11 % 256) as u8, (y * 17 % 256) as u8, ((x * 3 + y * 7) % 256) as u8]))
}

/// One seed is one picture, also for a second plugin of the same options.
pub fn same_seed(config: &Options) -> Verdict {
    let (first, second) = (build(config)?, build(config)?);
    for seed in 0..SEEDS {
        let ours = first.apply(picture(23, 17), &mut Seeded(seed)).map_err(told("apply"))?;
        let theirs = second.apply(picture(23, 17), &mut Seeded(seed)).map_err(told("apply"))?;
        ensure(ours == theirs, || format!("two pictures from seed {seed}"))?;
    }
    Ok(())
}

/// Pictures of one pixel, of one line and without colour are survived, and nothing empty comes out.
pub fn odd_pictures(config: &Options) -> Verdict {
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

/// A region that is announced lies inside its picture, and one seed announces one region.
pub fn region(config: &Options) -> Verdict {
    let augmentation = build(config)?;
    for size in [(1, 1), (1, 4000), (4000, 1), (640, 480), (7, 5)] {
        for seed in 0..SEEDS {
            let region = augmentation.region(size, &mut Seeded(seed));
            ensure(region == augmentation.region(size, &mut Seeded(seed)), || format!("two regions from seed {seed}"))?;
            if let Some(part) = region {
                let inside = |start: u32, length: u32, whole: u32| length >= 1 && start.checked_add(length).is_some_and(|end| end <= whole);
                let fits = inside(part.x, part.width, size.0) && inside(part.y, part.height, size.1);
                ensure(fits, || format!("{part:?} is not inside a picture of {size:?}, seed {seed}"))?;
            }
        }
    }
    Ok(())
}
