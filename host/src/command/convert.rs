//! `vlhub models convert`.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;
use tch::{Kind, Tensor};
use vlhub_core::{InputSpec, Modality};

use super::model::{ModelRequest, WithoutWeights, choose, described_by};
use super::print_json;
use crate::cli::{ConvertArgs, Shared};
use crate::config::RunConfig;
use crate::failure::{Failure, Outcome};
use crate::formats::{self, PartChoice, WeightSet, write_safetensors};
use crate::identity::{METADATA_MODEL, METADATA_WEIGHTS, RunCheckpoint, claims};
use crate::inspect::open_clip_config;
use crate::session::{self, Session};
use crate::weights::{locate, names, which};

/// What open_clip starts the logit scale at: models without one (trained without a contrastive loss) get it, since its loader wants one.
const LOGIT_SCALE: f64 = 2.659_260_036_932_778;

/// Writes weights as a file or folder that open_clip reads.
pub fn convert(shared: &Shared, args: &ConvertArgs) -> Outcome {
    let ending = args.output.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    let format = match ending.as_str() {
        "safetensors" => OutputFormat::Safetensors,
        "pt" | "pth" | "bin" => OutputFormat::Pt,
        "" => OutputFormat::Folder,
        _ => {
            return Err(Failure::usage(format!(
                "cannot write `{}`: the output is a `.safetensors`, a `.pt`, `.pth` or `.bin` file, or a folder",
                args.output.display()
            )));
        }
    };
    let source = locate::locate(&args.input, Path::new("."), "");
    // A tag is known together with its model alone.
    let described = match (&args.model, source) {
        (Some(_), _) => true,
        (None, Err(failure)) => return Err(failure),
        (None, Ok(file)) => RunCheckpoint::of(&file)?.is_some() || described_by(shared, &args.input, &file)?.is_some(),
    };
    if !described {
        if format == OutputFormat::Folder {
            return Err(Failure::usage("a folder holds the model's config too; name the model with `--model`, or convert a run's folder"));
        }
        return plain(args, format);
    }
    let asked = ModelRequest {
        model: args.model.as_deref(),
        document: None,
        overrides: &args.overrides,
        checkpoint: Some(&args.input),
        weights: &args.weights,
        without: WithoutWeights::Refuse,
    };
    let mut chosen = choose(shared, asked)?;
    // Converting is as strict as loading: what is written is the whole model.
    chosen.config.top.pretrained_partial = false;
    let session = chosen.build(tch::Device::Cpu, false)?;
    let config = &chosen.config;
    let loaded = session.loaded.first().ok_or_else(|| Failure::usage(format!("`{}` names no weights", args.input)))?;
    let tensors = tensors(&session);
    let metadata = BTreeMap::from([
        ("format".to_owned(), "pt".to_owned()),
        (METADATA_MODEL.to_owned(), claims::metadata(config, &session.towers)),
        (METADATA_WEIGHTS.to_owned(), loaded.set.name().to_owned()),
    ]);
    match format {
        OutputFormat::Safetensors => write_safetensors(&args.output, &tensors, &metadata)?,
        OutputFormat::Pt => formats::write_pt(&args.output, &tensors, &BTreeMap::new())?,
        OutputFormat::Folder => folder(shared, args, config, &session, &tensors, &metadata)?,
    }
    if args.json {
        return print_json(&json!({
            "out": args.output, "tensors": tensors.len(), "names": loaded.fitted.names, "weights": loaded.set.name(), "checkpoint": loaded.path,
            "differences": chosen.all_differences(&session),
        }));
    }
    let which = match loaded.set {
        WeightSet::Average => "the moving average of the weights, ",
        WeightSet::Raw => "",
    };
    say!("wrote {}: {which}{} tensors, read with the names of {}", args.output.display(), tensors.len(), loaded.fitted.names);
    Ok(())
}

/// What is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OutputFormat {
    Safetensors,
    Pt,
    Folder,
}

