//! `vlhub plugins try KIND/NAME`: one plugin, alone, on tensors from a file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use image::RgbImage;
use serde_json::{Map, Value, json};
use tch::{Device, Kind as DType, Tensor, nn};
use vlhub_core::{
    Augmentation, AugmentationCx, Backbone, BackboneCx, Batch, Caption, CaptionCx, CaptionTransform, Config, Encoded, Error, Features,
    InputSpec, Kind, Objective, ObjectiveCx, Registry, Tokens, Tower,
};

use super::print_json;
use crate::checkpoint::{read_safetensors, write_safetensors};
use crate::config::document::Document;
use crate::config::problems::{Problems, hint};
use crate::data::philox::Philox;
use crate::failure::{Failure, Outcome};

/// What to try on what.
pub struct Trial {
    pub plugin: String,
    pub overrides: Vec<String>,
    pub input: PathBuf,
    pub out: PathBuf,
    pub seed: u64,
    pub json: bool,
}

type Tensors = BTreeMap<String, Tensor>;

/// Runs the plugin and writes what it returns.
pub fn try_plugin(registry: &Registry, trial: &Trial) -> Outcome {
    let (kind, name) = trial
        .plugin
        .split_once('/')
        .ok_or_else(|| Failure::usage(format!("`{}` is not KIND/NAME, such as `objective/clip`", trial.plugin)))?;
    let input: Tensors = read_safetensors(&trial.input)?.into_iter().collect();
    tch::manual_seed(trial.seed as i64);
    let (written, shown) = match kind {
        "objective" => objective(config::<dyn Objective>(registry, name, &trial.overrides)?.as_ref(), &input)?,
        "backbone" => backbone(config::<dyn Backbone>(registry, name, &trial.overrides)?.as_ref(), &input)?,
        "augmentation" => augmentation(config::<dyn Augmentation>(registry, name, &trial.overrides)?.as_ref(), &input, trial.seed)?,
        "caption" => caption(config::<dyn CaptionTransform>(registry, name, &trial.overrides)?.as_ref(), &input, trial.seed)?,
        "eval" => return Err(Failure::usage("a suite needs a model; run it with `vlhub eval FILE --checkpoint DIR`")),
        _ => {
            return Err(Failure::usage(format!("no kind is called `{kind}`{}", hint(kind, Registry::KINDS))));
        }
    };
    write_safetensors(&trial.out, &written.into_iter().collect::<Vec<_>>(), &BTreeMap::new())?;
    if trial.json {
        return print_json(&shown);
    }
    say!("{} · wrote {}", shown, trial.out.display());
    Ok(())
}

fn config<K: Kind + ?Sized>(registry: &Registry, name: &str, overrides: &[String]) -> Outcome<Box<dyn Config<K>>> {
    let listed = registry.get::<K>(name)?;
    let mut document = Document::default();
    for argument in overrides {
        document.set(argument)?;
    }
    let mut problems = Problems::new(&document);
    let parse = |value: &Value| listed.parse(value).map(|_| ()).map_err(|error| error.to_string());
    let merged = problems.lay_over(name, &listed.defaults(), &document.tree, &format!("`{name}`"), &parse);
    match problems.failure() {
        Some(failure) => Err(failure),
        None => Ok(listed.parse(&merged)?),
    }
}

fn need<'a>(input: &'a Tensors, name: &str) -> Outcome<&'a Tensor> {
    input.get(name).ok_or_else(|| {
        let names: Vec<&str> = input.keys().map(String::as_str).collect();
        Failure::usage(format!("the input file has no tensor `{name}`; it has: {}", names.join(" ")))
    })
}

/// A file may carry a plugin's parameters too, under their own names.
fn take_over(vars: &nn::VarStore, input: &Tensors) -> Outcome {
    let _no_grad = tch::no_grad_guard();
    for (name, mut tensor) in vars.variables() {
        if let Some(value) = input.get(&name) {
            tensor.f_copy_(value).map_err(Error::from)?;
        }
    }
    Ok(())
}

