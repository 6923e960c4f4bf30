//! Laws of backbones.
//!
//! A preset may have a billion parameters, and its code is that of its smaller siblings. So options that are known to be sizes (`width`,
//! `layers`, `vocab` …) are reduced first; what is still larger than [`LARGEST`] is not built again and again, and its laws are reported as
//! untried.

use serde_json::{Value, json};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use vlhub_core::noise::Recompute;
use vlhub_core::{Backbone, BackboneCx, Config, Hidden, InputSpec, Noise, PluginEntry};

use super::{Law, LawOutcome, Verdict, all, close, ensure, failed, toy};

/// Options of a backbone.
pub type BackboneOptions = dyn Config<dyn Backbone>;

/// Width of the joint space for the laws.
pub const EMBED: i64 = 16;

/// More parameters than this make the laws slow.
pub const LARGEST: i64 = 3_000_000;

/// Sizes for the laws, where an option of this name is larger.
const SIZES: &[(&str, i64)] = &[
    ("width", 16),
    ("layers", 2),
    ("heads", 2),
    ("image_size", 16),
    ("patch_size", 8),
    ("context", 9),
    ("vocab", 64),
    ("hidden", 32),
    ("depth", 2),
];

/// The laws, by name.
pub const LAWS: &[Law<dyn Backbone>] = &[
    ("builds_twice", |entry| with(entry, builds_twice)),
    ("shapes", |entry| with(entry, shapes)),
    ("finite", |entry| with(entry, finite)),
    ("deterministic", |entry| with(entry, deterministic)),
    ("rows_are_independent", |entry| with(entry, rows_are_independent)),
    ("noise_by_row", |entry| with(entry, noise_by_row)),
    ("padding", |entry| with(entry, padding)),
    ("shared_prefix", |entry| with(entry, shared_prefix)),
    ("gradients", |entry| with(entry, gradients)),
    ("recomputation", |entry| with(entry, recomputation)),
    ("stages", |entry| with(entry, stages)),
    ("save_and_load", |entry| with(entry, save_and_load)),
];

fn with(entry: &PluginEntry<dyn Backbone>, law: fn(&BackboneOptions) -> Verdict) -> LawOutcome {
    match small(entry) {
        Ok(Ok(config)) => law(&*config).into(),
        Ok(Err(why)) => LawOutcome::Untried(why),
        Err(why) => LawOutcome::Broken(why),
    }
}

/// Options for the laws; the inner error says why there are none.
pub fn small(entry: &PluginEntry<dyn Backbone>) -> Result<Result<Box<BackboneOptions>, String>, String> {
    let defaults = all::defaults(entry)?;
    let reduced = reduce(&defaults);
    if let Ok(config) = all::parse(entry, &reduced)
        && count(&*config).is_ok_and(|count| count <= LARGEST)
        && Toy::new(&*config, 0).and_then(|toy| toy.pooled(&toy.input(1))).is_ok()
    {
        return Ok(Ok(config));
    }
    // A size that these laws do not know may contradict the reduced ones; then the plugin has to stand as it is.
    let config = all::parse(entry, &defaults)?;
    let count = count(&*config)?;
    Ok(if count <= LARGEST { Ok(config) } else { Err(format!("{:.1} M parameters", count as f64 / 1e6)) })
}

fn reduce(defaults: &Value) -> Value {
    let mut options = defaults.clone();
    for (name, size) in SIZES {
        if let Some(value) = options.get_mut(*name)
            && value.as_i64().is_some_and(|given| given > *size)
        {
            *value = json!(size);
        }
    }
    options
}

/// Number of parameters, without making them.
fn count(config: &BackboneOptions) -> Result<i64, String> {
    vlhub_torch_ext::on_paper(|| Toy::new(config, 0).map(|toy| toy.count())).map_err(|error| error.to_string())?.0
}

struct Toy {
    store: VarStore,
    backbone: Box<dyn Backbone>,
}

impl Toy {
    fn new(config: &BackboneOptions, seed: i64) -> Result<Self, String> {
        let store = VarStore::new(Device::Cpu);
        tch::manual_seed(seed);
        let backbone = config.build(&BackboneCx { path: store.root(), embed: EMBED }).map_err(failed("building"))?;
        Ok(Self { store, backbone })
    }

    fn count(&self) -> i64 {
        self.store.variables().values().map(|value| value.numel() as i64).sum()
    }

