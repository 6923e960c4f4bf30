//! `vlhub data stats`: what a data set is like, by a sample of it. Pictures are not decoded, only their headers are read.

use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;

use image::ImageReader;
use serde::Serialize;
use vlhub_core::{Picture, Raw, Source};

use super::decode;
use super::tokens::Tokenizer;
use super::views::guarded;

/// Most entries of a list of what is frequent.
const LISTED: usize = 10;

/// Least, mean, largest, and what 5, 50 and 95 % of all are at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Least.
    pub min: f64,
    /// 5th percentile.
    pub p5: f64,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// Largest.
    pub max: f64,
    /// Arithmetic mean.
    pub mean: f64,
}

impl Spread {
    /// Of all values, by nearest rank; `None` of none.
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (first, last) = (*values.first()?, *values.last()?);
        let rank = |share: f64| values[((share * values.len() as f64).ceil() as usize).clamp(1, values.len()) - 1];
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Some(Self { min: first, p5: rank(0.05), p50: rank(0.5), p95: rank(0.95), max: last, mean })
    }
}

/// What a data set is like.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Statistics {
    /// Samples that the source lists.
    pub samples: usize,
    /// Samples that were looked at, evenly spread over the source.
    pub looked_at: usize,
    /// Of those, how many could not be read; pictures whose header cannot be read count too. `data check` says which.
    pub unreadable: usize,
    /// Pictures by format.
    pub formats: BTreeMap<&'static str, usize>,
    /// Bytes of a picture's file.
    pub bytes: Option<Spread>,
    /// Widths, in pixels.
    pub width: Option<Spread>,
    /// Heights, in pixels.
    pub height: Option<Spread>,
    /// Widths per height.
    pub aspect: Option<Spread>,
    /// Captions of a sample.
    pub captions: Option<Spread>,
    /// Words of a caption.
    pub words: Option<Spread>,
    /// Token ids of a caption, start and end included, as many as the context holds.
    pub tokens: Option<Spread>,
    /// The longest list of ids that the text tower reads.
    pub context: Option<usize>,
    /// Captions that fill the context: they are cut, unless they happen to fit exactly.
    pub full: usize,
    /// Captions that stand there more than once, all but the first of each.
    pub repeated: usize,
    /// The most frequent captions that stand there more than once, most frequent first.
    pub frequent: Vec<(String, usize)>,
    /// The most frequent words, in lower case, most frequent first.
    pub vocabulary: Vec<(String, usize)>,
    /// Different words, in lower case.
    pub distinct_words: usize,
    /// Samples of each class that was seen, by its name or number.
    pub classes: BTreeMap<String, usize>,
    /// Classes that the source names.
    pub named_classes: usize,
}

/// Looks at up to `most` samples, evenly spread; 0 takes all.
pub fn statistics(source: &dyn Source, tokenizer: Option<&dyn Tokenizer>, most: usize) -> Statistics {
    let count = if most == 0 { source.len() } else { most.min(source.len()) };
    let mut seen = Seen::default();
    for number in 0..count {
        // In 128 bits: a product of two lengths.
        let index = (number as u128 * source.len() as u128 / count as u128) as usize;
        match guarded(source, index, || source.read(index)) {
            Ok(raw) => seen.look(&raw, source, tokenizer),
            Err(_) => seen.about.unreadable += 1,
        }
    }
    seen.finish(Statistics { samples: source.len(), looked_at: count, named_classes: source.classes().len(), ..Statistics::default() })
}

/// What is kept while samples pass.
#[derive(Default)]
struct Seen {
    about: Statistics,
    bytes: Vec<f64>,
    width: Vec<f64>,
    height: Vec<f64>,
    captions: Vec<f64>,
    words: Vec<f64>,
    tokens: Vec<f64>,
    texts: HashMap<String, usize>,
    vocabulary: HashMap<String, usize>,
}

impl Seen {
    fn look(&mut self, raw: &Raw, source: &dyn Source, tokenizer: Option<&dyn Tokenizer>) {
        self.picture(raw);
        self.captions.push(raw.caption.texts.len() as f64);
        for text in &raw.caption.texts {
            self.text(text, tokenizer);
        }
        for label in &raw.caption.labels {
            let name = usize::try_from(*label).ok().and_then(|label| source.classes().get(label)).cloned();
            *self.about.classes.entry(name.unwrap_or_else(|| label.to_string())).or_default() += 1;
        }
    }

    fn picture(&mut self, raw: &Raw) {
        let size = match &raw.picture {
            None => return,
            Some(Picture::Decoded(image)) => {
                *self.about.formats.entry("drawn").or_default() += 1;
                Some(image.dimensions())
            }
            Some(Picture::Encoded(bytes)) => {
                let format = decode::extension(bytes);
                if let Some(format) = format {
                    *self.about.formats.entry(format).or_default() += 1;
                    self.bytes.push(bytes.len() as f64);
                }
                let reader = ImageReader::new(Cursor::new(bytes.as_slice())).with_guessed_format().ok();
                format.and_then(|_| reader?.into_dimensions().ok())
            }
        };
        match size {
            Some((width, height)) if width > 0 && height > 0 => {
                self.width.push(width.into());
                self.height.push(height.into());
            }
            _ => self.about.unreadable += 1,
        }
    }

