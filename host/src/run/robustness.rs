//! What is left of ImageNet's accuracy on its distribution shifts.
//!
//! Two numbers share the name "effective robustness". VL Hub's (Feuer et al. 2023, arXiv 2308.03821) is the mean accuracy on ImageNet-R, -A, -Sketch
//! and -V2, as many of them as were measured, divided by the accuracy on ImageNet. Taori's (Taori et al. 2020, arXiv 2007.00644) is how much an
//! accuracy on one shift lies above what standard models of the same accuracy on ImageNet have; it needs the accuracies of such models.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use vlhub_core::{Error, Result};

use super::history::{Evaluation, RunData};
use super::statistics::LogitLine;

/// The shifts: name in tables, the keys by which suites are known (letters and digits alone), and whether VL Hub's average has it.
const SHIFTS: [(&str, &[&str], bool); 5] = [
    ("imagenet_v2", &["imagenetv2"], true),
    ("imagenet_a", &["imageneta"], true),
    ("imagenet_r", &["imagenetr"], true),
    ("imagenet_sketch", &["imagenetsketch", "imagenets"], true),
    ("objectnet", &["objectnet"], false),
];

/// The keys of ImageNet itself.
const IMAGENET: &[&str] = &["imagenet", "imagenetval", "imagenet1k"];

/// What the splits are called that suites measure by default, by the first key of their data set; the others have no splits.
const DEFAULT_SPLITS: [(&str, &str); 2] = [("imagenet", "val"), ("imagenetv2", "matched-frequency")];

/// The numbers of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Robustness {
    /// Top-1 accuracy on ImageNet.
    pub imagenet: f64,
    /// The shifts that were measured.
    pub shifts: Vec<Shift>,
    /// Mean top-1 of those of ImageNet-R, -A, -Sketch and -V2 that were measured.
    pub average: Option<f64>,
    /// VL Hub's effective robustness: the average divided by the accuracy on ImageNet.
    pub ratio: Option<f64>,
}

/// One distribution shift.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Shift {
    /// Its suite.
    pub name: String,
    /// Top-1 accuracy.
    pub top1: f64,
    /// Taori's effective robustness: above (or below) the line of standard models, where those are given.
    pub above_line: Option<f64>,
}

/// Lines of standard models: accuracy on a shift against accuracy on ImageNet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Baseline {
    lines: BTreeMap<&'static str, LogitLine>,
}

impl Baseline {
    /// Reads a table of standard models: CSV with a header, a model in each row, accuracies from 0 to 1 in the columns `imagenet`, `imagenet_v2`,
    /// `imagenet_a`, `imagenet_r`, `imagenet_sketch` and `objectnet`, as many as there are; VL Hub's names of these columns are known, too.
    ///
    /// # Errors
    /// A file that cannot be read, has no column `imagenet` or none of a shift, or has fewer than three models for each; a cell that is no
    /// accuracy.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
        Self::of_csv(&bytes).map_err(|error| error.within(path.display().to_string()))
    }

    fn of_csv(bytes: &[u8]) -> Result<Self> {
        let fail = |error: csv::Error| Error::invalid(error.to_string());
        let mut csv = csv::Reader::from_reader(bytes);
        let head: Vec<String> = csv.headers().map_err(fail)?.iter().map(plain).collect();
        let column = |keys: &[&str]| head.iter().position(|name| keys.contains(&name.as_str()));
        let imagenet = column(IMAGENET).ok_or_else(|| Error::invalid("it has no column `imagenet`"))?;
        let mut pairs: BTreeMap<&'static str, Vec<(f64, f64)>> = BTreeMap::new();
        for (row, record) in csv.records().enumerate() {
            let record = record.map_err(fail)?;
            let accuracy = |at: usize| -> Result<Option<f64>> {
                let cell = record[at].trim();
                match cell.parse::<f64>() {
                    _ if cell.is_empty() => Ok(None),
                    Ok(value) if (0.0..=1.0).contains(&value) => Ok(Some(value)),
                    _ => Err(Error::invalid(format!("line {}: `{cell}` is no accuracy from 0 to 1", row + 2))),
                }
            };
            let Some(x) = accuracy(imagenet)? else { continue };
            for (name, keys, _) in SHIFTS {
                if let Some(y) = column(keys).map(accuracy).transpose()?.flatten() {
                    pairs.entry(name).or_default().push((x, y));
                }
            }
        }
        let lines: BTreeMap<_, _> = pairs.iter().filter_map(|(name, pairs)| Some((*name, LogitLine::fit(pairs)?))).collect();
        if lines.is_empty() {
            return Err(Error::invalid("no shift has three models whose accuracy on ImageNet differs"));
        }
        Ok(Self { lines })
    }

    /// The line of a shift.
    pub fn line(&self, shift: &str) -> Option<&LogitLine> {
        self.lines.get(shift)
    }
}

