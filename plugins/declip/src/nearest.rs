//! The objective `nearest`.

mod queue;

use vlhub_sdk::nn::LogitScale;
use vlhub_sdk::ops::{diagonal_cross_entropy_sum, unit};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;

use self::queue::Queue;

/// Nearest-neighbour contrast: pairs each image with the nearest neighbour of its text among texts of earlier steps (DeCLIP, arXiv 2110.05208; NNCLR, arXiv
/// 2104.14548).
///
/// With unit image features I, the neighbours U of the texts and the learnt scale s, the loss is `CE(s I Uᵀ)`: each image chooses among the
/// neighbours of all texts of the batch. Nothing flows back into texts and neighbours. After a step its texts enter the queue and the
/// oldest ones leave. DeCLIP's setting is `images = ["main", "alt"]` and `texts = ["main", "eda"]`. The metric `similarity` is the mean
/// cosine of a text with its neighbour. The queue and its position are saved with the weights, as `queue` and `position`; the scale is the
/// shared `logit_scale`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct NearestConfig {
    /// Image views; the loss is the mean over all pairs of an image view and a text view.
    pub images: Vec<String>,
    /// Text views. All of them enter the queue, the last one first.
    pub texts: Vec<String>,
    /// Queue size: how many texts it holds. It starts with random ones.
    pub queue: i64,
    /// Let each neighbour choose among the images too, and take the mean of both directions. DeCLIP does not.
    pub both: bool,
    /// Natural logarithm of the logit scale at the start. The first objective of a run that owns `logit_scale` decides it.
    pub init_log_scale: f64,
    /// Upper bound of the logit scale, kept after every step; its lower bound is 1.
    pub max_scale: f64,
}

impl Default for NearestConfig {
    fn default() -> Self {
        let main = || vec![String::from("main")];
        Self { images: main(), texts: main(), queue: 65_536, both: false, init_log_scale: LogitScale::clip_start(), max_scale: 100.0 }
    }
}

impl NearestConfig {
    fn check(&self, cx: &ObjectiveCx<'_>) -> Result<()> {
        let mut problems = OptionProblems::default();
        for (name, views) in [("images", &self.images), ("texts", &self.texts)] {
            problems.ensure(!views.is_empty(), || format!("`{name}` is empty; name at least one view, such as `main`"));
            let twice = views.iter().enumerate().any(|(at, view)| views[..at].contains(view));
            problems.ensure(!twice, || format!("`{name}` names a view twice"));
        }
        problems.at_least_one(&[("queue", self.queue)]);
        problems.logit_scale(self.init_log_scale, self.max_scale);
        problems.both_towers(cx, "a comparison of images with texts");
        problems.finish()
    }
}

impl Config<dyn Objective> for NearestConfig {
    fn build(&self, cx: &ObjectiveCx<'_>) -> Result<Box<dyn Objective>> {
        self.check(cx)?;
        let queue = Queue::new(&cx.path, self.queue, cx.embed)?;
        let scale = LogitScale::new(cx, self.init_log_scale, self.max_scale);
        Ok(Box::new(Nearest { config: self.clone(), scale, queue }))
    }
}

#[derive(Debug)]
struct Nearest {
    config: NearestConfig,
    scale: LogitScale,
    queue: Queue,
}

impl Objective for Nearest {
    fn scope(&self) -> Scope {
        Scope::Batch
    }

    fn needs(&self) -> Vec<Need> {
        self.config.images.iter().map(Need::image).chain(self.config.texts.iter().map(Need::text)).collect()
    }

    fn loss(&self, features: &Features, _batch: &Batch) -> Result<Loss> {
        let scale = self.scale.exp();
        let images = self.config.images.iter().map(|view| Ok(unit(&features.image(view)?.embed))).collect::<Result<Vec<_>>>()?;
        let start = features.own().start;
        let mut sum = Tensor::zeros([], (Kind::Float, self.scale.log().device()));
        let mut similarity = 0.0;
        for view in &self.config.texts {
            let (neighbours, cosines) = self.queue.neighbours(&unit(&features.text(view)?.embed.detach()));
            similarity += cosines.mean(Kind::Float).double_value(&[]);
            for image in &images {
                let logits = &scale * features.own_rows(image).matmul(&neighbours.tr());
                let mut one = diagonal_cross_entropy_sum(&logits, 1, start);
                if self.config.both {
                    let logits = &scale * features.own_rows(&neighbours).matmul(&image.tr());
                    one = (one + diagonal_cross_entropy_sum(&logits, 1, start)) / 2.0;
                }
                sum += one;
            }
        }
        let texts = self.config.texts.len() as f64;
        let pairs = images.len() as f64 * texts;
        Ok(Loss::from(sum / (pairs * features.total() as f64))
            .with("logit_scale", scale.double_value(&[]))
            .with("similarity", similarity / texts))
    }

    fn after_step(&mut self, seen: &Features, _progress: f64) -> Result<()> {
        self.scale.clamp();
        for view in self.config.texts.iter().rev() {
            self.queue.push(&unit(&seen.text(view)?.embed));
        }
        Ok(())
    }
}

register!(dyn Objective, "nearest", NearestConfig);

