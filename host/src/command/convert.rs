//! `vlhub models convert`.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;
use tch::{Kind, Tensor};
use vlhub_core::{InputSpec, Modality};

use super::model_or_run;
use crate::cli::{ConvertArgs, Shared};
use crate::config::RunConfig;
use crate::config::document::Document;
use crate::failure::{Failure, Outcome};
use crate::formats::{self, write_safetensors};
use crate::inspect::open_clip_config;
use crate::session::{self, Session, initial_weights};
use crate::weights::fit::Part;
use crate::weights::locate;

/// What open_clip starts the logit scale at: models without one (trained without a contrastive loss) get it, since its loader wants one.
const LOGIT_SCALE: f64 = 2.659_260_036_932_778;

/// Writes weights as a file or folder that open_clip reads.
pub fn convert(shared: &Shared, args: &ConvertArgs) -> Outcome {
    let ending = args.output.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    let format = match ending.as_str() {
        "safetensors" => Format::Safetensors,
        "pt" | "pth" | "bin" => Format::Pt,
        "" => Format::Folder,
        _ => {
            return Err(Failure::usage(format!(
                "cannot write `{}`: the output is a `.safetensors`, a `.pt`, `.pth` or `.bin` file, or a folder",
                args.output.display()
            )));
        }
    };
    let Some(config) = config(shared, args)? else {
        if format == Format::Folder {
            return Err(Failure::usage("a folder holds the model's config too; name the model with `--model`, or convert a run's folder"));
        }
        return plain(args, format);
    };
    let file = locate::locate(&args.input, Path::new("."), &config.top.model)?;
    // Converting is as strict as loading: what is written is the whole model.
    let session = session::build_without_tokenizer(&config, tch::Device::Cpu)?;
    let loaded = initial_weights::load_file(&session.towers, &file, Part::Whole, false)?;
    let tensors = tensors(&session, loaded.scale);
    match format {
        Format::Safetensors => write_safetensors(&args.output, &tensors, &BTreeMap::from([("format".to_owned(), "pt".to_owned())]))?,
        Format::Pt => formats::write_pt(&args.output, &tensors, &BTreeMap::new())?,
        Format::Folder => folder(shared, args, &config, &session, &tensors)?,
    }
    say!("wrote {}: {} tensors, read with the names of {}", args.output.display(), tensors.len(), loaded.fitted.names);
    Ok(())
}

/// What is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Safetensors,
    Pt,
    Folder,
}

/// The model that is converted: the one that is named, else that of the run whose folder is read.
fn config(shared: &Shared, args: &ConvertArgs) -> Outcome<Option<RunConfig>> {
    if let Some(model) = &args.model {
        let mut overrides = args.overrides.clone();
        // The weights are those that are converted.
        overrides.push("pretrained=\"\"".into());
        return model_or_run(shared, model, &overrides).map(Some);
    }
    let input = Path::new(&args.input);
    let run = input.ancestors().take(3).map(|folder| folder.join("config.toml")).find(|file| file.is_file());
    let Some(run) = run else { return Ok(None) };
    let mut document = Document::of_run(&run)?;
    for argument in &args.overrides {
        document.set(argument)?;
    }
    RunConfig::of(&document, &super::registry_of(shared, &document)?).map(Some)
}

/// Another format, with the names that the file has; nothing is known of the model.
fn plain(args: &ConvertArgs, format: Format) -> Outcome {
    let file = locate::locate(&args.input, Path::new("."), "")?;
    let read = formats::read(&file, &formats::Limits::default())?;
    let tensors: Vec<(String, Tensor)> = read
        .tensors
        .into_iter()
        .filter(|(name, _)| !["optimizer.", "average.", "ema.", "lora."].iter().any(|kept| name.starts_with(kept)))
        .collect();
    match format {
        Format::Pt => formats::write_pt(&args.output, &tensors, &BTreeMap::new())?,
        _ => write_safetensors(&args.output, &tensors, &BTreeMap::from([("format".to_owned(), "pt".to_owned())]))?,
    }
    say!("wrote {}: {} tensors with the names they had", args.output.display(), tensors.len());
    Ok(())
}

/// The tensors that open_clip's model has: towers, logit scale and bias, CoCa's decoder; not the heads of other objectives.
fn tensors(session: &Session, scale: Option<Tensor>) -> Vec<(String, Tensor)> {
    let mut tensors: Vec<(String, Tensor)> = session
        .towers
        .variables()
        .into_iter()
        .filter(|(name, _)| !name.starts_with("objective."))
        .map(|(name, tensor)| (name, tensor.detach()))
        .collect();
    if !tensors.iter().any(|(name, _)| name == "logit_scale") {
        let scale = scale.unwrap_or_else(|| Tensor::from(LOGIT_SCALE as f32));
        tensors.push(("logit_scale".into(), scale.to_kind(Kind::Float).reshape([0i64; 0])));
    }
    tensors
}

/// A folder as published models have it.
fn folder(shared: &Shared, args: &ConvertArgs, config: &RunConfig, session: &Session, tensors: &[(String, Tensor)]) -> Outcome {
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
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    write_safetensors(&args.output.join("open_clip_model.safetensors"), tensors, &metadata)?;
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
