//! Laws of objectives.

use tch::nn::VarStore;
use tch::{Device, Tensor};
use vlhub_core::{Batch, Config, Features, Need, Objective, Scope};

use super::toy::{self, ROWS, Seeded, ToyTowers};
use super::{Law, LawOutcome, Verdict, all, close, ensure, failed, near};

/// Options of an objective.
pub type ObjectiveOptions = dyn Config<dyn Objective>;

/// The laws, by name.
pub const LAWS: &[Law<dyn Objective>] = &[
    ("builds_twice", |entry| with(entry, builds_twice)),
    ("needs", |entry| with(entry, needs)),
    ("finite", |entry| with(entry, finite)),
    ("gradients", |entry| with(entry, gradients)),
    ("partition", |entry| with(entry, partition)),
    ("permutation", |entry| with(entry, permutation)),
    ("aligned", |entry| with(entry, aligned)),
    ("cached_step", |entry| with(entry, cached_step)),
    ("learns", |entry| with(entry, learns)),
];

fn with(entry: &vlhub_core::PluginEntry<dyn Objective>, law: fn(&ObjectiveOptions) -> Verdict) -> LawOutcome {
    all::default_config(entry).and_then(|config| law(&*config)).into()
}

/// An objective, its parameters, and a prepared batch.
struct Toy {
    store: VarStore,
    objective: Box<dyn Objective>,
    needs: Vec<Need>,
    batch: Batch,
}

impl Toy {
    fn new(config: &ObjectiveOptions) -> Result<Self, String> {
        let store = VarStore::new(Device::Cpu);
        tch::manual_seed(11);
        let objective = config.build(&toy::objective_cx(store.root())).map_err(failed("building with the default options"))?;
        let needs = objective.needs();
        let batch = toy::batch(&needs);
        let mut toy = Self { store, objective, needs, batch };
        toy.prepare()?;
        Ok(toy)
    }

    /// Every call gives the same batch, whatever the objective draws.
    fn prepare(&mut self) -> Verdict {
        self.batch = toy::batch(&self.needs);
        self.objective.prepare(&mut self.batch, &mut Seeded(12)).map_err(failed("prepare"))
    }

    fn features(&self) -> Features {
        toy::features(&self.needs, 13).only(&self.needs, "the objective")
    }

    fn loss(&self, features: &Features, batch: &Batch) -> Result<Tensor, String> {
        // The same random numbers in every pass, as under gradient caching.
        tch::manual_seed(14);
        self.objective.loss(features, batch).map(|loss| loss.total).map_err(failed("loss"))
    }

