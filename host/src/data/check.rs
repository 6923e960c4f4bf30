//! `vlhub data check`: reads and decodes every sample and says what cannot be used.
//!
//! It opens a source as training does, for what a run reads of a sample, so both find the same samples. Data without a run are opened for each
//! of the [`NEEDS`] that objectives have.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use super::decode::{Flaw, PictureOptions, pixels};
use super::views::guarded;
use vlhub_core::{Bad, Picture, Raw, Source, Want, Wants};

/// What objectives may read of a sample, most first, and what it is called.
pub const NEEDS: [(&str, Wants); 4] = [
    ("pictures with captions", Wants { picture: Want::Required, text: Want::Required, ..Wants::NOTHING }),
    ("pictures with labels", Wants { picture: Want::Required, label: Want::Required, ..Wants::NOTHING }),
    ("pictures alone", Wants { picture: Want::Required, ..Wants::NOTHING }),
    ("captions alone", Wants { text: Want::Required, ..Wants::NOTHING }),
];

/// Most problems and duplicates that are listed; all are counted.
const LISTED: usize = 1000;

/// Least, middle and largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Range {
    /// Least.
    pub min: u64,
    /// Middle (the lower one of two).
    pub median: u64,
    /// Largest.
    pub max: u64,
}

impl Range {
    fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        let at = |place: usize| values.get(place).copied().unwrap_or_default();
        Self { min: at(0), median: at(values.len().saturating_sub(1) / 2), max: at(values.len().saturating_sub(1)) }
    }
}

/// What a source holds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Samples that the source lists, and what it lost when it was indexed.
    pub samples: usize,
    /// Samples that can be used.
    pub good: usize,
    /// What cannot be used, by reason.
    pub reasons: BTreeMap<&'static str, usize>,
    /// The first thousand of them.
    pub problems: Vec<Bad>,
    /// Widths of the pictures, in pixels.
    pub width: Range,
    /// Heights of the pictures, in pixels.
    pub height: Range,
    /// Lengths of the captions, in characters.
    pub caption: Range,
    /// Samples without any caption.
    pub without_caption: usize,
    /// Captions of all samples.
    pub captions: usize,
    /// Samples of each class, for sources with labels: by the class's name, or its number.
    pub classes: BTreeMap<String, usize>,
    /// Samples whose picture is the same, to the byte, as an earlier one.
    pub duplicates: usize,
    /// The first thousand of them, each with the earlier one.
    pub duplicated: Vec<(String, String)>,
    /// Fingerprint of the source.
    pub fingerprint: String,
    /// Remarks on the data as a whole.
    pub notes: Vec<String>,
    /// What is read of a sample, for which all of this was found.
    pub reads: String,
    /// Samples that can be used by objectives of each need; empty when a run says what it reads.
    pub usable: Vec<Usable>,
}

/// How many samples objectives of one need find.
#[derive(Clone, Debug, Serialize)]
pub struct Usable {
    /// One of the [`NEEDS`].
    pub need: &'static str,
    /// How many.
    pub samples: usize,
    /// Why there is none.
    pub why: Option<String>,
}

impl Summary {
    /// How many cannot be used.
    pub fn bad(&self) -> usize {
        self.reasons.values().sum()
    }

    /// Adds what another need has found: classes, and what is damaged of what it reads.
    fn learn(&mut self, other: Self) {
        if self.classes.is_empty() {
            self.classes = other.classes;
        }
        let known: HashSet<(String, &str)> = self.problems.iter().map(|bad| (bad.key.clone(), bad.reason)).collect();
        let lacks = ["no image", "no caption", "no label", "no caption column", "no label column", "not in a class folder"];
        for bad in other.problems {
            if !lacks.contains(&bad.reason) && !known.contains(&(bad.key.clone(), bad.reason)) {
                *self.reasons.entry(bad.reason).or_default() += 1;
                self.problems.push(bad);
            }
        }
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let range = |range: &Range| format!("{} to {}, median {}", range.min, range.max, range.median);
        let mut lines = vec![format!("{} samples, {} can be used where {} are read", self.samples, self.good, self.reads)];
        for Usable { need, samples, why } in &self.usable {
            lines.push(match why {
                Some(why) => format!("usable   {need}: none, because {why}"),
                None => format!("usable   {need}: {samples}"),
            });
        }
        lines.extend(self.notes.iter().map(|note| format!("note     {note}")));
        if self.width.max > 0 {
            lines.push(format!("width    {}", range(&self.width)));
            lines.push(format!("height   {}", range(&self.height)));
        }
        lines.push(format!("captions {}; {} characters; {} samples have none", self.captions, range(&self.caption), self.without_caption));
        if !self.classes.is_empty() {
            let sizes = Range::of(self.classes.values().map(|count| *count as u64).collect());
            lines.push(format!("classes  {}; {} samples each", self.classes.len(), range(&sizes)));
        }
        if self.duplicates > 0 {
            lines.push(format!("{} pictures are there more than once:", self.duplicates));
            lines.extend(self.duplicated.iter().take(5).map(|(key, first)| format!("  `{key}` is `{first}`")));
        }
        for (reason, count) in &self.reasons {
            lines.push(format!("{count} × {reason}"));
            let examples = self.problems.iter().filter(|bad| bad.reason == *reason).take(5);
            lines.extend(examples.map(|bad| format!("  {bad}")));
        }
        lines.join("\n")
    }
}

