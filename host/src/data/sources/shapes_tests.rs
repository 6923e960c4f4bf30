use std::collections::BTreeSet;
use std::path::Path;

use image::RgbImage;
use sha2::{Digest, Sha256};

use super::*;

fn open(config: ShapesConfig) -> Box<dyn Source> {
    config.build(&SourceCx::new(Path::new("."))).expect("the options are in range")
}

fn split(split: Split) -> Box<dyn Source> {
    open(ShapesConfig { split, ..ShapesConfig::default() })
}

fn picture(raw: &Raw) -> &RgbImage {
    match &raw.picture {
        Some(Picture::Decoded(image)) => image,
        other => panic!("a drawn picture is wanted: {other:?}"),
    }
}

fn all(source: &dyn Source) -> Vec<Raw> {
    (0..source.len()).map(|index| source.read(index).expect("it is drawn")).collect()
}

#[test]
fn a_sample_depends_on_seed_split_and_index_alone() {
    let first = split(Split::Train);
    let (one, again) =
        (first.read(7).expect("drawn"), open(ShapesConfig { samples: 10, ..ShapesConfig::default() }).read(7).expect("drawn"));
    assert_eq!((picture(&one), &one.caption), (picture(&again), &again.caption), "the number of samples does not matter");
    let other = open(ShapesConfig { seed: 1, ..ShapesConfig::default() }).read(7).expect("drawn");
    assert_ne!(picture(&one), picture(&other), "the seed does");
    assert_ne!(picture(&one), picture(&first.read(47).expect("drawn")), "another sample of the class is another picture");
    assert_ne!(picture(&one), picture(&split(Split::HeldOut).read(7).expect("drawn")));
}

#[test]
fn the_pictures_are_the_same_bytes_on_every_machine() {
    let mut digest = Sha256::new();
    for raw in all(&*open(ShapesConfig { samples: 240, ..ShapesConfig::default() })) {
        digest.update(picture(&raw).as_raw());
    }
    let hex: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "8223e29ebecd683c", "if the drawing changed on purpose, count up the version in `fingerprint` too");
}

#[test]
fn train_never_shows_a_pair_that_is_held_out() {
    let seen = |source: &dyn Source| -> BTreeSet<(String, String)> {
        all(source).into_iter().map(|raw| (raw.caption.meta["colour"].clone(), raw.caption.meta["shape"].clone())).collect()
    };
    let (train, held_out) = (seen(&*split(Split::Train)), seen(&*split(Split::HeldOut)));
    assert_eq!((train.len(), held_out.len()), (72, 24));
    assert!(train.is_disjoint(&held_out), "{:?}", train.intersection(&held_out).collect::<Vec<_>>());
    let partners = |pairs: &BTreeSet<(String, String)>, name: &str| pairs.iter().filter(|pair| pair.0 == name || pair.1 == name).count();
    for colour in COLOURS {
        assert_eq!((partners(&train, colour), partners(&held_out, colour)), (6, 2), "partners of {colour}");
    }
    for shape in SHAPES {
        assert_eq!((partners(&train, shape), partners(&held_out, shape)), (9, 3), "partners of {shape}");
    }
}

#[test]
fn every_value_of_every_attribute_occurs_in_both_splits() {
    for kind in [Split::Train, Split::HeldOut] {
        let raws = all(&*split(kind));
        for (name, count) in [("shape", 8), ("colour", 12), ("texture", 4), ("size", 2), ("count", 4), ("position", 9)] {
            let values: BTreeSet<_> = raws.iter().map(|raw| raw.caption.meta[name].as_str()).collect();
            assert_eq!(values.len(), count, "{kind:?} {name}: {values:?}");
        }
    }
}

#[test]
fn labels_and_captions_say_what_meta_says() {
    for kind in [Split::Train, Split::HeldOut] {
        let source = split(kind);
        for raw in all(&*source) {
            let (meta, texts) = (&raw.caption.meta, &raw.caption.texts);
            let pair = format!("{} {}", meta["colour"], meta["shape"]);
            assert_eq!(raw.caption.labels.iter().map(|&label| source.classes()[label as usize].as_str()).collect::<Vec<_>>(), [&pair]);
            assert_eq!(texts.len(), 3);
            for text in texts {
                assert!(text.contains(&pair), "`{text}` lacks `{pair}`");
                let named: Vec<_> = SHAPES.iter().chain(&COLOURS).filter(|word| text.contains(**word)).collect();
                assert_eq!(named.len(), 2, "`{text}` names another colour or shape: {named:?}");
                let number = COUNTS.iter().skip(1).find(|word| text.split(' ').any(|other| other == **word));
                assert_eq!(number.map_or("one", |word| *word), meta["count"], "`{text}`");
            }
            for name in ["texture", "size", "position"] {
                assert!(texts[0].contains(&meta[name]), "`{}` lacks {name} `{}`", texts[0], meta[name]);
            }
        }
    }
}