/// A name as letters and digits alone, without what VL Hub adds to it.
fn plain(name: &str) -> String {
    let lower = name.to_lowercase();
    let bare = ["-zeroshot-val-top1", "_top1", "-top1", "-val", "_val"]
        .iter()
        .fold(lower.as_str(), |name, end| name.strip_suffix(end).unwrap_or(name));
    letters(bare)
}

/// A name as letters and digits alone.
fn letters(name: &str) -> String {
    name.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect()
}

/// Top-1 accuracy on a data set: of the suite whose key is among `keys`, the first ones first, else of the one that uses its plugin.
fn top1_of(run: &RunData, finals: &[&Evaluation], keys: &[&str]) -> Option<f64> {
    let measured: Vec<(&Evaluation, f64)> = finals.iter().filter_map(|one| Some((*one, *one.metrics.get("top1")?))).collect();
    let called = |name: fn(&str) -> String, key: &str| -> Vec<f64> {
        measured.iter().filter(|(one, _)| name(&one.name) == key).map(|(_, top1)| *top1).collect()
    };
    let by_plugin = || measured.iter().filter(|(one, _)| is_whole(run, &one.name, keys)).map(|(_, top1)| *top1).collect::<Vec<f64>>();
    let mut by_key = keys.iter().map(|&key| called(letters, key)).chain(keys.iter().map(|&key| called(plain, key)));
    let fitting = by_key.find(|suites| !suites.is_empty()).unwrap_or_else(by_plugin);
    if let [only] = fitting[..] { Some(only) } else { None }
}

/// Whether a suite uses the plugin of a data set on all of its classes and its default split.
fn is_whole(run: &RunData, suite: &str, keys: &[&str]) -> bool {
    let option = |name: &str| run.option(&format!("eval.{suite}.{name}")).unwrap_or_default();
    let default = DEFAULT_SPLITS.iter().find(|(key, _)| keys.first() == Some(key)).map_or("", |(_, split)| *split);
    let is_default = |split: &str| split.is_empty() || split == default;
    keys.contains(&plain(option("use")).as_str())
        && option("subset").is_empty()
        && is_default(option("split"))
        && is_default(option("data.split"))
}

impl Robustness {
    /// Of a run's last evaluations; none where ImageNet or every shift was not measured. A suite is known by its key; where no key fits, by
    /// the plugin that it uses, if it measures all classes and the default split. Where several suites fit as well, none is taken.
    pub fn of(run: &RunData, baseline: Option<&Baseline>) -> Option<Self> {
        let finals = run.finals();
        let found = |keys: &[&str]| top1_of(run, &finals, keys);
        let imagenet = found(IMAGENET)?;
        let mut shifts = Vec::new();
        let mut averaged = Vec::new();
        for (name, keys, is_averaged) in SHIFTS {
            let Some(top1) = found(keys) else { continue };
            let line = baseline.and_then(|baseline| baseline.line(name)).filter(|_| imagenet > 0.0 && imagenet < 1.0);
            shifts.push(Shift { name: name.to_owned(), top1, above_line: line.map(|line| top1 - line.at(imagenet)) });
            averaged.extend(is_averaged.then_some(top1));
        }
        if shifts.is_empty() {
            return None;
        }
        let average = (!averaged.is_empty()).then(|| averaged.iter().sum::<f64>() / averaged.len() as f64);
        let ratio = average.filter(|_| imagenet > 0.0).map(|average| average / imagenet);
        Some(Self { imagenet, shifts, average, ratio })
    }

