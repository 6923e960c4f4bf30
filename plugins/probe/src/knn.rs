//! Nearest neighbours.

use vlhub_sdk::ops::normalize;
use vlhub_sdk::prelude::*;
use vlhub_sdk::suites::checked_topk;
use vlhub_sdk::{serde_json, tch};

use crate::features::{Known, Output, Pair, Reading, add};

/// Classes by the nearest neighbours among labelled pictures (Wu et al., 2018, arXiv 1805.01978).
///
/// Features are scaled to unit length. The `k` nearest pictures of `train` vote for their classes, each with `exp(similarity / temperature)`.
/// Nothing is trained, so it tells what a self-supervised tower has learnt by itself. The features of `train` stay in memory.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct KnnConfig {
    /// The labelled pictures among which neighbours are looked for: a table as in `[data.train]`.
    pub train: serde_json::Value,
    /// The labelled pictures that are classified. Classes are matched by name; one that `train` does not have is refused.
    pub data: serde_json::Value,
    /// Neighbours that vote; more than there are counts as all.
    pub k: i64,
    /// Smaller values give near neighbours more weight; 0 counts heads.
    pub temperature: f64,
    /// Which features are compared: the tower's pooled output, or its projection into the joint space.
    pub features: Output,
    /// Pictures in one call of the model.
    pub batch: usize,
    /// Report `topK` for each of these K. More than the number of classes counts as all of them.
    pub topk: Vec<usize>,
}

impl Default for KnnConfig {
    fn default() -> Self {
        Self {
            train: serde_json::json!({ "use": "shapes", "seed": 2 }),
            data: serde_json::json!({ "use": "shapes", "seed": 1 }),
            k: 20,
            temperature: 0.07,
            features: Output::Pooled,
            batch: 64,
            topk: vec![1, 5],
        }
    }
}

impl Config<dyn EvalSuite> for KnnConfig {
    fn build(&self, cx: &EvalCx<'_>) -> Result<Box<dyn EvalSuite>> {
        let topk = checked_topk(&self.topk, self.batch)?;
        if self.k < 1 {
            return Err(Error::Options(format!("`k` is {}; at least one neighbour votes", self.k)));
        }
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return Err(Error::Options(format!("`temperature` is {}; it is at least 0", self.temperature)));
        }
        Ok(Box::new(Knn { config: self.clone(), pair: Pair::open(cx, &self.train, &self.data)?, topk }))
    }
}

struct Knn {
    config: KnnConfig,
    pair: Pair,
    topk: Vec<usize>,
}

impl std::fmt::Debug for Knn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Knn").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Rows of `train` that are compared at once, so that the table of similarities stays small.
const TILE: i64 = 65_536;

/// The `k` largest similarities of unit rows `[B, D]` with those of `known` `[N, D]`, and where they are: `[B, k]` each, the largest first.
fn nearest(features: &Tensor, known: &Tensor, k: i64, tile: i64) -> (Tensor, Tensor) {
    let (mut values, mut places) = (Vec::new(), Vec::new());
    let mut start = 0;
    for part in known.split(tile, 0) {
        let rows = part.size()[0];
        let (similarity, at) = features.matmul(&part.tr()).topk(k.min(rows), 1, true, true);
        values.push(similarity);
        places.push(at + start);
        start += rows;
    }
    let (values, places) = (Tensor::cat(&values, 1), Tensor::cat(&places, 1));
    let (values, at) = values.topk(k.min(start), 1, true, true);
    (values, places.gather(1, &at, false))
}

/// The votes of each row's neighbours for `classes` classes. The nearest neighbour's is 1: only the ratio of votes matters, and so no weight
/// overflows.
pub(crate) fn votes(features: &Tensor, known: &Known, classes: usize, k: i64, temperature: f64) -> Result<Vec<Vec<f32>>> {
    let (similarity, places) = nearest(features, &known.features, k, TILE);
    let weights = match temperature {
        0.0 => similarity.ones_like(),
        _ => ((&similarity - similarity.narrow(1, 0, 1)) / temperature).exp(),
    };
    let k = places.size()[1] as usize;
    let weights = Vec::<f32>::try_from(weights.to_device(Device::Cpu).contiguous().view(-1))?;
    let places = Vec::<i64>::try_from(places.to_device(Device::Cpu).contiguous().view(-1))?;
    // Added here and in order, because a device that adds in any order gives another sum each time.
    let vote = |(weights, places): (&[f32], &[i64])| {
        let mut votes = vec![0.0; classes];
        for (weight, place) in weights.iter().zip(places) {
            votes[known.labels[*place as usize] as usize] += weight;
        }
        votes
    };
    Ok(weights.chunks(k).zip(places.chunks(k)).map(vote).collect())
}

impl EvalSuite for Knn {
    fn requires(&self) -> Requires {
        Requires { images: true, ..Requires::default() }
    }

    fn run(&self, model: &dyn Model, report: &mut Report) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let KnnConfig { k, temperature, features, batch, .. } = self.config;
        let reading = Reading { model, output: features, batch };
        let (mut known, names) = self.pair.learn(&reading, report)?;
        known.features = normalize(&known.features);
        let vote = |features: &Tensor| votes(&normalize(features), &known, names.len(), k, temperature);
        let found = self.pair.measure(&reading, &self.topk, &names, report, &[vote])?;
        found.into_iter().for_each(|found| add(report, found));
        Ok(())
    }
}

register!(dyn EvalSuite, "knn", KnnConfig);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_find_the_same_neighbours() {
        let rows = |name: &str, count: usize| {
            let numbers = vlhub_sdk::testkit::golden::numbers(name, count * 4);
            normalize(&Tensor::from_slice(&numbers).view([count as i64, 4]))
        };
        let (features, known) = (rows("asked", 5), rows("known", 23));
        for k in [1, 6, 23, 99] {
            let (values, places) = nearest(&features, &known, k, TILE);
            for tile in [1, 4, 7, 22] {
                let (again, there) = nearest(&features, &known, k, tile);
                assert_eq!(there, places, "k {k}, tile {tile}");
                assert!((again - &values).abs().max().double_value(&[]) < 1e-6, "k {k}, tile {tile}");
            }
        }
    }

    #[test]
    fn neighbours_vote_by_their_similarity() {
        let rows = |values: &[f32]| Tensor::from_slice(values).view([-1, 2]);
        // Similarities 1, 0.8 and 0; weights relative to the first.
        let known = Known { features: normalize(&rows(&[1.0, 0.0, 0.8, 0.6, 0.0, 1.0])), labels: vec![0, 1, 1] };
        let near = (-0.2f64 / 0.1).exp() as f32;
        let far = (-1.0f64 / 0.1).exp() as f32;
        // The smallest temperature: exp(1 / 1e-9) would be infinite.
        let cases = [(1, 0.1, [1.0, 0.0]), (2, 0.1, [1.0, near]), (9, 0.1, [1.0, near + far]), (3, 1e-9, [1.0, 0.0]), (3, 0.0, [1.0, 2.0])];
        for (k, temperature, wanted) in cases {
            let got = &votes(&rows(&[1.0, 0.0]), &known, 2, k, temperature).expect("votes")[0];
            assert!(got.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "k {k}, temperature {temperature}: {got:?}");
        }
    }
}