    /// Random pictures, or ids that end with the last id of the vocabulary and are padded; the first row has no padding.
    fn input(&self, rows: i64) -> Tensor {
        match self.backbone.input() {
            InputSpec::Image { size, .. } => toy::randn(&[rows, 3, size.0, size.1], 5),
            InputSpec::Text { context, vocab, pad, .. } => {
                let mut rng = toy::Seeded(6);
                let mut ids = Vec::new();
                for row in 0..rows {
                    let end = (context - 1 - row % context.max(1)).max(context.min(3) - 1);
                    for at in 0..context {
                        let word = 1 + crate::random::below(&mut rng, (vocab - 2).max(1) as u64) as i64;
                        let word = if word == pad { (word + 1) % (vocab - 1).max(1) } else { word };
                        ids.push(if at < end {
                            word
                        } else if at == end {
                            vocab - 1
                        } else {
                            pad
                        });
                    }
                }
                Tensor::from_slice(&ids).view([rows, context])
            }
        }
    }

    fn encode(&self, input: &Tensor, tokens: bool, seeds: Option<&Tensor>) -> Result<Hidden, String> {
        self.encode_with(input, tokens, seeds.map(|seeds| Noise::new(seeds.shallow_clone())).as_ref())
    }

    fn encode_with(&self, input: &Tensor, tokens: bool, noise: Option<&Noise>) -> Result<Hidden, String> {
        self.backbone.encode(input, tokens, noise).map_err(failed("encode"))
    }

    fn pooled(&self, input: &Tensor) -> Result<Tensor, String> {
        tch::no_grad(|| Ok(self.encode(input, false, None)?.pooled))
    }
}

/// A seed for each row.
fn seeds(rows: i64) -> Tensor {
    Tensor::arange(rows, (Kind::Int64, Device::Cpu)) * 7919 + 3
}

/// One configuration and one seed give equal parameters and an equal output.
pub fn builds_twice(config: &BackboneOptions) -> Verdict {
    let (first, second) = (Toy::new(config, 1)?, Toy::new(config, 1)?);
    let theirs = second.store.variables();
    for (name, ours) in first.store.variables() {
        let theirs = theirs.get(&name).ok_or_else(|| format!("`{name}` is not made the second time"))?;
        close(theirs, &ours, 0.0, &format!("`{name}`, built twice under one seed"))?;
    }
    let input = first.input(2);
    close(&first.pooled(&input)?, &second.pooled(&input)?, 0.0, "the output, built twice under one seed")
}

/// Shapes are as documented for 1, 2 and 5 rows; tokens come only when asked for.
pub fn shapes(config: &BackboneOptions) -> Verdict {
    let toy = Toy::new(config, 1)?;
    let width = toy.backbone.width();
    for rows in [1, 2, 5] {
        let hidden = toy.encode(&toy.input(rows), true, None)?;
        ensure(hidden.pooled.size() == [rows, width], || format!("pooled is {:?} for {rows} rows, width {width}", hidden.pooled.size()))?;
        let tokens = hidden.tokens.ok_or("no tokens, though they were asked for")?;
        let shape = tokens.values.size();
        ensure(shape.len() == 3 && shape[0] == rows && shape[2] == width, || {
            format!("tokens are {shape:?} for {rows} rows, width {width}")
        })?;
        ensure(tokens.mask.size() == shape[..2], || format!("the mask is {:?}, the tokens are {shape:?}", tokens.mask.size()))?;
        ensure(tokens.mask.kind() == Kind::Bool, || format!("the mask is of kind {:?}, not Bool", tokens.mask.kind()))?;
        let plain = toy.encode(&toy.input(rows), false, None)?;
        ensure(plain.tokens.is_none(), || "tokens, though nobody asked for them".into())?;
        close(&plain.pooled, &hidden.pooled, 1e-6, "pooled without and with tokens")?;
    }
    Ok(())
}

/// Outputs are finite, in training and in evaluation.
pub fn finite(config: &BackboneOptions) -> Verdict {
    let toy = Toy::new(config, 1)?;
    let seeds = seeds(5);
    for noise in [None, Some(&seeds)] {
        let hidden = toy.encode(&toy.input(5), true, noise)?;
        for output in [Some(&hidden.pooled), hidden.tokens.as_ref().map(|tokens| &tokens.values)].into_iter().flatten() {
            ensure(output.isfinite().all().int64_value(&[]) == 1, || {
                format!("an output is not finite ({})", if noise.is_some() { "training" } else { "evaluation" })
            })?;
        }
    }
    Ok(())
}

