//! The objective `simclr`.

use vlhub_sdk::nn::Projector;
use vlhub_sdk::ops::unit;
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;

use crate::nt_xent::NtXent;
use crate::views::{self, On};

/// Finds the other view of each picture among all views of the batch (SimCLR, Chen et al., 2020, arXiv 2002.05709).
///
/// Two views of N pictures go through a head with batch norm over the batch. Of the 2N vectors, each is an anchor: a softmax of its cosines
/// with all others, divided by the temperature, should choose the other view of its picture. The loss is the mean cross-entropy; the log
/// shows as `accuracy` the share of anchors whose right answer is the nearest, 0 to 1. Head and defaults are those of SLIP (Mu et al., 2021,
/// arXiv 2112.12750), which is this beside `clip`, with weight 1 each. A batch has at least 2 pictures.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct SimclrConfig {
    /// The two image views. Batch norm sees each alone.
    pub views: [String; 2],
    /// Temperature: what cosines are divided by, above 0.
    pub temperature: f64,
    /// Widths inside the head: behind each there is batch norm and ReLU. None makes the head a linear map.
    pub hidden: Vec<i64>,
    /// Width of the vectors that are compared.
    pub out: i64,
    /// What the head reads: `pooled` (the image tower's output before the projection) or `embed` (behind it).
    pub on: On,
    /// Tile size: anchors of a view at a time, exactly: the similarities of so many with all others are held at once; 0 for all of them.
    pub tile: i64,
}

impl Default for SimclrConfig {
    fn default() -> Self {
        Self { views: views::two_views(), temperature: 0.1, hidden: vec![4096, 4096], out: 256, on: On::Pooled, tile: 0 }
    }
}

impl Config<dyn Objective> for SimclrConfig {
    fn build(&self, cx: &ObjectiveCx<'_>) -> Result<Box<dyn Objective>> {
        let mut problems = OptionProblems::default();
        views::check(&mut problems, &self.views);
        problems.positive("temperature", self.temperature);
        for width in self.hidden.iter() {
            problems.at_least_one(&[("hidden", *width)]);
        }
        problems.at_least_one(&[("out", self.out)]);
        problems.ensure(self.tile >= 0, || format!("`tile` is {}; it is a number of rows, or 0 for all at once", self.tile));
        problems.finish()?;
        let widths = [&[self.on.width(cx)?], self.hidden.as_slice(), &[self.out]].concat();
        let projector = Projector::new(&cx.path.sub("projector"), &widths, false)?;
        Ok(Box::new(Simclr { config: self.clone(), projector }))
    }
}

#[derive(Debug)]
struct Simclr {
    config: SimclrConfig,
    projector: Projector,
}

impl Objective for Simclr {
    fn scope(&self) -> Scope {
        Scope::Batch
    }

    fn needs(&self) -> Vec<Need> {
        self.config.views.iter().map(Need::image).collect()
    }

    fn loss(&self, features: &Features, _batch: &Batch) -> Result<Loss> {
        let SimclrConfig { temperature, tile, on, .. } = self.config;
        let mut units = Vec::new();
        for view in &self.config.views {
            let projected = self.projector.forward(&on.of(features.image(view)?))?;
            units.push(unit(&projected));
        }
        let (own, total) = (features.own(), features.total());
        let anchors = [own.clone(), own.start + total..own.end + total];
        let found = NtXent { temperature, tile }.over(&Tensor::cat(&units, 0), &anchors);
        let accuracy = found.right as f64 / (2 * (own.end - own.start)).max(1) as f64;
        Ok(Loss::from(found.loss / (2 * total) as f64).with("accuracy", accuracy))
    }
}

register!(dyn Objective, "simclr", SimclrConfig);

#[cfg(test)]
mod tests {
    use super::*;
    use vlhub_sdk::tch::nn::VarStore;
    use vlhub_sdk::testkit::toy;

    #[test]
    fn the_head_reads_what_it_is_told_to() {
        for (on, why) in [(On::Pooled, "a gradient of the pooled output alone"), (On::Embed, "a gradient of the embedding alone")] {
            let store = VarStore::new(Device::Cpu);
            let config = SimclrConfig { on, hidden: vec![7], out: 5, ..Default::default() };
            let objective = config.build(&toy::objective_cx(store.root())).expect("builds");
            let features = toy::features(&objective.needs(), 3);
            objective.loss(&features, &Batch::new(toy::ROWS)).expect("a loss").total.backward();
            for view in ["a", "b"] {
                let encoded = features.image(view).expect("it is declared");
                assert_eq!((encoded.pooled.grad().defined(), encoded.embed.grad().defined()), (on == On::Pooled, on == On::Embed), "{why}");
            }
        }
    }

    #[test]
    fn options_that_mean_nothing_are_refused_by_name() {
        for (config, word) in [
            (SimclrConfig { views: ["a".into(), "a".into()], ..Default::default() }, "`views`"),
            (SimclrConfig { temperature: 0.0, ..Default::default() }, "`temperature`"),
            (SimclrConfig { temperature: f64::NAN, ..Default::default() }, "`temperature`"),
            (SimclrConfig { hidden: vec![8, 0], ..Default::default() }, "`hidden`"),
            (SimclrConfig { out: -1, ..Default::default() }, "`out`"),
            (SimclrConfig { tile: -1, ..Default::default() }, "`tile`"),
        ] {
            let store = VarStore::new(Device::Cpu);
            let error = config.build(&toy::objective_cx(store.root())).expect_err(word).to_string();
            assert!(error.contains(word), "{word}: {error}");
            assert!(store.is_empty(), "{word}: nothing was made");
        }
    }

    #[test]
    fn it_needs_an_image_tower_and_two_pictures() {
        let store = VarStore::new(Device::Cpu);
        let texts_alone = ObjectiveCx { image: None, ..toy::objective_cx(store.root()) };
        let error = SimclrConfig::default().build(&texts_alone).expect_err("no pictures").to_string();
        assert!(error.contains("[backbone.image]"), "{error}");
        assert!(store.is_empty(), "nothing was made");
        let config = SimclrConfig { hidden: vec![], out: 3, ..Default::default() };
        let objective = config.build(&toy::objective_cx(store.root())).expect("builds");
        let one = toy::features(&objective.needs(), 3).slice(0..1);
        objective.loss(&one, &Batch::new(1)).expect_err("there is nothing to tell apart");
    }
}
