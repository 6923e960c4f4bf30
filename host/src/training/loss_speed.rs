//! How fast objectives alone compute their loss and its gradients: on random features of unit length, without towers.

use std::str::FromStr;

use serde::Serialize;
use tch::{Device, Kind, Tensor, nn};
use vlhub_core::{
    Batch, Config, Encoded, Error, Features, Forward, InputSpec, Modality, Need, Objective, ObjectiveCx, Result, Tokens, Tower, Weights,
};
use vlhub_sdk::ops::normalize;
use vlhub_torch_ext::{forget_gradient, tensor_bytes};

use crate::data::philox::Philox;
use crate::failure::{Failure, Outcome};
use crate::measuring::{ProductWork, fit, repeated, wait_for};
use crate::session::TowerFacts;

/// Token ids of a text where objectives read no tokens, but ids all the same.
const WORDS: i64 = 32;

/// Context and vocabulary of CLIP's text tower.
const CLIP_TEXTS: (i64, i64) = (77, 49408);

/// Tokens of a picture and of a text: `50x32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TokenCounts {
    /// Of a picture.
    pub image: i64,
    /// Of a text, which has as many ids.
    pub text: i64,
}

impl FromStr for TokenCounts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| part.parse::<u32>().ok().filter(|number| *number > 0).map(i64::from);
        let both = text.split_once('x').and_then(|(image, text)| Some(Self { image: number(image)?, text: number(text)? }));
        both.ok_or_else(|| "write the tokens of a picture, `x`, and the tokens of a text, such as `50x32`".into())
    }
}

/// How objectives are measured.
#[derive(Clone, Debug)]
pub struct LossTrial {
    /// Rows of a batch, for each point.
    pub rows: Vec<i64>,
    /// Tokens, for objectives that read them.
    pub tokens: Option<TokenCounts>,
    /// Passes that are timed, for each point.
    pub repeat: u32,
    /// Where.
    pub device: Device,
    /// What a product reaches there, in 10⁹ operations a second.
    pub limit: f64,
}

/// Speed and memory of an objective.
#[derive(Clone, Debug, Serialize)]
pub struct LossSpeed {
    /// Its name, or its key in the run.
    pub objective: String,
    /// Width of the joint space.
    pub width: i64,
    /// What it reads, in words.
    pub reads: Vec<String>,
    /// Batches of growing size.
    pub points: Vec<LossPoint>,
    /// Exponent of the rows with which time grows; `None` for one size.
    pub exponent: Option<f64>,
    /// Exponent of the rows with which the memory beside features and gradients grows; `None` for one size, or where there is none.
    pub memory_exponent: Option<f64>,
}

/// Loss and gradients of a batch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LossPoint {
    /// Rows.
    pub rows: i64,
    /// Median, in seconds.
    pub seconds: f64,
    /// Bytes of the tensors of a pass at most, beside the features.
    pub peak: i64,
    /// Bytes of the gradients of features and parameters, which a pass makes.
    pub gradients: i64,
    /// Bytes beside features and gradients: what of `peak` is left without `gradients`.
    pub beside: i64,
    /// Seconds of the products of matrices, of a pass under the profiler.
    pub products: f64,
    /// Operations of the products of matrices, in 10⁹.
    pub gflop: f64,
    /// The time that these products would take at the limit, as a share of `seconds`.
    pub of_limit: f64,
}

/// The towers of an objective that is measured without a run: CLIP's, whose outputs and joint space have one width.
pub fn plain_towers(width: i64, tokens: Option<TokenCounts>) -> TowerFacts {
    let context = tokens.map_or(CLIP_TEXTS.0, |tokens| tokens.text.max(CLIP_TEXTS.0));
    let image = InputSpec::Image { size: (224, 224), mean: [0.5; 3], std: [0.5; 3] };
    let text = InputSpec::Text { context, vocab: CLIP_TEXTS.1, pad: 0, truncates: true };
    let [image, text] = [image, text].map(|input| Some(Tower { input, width }));
    TowerFacts { embed: width, image, text, teachers: Vec::new() }
}

/// Measures an objective for each number of rows, forward and backward.
///
/// # Errors
/// Exit status 2: what the objective refuses, or needs and does not get.
pub fn measure(name: &str, config: &dyn Config<dyn Objective>, towers: &TowerFacts, trial: &LossTrial) -> Outcome<LossSpeed> {
    let place = format!("objective.{name}");
    tch::manual_seed(0);
    let vars = nn::VarStore::new(trial.device);
    let cx = ObjectiveCx {
        path: vars.root() / "objective" / name,
        shared: vars.root(),
        embed: towers.embed,
        image: towers.image.clone(),
        text: towers.text.clone(),
        teachers: towers.teachers.clone(),
    };
    let objective = config.build(&cx).map_err(|error| error.within(&place))?;
    let needs = Need::union(&objective.needs());
    if needs.iter().any(|need| need.tokens) && trial.tokens.is_none() {
        return Err(Failure::usage(format!(
            "{place} reads tokens: say how many a picture and a text have, as `--tokens 50x32`; with them a batch takes far more memory, so name fewer \
             rows with `--rows`"
        )));
    }
    let lone = LoneObjective { place, objective, needs, towers, trial };
    let mut points = Vec::new();
    for rows in &trial.rows {
        points.push(lone.point(*rows, &vars)?);
    }
    let against_rows = |of: fn(&LossPoint) -> f64| points.iter().map(|point| (point.rows as f64, of(point))).collect::<Vec<_>>();
    Ok(LossSpeed {
        objective: name.to_owned(),
        width: towers.embed,
        reads: lone.needs.iter().map(Need::to_string).collect(),
        exponent: fit::exponent(&against_rows(|point| point.seconds)),
        memory_exponent: fit::exponent(&against_rows(|point| point.beside as f64)),
        points,
    })
}