/// In evaluation nothing is drawn.
pub fn deterministic(config: &BackboneOptions) -> Verdict {
    let toy = Toy::new(config, 1)?;
    let input = toy.input(3);
    tch::manual_seed(2);
    let first = toy.pooled(&input)?;
    tch::manual_seed(3);
    close(&toy.pooled(&input)?, &first, 0.0, "a second evaluation")
}

/// In evaluation a row does not depend on the others.
pub fn rows_are_independent(config: &BackboneOptions) -> Verdict {
    let toy = Toy::new(config, 1)?;
    let input = toy.input(5);
    let whole = toy.pooled(&input)?;
    for row in 0..5 {
        close(&toy.pooled(&input.narrow(0, row, 1))?, &whole.narrow(0, row, 1), 1e-5, &format!("row {row} by itself"))?;
    }
    Ok(())
}

/// In training a row depends on itself and its seed alone: so chunks of a batch are drawn as the whole is. A tower that couples rows (batch
/// norm) has to say so with an exception.
pub fn noise_by_row(config: &BackboneOptions) -> Verdict {
    let toy = Toy::new(config, 1)?;
    let (input, seeds) = (toy.input(5), seeds(5));
    let encode = |start, rows| {
        tch::no_grad(|| toy.encode(&input.narrow(0, start, rows), false, Some(&seeds.narrow(0, start, rows)))).map(|hidden| hidden.pooled)
    };
    let whole = encode(0, 5)?;
    tch::manual_seed(4);
    close(&encode(0, 5)?, &whole, 0.0, "a second training pass with the same seeds")?;
    for (start, rows) in [(0, 2), (2, 3)] {
        close(&encode(start, rows)?, &whole.narrow(0, start, rows), 1e-5, "a chunk with the seeds of its rows")?;
    }
    Ok(())
}

/// A text tower that says `truncates` does not depend on trailing padding.
pub fn padding(config: &BackboneOptions) -> Verdict {
    let toy = Toy::new(config, 1)?;
    let InputSpec::Text { context, pad, truncates: true, .. } = toy.backbone.input() else { return Ok(()) };
    let short = toy.input(3).narrow(0, 2, 1);
    let length = short.not_equal(pad).sum(Kind::Int64).int64_value(&[]);
    ensure(length <= context, || "a row is longer than the context".into())?;
    close(&toy.pooled(&short.narrow(1, 0, length))?, &toy.pooled(&short)?, 1e-5, "a text without its trailing padding")
}

/// Texts that begin alike come out as they do one by one, from a tower that computes their beginning once.
pub fn shared_prefix(config: &BackboneOptions) -> Verdict {
    let toy = Toy::new(config, 1)?;
    let InputSpec::Text { context, .. } = toy.backbone.input() else { return Ok(()) };
    let input = toy.input(4);
    for length in 1..3.min(context) {
        let prefix = input.narrow(0, 3, 1).narrow(1, 0, length);
        let rest = input.narrow(1, length, context - length);
        let whole = Tensor::cat(&[prefix.expand([4, -1], false), rest.shallow_clone()], 1);
        let shared = tch::no_grad(|| toy.backbone.encode_after(&prefix.squeeze_dim(0), &rest)).map_err(failed("encode_after"))?;
        let Some(shared) = shared else { return Ok(()) };
        close(&shared.pooled, &toy.pooled(&whole)?, 1e-5, &format!("texts that have {length} ids in common"))?;
    }
    Ok(())
}

/// Every trainable parameter gets a gradient from the pooled output and the tokens, finite and not zero throughout.
pub fn gradients(config: &BackboneOptions) -> Verdict {
    let toy = Toy::new(config, 1)?;
    let hidden = toy.encode(&toy.input(5), true, Some(&seeds(5)))?;
    // Random weights: the plain sum of a layer norm's outputs has no gradient.
    let mut loss = (&hidden.pooled * toy::randn(&hidden.pooled.size(), 8)).sum(Kind::Float);
    if let Some(tokens) = &hidden.tokens {
        loss += (&tokens.values * toy::randn(&tokens.values.size(), 9)).sum(Kind::Float);
    }
    loss.f_backward().map_err(|error| format!("backward: {error}"))?;
    for (name, parameter) in toy.store.variables() {
        if parameter.requires_grad() {
            let gradient = parameter.grad();
            ensure(gradient.defined(), || format!("`{name}` gets no gradient"))?;
            let largest = gradient.abs().max().double_value(&[]);
            ensure(largest.is_finite() && largest > 0.0, || format!("the largest gradient of `{name}` is {largest}"))?;
        }
    }
    Ok(())
}

