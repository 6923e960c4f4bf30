//! Features of labelled pictures.

use std::sync::Arc;

use vlhub_sdk::prelude::*;
use vlhub_sdk::serde_json;
use vlhub_sdk::suites::{ClassList, ClassMatch, Counts, Labelled, number_names, read_labelled};

/// Which features of a picture are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Output {
    /// The tower's pooled output, before the projection.
    Pooled,
    /// The projection into the joint space.
    Embed,
}

/// Labelled pictures to learn from, and others to be measured.
pub(crate) struct Pair {
    pub train: Arc<dyn Dataset>,
    pub data: Arc<dyn Dataset>,
}

impl Pair {
    /// Opens both.
    ///
    /// # Errors
    /// When one cannot be opened, or `data` has a class that `train` does not have.
    pub fn open(cx: &EvalCx<'_>, train: &serde_json::Value, data: &serde_json::Value) -> Result<Self> {
        let train = cx.datasets.open_for(train, Wants::NOTHING.label(Want::Optional)).map_err(|error| error.within("`train`"))?;
        let data = cx.datasets.open_for(data, Wants::NOTHING.label(Want::Optional)).map_err(|error| error.within("`data`"))?;
        for (name, set) in [("train", &train), ("data", &data)] {
            if set.classes().is_empty() && set.samples().find_map(Result::ok).is_some_and(|sample| sample.labels.is_empty()) {
                return Err(Error::Options(format!("`{name}` has no labels; choose a labelled data set")));
            }
        }
        let pair = Self { train, data };
        // Classes of numbers show in the labels, which are read later.
        if !pair.train.classes().is_empty() {
            pair.matched(pair.train.classes())?;
        }
        Ok(pair)
    }

    /// The labels of `data` as classes of `train`, of which the names are given.
    fn matched(&self, names: &[String]) -> Result<ClassMatch> {
        ClassMatch::new(&ClassList::named("`data`", self.data.classes()), &ClassList::named("`train`", names))
    }

    /// The features of `train`, and the names of its classes. Pictures that cannot be used are listed in `report`.
    pub fn learn(&self, reading: &Reading<'_>, report: &mut Report) -> Result<(Known, Vec<String>)> {
        let (mut features, mut labels, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        let names = self.train.classes();
        let own = match names {
            [] => ClassMatch::of_numbers(),
            names => ClassMatch::new(&ClassList::named("`train`", names), &ClassList::named("`train`", names))?,
        };
        let read = read_labelled(self.train.as_ref(), &own, reading.batch, &mut skipped, |ready| {
            features.push(reading.features(&ready)?);
            labels.extend(ready.labels.into_iter().map(|label| label as i64));
            Ok(())
        });
        read.map_err(|error| error.within("`train`"))?;
        report.skipped.extend(skipped.into_iter().map(|line| format!("`train`: {line}")));
        let count = labels.iter().max().map_or(0, |last| *last as usize + 1);
        let names = if names.is_empty() { number_names(count) } else { names.to_vec() };
        Ok((Known { features: Tensor::cat(&features, 0), labels }, names))
    }

    /// Counts how often each of `scorers` puts the right class first: it makes a row of numbers, one for each of the classes `names` of `train`,
    /// for each row of features. The pictures are read once. A report for each scorer comes back; what is true of all of them is in `report`.
    pub fn measure(
        &self,
        reading: &Reading<'_>,
        topk: &[usize],
        names: &[String],
        report: &mut Report,
        scorers: &[impl Fn(&Tensor) -> Result<Vec<Vec<f32>>>],
    ) -> Result<Vec<Report>> {
        let matched = self.matched(names)?;
        report.notes.extend(matched.note().map(str::to_owned));
        let mut all: Vec<Counts> = scorers.iter().map(|_| Counts::new(names.len(), topk)).collect();
        read_labelled(self.data.as_ref(), &matched, reading.batch, &mut report.skipped, |ready| {
            let features = reading.features(&ready)?;
            for (counts, scores) in all.iter_mut().zip(scorers) {
                counts.add_batch(&scores(&features)?, &ready, names);
            }
            Ok(())
        })?;
        let write = |counts: Counts| {
            let mut report = Report::default();
            counts.write(names, &mut report);
            report
        };
        Ok(all.into_iter().map(write).collect())
    }
}

/// Adds what was found to a report that may have notes already.
pub(crate) fn add(report: &mut Report, found: Report) {
    report.notes.extend(found.notes);
    let (notes, skipped) = (std::mem::take(&mut report.notes), std::mem::take(&mut report.skipped));
    *report = Report { notes, skipped, ..found };
}

/// How the features of pictures are read.
pub(crate) struct Reading<'a> {
    pub model: &'a dyn Model,
    pub output: Output,
    /// Pictures in one call of the model.
    pub batch: usize,
}

impl Reading<'_> {
    /// `[B, D]`, float.
    ///
    /// # Errors
    /// What the model refuses; a picture whose features are not finite, by its key.
    fn features(&self, ready: &Labelled) -> Result<Tensor> {
        let encoded = self.model.images(&ready.images, false)?;
        let features = match self.output {
            Output::Pooled => encoded.pooled,
            Output::Embed => encoded.embed,
        };
        let features = features.to_kind(Kind::Float);
        if features.dim() != 2 || features.size()[0] != ready.keys.len() as i64 {
            return Err(Error::invalid(format!("features have shape {:?} for {} pictures", features.size(), ready.keys.len())));
        }
        let finite = Vec::<bool>::try_from(features.isfinite().all_dim(1, false).to_device(Device::Cpu))?;
        match finite.iter().position(|finite| !finite) {
            Some(at) => Err(Error::invalid(format!("{}: the features are not finite", ready.keys[at]))),
            None => Ok(features),
        }
    }
}

/// What is known of labelled pictures.
pub(crate) struct Known {
    /// `[N, D]`, float.
    pub features: Tensor,
    /// `[N]`, places among the classes of `train`.
    pub labels: Vec<i64>,
}
