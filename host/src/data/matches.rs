//! `vlhub data match`: what the caption transforms of a run make of every sample, without a picture.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;
use vlhub_core::{Result, Source};

use super::views::{RowPlace, Unused, Views, guarded};

/// Samples that are worked on together: memory stays flat, and results come in the order of the data.
const BLOCK: usize = 1 << 14;

/// What becomes of one sample.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum Fate {
    /// It has captions after the transforms.
    Kept {
        /// Captions of the first text view.
        texts: Vec<String>,
        /// Class labels: those of the transforms, else the data's.
        labels: Vec<i64>,
    },
    /// A transform drops it.
    Dropped {
        /// Which.
        by: String,
    },
    /// It cannot be used.
    Unusable {
        /// Class of reason.
        reason: &'static str,
        /// The particular case.
        detail: String,
    },
}

/// One sample, before and after.
#[derive(Clone, Debug, Serialize)]
pub struct Matched {
    /// The source's name of it.
    pub key: String,
    /// Its captions before the transforms; none of a sample that cannot be read.
    pub before: Vec<String>,
    /// What becomes of it.
    #[serde(flatten)]
    pub fate: Fate,
}

/// A class and how many samples have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// Its name; its number where classes have no names.
    pub name: String,
    /// Samples that are kept and have its label.
    pub samples: usize,
}

/// What becomes of a data set.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Matches {
    /// Samples that the source lists, and what it lost when it was indexed.
    pub samples: usize,
    /// Samples that are kept.
    pub kept: usize,
    /// Samples that are dropped, by the transform that drops them.
    pub dropped: BTreeMap<String, usize>,
    /// Samples that cannot be used, by reason.
    pub unusable: BTreeMap<&'static str, usize>,
    /// Kept samples with exactly one label.
    pub one_label: usize,
    /// Kept samples with several labels.
    pub several_labels: usize,
    /// Kept samples without a label.
    pub without_label: usize,
    /// All classes in the order of their labels.
    pub classes: Vec<ClassCount>,
    /// The first samples that are kept.
    pub kept_examples: Vec<Matched>,
    /// The first samples that are dropped.
    pub dropped_examples: Vec<Matched>,
}

impl Matches {
    /// Names of the classes that no kept sample has.
    pub fn empty_classes(&self) -> impl Iterator<Item = &str> {
        self.classes.iter().filter(|class| class.samples == 0).map(|class| class.name.as_str())
    }

    /// The classes that samples have, the most frequent first.
    pub fn frequent_classes(&self) -> Vec<&ClassCount> {
        let mut classes: Vec<_> = self.classes.iter().filter(|class| class.samples > 0).collect();
        classes.sort_by_key(|class| std::cmp::Reverse(class.samples));
        classes
    }

    fn add(&mut self, sample: &Matched, by_label: &mut BTreeMap<i64, usize>, examples: usize) {
        let listed = match &sample.fate {
            Fate::Kept { labels, .. } => {
                self.kept += 1;
                *[&mut self.without_label, &mut self.one_label, &mut self.several_labels][labels.len().min(2)] += 1;
                labels.iter().for_each(|label| *by_label.entry(*label).or_default() += 1);
                &mut self.kept_examples
            }
            Fate::Dropped { by } => {
                *self.dropped.entry(by.clone()).or_default() += 1;
                &mut self.dropped_examples
            }
            Fate::Unusable { reason, .. } => {
                *self.unusable.entry(reason).or_default() += 1;
                return;
            }
        };
        if listed.len() < examples {
            listed.push(sample.clone());
        }
    }
}

/// Runs every text view over every sample, with the random numbers of the first epoch in the order of the data. `each` gets the samples in that
/// order.
///
/// # Errors
/// Those of `each`.
pub fn matches(
    source: &dyn Source,
    views: &Views,
    seed: u64,
    examples: usize,
    each: &mut dyn FnMut(&Matched) -> Result<()>,
) -> Result<Matches> {
    let problems = source.problems();
    let mut found = Matches { samples: source.len() + problems.len(), ..Matches::default() };
    problems.iter().for_each(|bad| *found.unusable.entry(bad.reason).or_default() += 1);
    let mut by_label = BTreeMap::new();
    for start in (0..source.len()).step_by(BLOCK) {
        for sample in block(source, views, seed, start..source.len().min(start + BLOCK)) {
            found.add(&sample, &mut by_label, examples);
            each(&sample)?;
        }
    }
    let names = views.classes().unwrap_or(source.classes());
    let named =
        names.iter().zip(0..).map(|(name, label)| ClassCount { name: name.clone(), samples: by_label.remove(&label).unwrap_or_default() });
    found.classes = named.collect();
    found.classes.extend(by_label.into_iter().map(|(label, samples)| ClassCount { name: label.to_string(), samples }));
    Ok(found)
}

fn block(source: &dyn Source, views: &Views, seed: u64, range: Range<usize>) -> Vec<Matched> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = range.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> = range
            .clone()
            .step_by(share)
            .map(|start| {
                let part = start..range.end.min(start + share);
                scope.spawn(move || part.map(|index| one(source, views, seed, index)).collect::<Vec<_>>())
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

fn one(source: &dyn Source, views: &Views, seed: u64, index: usize) -> Matched {
    let mut sample = Matched { key: String::new(), before: Vec::new(), fate: Fate::Dropped { by: String::new() } };
    let place = RowPlace { seed, epoch: 0, position: index as u64, attempt: 0 };
    let seen = guarded(source, index, || -> Result<_, Unused> {
        let mut raw = source.read(index)?;
        (sample.key, sample.before) = (raw.key.clone(), raw.caption.texts.clone());
        let mut first = None;
        for view in &views.texts {
            let caption = view.caption(&raw, &mut view.rng(place))?;
            first.get_or_insert(caption);
        }
        Ok(first.unwrap_or_else(|| std::mem::take(&mut raw.caption)))
    });
    sample.fate = match seen {
        Ok(caption) => Fate::Kept { texts: caption.texts, labels: caption.labels },
        Err(Unused::FilteredOut(by)) => Fate::Dropped { by },
        Err(Unused::Bad(bad)) => {
            sample.key.clone_from(&bad.key);
            Fate::Unusable { reason: bad.reason, detail: bad.detail }
        }
    };
    sample
}

#[cfg(test)]
#[path = "matches_tests.rs"]
mod tests;