/// Under gradient checkpointing the gradients are the same, and a tower that says that it computes its blocks again keeps less for the backward
/// pass.
pub fn recomputation(config: &BackboneOptions) -> Verdict {
    let how: Recompute = |inputs, part| Ok(vlhub_torch_ext::recomputed(inputs, part)?);
    let toy = Toy::new(config, 1)?;
    let (input, seeds) = (toy.input(5), seeds(5));
    let parameters: Vec<_> = toy.store.variables().into_iter().filter(|(_, value)| value.requires_grad()).collect();
    let pass = |tokens: bool, how: Option<Recompute>| {
        for (name, parameter) in &parameters {
            vlhub_torch_ext::forget_gradient(parameter).map_err(|error| format!("`{name}`: {error}"))?;
        }
        let noise = Noise::new(seeds.shallow_clone()).recomputing(how);
        let run = || toy.encode_with(&input, tokens, Some(&noise));
        let (hidden, usage) = vlhub_torch_ext::metered(run).map_err(|error| error.to_string())?;
        let hidden = hidden?;
        let mut loss = (&hidden.pooled * toy::randn(&hidden.pooled.size(), 8)).sum(Kind::Float);
        if let Some(tokens) = &hidden.tokens {
            loss += (&tokens.values * toy::randn(&tokens.values.size(), 9)).sum(Kind::Float);
        }
        loss.f_backward().map_err(|error| format!("backward: {error}"))?;
        let gradients: Vec<Tensor> = parameters.iter().map(|(_, parameter)| parameter.grad()).collect();
        Ok::<_, String>((gradients, usage.live))
    };
    for tokens in [false, true] {
        let ((plain, kept), (again, kept_again)) = (pass(tokens, None)?, pass(tokens, Some(how))?);
        for (((name, _), plain), again) in parameters.iter().zip(&plain).zip(&again) {
            ensure(plain.defined() == again.defined(), || format!("`{name}` gets a gradient in one of both passes alone"))?;
            if plain.defined() {
                close(again, plain, 1e-5, &format!("the gradient of `{name}`, computed again"))?;
            }
        }
        ensure(!toy.backbone.recomputes() || kept_again < kept, || {
            format!("`recomputes` is true, and {kept_again} bytes are kept for the backward pass where {kept} are without")
        })?;
    }
    Ok(())
}

/// The stages cover every parameter exactly once.
pub fn stages(config: &BackboneOptions) -> Verdict {
    let toy = Toy::new(config, 1)?;
    let stages = toy.backbone.stages();
    let within = |name: &str, stage: &str| {
        let stage = stage.trim_end_matches('.');
        name == stage || name.strip_prefix(stage).is_some_and(|rest| rest.starts_with('.'))
    };
    let names: Vec<_> = toy.store.variables().into_iter().filter(|(_, value)| value.requires_grad()).map(|(name, _)| name).collect();
    for name in &names {
        let owners: Vec<_> = stages.iter().filter(|stage| within(name, stage)).collect();
        ensure(owners.len() == 1, || format!("`{name}` belongs to {} stages: {owners:?}", owners.len()))?;
    }
    for stage in &stages {
        ensure(names.iter().any(|name| within(name, stage)), || format!("the stage `{stage}` has no parameter"))?;
    }
    Ok(())
}

/// Parameters that were saved and loaded into another copy give the same output.
pub fn save_and_load(config: &BackboneOptions) -> Verdict {
    let (first, mut second) = (Toy::new(config, 1)?, Toy::new(config, 2)?);
    let mut saved = Vec::new();
    first.store.save_to_stream(&mut saved).map_err(|error| format!("saving: {error}"))?;
    second.store.load_from_stream(std::io::Cursor::new(saved)).map_err(|error| format!("loading: {error}"))?;
    let input = first.input(3);
    close(&second.pooled(&input)?, &first.pooled(&input)?, 0.0, "the output after saving and loading")
}