/// An objective and what it gets.
struct LoneObjective<'a> {
    place: String,
    objective: Box<dyn Objective>,
    needs: Vec<Need>,
    towers: &'a TowerFacts,
    trial: &'a LossTrial,
}

impl LoneObjective<'_> {
    fn point(&self, rows: i64, vars: &nn::VarStore) -> Outcome<LossPoint> {
        let LossTrial { repeat, device, limit, .. } = *self.trial;
        let mut batch = self.batch(rows)?;
        self.objective.prepare(&mut batch, &mut Philox::new([0, 0, 0, 0])).map_err(|error| self.lacks(error))?;
        let given = self.features(rows)?;
        let parameters: Vec<Tensor> = vars.variables().into_values().filter(Tensor::requires_grad).collect();
        parameters.iter().try_for_each(forget_gradient).map_err(Error::from)?;
        let pass = || -> Outcome<Vec<Tensor>> {
            let mut leaves = Vec::new();
            let mut features = Features::new(0..rows, rows);
            for (forward, encoded) in given.forwards() {
                features.insert_for(forward.clone(), encoded.map(|tensor| leaf(tensor, forward.is_trained(), &mut leaves)));
            }
            let loss = self.objective.loss(&features.only(&self.needs, &self.place), &batch).map_err(|error| self.lacks(error))?;
            loss.total.f_backward().map_err(|error| Error::from(error).within(&self.place))?;
            wait_for(device);
            Ok(leaves)
        };
        let speed = repeated(repeat, pass)?;
        let (profiled, spans) = vlhub_torch_ext::profiled(None, pass).map_err(Error::from)?;
        let products = ProductWork::of(&spans);
        let gradients = profiled?.iter().chain(&parameters).map(gradient_bytes).sum::<i64>();
        Ok(LossPoint {
            rows,
            seconds: speed.seconds,
            peak: speed.peak,
            gradients,
            beside: (speed.peak - gradients).max(0),
            products: products.seconds,
            gflop: products.gflop,
            of_limit: products.gflop / limit / speed.seconds,
        })
    }

    /// Labels, and token ids of every text view that may be read: a start, words, an end, as CLIP has them.
    fn batch(&self, rows: i64) -> Result<Batch> {
        let mut batch = Batch::new(rows);
        batch.set_extra(Batch::LABELS, Tensor::f_zeros([rows, 1], (Kind::Int64, self.trial.device))?)?;
        let Some(&InputSpec::Text { context, vocab, .. }) = self.towers.text.as_ref().map(|tower| &tower.input) else { return Ok(batch) };
        let length = self.trial.tokens.map_or(WORDS.min(context), |tokens| tokens.text);
        let (start, end) = ((vocab - 2).max(0), (vocab - 1).max(0));
        // Neither padding nor the mask of masked words.
        let least = (start - 1).clamp(0, 3);
        let ids = Tensor::f_randint_low(least, start.max(least + 1), [rows, length], (Kind::Int64, self.trial.device))?;
        let _ = ids.f_select(1, 0)?.f_fill_(start)?;
        let _ = ids.f_select(1, length - 1)?.f_fill_(end)?;
        let read = self.needs.iter().filter(|need| need.forward.modality == Modality::Text).map(|need| need.forward.view.as_str());
        for view in read.chain(["main"]) {
            batch.set_text(view, ids.shallow_clone())?;
        }
        Ok(batch)
    }

    /// Random outputs of every forward that the objective needs.
    fn features(&self, rows: i64) -> Result<Features> {
        let random = |shape: &[i64]| Ok::<_, Error>(normalize(&Tensor::f_randn(shape, (Kind::Float, self.trial.device))?));
        let mut features = Features::new(0..rows, rows);
        for Need { forward, tokens } in &self.needs {
            let (embed, width) = self.widths(forward)?;
            let counts = self.trial.tokens.filter(|_| *tokens);
            let count = counts.map(|counts| if forward.modality == Modality::Image { counts.image } else { counts.text });
            let tokens = count.map(|count| Ok::<_, Error>(Tokens::unmasked(random(&[rows, count, width])?))).transpose()?;
            let encoded = Encoded { embed: random(&[rows, embed])?, pooled: random(&[rows, width])?, tokens };
            features.insert_for(forward.clone(), encoded);
        }
        Ok(features)
    }

    /// Widths of the joint space and of the tower of a forward.
    fn widths(&self, forward: &Forward) -> Result<(i64, i64)> {
        let TowerFacts { embed, image, text, teachers } = self.towers;
        let (embed, image, text) = match &forward.weights {
            Weights::Teacher(name) => {
                let teacher = teachers.iter().find(|teacher| teacher.name == *name);
                let teacher = teacher.ok_or_else(|| Error::invalid(format!("{}: there is no teacher `{name}`", self.place)))?;
                (&teacher.embed, &teacher.image, &teacher.text)
            }
            Weights::Trained | Weights::Average => (embed, image, text),
        };
        let tower = if forward.modality == Modality::Image { image } else { text };
        let tower = tower.as_ref().ok_or_else(|| Error::Options(format!("{}: there is no {} tower", self.place, forward.modality)))?;
        Ok((*embed, tower.width))
    }

    /// What the objective misses, and where it finds it.
    fn lacks(&self, error: Error) -> Failure {
        let mut failure = Failure::from(error.within(&self.place));
        if ["image view", "extra input"].iter().any(|what| failure.message.contains(&format!("the batch has no {what} `"))) {
            failure.code = Failure::USAGE;
            failure.message += "; here there are random features, token ids and labels alone: `vlhub bench train` measures it in a run";
        }
        failure
    }
}

