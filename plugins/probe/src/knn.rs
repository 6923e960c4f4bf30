//! Nearest neighbours.

use std::sync::Arc;

use vlhub_sdk::ops::normalize;
use vlhub_sdk::prelude::*;
use vlhub_sdk::{serde_json, tch};

use crate::counts::Counts;
use crate::read::{batches, checked, rows};

/// Classes by the nearest neighbours among labelled pictures (Wu et al., 2018, arXiv 1805.01978).
///
/// Features are scaled to unit length. The `k` nearest pictures of `train` vote for their classes, each with `exp(similarity / temperature)`.
/// Nothing is trained, so it tells what a self-supervised tower has learnt by itself.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct KnnConfig {
    /// The labelled pictures among which neighbours are looked for: a table as in `[data.train]`.
    pub train: serde_json::Value,
    /// The labelled pictures that are classified, with the same classes.
    pub data: serde_json::Value,
    /// Neighbours that vote; more than there are counts as all.
    pub k: i64,
    /// Smaller values give near neighbours more weight; 0 counts heads.
    pub temperature: f64,
    /// Which features are compared: the tower's pooled output, or its projection into the joint space.
    pub on: On,
    /// Pictures in one call of the model.
    pub batch: usize,
    /// Report `topK` for each of these K.
    pub topk: Vec<usize>,
}

/// Which features are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum On {
    /// Before the projection.
    Pooled,
    /// In the joint space.
    Embed,
}

impl Default for KnnConfig {
    fn default() -> Self {
        Self {
            train: serde_json::json!({ "use": "shapes", "seed": 2 }),
            data: serde_json::json!({ "use": "shapes", "seed": 1 }),
            k: 20,
            temperature: 0.07,
            on: On::Pooled,
            batch: 64,
            topk: vec![1, 5],
        }
    }
}

impl Config<dyn EvalSuite> for KnnConfig {
    fn build(&self, cx: &EvalCx<'_>) -> Result<Box<dyn EvalSuite>> {
        let topk = checked(&self.topk, self.batch)?;
        if self.k < 1 {
            return Err(Error::Options(format!("`k` is {}; at least one neighbour votes", self.k)));
        }
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return Err(Error::Options(format!("`temperature` is {}; it is at least 0", self.temperature)));
        }
        let open = |name: &'static str, options| cx.datasets.open(options).map_err(|error| error.within(name));
        let (train, data) = (open("`train`", &self.train)?, open("`data`", &self.data)?);
        if data.classes().is_empty() || train.classes() != data.classes() {
            return Err(Error::Options("`train` and `data` must have the same classes, and at least one".into()));
        }
        Ok(Box::new(Knn { config: self.clone(), train, data, topk }))
    }
}

struct Knn {
    config: KnnConfig,
    train: Arc<dyn Dataset>,
    data: Arc<dyn Dataset>,
    topk: Vec<usize>,
}

impl std::fmt::Debug for Knn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Knn").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Knn {
    /// `[B, D]`, unit rows.
    fn features(&self, model: &dyn Model, images: &[RgbImage]) -> Result<Tensor> {
        let encoded = model.images(images, false)?;
        let features = if self.config.on == On::Pooled { encoded.pooled } else { encoded.embed };
        Ok(normalize(&features.to_kind(Kind::Float)))
    }

    /// The votes `[B, classes]` of the nearest rows of `known` `[N, D]`, whose classes are the rows of `classes` `[N, C]`.
    fn votes(&self, features: &Tensor, known: &Tensor, classes: &Tensor) -> Tensor {
        let k = self.config.k.min(known.size()[0]);
        let (similarity, nearest) = features.matmul(&known.tr()).topk(k, 1, true, true);
        let weights = match self.config.temperature {
            0.0 => similarity.ones_like(),
            // Less the largest, so that no weight overflows.
            temperature => ((&similarity - similarity.amax([1i64].as_slice(), true)) / temperature).exp(),
        };
        let voted = classes.index_select(0, &nearest.view(-1)).view([nearest.size()[0], k, -1]);
        (voted * weights.unsqueeze(-1)).sum_dim_intlist([1i64].as_slice(), false, Kind::Float)
    }
}

impl EvalSuite for Knn {
    fn requires(&self) -> Requires {
        Requires { images: true, ..Requires::default() }
    }

    fn run(&self, model: &dyn Model, report: &mut Report) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let names = self.data.classes();
        let (mut known, mut labels, mut unread) = (Vec::new(), Vec::new(), Vec::new());
        batches(self.train.as_ref(), names.len(), self.config.batch, &mut unread, |ready| {
            known.push(self.features(model, &ready.images)?);
            labels.extend(ready.labels.iter().map(|label| *label as i64));
            Ok(())
        })?;
        if !unread.is_empty() {
            report.notes.push(format!("{} neighbours could not be read; the first: {}", unread.len(), unread[0]));
        }
        let known = Tensor::cat(&known, 0);
        let classes = Tensor::from_slice(&labels).one_hot(names.len() as i64).to_kind(Kind::Float).to_device(known.device());
        let mut counts = Counts::new(names.len(), &self.topk);
        batches(self.data.as_ref(), names.len(), self.config.batch, &mut report.skipped, |ready| {
            let votes = self.votes(&self.features(model, &ready.images)?, &known, &classes);
            for (votes, label) in rows(&votes, names.len())?.iter().zip(ready.labels) {
                counts.add(votes, label);
            }
            Ok(())
        })?;
        counts.write(names, report);
        Ok(())
    }
}

register!(dyn EvalSuite, "knn", KnnConfig);

#[cfg(test)]
mod tests {
    use super::*;
    use vlhub_sdk::testkit::eval::Toys;

    fn votes(k: i64, temperature: f64) -> Vec<f32> {
        let config = KnnConfig { k, temperature, ..KnnConfig::default() };
        let open = || vlhub_sdk::Datasets::open(&Toys { broken: false }, &serde_json::Value::Null).expect("toys");
        let knn = Knn { config, train: open(), data: open(), topk: vec![1] };
        let known = normalize(&Tensor::from_slice(&[1.0f32, 0.0, 0.8, 0.6, 0.0, 1.0]).view([3, 2]));
        let classes = Tensor::from_slice(&[0i64, 1, 1]).one_hot(2).to_kind(Kind::Float);
        let votes = knn.votes(&Tensor::from_slice(&[1.0f32, 0.0]).view([1, 2]), &known, &classes);
        Vec::try_from(votes.view(-1)).expect("two numbers")
    }

    #[test]
    fn neighbours_vote_by_their_similarity() {
        // Similarities 1, 0.8 and 0; weights relative to the first.
        let near = (-0.2f64 / 0.1).exp() as f32;
        let far = (-1.0f64 / 0.1).exp() as f32;
        for (k, temperature, wanted) in [(1, 0.1, [1.0, 0.0]), (2, 0.1, [1.0, near]), (9, 0.1, [1.0, near + far]), (3, 0.0, [1.0, 2.0])] {
            let got = votes(k, temperature);
            assert!(got.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "k {k}, temperature {temperature}: {got:?}");
        }
    }
}
