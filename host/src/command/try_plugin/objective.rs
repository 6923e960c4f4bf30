//! An objective, alone: features in; the loss, and the gradient of every input and of every parameter out.

use serde_json::{Map, Value, json};
use tch::{Device, Tensor, nn};
use vlhub_core::{Batch, Config, Error, Loss, Objective};

use super::inputs::Inputs;
use super::{InputFile, InputTensors, take_over};
use crate::data::philox::Philox;
use crate::failure::{Failure, Outcome};
use crate::measuring::repeated;

/// Runs `prepare` and then the loss, in the order of a training step. What the file says is laid over what `prepare` derives.
/// `repeat` times more it is only measured.
pub(super) fn objective(
    config: &dyn Config<dyn Objective>,
    given: &InputFile,
    rng: &mut Philox,
    repeat: u32,
) -> Outcome<(InputTensors, Value)> {
    let inputs = Inputs::new(given)?;
    let mut batch = inputs.batch();
    inputs.add_views(&mut batch)?;
    let vars = nn::VarStore::new(Device::Cpu);
    let cx = inputs.cx(&vars.root())?;
    let objective = config.build(&cx)?;
    take_over(&vars, &given.tensors)?;

    objective.prepare(&mut batch, rng).map_err(lacks)?;
    inputs.add_views(&mut batch)?;
    inputs.add_extras(&mut batch, &vars.variables())?;

    let needs = objective.needs();
    let run = || -> Outcome<(Loss, InputTensors)> {
        let mut leaves = InputTensors::new();
        let features = inputs.features(&needs, &cx, &mut leaves)?;
        let loss = objective.loss(&features.only(&needs, "this plugin"), &batch).map_err(|error| {
            let mut failure = lacks(error);
            for (name, width) in inputs.lacking(&needs, &cx) {
                failure.message += &format!("; the input file has no tensor `{name}` [N, {width}], and the embedding has another width");
            }
            failure
        })?;
        loss.total.f_backward().map_err(Error::from)?;
        Ok((loss, leaves))
    };
    let (loss, leaves) = run()?;
    let value = loss.value();

    let mut out = derived(&batch, given)?;
    for (name, tensor) in leaves.into_iter().chain(vars.variables()) {
        if tensor.grad().defined() {
            // A copy: what is only measured adds to the gradients of parameters.
            out.insert(format!("grad.{name}"), tensor.grad().copy());
        }
    }
    out.insert("loss".into(), loss.total.detach());
    let mut metrics = Map::new();
    for (name, value) in &loss.metrics {
        metrics.insert((*name).to_owned(), json!(value));
        out.insert(format!("metric.{name}"), Tensor::from(*value));
    }
    let mut shown = json!({"loss": value, "metrics": metrics});
    if repeat > 0 {
        // Seconds of loss and gradients, and the bytes of tensors that they take at most beside the inputs.
        shown["speed"] = json!(repeated(repeat, run)?);
    }
    Ok((out, shown))
}

/// The views that `prepare` added, by the names that they would have in a file.
fn derived(batch: &Batch, given: &InputFile) -> Outcome<InputTensors> {
    let mut out = InputTensors::new();
    let (images, texts) = batch.views();
    for view in images {
        out.insert(format!("pictures.{view}"), batch.image(view)?.shallow_clone());
    }
    for view in texts {
        out.insert(format!("ids.{view}"), batch.text(view)?.shallow_clone());
    }
    out.retain(|name, _| !given.tensors.contains_key(name));
    Ok(out)
}

/// What the plugin misses in the batch, by the name that it has in a file. A plugin's error is a text by the time it is here.
fn lacks(error: Error) -> Failure {
    let failure = Failure::from(error);
    for (what, prefix) in [("text view", "ids."), ("image view", "pictures."), ("extra input", "")] {
        let rest = failure.message.split_once(&format!("the batch has no {what} `")).map(|(_, rest)| rest);
        if let Some((view, _)) = rest.and_then(|rest| rest.split_once('`')) {
            return Failure::usage(format!("the input file has no tensor `{prefix}{view}`: {}", failure.message));
        }
    }
    failure
}