    fn text(&mut self, text: &str, tokenizer: Option<&dyn Tokenizer>) {
        let mut words = 0;
        for word in text.split_whitespace() {
            words += 1;
            let word = word.trim_matches(|letter: char| !letter.is_alphanumeric()).to_lowercase();
            if !word.is_empty() {
                *self.vocabulary.entry(word).or_default() += 1;
            }
        }
        self.words.push(f64::from(words));
        if let Some(tokenizer) = tokenizer {
            let ids = tokenizer.encode(text);
            self.about.full += usize::from(ids.len() >= tokenizer.context());
            self.about.context = Some(tokenizer.context());
            self.tokens.push(ids.len() as f64);
        }
        *self.texts.entry(text.trim().to_owned()).or_default() += 1;
    }

    fn finish(self, about: Statistics) -> Statistics {
        let aspect = self.width.iter().zip(&self.height).map(|(width, height)| width / height).collect();
        Statistics {
            unreadable: self.about.unreadable,
            formats: self.about.formats,
            context: self.about.context,
            full: self.about.full,
            classes: self.about.classes,
            repeated: self.texts.values().map(|count| count - 1).sum(),
            distinct_words: self.vocabulary.len(),
            frequent: most_frequent(self.texts, 2),
            vocabulary: most_frequent(self.vocabulary, 1),
            bytes: Spread::of(self.bytes),
            aspect: Spread::of(aspect),
            width: Spread::of(self.width),
            height: Spread::of(self.height),
            captions: Spread::of(self.captions),
            words: Spread::of(self.words),
            tokens: Spread::of(self.tokens),
            ..about
        }
    }
}

/// The most frequent entries, of at least `least` times; equally frequent ones in the order of the alphabet.
fn most_frequent(counts: HashMap<String, usize>, least: usize) -> Vec<(String, usize)> {
    let mut all: Vec<_> = counts.into_iter().filter(|(_, count)| *count >= least).collect();
    all.sort_by(|(one, many), (other, more)| more.cmp(many).then_with(|| one.cmp(other)));
    all.truncate(LISTED);
    all
}

impl Statistics {
    /// For people.
    pub fn to_text(&self) -> String {
        let mut lines = vec![format!("{} samples, {} looked at, {} of them unreadable", self.samples, self.looked_at, self.unreadable)];
        if !self.formats.is_empty() {
            let formats: Vec<String> = self.formats.iter().map(|(format, count)| format!("{count} {format}")).collect();
            lines.push(format!("formats         {}", formats.join(", ")));
        }
        lines.push(format!("{:<15} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}", "", "least", "5 %", "median", "95 %", "most", "mean"));
        for (name, spread) in [
            ("bytes", self.bytes),
            ("width", self.width),
            ("height", self.height),
            ("width/height", self.aspect),
            ("captions", self.captions),
            ("words", self.words),
            ("tokens", self.tokens),
        ] {
            let Some(Spread { min, p5, p50, p95, max, mean }) = spread else { continue };
            let show = |value: f64| if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.2}") };
            let [min, p5, p50, p95, max, mean] = [min, p5, p50, p95, max, mean].map(show);
            lines.push(format!("{name:<15} {min:>9} {p5:>9} {p50:>9} {p95:>9} {max:>9} {mean:>9}"));
        }
        if let Some(context) = self.context {
            lines.push(format!("{} captions fill the context of {context} tokens; what they have beyond it is not read", self.full));
        }
        let list = |all: &[(String, usize)]| {
            let shown = all.iter().map(|(text, count)| format!("{} ({count})", text.chars().take(60).collect::<String>()));
            shown.collect::<Vec<_>>().join(", ")
        };
        if self.repeated > 0 {
            lines.push(format!("{} captions stand there again; the most frequent: {}", self.repeated, list(&self.frequent)));
        }
        if self.distinct_words > 0 {
            lines.push(format!("{} words; the most frequent: {}", self.distinct_words, list(&self.vocabulary)));
        }
        if !self.classes.is_empty() {
            let sizes = Spread::of(self.classes.values().map(|count| *count as f64).collect()).unwrap_or_default();
            let named = if self.named_classes > 0 { format!(" of {}", self.named_classes) } else { String::new() };
            lines.push(format!(
                "{}{named} classes seen; samples of a class: {} to {}, median {}",
                self.classes.len(),
                sizes.min,
                sizes.max,
                sizes.p50
            ));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::Memory;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let spread = Spread::of((1..=20).rev().map(f64::from).collect()).expect("there are some");
        assert_eq!(spread, Spread { min: 1.0, p5: 1.0, p50: 10.0, p95: 19.0, max: 20.0, mean: 10.5 });
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn a_sample_of_the_data_is_counted() {
        let clip = crate::data::tokens::clip(6).expect("it builds");
        let source = Memory::new(40).broken(8).panics(12);
        let all = statistics(&source, Some(clip.as_ref()), 0);
        assert_eq!((all.samples, all.looked_at, all.unreadable, all.formats["drawn"]), (40, 40, 2, 38));
        assert_eq!((all.width.expect("pictures").min, all.width.expect("pictures").max), (9.0, 13.0));
        let words = all.words.expect("captions");
        assert_eq!((words.min, words.max, all.vocabulary[0].1), (3.0, 6.0, 60), "very, very, very sample number 3");
        // A start, an end, and four between them.
        assert_eq!((all.context, all.tokens.expect("ids").max), (Some(6), 6.0));
        assert!(all.full > 0 && all.repeated == 0, "{all:?}");
        assert_eq!(all.classes.values().sum::<usize>(), 38);
        let some = statistics(&source, None, 10);
        assert_eq!((some.looked_at, some.unreadable, some.tokens), (10, 2, None), "every fourth, so both that cannot be read");
        assert!(some.to_text().contains("10 looked at, 2 of them unreadable"), "{}", some.to_text());
    }
}
