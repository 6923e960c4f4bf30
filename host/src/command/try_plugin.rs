//! `vlhub plugins try KIND/NAME`: one plugin, alone, on tensors from a file.

mod inputs;
mod objective;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::RgbImage;
use serde_json::{Value, json};
use tch::{Device, Kind as DType, Tensor, nn};
use vlhub_core::{
    Augmentation, AugmentationCx, Backbone, BackboneCx, Caption, CaptionCx, CaptionTransform, Config, Error, Kind, Objective, Registry,
};

use self::objective::objective;
use super::print_json;
use crate::config::document::Document;
use crate::config::problems::{Layer, Problems};
use crate::data::philox::Philox;
use crate::failure::{Failure, Outcome, hint};
use crate::formats::{read_with_metadata, write_safetensors};

/// What to try on what.
pub struct Trial {
    pub plugin: String,
    pub overrides: Vec<String>,
    pub input: PathBuf,
    pub out: PathBuf,
    pub seed: u64,
    pub repeat: u32,
    pub json: bool,
}

type InputTensors = BTreeMap<String, Tensor>;

/// What a file holds: tensors by name, and the metadata of its header.
struct InputFile {
    tensors: InputTensors,
    metadata: BTreeMap<String, String>,
}

impl InputFile {
    fn read(path: &Path) -> Outcome<Self> {
        let (tensors, metadata) = read_with_metadata(path)?;
        Ok(Self { tensors: tensors.into_iter().collect(), metadata })
    }
}

/// Runs the plugin and writes what it returns.
pub fn try_plugin(registry: &Registry, trial: &Trial) -> Outcome {
    let (kind, name) = trial
        .plugin
        .split_once('/')
        .ok_or_else(|| Failure::usage(format!("`{}` is not KIND/NAME, such as `objective/clip`", trial.plugin)))?;
    if trial.repeat > 0 && kind != "objective" {
        return Err(Failure::usage(format!("--repeat measures objectives; `{}` is none", trial.plugin)));
    }
    let given = InputFile::read(&trial.input)?;
    let (input, mut rng) = (&given.tensors, Philox::new([trial.seed, 0, 0, 0]));
    tch::manual_seed(trial.seed as i64);
    let (written, shown) = match kind {
        "objective" => objective(config::<dyn Objective>(registry, name, &trial.overrides)?.as_ref(), &given, &mut rng, trial.repeat)?,
        "backbone" => backbone(config::<dyn Backbone>(registry, name, &trial.overrides)?.as_ref(), input)?,
        "augmentation" => augmentation(config::<dyn Augmentation>(registry, name, &trial.overrides)?.as_ref(), input, &rng)?,
        "caption" => caption(config::<dyn CaptionTransform>(registry, name, &trial.overrides)?.as_ref(), input, &mut rng)?,
        "eval" => return Err(Failure::usage("a suite needs a model; run it with `vlhub eval FILE --checkpoint DIR`")),
        "source" | "store" => {
            return Err(Failure::usage(format!("a {kind} reads no tensors; `vlhub data check FILE` reads the data that a run file names")));
        }
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

/// The options of a plugin: `overrides` over its defaults.
///
/// # Errors
/// No plugin of this name, or options that it does not have.
pub(super) fn config<K: Kind + ?Sized>(registry: &Registry, name: &str, overrides: &[String]) -> Outcome<Box<dyn Config<K>>> {
    let listed = registry.get::<K>(name)?;
    let mut document = Document::default();
    for argument in overrides {
        document.set(argument)?;
    }
    let mut problems = Problems::new(&document);
    let parse = |value: &Value| listed.parse(value).map(|_| ()).map_err(|error| error.to_string());
    let (defaults, lacks) = (listed.defaults(), format!("`{name}` has no option"));
    let layer = Layer { key: name, defaults: &defaults, known: &[], lacks: &lacks, parse: &parse };
    let merged = Value::Object(problems.lay_over(&layer, &document.tree));
    match problems.failure() {
        Some(failure) => Err(failure),
        None => Ok(listed.parse(&merged)?),
    }
}

fn need<'a>(input: &'a InputTensors, name: &str) -> Outcome<&'a Tensor> {
    input.get(name).ok_or_else(|| {
        let names: Vec<&str> = input.keys().map(String::as_str).collect();
        Failure::usage(format!("the input file has no tensor `{name}`; it has: {}", names.join(" ")))
    })
}