    /// What the numbers are, for readers.
    pub const ABOUT: [&'static str; 2] = [
        "Ratio: mean top-1 on ImageNet-R, -A, -Sketch and -V2 (those measured) divided by top-1 on ImageNet; what VL Hub calls effective robustness \
         (Feuer et al. 2023).",
        "Above the line: top-1 on a shift less what standard models of the same ImageNet accuracy have, by a straight line through their accuracies on \
         a logit scale; effective robustness of Taori et al. 2020.",
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(top1: &[(&str, f64)]) -> RunData {
        let one = |(name, value): &(&str, f64)| Evaluation {
            name: (*name).into(),
            metrics: [("top1".to_owned(), *value)].into(),
            ..Evaluation::default()
        };
        RunData { results: top1.iter().map(one).collect(), ..RunData::default() }
    }

    #[test]
    fn vl_hubs_ratio_is_the_mean_of_four_shifts_by_imagenet() {
        let all = [("imagenet", 0.793), ("imagenet_a", 0.2), ("imagenet-r", 0.4), ("imagenet_v2", 0.501), ("objectnet", 0.9)];
        let found = Robustness::of(&run(&all), None).expect("measured");
        assert!((found.average.expect("three") - 0.367).abs() < 1e-12, "ObjectNet is not in the average");
        // penfever/vlhub, meta-analysis of adv_inception_v3: .367 / .793 is .463.
        assert!((found.ratio.expect("a ratio") - 0.463).abs() < 5e-4 && found.shifts.len() == 4);
        assert_eq!(found.shifts[3], Shift { name: "objectnet".into(), top1: 0.9, above_line: None });
        assert_eq!((Robustness::of(&run(&all[1..]), None), Robustness::of(&run(&all[..1]), None)), (None, None));
        let mut renamed = run(&[("first", 0.5), ("second", 0.25)]);
        renamed.options = [("eval.first.use", "\"imagenet\""), ("eval.second.use", "\"imagenet_sketch\"")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        assert_eq!(Robustness::of(&renamed, None).expect("known by their plugins").ratio, Some(0.5));
    }

    #[test]
    fn a_suite_is_known_by_its_key_before_its_plugin() {
        let ratio = |top1: &[(&str, f64)], options: &[(&str, &str)]| {
            let mut run = run(top1);
            run.options = options.iter().map(|(key, value)| (format!("eval.{key}"), (*value).to_owned())).collect();
            Robustness::of(&run, None).and_then(|found| found.ratio)
        };
        let part = [("part", 0.9), ("imagenet", 0.5), ("imagenet_r", 0.25)];
        let uses = [("part.use", "\"imagenet\""), ("imagenet.use", "\"imagenet\"")];
        assert_eq!(ratio(&part, &uses), Some(0.5), "the key goes before a suite that was measured earlier");
        assert_eq!(ratio(&[("imagenet_val", 0.9), ("imagenet", 0.5), ("imagenet_r", 0.25)], &[]), Some(0.5), "the first key of several");
        let part = [("part", 0.9), ("whole", 0.5), ("imagenet_r", 0.25)];
        let uses = [("part.use", "\"imagenet\""), ("whole.use", "\"imagenet\"")];
        assert_eq!(ratio(&part, &uses), None, "nothing tells the two apart");
        let train = "\"train\"";
        for other in [("part.subset", "\"in100\""), ("part.subset", "[1, 2]"), ("part.split", train), ("part.data.split", train)] {
            assert_eq!(ratio(&part, &[uses[0], uses[1], other]), Some(0.5), "{other:?}");
        }
        let defaults = [uses[0], uses[1], ("part.subset", "[1]"), ("whole.split", "\"val\""), ("whole.data.split", "\"\"")];
        assert_eq!(ratio(&part, &defaults), Some(0.5), "the default split may be named");
    }

    #[test]
    fn taoris_residual_is_held_against_standard_models() {
        let csv = "model,imagenet-zeroshot-val-top1,imagenetr-zeroshot-val-top1,imagenets\na,0.5,0.3,\nb,0.6,0.4,\nc,0.7,0.5,\nd,,0.5,\n";
        let baseline = Baseline::of_csv(csv.as_bytes()).expect("three models");
        let line = *baseline.line("imagenet_r").expect("a line");
        assert_eq!((line.models, baseline.line("imagenet_sketch")), (3, None));
        let found = Robustness::of(&run(&[("imagenet", 0.6), ("imagenet_r", 0.5)]), Some(&baseline)).expect("measured");
        assert!((found.shifts[0].above_line.expect("a line") - (0.5 - line.at(0.6))).abs() < 1e-12);
        assert!(found.shifts[0].above_line.expect("a line") > 0.09);
        for (csv, wanted) in [
            ("model,imagenet_r\na,0.1\n", "no column `imagenet`"),
            ("imagenet,imagenet_r\n0.5,76\n", "line 2: `76` is no accuracy"),
            ("imagenet,imagenet_r\n0.5,0.5\n", "three models"),
        ] {
            let error = Baseline::of_csv(csv.as_bytes()).expect_err(csv).to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
