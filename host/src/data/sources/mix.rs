//! Several sources as one, each drawn at a rate of its own.

pub(super) mod literal;
mod schema;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vlhub_core::{Bad, Config, Error, Extent, Raw, Result, Share, Source, SourceCx};
use vlhub_sdk::register;
use vlhub_sdk::schemars::JsonSchema;
use xxhash_rust::xxh3::Xxh3;

/// Several sources as one.
///
/// Their samples follow each other. With `train.resampled = true` each source is drawn at its rate: open_clip's
/// `--train-data-upsampling-factors`. Classes are matched by name: the mix has every class of every source.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct MixConfig {
    /// The sources, each a table as in `[data.train]`: `{ use = "webdataset", shards = "cc3m/{00000..00331}.tar", rate = 2.0 }`. `rate` is
    /// how often a sample of it is drawn, relative to samples of the others; without it 1.
    pub sources: Vec<SourceTable>,
    /// A schema file of VL Hub instead: a Python dictionary, JSON or TOML of `{ NAME: { train_data, train_num_samples } }`. A source's rate then
    /// follows from its number of samples; a source without the number has rate 1.
    pub schema: String,
}

/// A table of a source.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct SourceTable(#[schemars(with = "serde_json::Map<String, serde_json::Value>")] Value);

register!(dyn Source, "mix", MixConfig);

/// How often a source's samples are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rate {
    /// Relative to others.
    Times(f64),
    /// So many of an epoch's.
    Samples(u64),
}

/// One source, before it is opened.
#[derive(Debug)]
struct MixPart {
    /// For people.
    name: String,
    table: Value,
    rate: Rate,
}

impl Config<dyn Source> for MixConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        let parts = self.parts(cx)?;
        let mut mix =
            Mix { sources: Vec::new(), starts: vec![0], shares: Vec::new(), classes: Vec::new(), problems: Vec::new(), notes: Vec::new() };
        for part in &parts {
            let within = |error: Error| error.within(&part.name);
            let source = cx.host.open(&part.table, cx).map_err(within)?;
            mix.add(source, part.rate).map_err(within)?;
        }
        if cx.extent == Extent::Whole && cx.wants.label.is_read() {
            mix.refuse_half_named(&parts)?;
        }
        Ok(Box::new(mix))
    }
}

impl MixConfig {
    fn parts(&self, cx: &SourceCx<'_>) -> Result<Vec<MixPart>> {
        match (self.sources.is_empty(), self.schema.is_empty()) {
            (false, false) => Err(Error::invalid("`sources` and `schema` are two lists of sources; give one")),
            (true, true) => Err(Error::invalid("`sources` names no source; write sources = [{ use = \"webdataset\", shards = \"…\" }, …]")),
            (true, false) => schema::read(&cx.folder.join(&self.schema)),
            (false, true) => self.sources.iter().enumerate().map(|(number, table)| part(number, &table.0)).collect(),
        }
    }
}

fn part(number: usize, table: &Value) -> Result<MixPart> {
    let mut table = table.clone();
    let name = format!("sources[{number}]");
    let rate = table.as_object_mut().and_then(|options| options.remove("rate"));
    let rate = rate.map_or(Some(1.0), |rate| rate.as_f64()).filter(|rate| rate.is_finite() && *rate > 0.0);
    let rate = rate.ok_or_else(|| Error::Options(format!("{name}: `rate` is a number above 0")))?;
    Ok(MixPart { name, table, rate: Rate::Times(rate) })
}

#[derive(Debug)]
struct Mix {
    sources: Vec<Mixed>,
    /// The first sample of each source, and how many there are together.
    starts: Vec<usize>,
    shares: Vec<Share>,
    classes: Vec<String>,
    problems: Vec<Bad>,
    notes: Vec<String>,
}

#[derive(Debug)]
struct Mixed {
    source: Box<dyn Source>,
    /// Its labels, as labels of the mix.
    labels: Vec<i64>,
}