/// A tensor of features as an objective gets it: a leaf that collects its gradient where the tower is trained.
fn leaf(tensor: &Tensor, trained: bool, leaves: &mut Vec<Tensor>) -> Tensor {
    let leaf = tensor.detach();
    if trained {
        leaves.push(leaf.set_requires_grad(true));
    }
    leaf
}

/// Bytes of a tensor's gradient, if it has one.
fn gradient_bytes(tensor: &Tensor) -> i64 {
    let gradient = tensor.grad();
    if gradient.defined() { tensor_bytes(&gradient) as i64 } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use vlhub_core::Registry;

    use super::*;

    /// A process has one profiler.
    static ALONE: Mutex<()> = Mutex::new(());

    fn trial(rows: &[i64], tokens: Option<TokenCounts>) -> LossTrial {
        LossTrial { rows: rows.to_vec(), tokens, repeat: 1, device: Device::Cpu, limit: 100.0 }
    }

    fn speed(name: &str, trial: &LossTrial) -> Outcome<LossSpeed> {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let registry = Registry::linked().expect("no duplicates");
        let listed = registry.get::<dyn Objective>(name).expect("it is linked");
        let config = listed.parse(&listed.defaults()).expect("its own defaults");
        measure(name, config.as_ref(), &plain_towers(16, trial.tokens), trial)
    }

    #[test]
    fn the_products_of_a_contrast_are_counted_and_its_gradients_are_those_of_both_sides() {
        let clip = speed("clip", &trial(&[32, 64], None)).expect("it runs");
        assert_eq!((clip.objective.as_str(), clip.width, clip.points.len()), ("clip", 16, 2));
        assert_eq!(clip.reads, ["image `main`", "text `main`"]);
        for point in &clip.points {
            let both = 2 * point.rows * 16 * 4;
            // The logit scale has a gradient too.
            assert_eq!(point.gradients, both + 4, "{point:?}");
            // The logits, and the gradients of both sides: three products.
            let gflop = 3.0 * 2.0 * (point.rows * point.rows * 16) as f64 / 1e9;
            assert!((point.gflop / gflop - 1.0).abs() < 0.01, "{point:?}: {gflop}");
            assert!(point.seconds > 0.0 && point.of_limit > 0.0 && point.peak >= point.beside, "{point:?}");
        }
        assert!(clip.exponent.is_some());
    }

    #[test]
    fn tokens_and_pictures_are_asked_for_where_they_are_read() {
        let refused = speed("filip", &trial(&[4], None)).expect_err("no tokens");
        assert!(refused.code == Failure::USAGE && refused.message.contains("`--tokens 50x32`"), "{}", refused.message);
        let tokens = Some(TokenCounts { image: 5, text: 6 });
        for name in ["filip", "mlm", "caption"] {
            let speed = speed(name, &trial(&[4], tokens)).unwrap_or_else(|failure| panic!("{name}: {failure}"));
            assert!(speed.points[0].gflop > 0.0 && speed.exponent.is_none(), "{name}: {speed:?}");
        }
    }

    #[test]
    fn counts_of_tokens_are_read_as_they_are_written() {
        assert_eq!("50x32".parse::<TokenCounts>(), Ok(TokenCounts { image: 50, text: 32 }));
        for wrong in ["50", "50x", "x3", "0x3", "50x-1", "50 x 32"] {
            assert!(wrong.parse::<TokenCounts>().expect_err(wrong).contains("`50x32`"));
        }
    }
}