/// A file may carry a plugin's parameters too, under their own names.
fn take_over(vars: &nn::VarStore, input: &InputTensors) -> Outcome {
    let _no_grad = tch::no_grad_guard();
    for (name, mut tensor) in vars.variables() {
        if let Some(value) = input.get(&name) {
            let (here, there) = (tensor.size(), value.size());
            // One number is one number, with or without a dimension; anything else would be spread out silently.
            if here != there && (tensor.numel(), value.numel()) != (1, 1) {
                return Err(Failure::usage(format!("`{name}` has shape {there:?} in the file and {here:?} in the plugin")));
            }
            tensor.f_copy_(&value.f_view(here.as_slice()).map_err(Error::from)?).map_err(Error::from)?;
        }
    }
    Ok(())
}

fn backbone(config: &dyn Config<dyn Backbone>, input: &InputTensors) -> Outcome<(InputTensors, Value)> {
    let vars = nn::VarStore::new(Device::Cpu);
    let backbone = config.build(&BackboneCx { path: vars.root(), embed: 512 })?;
    take_over(&vars, input)?;
    let _no_grad = tch::no_grad_guard();
    let hidden = backbone.encode(need(input, "input")?, true, None)?;
    let parameters: usize = vars.variables().values().map(Tensor::numel).sum();
    let shown = json!({"pooled": hidden.pooled.size(), "parameters": parameters});
    let mut out = InputTensors::from([("pooled".to_owned(), hidden.pooled)]);
    if let Some(tokens) = hidden.tokens {
        out.insert("tokens".into(), tokens.values);
        out.insert("mask".into(), tokens.mask);
    }
    Ok((out, shown))
}

/// Every tensor called `image` or `image.…` is a picture of its own, changed by the same random numbers. `size` may say what the tower reads; without
/// it that is each picture's own size.
fn augmentation(config: &dyn Config<dyn Augmentation>, input: &InputTensors, rng: &Philox) -> Outcome<(InputTensors, Value)> {
    let tower = input.get("size").map(tower_size).transpose()?;
    let pictures: Vec<_> = input.iter().filter(|(name, _)| *name == "image" || name.starts_with("image.")).collect();
    if pictures.is_empty() {
        need(input, "image")?;
    }
    let (mut written, mut shown) = (InputTensors::new(), serde_json::Map::new());
    for (name, image) in pictures {
        let &[height, width, 3] = &image.size()[..] else {
            return Err(Failure::usage(format!("`{name}` has shape {:?}; [H, W, 3] uint8 is wanted", image.size())));
        };
        let bytes = Vec::<u8>::try_from(image.to_kind(DType::Uint8).reshape([-1])).map_err(Error::from)?;
        let picture = RgbImage::from_raw(width as u32, height as u32, bytes).ok_or_else(|| Failure::usage(format!("`{name}` is empty")))?;
        let built = config.build(&AugmentationCx { size: tower.unwrap_or((height as u32, width as u32)) })?;
        let picture = built.apply(picture, &mut rng.clone())?;
        let size = [i64::from(picture.height()), i64::from(picture.width()), 3];
        written.insert(name.clone(), Tensor::from_slice(picture.as_raw()).view(size));
        shown.insert(name.clone(), json!(size));
    }
    Ok((written, Value::Object(shown)))
}

fn tower_size(size: &Tensor) -> Outcome<(u32, u32)> {
    let sides = Vec::<i64>::try_from(size.to_kind(DType::Int64).reshape([-1])).map_err(Error::from)?;
    match sides.iter().map(|side| u32::try_from(*side)).collect::<Result<Vec<_>, _>>().as_deref() {
        Ok(&[height, width]) if height > 0 && width > 0 => Ok((height, width)),
        _ => Err(Failure::usage(format!("`size` is {sides:?}; the height and width that the tower reads are wanted"))),
    }
}

fn caption(config: &dyn Config<dyn CaptionTransform>, input: &InputTensors, rng: &mut Philox) -> Outcome<(InputTensors, Value)> {
    let bytes = Vec::<u8>::try_from(need(input, "text")?.to_kind(DType::Uint8).reshape([-1])).map_err(Error::from)?;
    let text = String::from_utf8(bytes).map_err(|error| Failure::usage(format!("`text` is not UTF-8: {error}")))?;
    let built = config.build(&CaptionCx::new(std::path::Path::new(".")))?;
    let caption = built.apply(Caption { texts: text.lines().map(str::to_owned).collect(), ..Caption::default() }, rng)?;
    let texts = caption.map(|caption| caption.texts);
    let joined = texts.as_ref().map(|texts| texts.join("\n")).unwrap_or_default();
    Ok((InputTensors::from([("text".to_owned(), Tensor::from_slice(joined.as_bytes()))]), json!({"texts": texts})))
}
