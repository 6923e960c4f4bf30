//! Features of labelled pictures.

use std::sync::Arc;

use vlhub_sdk::prelude::*;
use vlhub_sdk::serde_json;

use crate::counts::Counts;
use crate::read::{Labelled, batches};

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

impl Output {
    /// `[B, D]`, float.
    ///
    /// # Errors
    /// What the model refuses; a picture whose features are not finite, by its key.
    pub(crate) fn of(self, model: &dyn Model, ready: &Labelled) -> Result<Tensor> {
        let encoded = model.images(&ready.images, false)?;
        let features = match self {
            Self::Pooled => encoded.pooled,
            Self::Embed => encoded.embed,
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

/// Labelled pictures to learn from, and others to be measured.
pub(crate) struct Pair {
    pub train: Arc<dyn Dataset>,
    pub data: Arc<dyn Dataset>,
}

impl Pair {
    /// Opens both.
    ///
    /// # Errors
    /// When one cannot be opened, or their classes differ.
    pub fn open(cx: &EvalCx<'_>, train: &serde_json::Value, data: &serde_json::Value) -> Result<Self> {
        let train = cx.datasets.open_for(train, Wants::NOTHING.label(Want::Optional)).map_err(|error| error.within("`train`"))?;
        let data = cx.datasets.open_for(data, Wants::NOTHING.label(Want::Optional)).map_err(|error| error.within("`data`"))?;
        let (known, asked) = (train.classes(), data.classes());
        if asked.is_empty() {
            return Err(Error::Options("`data` has no classes; choose a labelled data set".into()));
        }
        if known == asked {
            return Ok(Self { train, data });
        }
        let apart = asked.iter().find(|class| !known.contains(class)).or_else(|| known.iter().find(|class| !asked.contains(class)));
        let apart = apart.map_or("their order differs".into(), |class| format!("only one of them has `{class}`"));
        let (known, asked) = (known.len(), asked.len());
        Err(Error::Options(format!("`train` has {known} classes and `data` {asked}, but they must be the same: {apart}")))
    }

    /// The features of `train`. Pictures that cannot be used are listed in `report`.
    pub fn learn(&self, model: &dyn Model, output: Output, batch: usize, report: &mut Report) -> Result<Known> {
        let (mut features, mut labels, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        let classes = Some(self.data.classes().len());
        let read = batches(self.train.as_ref(), classes, batch, &mut skipped, |ready| {
            features.push(output.of(model, &ready)?);
            labels.extend(ready.labels);
            Ok(())
        });
        read.map_err(|error| error.within("`train`"))?;
        report.skipped.extend(skipped.into_iter().map(|line| format!("`train`: {line}")));
        Ok(Known { features: Tensor::cat(&features, 0), labels })
    }

    /// Counts how often `scores`, which makes a row of numbers for each row of features, puts the classes of `data` first.
    pub fn measure(
        &self,
        model: &dyn Model,
        output: Output,
        batch: usize,
        topk: &[usize],
        report: &mut Report,
        scores: impl Fn(&Tensor) -> Result<Vec<Vec<f32>>>,
    ) -> Result<()> {
        let names = self.data.classes();
        let mut counts = Counts::new(names.len(), topk);
        batches(self.data.as_ref(), Some(names.len()), batch, &mut report.skipped, |ready| {
            for (scores, label) in scores(&output.of(model, &ready)?)?.iter().zip(ready.labels) {
                counts.add(scores, label as usize);
            }
            Ok(())
        })?;
        counts.write(names, report);
        Ok(())
    }
}

/// What is known of labelled pictures.
pub(crate) struct Known {
    /// `[N, D]`, float.
    pub features: Tensor,
    /// `[N]`.
    pub labels: Vec<i64>,
}
