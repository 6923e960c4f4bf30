//! The suite.

use std::sync::Arc;

use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;
use vlhub_sdk::suites::nothing_usable;
use vlhub_sdk::{Answer, Captioning, Decoding, Example, MeanOf, SampleTable, ScoreColumn, Thumbnail, serde_json, tch};

use super::bleu::Matches;
use super::{cider, ptb};

/// Captions that the model writes against those that people wrote: BLEU-1 to BLEU-4 and CIDEr, as pycocoevalcap computes them.
///
/// Texts are cut into words as Stanford's PTBTokenizer does, by rules of our own and without Java; emoticons, mark-up and telephone numbers are cut
/// otherwise. BLEU is that of the whole data set, CIDEr (in the form CIDEr-D, of which papers give the hundredfold) the mean of the pictures. METEOR and SPICE, which need Java and WordNet, are not computed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct CaptionSuiteConfig {
    /// The pictures with their captions: a table as in `[data.train]`, such as `{ use = "coco_captions", path = "coco" }`.
    pub data: serde_json::Value,
    /// Pictures in one call of the model.
    pub batch: usize,
    /// Captions that are carried on by beam search; 1 takes the likeliest token each time.
    pub beams: i64,
    /// Groups into which beams are cut.
    pub beam_groups: i64,
    /// Most tokens of a caption, start and end included.
    pub max_length: i64,
    /// Tokens before which a caption does not end, the start included.
    pub min_length: i64,
    /// Whether one text of several lines is several captions, as in CLIP_benchmark's shards.
    pub split_texts: bool,
}

impl Default for CaptionSuiteConfig {
    fn default() -> Self {
        let data = serde_json::json!({ "use": "shapes", "split": "held_out" });
        Self { data, batch: 16, beams: 1, beam_groups: 1, max_length: 30, min_length: 5, split_texts: true }
    }
}

impl Config<dyn EvalSuite> for CaptionSuiteConfig {
    fn build(&self, cx: &EvalCx<'_>) -> Result<Box<dyn EvalSuite>> {
        let Self { batch, beams, beam_groups, max_length, min_length, .. } = *self;
        let mut problems = OptionProblems::default();
        problems.ensure(batch > 0, || "`batch` is 0; at least one picture at a time is needed".into());
        problems.ensure(beams >= 1 && beam_groups >= 1 && beams % beam_groups == 0, || {
            format!("`beams` is {beams} and `beam_groups` {beam_groups}; the groups divide the beams")
        });
        // A caption has at least its start and its end.
        problems.at_least("max_length", max_length, 2);
        problems.ensure(min_length < max_length, || format!("`min_length` = {min_length} must be below `max_length` = {max_length}"));
        problems.finish()?;
        let data = cx.datasets.open_for(&self.data, Wants::NOTHING.text(Want::Optional)).map_err(|error| error.within("`data`"))?;
        Ok(Box::new(CaptionSuite { config: self.clone(), data }))
    }
}

struct CaptionSuite {
    config: CaptionSuiteConfig,
    data: Arc<dyn Dataset>,
}

impl std::fmt::Debug for CaptionSuite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptionSuite").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Pictures for the page, evenly spread.
const SHOWN: usize = 24;

/// What was written, in the order of the data set.
#[derive(Default)]
struct Written {
    keys: Vec<String>,
    /// Places in the data set.
    places: Vec<usize>,
    captions: Vec<String>,
    references: Vec<Vec<String>>,
}

impl CaptionSuite {
    fn how(&self) -> Captioning {
        let CaptionSuiteConfig { beams, beam_groups, max_length, min_length, .. } = self.config;
        let method = if beams == 1 { Decoding::Greedy } else { Decoding::Beam { beams, groups: beam_groups } };
        Captioning { method, longest: max_length, shortest: min_length, ..Captioning::default() }
    }

    /// The captions that people wrote; none blank.
    fn references(&self, texts: Vec<String>) -> Vec<String> {
        let parts: Vec<String> = match &texts[..] {
            [text] if self.config.split_texts => text.lines().map(str::to_owned).collect(),
            _ => texts,
        };
        parts.into_iter().filter(|text| !text.trim().is_empty()).collect()
    }