    fn parameters(&self) -> Vec<(String, Tensor)> {
        let mut all: Vec<_> = self.store.variables().into_iter().filter(|(_, value)| value.requires_grad()).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Gradients of the parameters and then of the features, zero where there is none.
    fn gradients(&self, features: Option<&Features>) -> Vec<(String, Tensor)> {
        let mut all: Vec<_> = self.parameters();
        all.extend(
            features.into_iter().flat_map(Features::tensors).enumerate().map(|(at, leaf)| (format!("feature {at}"), leaf.shallow_clone())),
        );
        all.into_iter().map(|(name, leaf)| (name, gradient(&leaf).unwrap_or_else(|| leaf.zeros_like()).detach())).collect()
    }
}

fn gradient(leaf: &Tensor) -> Option<Tensor> {
    let gradient = leaf.grad();
    gradient.defined().then_some(gradient)
}

fn same_gradients(actual: &[(String, Tensor)], expected: &[(String, Tensor)], tolerance: f64, what: &str) -> Verdict {
    for ((name, actual), (_, expected)) in actual.iter().zip(expected) {
        close(actual, expected, tolerance, &format!("{what}: gradient of {name}"))?;
    }
    Ok(())
}

/// One configuration and one seed give equal parameters and an equal loss.
pub fn builds_twice(config: &ObjectiveOptions) -> Verdict {
    let (first, second) = (Toy::new(config)?, Toy::new(config)?);
    let (ours, theirs) = (first.parameters(), second.parameters());
    ensure(ours.iter().map(|(name, _)| name).eq(theirs.iter().map(|(name, _)| name)), || "other parameter names the second time".into())?;
    for ((name, ours), (_, theirs)) in ours.iter().zip(&theirs) {
        close(ours, theirs, 0.0, &format!("parameter {name}, built twice under one seed"))?;
    }
    let losses = (first.loss(&first.features(), &first.batch)?, second.loss(&second.features(), &second.batch)?);
    close(&losses.0, &losses.1, 0.0, "the loss, built twice under one seed")
}

/// It reads only what it declares: everything else is withheld.
pub fn needs(config: &ObjectiveOptions) -> Verdict {
    let toy = Toy::new(config)?;
    ensure(!toy.needs.is_empty(), || "it declares no need, so nothing could be trained by it".into())?;
    ensure(toy.needs == toy.objective.needs(), || "needs() changes from call to call".into())?;
    toy.loss(&toy.features(), &toy.batch).map(drop)
}

/// The loss is one finite number, and so is everything that is logged.
pub fn finite(config: &ObjectiveOptions) -> Verdict {
    let toy = Toy::new(config)?;
    let loss = toy.objective.loss(&toy.features(), &toy.batch).map_err(failed("loss"))?;
    ensure(loss.total.numel() == 1, || format!("the loss has shape {:?}", loss.total.size()))?;
    ensure(loss.value().is_finite(), || format!("the loss is {}", loss.value()))?;
    for (name, value) in &loss.metrics {
        ensure(value.is_finite(), || format!("the metric `{name}` is {value}"))?;
    }
    let weight = toy.objective.weight(&toy.batch);
    ensure(weight.is_finite() && weight >= 0.0, || format!("the weight of a batch is {weight}"))
}

/// Every need and every own parameter gets a gradient, finite and not zero throughout.
pub fn gradients(config: &ObjectiveOptions) -> Verdict {
    let toy = Toy::new(config)?;
    let features = toy.features();
    backward(&toy.loss(&features, &toy.batch)?)?;
    let useful = |leaf: &Tensor| gradient(leaf).is_some_and(|gradient| gradient.abs().max().double_value(&[]) > 0.0);
    for (name, value) in toy.gradients(Some(&features)) {
        ensure(value.isfinite().all().int64_value(&[]) == 1, || format!("the gradient of {name} is not finite"))?;
    }
    for (name, parameter) in toy.parameters() {
        ensure(useful(&parameter), || format!("the parameter `{name}` gets no gradient"))?;
    }
    for (forward, encoded) in features.forwards().filter(|(forward, _)| forward.is_trained()) {
        ensure(encoded.tensors().into_iter().any(useful), || format!("{forward} is declared but gets no gradient"))?;
        if let Some(tokens) = &encoded.tokens {
            ensure(useful(&tokens.values), || format!("{forward} is declared with tokens but they get no gradient"))?;
        }
    }
    Ok(())
}

/// A loss over rows is the sum over parts of those rows, in value and in gradient. For [`Scope::Batch`] the parts are shares of the
/// anchors; for [`Scope::Sample`] they are chunks, which count by their weight.
pub fn partition(config: &ObjectiveOptions) -> Verdict {
    let toy = Toy::new(config)?;
    let whole = toy.features();
    let loss = toy.loss(&whole, &toy.batch)?;
    backward(&loss)?;
    let expected = toy.gradients(Some(&whole));

    let toy = Toy::new(config)?;
    let parts = toy.features();
    let weight = toy.objective.weight(&toy.batch);
    let mut sum = 0.0;
    for range in [0..2, 2..3, 3..ROWS] {
        let part = match toy.objective.scope() {
            Scope::Batch => toy.loss(&parts.with_own(range), &toy.batch)?,
            Scope::Sample => {
                let chunk = toy.batch.slice(range.clone());
                let share = if weight > 0.0 { toy.objective.weight(&chunk) / weight } else { 0.0 };
                toy.loss(&parts.slice(range), &chunk)? * share
            }
        };
        backward(&part)?;
        sum += part.double_value(&[]);
    }
    near(sum, loss.double_value(&[]), 1e-5, "the sum of the losses of all parts")?;
    same_gradients(&toy.gradients(Some(&parts)), &expected, 1e-4, "summed over parts")
}

/// Rows that change places together change nothing.
pub fn permutation(config: &ObjectiveOptions) -> Verdict {
    let toy = Toy::new(config)?;
    let expected = toy.loss(&toy.features(), &toy.batch)?.double_value(&[]);
    let order = Tensor::from_slice(&[3i64, 0, 5, 1, 4, 2]);
    let moved = toy.loss(&toy.features().permuted(&order), &toy.batch.permuted(&order))?;
    near(moved.double_value(&[]), expected, 1e-5, "the loss of the same rows in another order")
}

/// A backward pass that cannot end the test program.
fn backward(loss: &Tensor) -> Verdict {
    ensure(loss.requires_grad(), || "the loss has no graph: it depends on no feature and no parameter".into())?;
    loss.f_backward().map_err(|error| format!("backward: {error}"))
}

/// An objective after some steps on toy towers.
struct Trained {
    toy: Toy,
    towers: ToyTowers,
    first: f64,
    last: f64,
}

fn train(config: &ObjectiveOptions) -> Result<Trained, String> {
    let mut toy = Toy::new(config)?;
    let towers = ToyTowers::new(&(toy.store.root() / "towers"));
    let mut losses = Vec::new();
    let parameters = toy.parameters();
    for step in 0..30 {
        toy.prepare()?;
        let features = towers.encode(&toy.needs, &toy.batch).map_err(failed("the toy towers"))?;
        let loss = toy.loss(&features, &toy.batch)?;
        losses.push(loss.double_value(&[]));
        backward(&loss)?;
        tch::no_grad(|| {
            for (_, parameter) in &parameters {
                if let Some(mut slope) = gradient(parameter) {
                    // The sign of the gradient, smoothed near zero: steps of one size for every loss, as with Adam.
                    let step = &slope / (slope.square().mean(slope.kind()).sqrt() + 1e-8);
                    let _ = parameter.shallow_clone().subtract_(&(step.clamp(-2.0, 2.0) * 0.02));
                    let _ = slope.zero_();
                }
            }
        });
        toy.objective.after_step(&features.map(Tensor::detach), f64::from(step + 1) / 30.0).map_err(failed("after_step"))?;
    }
    toy.prepare()?;
    let features = towers.encode(&toy.needs, &toy.batch).map_err(failed("the toy towers"))?;
    let last = toy.loss(&features, &toy.batch)?.double_value(&[]);
    Ok(Trained { first: losses[0], last, toy, towers })
}

/// Thirty steps on toy towers lower the loss.
pub fn learns(config: &ObjectiveOptions) -> Verdict {
    let Trained { first, last, .. } = train(config)?;
    ensure(last < first, || format!("the loss was {first} and is {last} after 30 steps"))
}

/// What belongs together scores lower than what does not: the first need is moved by one row, everything else stays. An objective without
/// parameters of its own is shown rows whose outputs are alike in every view; one that has projections or heads must learn first what is
/// alike.
pub fn aligned(config: &ObjectiveOptions) -> Verdict {
    let toy = Toy::new(config)?;
    // Shared scalars (a scale, a bias) are no heads; a decoder under a published name is one.
    let heads = toy.parameters().iter().any(|(name, value)| name.starts_with("objective.") || value.numel() > 1);
    if heads || toy.needs.len() < 2 {
        let Trained { toy, towers, .. } = train(config)?;
        let features = towers.encode(&toy.needs, &toy.batch).map_err(failed("the toy towers"))?;
        return right_below_shuffled(&toy, &features);
    }
    let same = toy::randn(&[ROWS, toy::WIDTH], 17);
    let alike = toy.features().map(|noise| {
        let same = if noise.dim() == 3 { same.unsqueeze(1) } else { same.shallow_clone() };
        noise * 0.1 + same
    });
    right_below_shuffled(&toy, &alike)
}

fn right_below_shuffled(toy: &Toy, features: &Features) -> Verdict {
    let order = Tensor::arange(ROWS, (tch::Kind::Int64, Device::Cpu)).roll([1], [0]);
    let moved = features.permuted(&order);
    let first = toy.needs.first().ok_or("it declares no need")?;
    let mut mixed = Features::new(0..ROWS, ROWS);
    for ((forward, stays), (_, moves)) in features.forwards().zip(moved.forwards()) {
        let chosen = if *forward == first.forward { moves } else { stays };
        mixed.insert_for(forward.clone(), chosen.map(Tensor::shallow_clone));
    }
    let right = toy.loss(features, &toy.batch)?.double_value(&[]);
    let shuffled = toy.loss(&mixed.only(&toy.needs, "the objective"), &toy.batch)?.double_value(&[]);
    ensure(right < shuffled, || format!("the loss of right pairs is {right}, of shuffled ones {shuffled}"))
}

/// A step with cached gradients, in chunks of two rows, gives the gradients of a plain step.
pub fn cached_step(config: &ObjectiveOptions) -> Verdict {
    let plain = Toy::new(config)?;
    let towers = ToyTowers::new(&(plain.store.root() / "towers"));
    let features = towers.encode(&plain.needs, &plain.batch).map_err(failed("the toy towers"))?;
    backward(&plain.loss(&features, &plain.batch)?)?;

    let cached = Toy::new(config)?;
    let towers = ToyTowers::new(&(cached.store.root() / "towers"));
    let encode = |chunk: &Batch| towers.encode(&cached.needs, chunk).map_err(failed("the toy towers"));
    let chunks = cached.batch.split(2);
    match cached.objective.scope() {
        Scope::Batch => {
            let parts = tch::no_grad(|| chunks.iter().map(|(_, chunk)| encode(chunk)).collect::<Result<Vec<_>, _>>())?;
            let leaves = Features::cat(&parts).map_err(failed("joining chunks"))?.map(|part| part.detach().set_requires_grad(true));
            backward(&cached.loss(&leaves, &cached.batch)?)?;
            for (range, chunk) in &chunks {
                let mut surrogate = Tensor::zeros([1], (tch::Kind::Float, Device::Cpu));
                for (live, leaf) in encode(chunk)?.tensors().into_iter().zip(leaves.tensors()) {
                    if let Some(pull) = gradient(leaf) {
                        surrogate += (live * pull.narrow(0, range.start, range.end - range.start)).sum(tch::Kind::Float);
                    }
                }
                backward(&surrogate)?;
            }
        }
        Scope::Sample => {
            let weight = cached.objective.weight(&cached.batch);
            for (_, chunk) in &chunks {
                let share = if weight > 0.0 { cached.objective.weight(chunk) / weight } else { 0.0 };
                backward(&(cached.loss(&encode(chunk)?, chunk)? * share))?;
            }
        }
    }
    same_gradients(&cached.gradients(None), &plain.gradients(None), 1e-5, "a step with cached gradients")
}