#[test]
fn captions_are_english() {
    let look = Look { shape: 4, colour: 1, texture: 1, large: false, count: 1, row: 0, column: 0 };
    let mut rng = Philox::new([0]);
    for (look, wanted) in [
        (look, "two small striped orange crosses at the top left"),
        (Look { count: 0, row: 1, ..look }, "a small striped orange cross on the left"),
        (Look { count: 3, row: 1, column: 1, large: true, shape: 0, ..look }, "four large striped orange circles in the centre"),
        (Look { row: 2, column: 1, texture: 0, colour: 0, ..look }, "two small solid red crosses at the bottom"),
    ] {
        assert_eq!(look.captions(&mut rng)[0], wanted);
    }
    assert_eq!(Look { count: 0, ..look }.phrase(&["orange"]), "an orange cross");
}

#[test]
fn a_picture_has_the_colour_and_the_place_of_its_caption() {
    for (colour, name) in COLOURS.iter().enumerate() {
        for (row, column) in [(0, 0), (1, 1), (2, 2), (0, 2)] {
            // Squares: solid, and their middle is the middle of the group.
            let look = Look { shape: 1, colour, texture: 0, large: false, count: 0, row, column };
            let image = draw::draw(&look, 48, &mut Philox::new([3, colour as u64]));
            // The paint of one picture is at most 16 levels off.
            let painted =
                image.enumerate_pixels().filter(|(_, _, pixel)| (0..3).all(|at| pixel.0[at].abs_diff(draw::PAINTS[colour][at]) <= 17));
            let (mut count, mut sums) = (0.0, (0.0, 0.0));
            for (x, y, _) in painted {
                count += 1.0;
                sums = (sums.0 + f64::from(x), sums.1 + f64::from(y));
            }
            assert!((180.0..420.0).contains(&count), "{name}: {count} pixels have its paint");
            for (mean, side) in [(sums.0 / count, column), (sums.1 / count, row)] {
                let wanted = [0.0..17.0, 19.0..28.0, 31.0..48.0][side].clone();
                assert!(wanted.contains(&mean), "{name} at row {row}, column {column}: centre {mean}");
            }
        }
    }
}

#[test]
fn sizes_at_the_ends_are_drawn_and_others_are_refused() {
    for size in [8, 49, 300] {
        let raw = open(ShapesConfig { size, ..ShapesConfig::default() }).read(0).expect("drawn");
        assert_eq!(picture(&raw).dimensions(), (size, size));
    }
    for size in [0, 7, 5000] {
        let error =
            ShapesConfig { size, ..ShapesConfig::default() }.build(&SourceCx::new(Path::new("."))).expect_err("out of range").to_string();
        assert!(error.contains("`size`") && error.contains(&size.to_string()), "{error}");
    }
}

#[test]
fn only_what_may_vary_varies() {
    for vary in [vec![], vec![Vary::Count], vec![Vary::Size], vec![Vary::Position], vec![Vary::Texture], Vary::ALL.to_vec()] {
        let source = open(ShapesConfig { vary: vary.clone(), samples: 300, ..ShapesConfig::default() });
        let raws = all(&*source);
        for (attribute, key, fixed, values) in [
            (Vary::Count, "count", "one", 4),
            (Vary::Size, "size", "large", 2),
            (Vary::Position, "position", "centre", 9),
            (Vary::Texture, "texture", "solid", 4),
        ] {
            let seen: std::collections::BTreeSet<&String> = raws.iter().map(|raw| &raw.caption.meta[key]).collect();
            if vary.contains(&attribute) {
                assert_eq!(seen.len(), values, "{key} with {vary:?}: {seen:?}");
            } else {
                assert!(seen.len() == 1 && seen.iter().all(|value| value.contains(fixed)), "{key} with {vary:?}: {seen:?}");
            }
        }
    }
}
