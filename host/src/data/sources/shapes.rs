//! Shapes: a data set inside the program, to try every part of VL Hub without a download.
//!
//! Pictures of one to four equal shapes with captions. The pairs of colour and shape fall into two parts: `train` never shows a pair of
//! `held_out`, so zero-shot accuracy on `held_out` says whether a model has learnt what `red` and what `circle` mean, not which pictures it saw.

mod draw;

use std::collections::BTreeMap;

use rand_core::RngCore;
use serde::{Deserialize, Serialize};
use vlhub_core::{Bad, Caption, Config, Error, Picture, Raw, Result, Source, SourceCx, Wants};
use vlhub_sdk::schemars::JsonSchema;
use vlhub_sdk::{random, register};

use crate::data::philox::Philox;

const SHAPES: [&str; 8] = ["circle", "square", "triangle", "star", "cross", "ring", "diamond", "heart"];
const COLOURS: [&str; 12] = ["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "brown", "lime", "navy", "white"];
const TEXTURES: [&str; 4] = ["solid", "striped", "dotted", "checked"];
const COUNTS: [&str; 4] = ["one", "two", "three", "four"];
const ROWS: [&str; 3] = ["top", "middle", "bottom"];
const COLUMNS: [&str; 3] = ["left", "centre", "right"];
/// Colours per shape that `train` never shows.
const HELD_OUT: usize = 3;

/// Which pairs of colour and shape are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Split {
    /// 72 of the 96 pairs.
    #[default]
    Train,
    /// The 24 others: guessing gets 4.2 % of them right.
    HeldOut,
}

/// Drawn pictures of coloured shapes with captions; needs no files.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct ShapesConfig {
    /// `train`, or `held_out` with the pairs of colour and shape that `train` leaves out.
    pub split: Split,
    /// How many samples. 0: 4096 of `train`, 512 of `held_out`.
    pub samples: usize,
    /// Height and width of the pictures, 8 to 4096 pixels.
    pub size: u32,
    /// Another seed draws other pictures.
    pub seed: u64,
    /// What varies besides colour and shape. Anything left out is always the same: one, large, solid, in the middle.
    pub vary: Vec<Vary>,
}

/// An attribute of a picture that may vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Vary {
    /// One to four shapes.
    Count,
    /// Small or large.
    Size,
    /// Nine places.
    Position,
    /// Solid, striped, dotted or checked.
    Texture,
}

impl Vary {
    const ALL: [Self; 4] = [Self::Count, Self::Size, Self::Position, Self::Texture];
}

impl Default for ShapesConfig {
    fn default() -> Self {
        Self { split: Split::Train, samples: 0, size: 48, seed: 0, vary: Vary::ALL.to_vec() }
    }
}

register!(dyn Source, "shapes", ShapesConfig);

impl Config<dyn Source> for ShapesConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        if !(8..=4096).contains(&self.size) {
            return Err(Error::Options(format!("`size` of `shapes` is {}; a number of pixels from 8 to 4096 is wanted", self.size)));
        }
        let mut config = self.clone();
        if config.samples == 0 {
            config.samples = if config.split == Split::Train { 4096 } else { 512 };
        }
        let pairs = pairs(config.split);
        let classes = pairs.iter().map(|(colour, shape)| format!("{} {}", COLOURS[*colour], SHAPES[*shape])).collect();
        Ok(Box::new(Shapes { config, pairs, classes, wants: cx.wants }))
    }
}

/// The pairs (colour, shape) of a split, in the order of its labels.
fn pairs(split: Split) -> Vec<(usize, usize)> {
    // Every shape lacks three colours, every colour two shapes.
    let held_out = |colour: usize, shape: usize| (colour + 3 * shape) % COLOURS.len() < HELD_OUT;
    (0..COLOURS.len())
        .flat_map(|colour| (0..SHAPES.len()).map(move |shape| (colour, shape)))
        .filter(|(colour, shape)| held_out(*colour, *shape) == (split == Split::HeldOut))
        .collect()
}

/// What a picture shows: places in the tables of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    shape: usize,
    colour: usize,
    texture: usize,
    large: bool,
    /// One less than the number.
    count: usize,
    row: usize,
    column: usize,
}

impl Look {
    fn draw(colour: usize, shape: usize, vary: &[Vary], rng: &mut dyn RngCore) -> Self {
        let mut below = |bound: u64| random::below(rng, bound) as usize;
        // One is more frequent, because class names are in the singular.
        let count = below(6).saturating_sub(2);
        let mut look = Self { shape, colour, texture: below(4), large: below(2) == 0, count, row: below(3), column: below(3) };
        // Everything is drawn all the same, so that what varies looks as it does where more varies.
        for fixed in Vary::ALL.iter().filter(|attribute| !vary.contains(attribute)) {
            match fixed {
                Vary::Count => look.count = 0,
                Vary::Size => look.large = true,
                Vary::Position => (look.row, look.column) = (1, 1),
                Vary::Texture => look.texture = 0,
            }
        }
        look
    }