#[cfg(test)]
mod tests {
    use super::*;
    use vlhub_sdk::tch::nn::VarStore;
    use vlhub_sdk::testkit::toy;

    fn built(store: &VarStore, config: &NearestConfig) -> Box<dyn Objective> {
        config.build(&toy::objective_cx(store.root())).expect("builds")
    }

    /// The law `gradients` without what it asks of the texts, of which the exception is only.
    #[test]
    fn images_and_scale_get_gradients_and_texts_get_none() {
        for both in [false, true] {
            let store = VarStore::new(Device::Cpu);
            let config = NearestConfig { texts: vec!["main".into(), "eda".into()], queue: 40, both, ..Default::default() };
            let objective = built(&store, &config);
            let features = toy::features(&objective.needs(), 3);
            objective.loss(&features, &Batch::new(toy::ROWS)).expect("a loss").total.backward();
            let reached = |leaf: &Tensor| leaf.grad().defined() && leaf.grad().abs().max().double_value(&[]) > 0.0;
            assert!(reached(&features.image("main").expect("asked for").embed));
            assert!(reached(&store.variables()["logit_scale"]));
            for view in ["main", "eda"] {
                assert!(!features.text(view).expect("asked for").embed.grad().defined(), "`{view}` is only looked up");
            }
            assert_eq!(store.trainable_variables().len(), 1, "the queue is not trained");
        }
    }

    #[test]
    fn texts_of_a_step_are_the_neighbours_of_the_next() {
        let store = VarStore::new(Device::Cpu);
        let mut objective = built(&store, &NearestConfig { queue: 30, ..Default::default() });
        let features = toy::features(&objective.needs(), 5).map(Tensor::detach);
        let similarity = |objective: &dyn Objective| objective.loss(&features, &Batch::new(toy::ROWS)).expect("a loss").metrics[1].1;
        assert!(similarity(&*objective) < 0.99, "random neighbours");
        objective.after_step(&features, 0.5).expect("pushes");
        assert!((similarity(&*objective) - 1.0).abs() < 1e-5, "each text finds itself");
    }

    #[test]
    fn the_queue_travels_with_the_weights() {
        let file = std::env::temp_dir().join(format!("vlhub-nearest-{}.ot", std::process::id()));
        let config = NearestConfig { queue: 10, ..Default::default() };
        let (before, mut after) = (VarStore::new(Device::Cpu), VarStore::new(Device::Cpu));
        let (mut first, mut second) = (built(&before, &config), built(&after, &config));
        let features = toy::features(&first.needs(), 5).map(Tensor::detach);
        first.after_step(&features, 0.5).expect("pushes");
        before.save(&file).expect("saves");
        after.load(&file).expect("loads");
        let _ = std::fs::remove_file(&file);
        for objective in [&mut first, &mut second] {
            objective.after_step(&features.slice(0..5), 0.6).expect("pushes");
        }
        for name in ["objective.queue", "objective.position"] {
            assert!(before.variables()[name].equal(&after.variables()[name]), "`{name}` goes on as it would have");
        }
        assert_eq!(after.variables()["objective.position"].int64_value(&[]), 1, "eleven rows in a queue of ten");
    }

    #[test]
    fn both_directions_are_averaged() {
        let value = |both| {
            let store = VarStore::new(Device::Cpu);
            let objective = built(&store, &NearestConfig { queue: 50, both, ..Default::default() });
            // What it drew comes from libtorch's generator, which other tests use meanwhile.
            let mut queue = store.variables().remove("objective.queue").expect("made above");
            queue.copy_(&unit(&toy::randn(&queue.size(), 1)));
            let features = toy::features(&objective.needs(), 7);
            let neighbours = {
                let found = unit(&features.text("main").expect("asked for").embed).matmul(&queue.tr()).argmax(1, false);
                queue.index_select(0, &found)
            };
            let image = unit(&features.image("main").expect("asked for").embed);
            let logits = neighbours.matmul(&image.tr()) / 0.07;
            let other = diagonal_cross_entropy_sum(&logits, 1, 0).double_value(&[]) / toy::ROWS as f64;
            (objective.loss(&features, &Batch::new(toy::ROWS)).expect("a loss").value(), other)
        };
        let ((one, other), (mean, _)) = (value(false), value(true));
        assert!((mean - (one + other) / 2.0).abs() < 1e-5, "{mean} is not between {one} and {other}");
    }

    #[test]
    fn options_that_mean_nothing_are_refused_by_name() {
        let base = NearestConfig::default;
        for (config, word) in [
            (NearestConfig { images: vec![], ..base() }, "images"),
            (NearestConfig { texts: vec!["a".into(), "a".into()], ..base() }, "texts"),
            (NearestConfig { queue: 0, ..base() }, "queue"),
            (NearestConfig { max_scale: 0.5, ..base() }, "max_scale"),
            (NearestConfig { init_log_scale: f64::NAN, ..base() }, "init_log_scale"),
        ] {
            let store = VarStore::new(Device::Cpu);
            let error = config.build(&toy::objective_cx(store.root())).expect_err(word).to_string();
            assert!(error.contains(&format!("`{word}`")), "{error}");
            assert!(store.is_empty(), "{word}: nothing was made");
        }
    }
}
