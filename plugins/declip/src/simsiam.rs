//! The objective `simsiam`.

use vlhub_sdk::nn::Projector;
use vlhub_sdk::ops::{normalize, wide};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;
use vlhub_sdk::tch;

/// Siamese prediction of one view of a picture from another one, without negatives (SimSiam, Chen and He, 2020, arXiv 2011.10566; in DeCLIP, arXiv
/// 2110.05208).
///
/// With z the projection of a picture's features and p the prediction from z, the loss is `−(cos(p₁, z₂) + cos(p₂, z₁)) / 2`, averaged over
/// the images, where nothing flows back into z. It lies in −1..=1; x-clip's form of it is `4 + 4 · loss`. The projector has three linear
/// maps with batch norm after each, the predictor two with batch norm between them; batch norm runs over the whole batch, over all
/// processes. The metric `spread` is the standard deviation of the unit projections, as a multiple of that of isotropic ones: near 1 in
/// health, 0 when all collapse into one point. Parameters: `projector.*` and `predictor.*`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct SimsiamConfig {
    /// The two image views.
    pub views: (String, String),
    /// Which features are projected. DeCLIP projects the joint embedding, SimSiam the pooled output.
    pub on: On,
    /// Width inside the projector.
    pub hidden: i64,
    /// Width of projections and predictions.
    pub out: i64,
    /// Width inside the predictor.
    pub bottleneck: i64,
}

/// Which output of the image tower is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum On {
    /// The joint embedding, not normalised.
    Embed,
    /// The pooled output, before the projection into the joint space.
    Pooled,
}

impl Default for SimsiamConfig {
    fn default() -> Self {
        Self { views: ("a".into(), "b".into()), on: On::Embed, hidden: 1024, out: 1024, bottleneck: 512 }
    }
}

impl Config<dyn Objective> for SimsiamConfig {
    fn build(&self, cx: &ObjectiveCx<'_>) -> Result<Box<dyn Objective>> {
        let (first, second) = &self.views;
        let mut problems = OptionProblems::default();
        problems.at_least_one(&[("hidden", self.hidden), ("out", self.out), ("bottleneck", self.bottleneck)]);
        problems.ensure(first != second, || format!("`views` are `{first}` twice; a picture says nothing about itself"));
        problems.finish()?;
        let no_tower = || Error::Options("two pictures of one image need an image tower; add `[backbone.image]` to the run".into());
        let tower = cx.image.as_ref().ok_or_else(no_tower)?;
        let input = if self.on == On::Embed { cx.embed } else { tower.width };
        Ok(Box::new(Simsiam {
            projector: Projector::new(&cx.path.sub("projector"), &[input, self.hidden, self.hidden, self.out], true)?,
            predictor: Projector::new(&cx.path.sub("predictor"), &[self.out, self.bottleneck, self.out], false)?,
            config: self.clone(),
        }))
    }
}

#[derive(Debug)]
struct Simsiam {
    projector: Projector,
    predictor: Projector,
    config: SimsiamConfig,
}

impl Simsiam {
    /// The projections `[N, out]` of a view, detached, and the predictions from them.
    fn heads(&self, features: &Features, view: &str) -> Result<(Tensor, Tensor)> {
        let encoded = features.image(view)?;
        let z = self.projector.forward(&wide(if self.config.on == On::Embed { &encoded.embed } else { &encoded.pooled }))?;
        Ok((z.detach(), self.predictor.forward(&z)?))
    }
}

/// Cosine of each row of `[N, out]` with the same row of another, `[N]`.
fn cosines(p: &Tensor, z: &Tensor) -> Tensor {
    (normalize(p) * normalize(z)).sum_dim_intlist([1i64].as_slice(), false, p.kind())
}

/// Standard deviation of unit rows over that of isotropic ones.
fn spread(z: &Tensor) -> f64 {
    let out = z.size()[1] as f64;
    tch::no_grad(|| normalize(z).std_dim([0i64].as_slice(), false, false).mean(Kind::Float)).double_value(&[]) * out.sqrt()
}

impl Objective for Simsiam {
    fn scope(&self) -> Scope {
        Scope::Batch
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::image(&self.config.views.0), Need::image(&self.config.views.1)]
    }

    fn loss(&self, features: &Features, _batch: &Batch) -> Result<Loss> {
        let (first, second) = &self.config.views;
        // The heads run over all rows, which batch norm sees; the loss counts the own ones.
        let ((z1, p1), (z2, p2)) = (self.heads(features, first)?, self.heads(features, second)?);
        let both = features.own_rows(&(cosines(&p1, &z2) + cosines(&p2, &z1)));
        Ok(Loss::from(-both.sum(both.kind()) / (2.0 * features.total() as f64)).with("spread", (spread(&z1) + spread(&z2)) / 2.0))
    }
}

register!(dyn Objective, "simsiam", SimsiamConfig);

#[cfg(test)]
mod tests {
    use super::*;
    use vlhub_sdk::tch::nn::VarStore;
    use vlhub_sdk::testkit::toy;

    #[test]
    fn equals_the_worked_example() {
        let (p1, p2) = vlhub_sdk::testkit::golden::losses::waves();
        let (z1, z2) = (p1.flip([1]), p2.flip([1]));
        let loss = -(cosines(&p1, &z2) + cosines(&p2, &z1)).mean(Kind::Double).double_value(&[]) / 2.0;
        assert!((loss - -0.07027534845487).abs() < 1e-12, "DeCLIP's form: {loss}");
        assert!((4.0 + 4.0 * loss - 3.7188986061805203).abs() < 1e-12, "x-clip's form");
    }

    #[test]
    fn spread_tells_health_from_collapse() {
        let healthy = spread(&toy::randn(&[512, 64], 1));
        assert!((healthy - 1.0).abs() < 0.02, "{healthy}");
        let collapsed = spread(&(toy::randn(&[512, 64], 1) * 1e-3 + 1.0));
        assert!(collapsed < 0.01, "{collapsed}");
    }

    #[test]
    fn the_pooled_output_is_read_where_it_is_asked_for() {
        let store = VarStore::new(Device::Cpu);
        let mut cx = toy::objective_cx(store.root());
        cx.embed = 5;
        SimsiamConfig { on: On::Pooled, ..Default::default() }.build(&cx).expect("builds");
        assert_eq!(store.variables()["objective.projector.linears.0.weight"].size(), [1024, toy::WIDTH]);
        let store = VarStore::new(Device::Cpu);
        let cx = ObjectiveCx { embed: 5, ..toy::objective_cx(store.root()) };
        SimsiamConfig::default().build(&cx).expect("builds");
        assert_eq!(store.variables()["objective.projector.linears.0.weight"].size(), [1024, 5]);
    }

    #[test]
    fn options_that_mean_nothing_are_refused_by_name() {
        let base = SimsiamConfig::default;
        for (config, word) in [
            (SimsiamConfig { hidden: 0, ..base() }, "hidden"),
            (SimsiamConfig { out: -1, ..base() }, "out"),
            (SimsiamConfig { bottleneck: 0, ..base() }, "bottleneck"),
            (SimsiamConfig { views: ("a".into(), "a".into()), ..base() }, "views"),
        ] {
            let store = VarStore::new(Device::Cpu);
            let error = config.build(&toy::objective_cx(store.root())).expect_err(word).to_string();
            assert!(error.contains(&format!("`{word}`")), "{error}");
            assert!(store.is_empty(), "{word}: nothing was made");
        }
    }
}
