//! The pictures of a data set with all their captions, whatever the layout.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::{Hash, Hasher};

use vlhub_sdk::Sample;
use vlhub_sdk::prelude::*;

use crate::captions::{Layout, captions};

/// Which samples are one picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Group {
    /// Samples of one caption each and the same pixels: tables and shards with a row for each caption. A sample with several captions is a
    /// picture of its own.
    #[default]
    Auto,
    /// Samples of the same pixels, however many captions they have.
    Picture,
    /// None: every sample is a picture of its own, as in CLIP_benchmark and open_clip.
    Sample,
}

/// Pictures and captions as they are found.
#[derive(Debug)]
pub(crate) struct Pictures {
    group: Group,
    /// Most captions of a picture.
    limit: usize,
    split: bool,
    /// The captions of each picture, in the order of the pictures.
    pub captions: Vec<Vec<String>>,
    /// The first sample of each picture: its key, and its place in the data set.
    pub first: Vec<(String, usize)>,
    /// Pictures by their pixels.
    seen: HashMap<u128, usize>,
    /// Samples that had a caption.
    pub samples: usize,
    /// Samples whose one text stood for several captions, as lines and as JSON lists.
    lines: usize,
    lists: usize,
}

impl Pictures {
    pub(crate) fn new(group: Group, limit: usize, split: bool) -> Self {
        Self { group, limit, split, captions: Vec::new(), first: Vec::new(), seen: HashMap::new(), samples: 0, lines: 0, lists: 0 }
    }

    /// Takes the sample at place `at` of the data set. Whether its picture is new; `None` when it has no caption.
    pub(crate) fn add(&mut self, at: usize, sample: &mut Sample) -> Option<bool> {
        let (texts, layout) = captions(std::mem::take(&mut sample.texts), self.split);
        if texts.is_empty() {
            return None;
        }
        self.samples += 1;
        self.lines += usize::from(layout == Layout::Lines);
        self.lists += usize::from(layout == Layout::Json);
        let alone = match self.group {
            Group::Auto => texts.len() > 1,
            Group::Picture => false,
            Group::Sample => true,
        };
        let next = self.captions.len();
        let place = if alone { next } else { *self.seen.entry(fingerprint(&sample.image)).or_insert(next) };
        if place == next {
            self.captions.push(Vec::new());
            self.first.push((sample.key.clone(), at));
        }
        let own = &mut self.captions[place];
        own.extend(texts.into_iter().take(self.limit - own.len().min(self.limit)));
        Some(place == next)
    }

    /// The picture of each text.
    pub(crate) fn owners(&self) -> Vec<i64> {
        self.captions.iter().zip(0..).flat_map(|(texts, picture)| texts.iter().map(move |_| picture)).collect()
    }

    /// How many texts each picture has.
    pub(crate) fn counts(&self) -> Vec<i64> {
        self.captions.iter().map(|texts| texts.len() as i64).collect()
    }

    /// Names of the texts: `1000092795.jpg#0` is the first of that picture, as Flickr30k writes it.
    pub(crate) fn text_keys(&self) -> Vec<String> {
        let of = |((key, _), texts): (&(String, usize), &Vec<String>)| (0..texts.len()).map(|at| format!("{key}#{at}")).collect::<Vec<_>>();
        self.first.iter().zip(&self.captions).flat_map(of).collect()
    }

    /// What the reader should know of how captions came to pictures.
    pub(crate) fn notes(&self) -> Vec<String> {
        let (pictures, texts) = (self.captions.len(), self.captions.iter().map(Vec::len).sum::<usize>());
        let mut notes = Vec::new();
        if self.samples > pictures {
            notes.push(format!(
                "{} samples are {pictures} pictures: those with the same pixels were taken together (`group = \"sample\"` keeps them apart)",
                self.samples
            ));
        }
        for (count, how) in [(self.lines, "on lines"), (self.lists, "as a JSON list")] {
            if count > 0 {
                notes.push(format!("{count} samples have several captions in one text, {how} (`split_texts = false` keeps them whole)"));
            }
        }
        if texts > pictures {
            notes.push(format!("{texts} texts of {pictures} pictures; a picture counts as found by the best of its texts"));
        }
        let repeated = self.repeated();
        if repeated > 0 {
            notes.push(format!("{repeated} of {texts} texts belong to several pictures; only the one of the same picture counts as right"));
        }
        notes
    }

    /// Texts that more than one picture has.
    fn repeated(&self) -> usize {
        // The first picture with the text, how often it occurs, and whether another picture has it too.
        let mut seen: HashMap<&str, (usize, usize, bool)> = HashMap::new();
        for (picture, texts) in self.captions.iter().enumerate() {
            for text in texts {
                match seen.entry(text) {
                    Entry::Vacant(new) => drop(new.insert((picture, 1, false))),
                    Entry::Occupied(mut known) => {
                        let (first, count, shared) = known.get_mut();
                        *count += 1;
                        *shared |= *first != picture;
                    }
                }
            }
        }
        seen.values().filter(|(.., shared)| *shared).map(|(_, count, _)| count).sum()
    }
}

/// 128 bits of a hash of size and pixels.
fn fingerprint(image: &RgbImage) -> u128 {
    let half = |seed: u8| {
        let mut hash = DefaultHasher::new();
        (seed, image.dimensions(), image.as_raw()).hash(&mut hash);
        u128::from(hash.finish())
    };
    half(0) << 64 | half(1)
}