    fn write_captions(&self, model: &dyn Model, report: &mut Report) -> Result<Written> {
        let (mut written, mut ready) = (Written::default(), Vec::new());
        for (place, sample) in self.data.samples().enumerate() {
            let sample = match sample {
                Ok(sample) => sample,
                Err(error) => {
                    report.skipped.push(error.to_string());
                    continue;
                }
            };
            let references = self.references(sample.texts);
            if references.is_empty() {
                report.skipped.push(format!("{}: no text", sample.key));
                continue;
            }
            written.keys.push(sample.key);
            written.places.push(place);
            written.references.push(references);
            ready.push(sample.image);
            if ready.len() == self.config.batch {
                written.captions.extend(model.captions(&std::mem::take(&mut ready), &self.how())?);
            }
        }
        if !ready.is_empty() {
            written.captions.extend(model.captions(&ready, &self.how())?);
        }
        Ok(written)
    }

    fn examples(&self, written: &Written, cider: &[f64]) -> Vec<Example> {
        let count = written.keys.len().min(SHOWN);
        let example = |at: usize| {
            let at = at * written.keys.len() / count;
            let image = self.data.sample(written.places[at]).ok()?.image;
            let own = Answer { text: written.captions[at].clone(), score: Some(cider[at]), right: None };
            let theirs = written.references[at].iter().map(|text| Answer { text: text.clone(), score: None, right: Some(true) });
            Some(Example {
                section: "Captions, with their CIDEr, and what people wrote".into(),
                title: written.keys[at].clone(),
                pictures: vec![Thumbnail::new(&image, Answer::default())],
                texts: std::iter::once(own).chain(theirs).collect(),
            })
        };
        (0..count).filter_map(example).collect()
    }
}

impl EvalSuite for CaptionSuite {
    fn requires(&self) -> Requires {
        Requires { images: true, captioner: true, ..Requires::default() }
    }

    fn check(&self, skills: &Skills<'_>) -> Result<()> {
        let longest = self.config.max_length;
        match skills.captioner.and_then(|captioner| captioner.context()) {
            Some(context) if longest > context => Err(Error::Options(format!(
                "`max_length` = {longest} is more than the {context} tokens of the captioner's context; set it to {context} or less, or \
                 train with a longer context"
            ))),
            _ => Ok(()),
        }
    }

    fn run(&self, model: &dyn Model, report: &mut Report) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let written = self.write_captions(model, report)?;
        if written.keys.is_empty() {
            return Err(nothing_usable(&report.skipped));
        }
        let captions: Vec<Vec<String>> = written.captions.iter().map(|caption| ptb::words(caption)).collect();
        let references: Vec<Vec<Vec<String>>> =
            written.references.iter().map(|texts| texts.iter().map(|text| ptb::words(text)).collect()).collect();
        let mut matches = Matches::default();
        captions.iter().zip(&references).for_each(|(caption, references)| matches.add(&Matches::of(caption, references)));
        for (length, score) in (1..).zip(matches.scores()) {
            report.metric(format!("BLEU-{length}"), score);
        }
        let cider = cider::scores(&captions, &references);
        report.metric("CIDEr", cider.iter().sum::<f64>() / cider.len() as f64);
        report.samples += written.keys.len() as u64;
        if written.keys.len() == 1 {
            report.notes.push("CIDEr weighs words by how many pictures have them; of one picture it is 0".into());
        }
        report.examples.extend(self.examples(&written, &cider));
        let values = cider.iter().map(|score| *score as f32).collect();
        let columns = vec![ScoreColumn { metric: "CIDEr".into(), values, mean: MeanOf::Rows }];
        report.tables.push(SampleTable { keys: written.keys, columns, ..SampleTable::default() });
        Ok(())
    }
}

register!(dyn EvalSuite, "caption", CaptionSuiteConfig);

#[cfg(test)]
mod tests;