impl Mix {
    fn add(&mut self, source: Box<dyn Source>, rate: Rate) -> Result<()> {
        let samples = source.len();
        // Shares of a source that is itself drawn at rates keep their proportions.
        let shares = source.shares();
        let drawn: f64 = shares.iter().map(|share| share.samples as f64 * share.weight).sum();
        let weight = match rate {
            Rate::Times(times) => times * samples as f64 / drawn,
            Rate::Samples(count) => count as f64 / drawn,
        };
        if !(weight.is_finite() && weight > 0.0) {
            return Err(Error::invalid("it has no samples, or a rate of 0"));
        }
        self.shares.extend(shares.into_iter().map(|share| Share { weight: share.weight * weight, ..share }));
        let mut labels = Vec::with_capacity(source.classes().len());
        for name in source.classes() {
            let label = self.classes.iter().position(|known| known == name).unwrap_or_else(|| {
                self.classes.push(name.clone());
                self.classes.len() - 1
            });
            labels.push(label as i64);
        }
        self.problems.extend_from_slice(source.problems());
        self.notes.extend_from_slice(source.notes());
        self.starts.push(self.starts[self.sources.len()] + samples);
        self.sources.push(Mixed { source, labels });
        Ok(())
    }

    /// Numbers of one source and names of another cannot be matched.
    fn refuse_half_named(&self, parts: &[MixPart]) -> Result<()> {
        let nameless = |mixed: &Mixed| mixed.labels.is_empty() && mixed.source.labelled();
        match self.sources.iter().position(nameless) {
            Some(at) if !self.classes.is_empty() => Err(Error::invalid(format!(
                "{}: its labels are numbers without names, and other sources name their classes; give it `classes`",
                parts[at].name
            ))),
            _ => Ok(()),
        }
    }

    /// The source of a sample, and the sample's number in it.
    fn at(&self, index: usize) -> (&Mixed, usize) {
        let number = self.starts.partition_point(|start| *start <= index) - 1;
        (&self.sources[number], index - self.starts[number])
    }
}

impl Source for Mix {
    fn len(&self) -> usize {
        self.starts[self.sources.len()]
    }

    fn key(&self, index: usize) -> String {
        let (mixed, index) = self.at(index);
        mixed.source.key(index)
    }

    fn read(&self, index: usize) -> Result<Raw, Bad> {
        let (mixed, index) = self.at(index);
        let mut raw = mixed.source.read(index)?;
        if !mixed.labels.is_empty() {
            for label in &mut raw.caption.labels {
                *label = usize::try_from(*label).ok().and_then(|label| mixed.labels.get(label)).copied().unwrap_or(*label);
            }
        }
        Ok(raw)
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn templates(&self) -> &[String] {
        let mut all = self.sources.iter().map(|mixed| mixed.source.templates());
        let first = all.next().unwrap_or_default();
        if all.all(|other| other == first) { first } else { &[] }
    }

    fn labelled(&self) -> bool {
        self.sources.iter().any(|mixed| mixed.source.labelled())
    }

    fn fingerprint(&self) -> String {
        let mut hash = Xxh3::new();
        let mut shares = self.shares.iter();
        for Mixed { source, .. } in &self.sources {
            hash.update(source.fingerprint().as_bytes());
            // A source that is itself drawn at rates has several.
            for share in shares.by_ref().take(source.shares().len()) {
                hash.update(&share.weight.to_bits().to_le_bytes());
            }
        }
        format!("mix:{}:{:032x}", self.len(), hash.digest128())
    }

    fn shares(&self) -> Vec<Share> {
        self.shares.clone()
    }

    fn problems(&self) -> &[Bad] {
        &self.problems
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    // Not told apart by source: two corruptions of ImageNet-C, mixed, have the same pictures.
    fn unit(&self, index: usize) -> Option<String> {
        let (mixed, index) = self.at(index);
        mixed.source.unit(index)
    }
}

#[cfg(test)]
#[path = "mix_tests.rs"]
mod tests;