/// What is kept of a sample that can be used.
struct Seen {
    size: Option<(u32, u32)>,
    content: Option<u128>,
    captions: Vec<u64>,
    label: Option<i64>,
}

/// Pictures that were decoded before, by the hash of their bytes: their size, or why they are none.
type Known = Mutex<HashMap<u128, Result<(u32, u32), (&'static str, String)>>>;

/// Opens a source for what is wanted of it.
pub type Open<'a> = dyn Fn(Wants) -> vlhub_core::Result<Arc<dyn Source>> + 'a;

/// Reads and decodes every sample, with all cores, for what a run reads. Never panics, whatever the data are.
///
/// # Errors
/// The source cannot be opened, or has no usable sample.
pub fn check(open: &Open<'_>, wants: Wants, options: PictureOptions) -> vlhub_core::Result<Summary> {
    Ok(check_source(open(wants)?.as_ref(), &wants.to_string(), options, &Known::default()))
}

/// [`check`] for each of the [`NEEDS`]: what the most demanding one finds that finds anything, and how many samples the others find.
///
/// # Errors
/// No need finds a sample.
pub fn survey(open: &Open<'_>, options: PictureOptions) -> vlhub_core::Result<Summary> {
    let known = Known::default();
    let mut found: Option<Summary> = None;
    let (mut usable, mut first_error) = (Vec::new(), None);
    for (need, wants) in NEEDS {
        if wants.picture == Want::Unread && found.is_some() {
            continue;
        }
        let summary = match open(wants) {
            Ok(source) => check_source(source.as_ref(), &wants.to_string(), options, &known),
            Err(error) => {
                usable.push(Usable { need, samples: 0, why: Some(error.to_string()) });
                first_error.get_or_insert(error);
                continue;
            }
        };
        usable.push(Usable { need, samples: summary.good, why: None });
        match &mut found {
            Some(found) => found.learn(summary),
            None => found = Some(summary),
        }
    }
    match (found, first_error) {
        (Some(found), _) => Ok(Summary { usable, ..found }),
        (None, Some(error)) => Err(error),
        (None, None) => Err(vlhub_core::Error::invalid("nothing was looked for")),
    }
}

fn check_source(source: &dyn Source, reads: &str, options: PictureOptions, known: &Known) -> Summary {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(source.len().max(1));
    let next = AtomicUsize::new(0);
    let all: Mutex<Vec<(usize, Result<Seen, Bad>)>> = Mutex::new(Vec::with_capacity(source.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= source.len() {
                        return;
                    }
                    let seen = guarded(source, index, || look(source, index, options, known));
                    all.lock().unwrap_or_else(PoisonError::into_inner).push((index, seen));
                }
            });
        }
    });
    let mut all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    all.sort_unstable_by_key(|(index, _)| *index);
    Summary { reads: reads.to_owned(), ..summary(source, all) }
}

fn look(source: &dyn Source, index: usize, options: PictureOptions, known: &Known) -> Result<Seen, Bad> {
    let raw = source.read(index)?;
    let content = raw.picture.as_ref().map(|picture| match picture {
        Picture::Encoded(bytes) => xxh3_128(bytes),
        Picture::Decoded(image) => xxh3_128(image.as_raw()),
    });
    let size = content.map(|content| size_of(&raw, content, options, known)).transpose()?;
    let captions = raw.caption.texts.iter().map(|text| text.chars().count() as u64).collect();
    Ok(Seen { size, content, captions, label: raw.caption.labels.first().copied() })
}

/// Width and height of a picture that can be decoded.
fn size_of(raw: &Raw, content: u128, options: PictureOptions, known: &Known) -> Result<(u32, u32), Bad> {
    let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
    let before = lock().get(&content).cloned();
    let size = before.unwrap_or_else(|| {
        let size = pixels(raw, options).map(|decoded| decoded.image().dimensions()).map_err(|bad| (bad.reason, bad.detail));
        lock().insert(content, size.clone());
        size
    });
    size.map_err(|(reason, detail)| Flaw { reason, detail }.of(raw))
}