/// Another format, with the names that the file has but for what wrappers put around them; nothing is known of the model.
fn plain(args: &ConvertArgs, format: OutputFormat) -> Outcome {
    let source = locate::locate(&args.input, Path::new("."), "")?;
    let wanted = args.weights.weights.map_or(PartChoice::Any, PartChoice::Set);
    let mut file = formats::read_part(&source, wanted, &formats::Limits::default())?;
    let said = file.extras.metadata.get(METADATA_WEIGHTS).and_then(|name| WeightSet::parse(name));
    let taken = which::take(&mut file, args.weights.weights, None, said)
        .map_err(|why| Failure::new(Failure::RESUME, format!("the weights `{}`: {why}", source.display())))?;
    let aside = |name: &str| ["optimizer.", "average.", "lora."].iter().any(|kept| name.starts_with(kept));
    let tensors: Vec<(String, Tensor)> = names::unwrapped(taken.tensors).into_iter().filter(|(name, _)| !aside(name)).collect();
    match format {
        OutputFormat::Pt => formats::write_pt(&args.output, &tensors, &BTreeMap::new())?,
        _ => write_safetensors(&args.output, &tensors, &BTreeMap::from([("format".to_owned(), "pt".to_owned())]))?,
    }
    if args.json {
        return print_json(&json!({"out": args.output, "tensors": tensors.len(), "weights": taken.set.name(), "checkpoint": file.path}));
    }
    say!("wrote {}: {} tensors with the names they had", args.output.display(), tensors.len());
    Ok(())
}

/// The tensors that open_clip's model has: towers, logit scale and bias, CoCa's decoder; not the heads of other objectives.
fn tensors(session: &Session) -> Vec<(String, Tensor)> {
    let mut tensors: Vec<(String, Tensor)> = session
        .towers
        .variables()
        .into_iter()
        .filter(|(name, _)| !name.starts_with("objective."))
        .map(|(name, tensor)| (name, tensor.detach()))
        .collect();
    if !tensors.iter().any(|(name, _)| name == "logit_scale") {
        let scale = session.logit_scale().map_or_else(|| Tensor::from(LOGIT_SCALE as f32), Tensor::shallow_clone);
        tensors.push(("logit_scale".into(), scale.to_kind(Kind::Float).reshape([0i64; 0])));
    }
    tensors
}

/// A folder as published models have it.
fn folder(
    shared: &Shared,
    args: &ConvertArgs,
    config: &RunConfig,
    session: &Session,
    tensors: &[(String, Tensor)],
    metadata: &BTreeMap<String, String>,
) -> Outcome {
    let made = open_clip_config(config, &crate::libraries::registry(&shared.libraries)?).map_err(Failure::usage)?;
    let failed = |error: std::io::Error| Failure::usage(format!("cannot write the folder `{}`: {error}", args.output.display()));
    std::fs::create_dir_all(&args.output).map_err(failed)?;
    let mut preprocess = json!({"interpolation": config.preprocess.interpolation, "resize_mode": config.preprocess.resize_mode});
    if let Ok(net) = session.towers.net(Modality::Image)
        && let InputSpec::Image { mean, std, .. } = &net.input
    {
        preprocess["mean"] = json!(config.preprocess.mean.unwrap_or(*mean));
        preprocess["std"] = json!(config.preprocess.std.unwrap_or(*std));
    }
    let described = serde_json::to_string_pretty(&json!({"model_cfg": made, "preprocess_cfg": preprocess})).unwrap_or_default();
    std::fs::write(args.output.join("open_clip_config.json"), described + "\n").map_err(failed)?;
    write_safetensors(&args.output.join("open_clip_model.safetensors"), tensors, metadata)?;
    if let Some(from) = session::tokenizer_file(config)? {
        std::fs::copy(&from, args.output.join("tokenizer.json")).map_err(failed)?;
    }
    let name = args.output.file_name().unwrap_or_default().to_string_lossy().into_owned();
    std::fs::write(args.output.join("README.md"), card(&name, config, tensors)).map_err(failed)
}

/// The model card that goes with a published model.
fn card(name: &str, config: &RunConfig, tensors: &[(String, Tensor)]) -> String {
    let parameters: usize = tensors.iter().map(|(_, tensor)| tensor.numel()).sum();
    let task = if config.text.is_some() { "zero-shot-image-classification" } else { "image-feature-extraction" };
    let trained: Vec<String> = config.objectives.iter().map(|term| format!("`{}`", term.chosen.plugin)).collect();
    let trained = if trained.is_empty() { String::new() } else { format!("\n\nTrained with {}.", trained.join(", ")) };
    format!(
        "---\ntags:\n- clip\nlibrary_name: open_clip\npipeline_tag: {task}\n---\n\n# {name}\n\n{:.1} M parameters, width of the joint space {}.{trained}\n\n\
         ```python\nimport open_clip\nmodel, preprocess = open_clip.create_model_from_pretrained('local-dir:{name}')\n```\n",
        parameters as f64 / 1e6,
        config.top.embed
    )
}