    fn size(&self) -> &'static str {
        if self.large { "large" } else { "small" }
    }

    /// `circle`, `crosses`.
    fn noun(&self) -> String {
        let name = SHAPES[self.shape];
        match (self.count, name.ends_with('s')) {
            (0, _) => name.to_owned(),
            (_, true) => format!("{name}es"),
            (_, false) => format!("{name}s"),
        }
    }

    /// `top left`, `centre`: for people and for `meta`.
    fn position(&self) -> String {
        match (self.row, self.column) {
            (1, column) => COLUMNS[column].to_owned(),
            (row, 1) => ROWS[row].to_owned(),
            (row, column) => format!("{} {}", ROWS[row], COLUMNS[column]),
        }
    }

    /// `at the top left`.
    fn place(&self) -> String {
        let preposition = match (self.row, self.column) {
            (1, 1) => "in",
            (1, _) => "on",
            _ => "at",
        };
        format!("{preposition} the {}", self.position())
    }

    /// The words before the noun with their article or number.
    fn phrase(&self, adjectives: &[&str]) -> String {
        let words = format!("{} {}", adjectives.join(" "), self.noun());
        match self.count {
            0 if words.starts_with(['a', 'e', 'i', 'o', 'u']) => format!("an {words}"),
            0 => format!("a {words}"),
            count => format!("{} {words}", COUNTS[count]),
        }
    }

    /// Everything; the bare pair; the pair and one thing more. Colour and shape are always named.
    fn captions(&self, rng: &mut dyn RngCore) -> Vec<String> {
        let (colour, texture, size) = (COLOURS[self.colour], TEXTURES[self.texture], self.size());
        let mut pick = |words: [&'static str; 4]| words[random::below(rng, 4) as usize];
        let medium = pick(["a photo of", "a picture of", "a drawing of", "an image of"]);
        let pair = self.phrase(&[colour]);
        let more = match pick(["texture", "size", "place", "both"]) {
            "texture" => self.phrase(&[texture, colour]),
            "size" => self.phrase(&[size, colour]),
            "place" => format!("{pair} {}", self.place()),
            _ => self.phrase(&[size, texture, colour]),
        };
        let short = match pick(["", "", "medium", "medium"]) {
            "" => pair,
            _ => format!("{medium} {pair}"),
        };
        vec![format!("{} {}", self.phrase(&[size, texture, colour]), self.place()), short, format!("{medium} {more}")]
    }

    fn meta(&self) -> BTreeMap<String, String> {
        [
            ("shape", SHAPES[self.shape].to_owned()),
            ("colour", COLOURS[self.colour].to_owned()),
            ("texture", TEXTURES[self.texture].to_owned()),
            ("size", self.size().to_owned()),
            ("count", COUNTS[self.count].to_owned()),
            ("position", self.position()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }
}

#[derive(Debug)]
struct Shapes {
    config: ShapesConfig,
    pairs: Vec<(usize, usize)>,
    classes: Vec<String>,
    wants: Wants,
}

impl Shapes {
    /// All that sample `index` is made of, and the generator for its pixels.
    fn sample(&self, index: usize) -> (Look, Vec<String>, Philox) {
        let mut rng = Philox::new([self.config.seed, self.config.split as u64, index as u64]);
        // By turns, so that every class has as many samples as the next.
        let (colour, shape) = self.pairs[index % self.pairs.len()];
        let look = Look::draw(colour, shape, &self.config.vary, &mut rng);
        let captions = look.captions(&mut rng);
        (look, captions, rng)
    }
}

impl Source for Shapes {
    fn len(&self) -> usize {
        self.config.samples
    }

    fn key(&self, index: usize) -> String {
        let split = if self.config.split == Split::Train { "train" } else { "held_out" };
        format!("shapes/{split}/{index:06}")
    }

    fn read(&self, index: usize) -> Result<Raw, Bad> {
        let (look, texts, mut rng) = self.sample(index);
        // The picture comes last out of the generator, so that it may be left out.
        let picture = self.wants.picture.is_read().then(|| Picture::Decoded(draw::draw(&look, self.config.size, &mut rng)));
        let labels = vec![(index % self.pairs.len()) as i64];
        Ok(Raw { key: self.key(index), picture, caption: Caption { texts, labels, meta: look.meta() } })
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn fingerprint(&self) -> String {
        let ShapesConfig { split, samples, size, seed, vary } = &self.config;
        format!("shapes 2 {split:?} {samples} {size} {seed} {vary:?}")
    }
}

#[cfg(test)]
#[path = "shapes_tests.rs"]
mod tests;