/// Feature tensors in; the loss, and the gradient of every input and of every parameter out.
fn objective(config: &dyn Config<dyn Objective>, input: &Tensors) -> Outcome<(Tensors, Value)> {
    let width = |modality: &str| {
        input.iter().find(|(name, _)| name.starts_with(&format!("{modality}."))).and_then(|(_, tensor)| tensor.size().last().copied())
    };
    let (image, text) = (width("image"), width("text"));
    let embed = image.or(text).ok_or_else(|| Failure::usage("the input file has no tensor `image.VIEW` or `text.VIEW`"))?;
    let vars = nn::VarStore::new(Device::Cpu);
    let picture = InputSpec::Image { size: (1, 1), mean: [0.0; 3], std: [1.0; 3] };
    let words = InputSpec::Text { context: 77, vocab: 49408, pad: 0, truncates: true };
    let cx = ObjectiveCx {
        path: vars.root() / "objective",
        shared: vars.root(),
        embed,
        image: image.map(|width| Tower { input: picture, width }),
        text: text.map(|width| Tower { input: words, width }),
        teachers: Vec::new(),
    };
    let objective = config.build(&cx)?;
    take_over(&vars, input)?;
    let mut sizes = input.iter().filter(|(name, _)| name.starts_with("image.") || name.starts_with("text."));
    let (first, rows) = sizes.next().map(|(name, tensor)| (name.clone(), tensor.size().first().copied().unwrap_or(0))).unwrap_or_default();
    for (name, tensor) in sizes {
        if tensor.size().first() != Some(&rows) {
            return Err(Failure::usage(format!(
                "`{name}` has shape {:?} and `{first}` has {rows} rows; all views have the same rows",
                tensor.size()
            )));
        }
    }
    let mut features = Features::new(0..rows, rows);
    let mut leaves = Tensors::new();
    for wanted in objective.needs() {
        let key = format!("{}.{}", wanted.modality, wanted.view);
        let mut leaf = |name: &str| -> Outcome<Tensor> {
            let tensor = need(input, name)?.to_kind(DType::Float).detach().set_requires_grad(true);
            leaves.insert(format!("grad.{name}"), tensor.shallow_clone());
            Ok(tensor)
        };
        let embed = leaf(&key)?;
        let width = embed.size().last().copied();
        if embed.dim() != 2 || width != Some(cx.embed) {
            return Err(Failure::usage(format!("`{key}` has shape {:?}; [{rows}, {}] is wanted", embed.size(), cx.embed)));
        }
        let tokens = match wanted.tokens {
            true => {
                let values = leaf(&format!("{key}.tokens"))?;
                let mask = match input.get(&format!("{key}.mask")) {
                    Some(mask) => mask.to_kind(DType::Bool),
                    None => Tensor::ones(&values.size()[..2], (DType::Bool, Device::Cpu)),
                };
                Some(Tokens { values, mask })
            }
            false => None,
        };
        features.insert(wanted.modality, wanted.view.clone(), Encoded { pooled: embed.shallow_clone(), embed, tokens });
    }
    let mut batch = Batch::new(rows);
    for (name, tensor) in input.iter().filter(|(name, _)| !name.starts_with("image.") && !name.starts_with("text.")) {
        if tensor.size().first() == Some(&rows) {
            batch.set_extra(name.clone(), tensor.shallow_clone())?;
        }
    }
    let loss = objective.loss(&features.only(&objective.needs(), "this plugin"), &batch)?;
    let value = loss.value();
    loss.total.f_backward().map_err(Error::from)?;
    let mut out: Tensors = leaves.into_iter().map(|(name, leaf)| (name, leaf.grad())).filter(|(_, grad)| grad.defined()).collect();
    for (name, tensor) in vars.variables() {
        if tensor.grad().defined() {
            out.insert(format!("grad.{name}"), tensor.grad());
        }
    }
    out.insert("loss".into(), loss.total.detach());
    let metrics: Map<String, Value> = loss.metrics.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    Ok((out, json!({"loss": value, "metrics": metrics})))
}

fn backbone(config: &dyn Config<dyn Backbone>, input: &Tensors) -> Outcome<(Tensors, Value)> {
    let vars = nn::VarStore::new(Device::Cpu);
    let backbone = config.build(&BackboneCx { path: vars.root(), embed: 512 })?;
    take_over(&vars, input)?;
    let _no_grad = tch::no_grad_guard();
    let hidden = backbone.encode(need(input, "input")?, true, None)?;
    let parameters: usize = vars.variables().values().map(Tensor::numel).sum();
    let shown = json!({"pooled": hidden.pooled.size(), "parameters": parameters});
    let mut out = Tensors::from([("pooled".to_owned(), hidden.pooled)]);
    if let Some(tokens) = hidden.tokens {
        out.insert("tokens".into(), tokens.values);
        out.insert("mask".into(), tokens.mask);
    }
    Ok((out, shown))
}

fn augmentation(config: &dyn Config<dyn Augmentation>, input: &Tensors, seed: u64) -> Outcome<(Tensors, Value)> {
    let image = need(input, "image")?;
    let &[height, width, 3] = &image.size()[..] else {
        return Err(Failure::usage(format!("`image` has shape {:?}; [H, W, 3] uint8 is wanted", image.size())));
    };
    let bytes = Vec::<u8>::try_from(image.to_kind(DType::Uint8).reshape([-1])).map_err(Error::from)?;
    let picture = RgbImage::from_raw(width as u32, height as u32, bytes).ok_or_else(|| Failure::usage("`image` is empty"))?;
    let built = config.build(&AugmentationCx { size: (height as u32, width as u32) })?;
    let picture = built.apply(picture, &mut Philox::new([seed, 0, 0, 0]))?;
    let size = [i64::from(picture.height()), i64::from(picture.width()), 3];
    let tensor = Tensor::from_slice(picture.as_raw()).view(size);
    Ok((Tensors::from([("image".to_owned(), tensor)]), json!({"image": size})))
}

fn caption(config: &dyn Config<dyn CaptionTransform>, input: &Tensors, seed: u64) -> Outcome<(Tensors, Value)> {
    let bytes = Vec::<u8>::try_from(need(input, "text")?.to_kind(DType::Uint8).reshape([-1])).map_err(Error::from)?;
    let text = String::from_utf8(bytes).map_err(|error| Failure::usage(format!("`text` is not UTF-8: {error}")))?;
    let built = config.build(&CaptionCx { folder: std::path::Path::new(".") })?;
    let caption = built
        .apply(Caption { texts: text.lines().map(str::to_owned).collect(), ..Caption::default() }, &mut Philox::new([seed, 0, 0, 0]))?;
    let texts = caption.map(|caption| caption.texts);
    let joined = texts.as_ref().map(|texts| texts.join("\n")).unwrap_or_default();
    Ok((Tensors::from([("text".to_owned(), Tensor::from_slice(joined.as_bytes()))]), json!({"texts": texts})))
}