fn summary(source: &dyn Source, all: Vec<(usize, Result<Seen, Bad>)>) -> Summary {
    let problems = source.problems();
    let mut summary = Summary {
        samples: source.len() + problems.len(),
        fingerprint: source.fingerprint(),
        notes: source.notes().to_vec(),
        ..Summary::default()
    };
    let (mut widths, mut heights, mut captions) = (Vec::new(), Vec::new(), Vec::new());
    let mut contents: HashMap<u128, usize> = HashMap::new();
    let note = |summary: &mut Summary, bad: &Bad| {
        *summary.reasons.entry(bad.reason).or_default() += 1;
        if summary.problems.len() < LISTED {
            summary.problems.push(bad.clone());
        }
    };
    problems.iter().for_each(|bad| note(&mut summary, bad));
    for (index, seen) in all {
        let seen = match seen {
            Ok(seen) => seen,
            Err(bad) => {
                note(&mut summary, &bad);
                continue;
            }
        };
        summary.good += 1;
        if let Some((width, height)) = seen.size {
            widths.push(u64::from(width));
            heights.push(u64::from(height));
        }
        summary.without_caption += usize::from(seen.captions.is_empty());
        captions.extend(seen.captions);
        if let Some(label) = seen.label {
            let name = usize::try_from(label).ok().and_then(|label| source.classes().get(label)).cloned();
            *summary.classes.entry(name.unwrap_or_else(|| label.to_string())).or_default() += 1;
        }
        if let Some(content) = seen.content {
            let first = *contents.entry(content).or_insert(index);
            if first != index {
                summary.duplicates += 1;
                if summary.duplicated.len() < LISTED {
                    summary.duplicated.push((source.key(index), source.key(first)));
                }
            }
        }
    }
    summary.captions = captions.len();
    (summary.width, summary.height, summary.caption) = (Range::of(widths), Range::of(heights), Range::of(captions));
    summary
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::Memory;

    #[test]
    fn everything_is_counted() {
        let mut source = Memory::new(300).broken(3).broken(5).panics(8);
        source.problems.push(Bad { key: "k".into(), place: "t:1".into(), reason: "ragged row", detail: String::new() });
        let summary = check_source(&source, "pictures", PictureOptions::default(), &Known::default());
        assert_eq!((summary.samples, summary.good, summary.bad()), (301, 297, 4));
        let reasons: Vec<_> = summary.reasons.iter().map(|(reason, count)| (*reason, *count)).collect();
        assert_eq!(reasons, [("broken", 2), ("panic", 1), ("ragged row", 1)]);
        assert_eq!((summary.width, summary.height), (Range { min: 9, median: 11, max: 13 }, Range { min: 8, median: 9, max: 10 }));
        assert_eq!((summary.captions, summary.without_caption, summary.classes.len()), (297, 0, 3));
        // The colour of a picture is its number modulo 256, and its size repeats every 15: so 300 hold no pair.
        assert_eq!(summary.duplicates, 0);
        let text = summary.to_text();
        for wanted in [
            "301 samples, 297 can be used where pictures are read",
            "width    9 to 13, median 11",
            "2 × broken",
            "`sample 3` (sample 3): broken, on purpose",
        ] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
    }

    #[test]
    fn the_same_picture_twice_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        for class in ["a", "b"] {
            std::fs::create_dir(folder.path().join(class)).expect("room");
            image::RgbImage::new(2, 2).save(folder.path().join(class).join("1.png")).expect("room");
        }
        std::fs::write(folder.path().join("b/2.jpg"), "<html>").expect("room");
        let source = crate::data::testing::open(&serde_json::json!({"use": "imagefolder", "path": folder.path()}), folder.path())
            .expect("it is whole");
        let summary = check_source(&*source, "pictures", PictureOptions::default(), &Known::default());
        assert_eq!((summary.duplicates, summary.duplicated.as_slice()), (1, &[("b/1.png".to_owned(), "a/1.png".to_owned())][..]));
        assert_eq!((summary.bad(), summary.problems[0].reason, summary.classes["b"]), (1, "not an image", 1));
    }

    #[test]
    fn a_range_of_nothing_is_nothing() {
        assert_eq!(Range::of(Vec::new()), Range::default());
        assert_eq!(Range::of(vec![4, 1, 3, 2]), Range { min: 1, median: 2, max: 4 });
    }
}
