//! From a checked run file to towers, objectives and views.

use std::path::Path;
use std::sync::Arc;

use tch::{Device, Tensor};
use vlhub_core::{InputSpec, Modality, ObjectiveCx};

use crate::config::RunConfig;
use crate::data::loader::{ImageInput, ImageView, TextView, Views};
use crate::data::tokens::{self, Tokenizer};
use crate::engine::terms::Term;
use crate::engine::towers::Towers;
use crate::failure::{Failure, Outcome};

/// What `auto`, `cpu`, `cuda` or `cuda:N` asks for: nothing in particular, the CPU, or a GPU.
///
/// # Errors
/// Another text.
pub fn device_name(name: &str) -> Outcome<Option<Device>> {
    match name {
        "auto" => return Ok(None),
        "cpu" => return Ok(Some(Device::Cpu)),
        _ => {}
    }
    let index = match name.strip_prefix("cuda") {
        Some("") => Some(0),
        Some(rest) => rest.strip_prefix(':').and_then(|number| number.parse().ok()),
        None => None,
    };
    index
        .map(|index| Some(Device::Cuda(index)))
        .ok_or_else(|| Failure::usage(format!("device `{name}` is unknown; known: auto cpu cuda cuda:N")))
}

/// The device that a name stands for on this machine.
///
/// # Errors
/// CUDA was asked for and is not there: never a silent CPU.
pub fn device(name: &str) -> Outcome<Device> {
    let wanted = device_name(name)?;
    if wanted == Some(Device::Cpu) {
        return Ok(Device::Cpu);
    }
    crate::loader::open_cuda();
    let count = if tch::Cuda::is_available() { tch::Cuda::device_count() } else { 0 };
    match wanted {
        None => Ok(if count > 0 { Device::Cuda(0) } else { Device::Cpu }),
        Some(Device::Cuda(index)) if (index as i64) < count => Ok(Device::Cuda(index)),
        _ if count == 0 => Err(Failure::usage(format!(
            "device `{name}`: this libtorch finds no GPU; `cargo vlhub doctor` says why, `cargo vlhub setup --cuda` installs a libtorch with CUDA"
        ))),
        _ => Err(Failure::usage(format!("device `{name}`: there are {count} GPUs, numbered from 0"))),
    }
}

/// Towers and objectives of a run, with its weights to start from.
#[derive(Debug)]
pub struct Session {
    /// Towers, projections and all parameters.
    pub towers: Towers,
    /// Objectives.
    pub terms: Vec<Term>,
    /// Turns texts into ids, when there is a text tower.
    pub tokenizer: Option<Arc<dyn Tokenizer>>,
}

/// Builds what a run file names. The same seed gives the same initial weights.
///
/// # Errors
/// Whatever a plugin refuses, an unreadable tokenizer, or weights that do not fit.
pub fn build(config: &RunConfig, device: Device) -> Outcome<Session> {
    let mut session = build_without_tokenizer(config, device)?;
    session.tokenizer = tokenizer(config, &session.towers)?;
    Ok(session)
}

/// [`build`] for towers that are given token ids.
pub fn build_without_tokenizer(config: &RunConfig, device: Device) -> Outcome<Session> {
    tch::manual_seed(config.top.seed as i64);
    let image = config.image.as_ref().map(|tower| tower.chosen.config.as_ref());
    let text = config.text.as_ref().map(|tower| tower.chosen.config.as_ref());
    let mut towers = Towers::build(device, config.top.embed, config.top.custom_text, image, text)?;
    let mut terms = Vec::new();
    for term in &config.objectives {
        let cx = ObjectiveCx {
            path: towers.vars.root() / "objective" / term.key.as_str(),
            shared: towers.vars.root(),
            embed: config.top.embed,
            image: towers.about(Modality::Image),
            text: towers.about(Modality::Text),
        };
        let place = format!("objective.{}", term.key);
        let objective = term.chosen.config.build(&cx).map_err(|error| error.within(&place))?;
        towers.refuse_renamed(&place)?;
        for need in objective.needs() {
            towers.net(need.modality).map_err(|error| error.within(&place))?;
        }
        terms.push(Term::new(&term.key, term.weight, objective));
    }
    if !config.top.pretrained.is_empty() {
        load_weights(&towers, &config.folder.join(&config.top.pretrained))?;
    }
    for (modality, tower) in [(Modality::Image, &config.image), (Modality::Text, &config.text)] {
        if let Some(tower) = tower.as_ref().filter(|tower| !tower.freeze.is_empty()) {
            towers.freeze(modality, &tower.freeze)?;
        }
    }
    Ok(Session { towers, terms, tokenizer: None })
}

fn tokenizer(config: &RunConfig, towers: &Towers) -> Outcome<Option<Arc<dyn Tokenizer>>> {
    let Some(net) = &towers.text else { return Ok(None) };
    let InputSpec::Text { context, vocab, pad, .. } = net.input else { return Ok(None) };
    let tokenizer = match config.top.tokenizer.as_str() {
        "clip" => tokens::clip(context as usize)?,
        path => tokens::from_file(&config.folder.join(path), context as usize)?,
    };
    if tokenizer.pad() != pad {
        return Err(Failure::usage(format!(
            "the tokenizer `{}` fills up with id {} and the text tower expects {pad}; set `backbone.text.pad={}`",
            config.top.tokenizer,
            tokenizer.pad(),
            tokenizer.pad()
        )));
    }
    if tokenizer.vocab() as i64 > vocab {
        return Err(Failure::usage(format!(
            "the tokenizer `{}` has {} ids and the text tower takes {vocab}; set `backbone.text.vocab={}`",
            config.top.tokenizer,
            tokenizer.vocab(),
            tokenizer.vocab()
        )));
    }
    Ok(Some(tokenizer))
}

/// Copies weights with open_clip's names out of a safetensors file. Every tower parameter must be there and fit; parameters of objectives may
/// be missing. Returns what the file holds.
///
/// # Errors
/// The missing, unexpected and misshapen names.
pub fn load_weights(towers: &Towers, path: &Path) -> Outcome<Vec<(String, Tensor)>> {
    let file = crate::checkpoint::read_safetensors(path).map_err(|error| Failure::new(Failure::RESUME, error.to_string()))?;
    let _no_grad = tch::no_grad_guard();
    let mut wrong = Vec::new();
    let variables = towers.variables();
    for (name, tensor) in &variables {
        match file.iter().find(|(known, _)| known.strip_prefix("module.").unwrap_or(known) == name) {
            Some((_, found)) if found.size() == tensor.size() => {
                tensor.shallow_clone().f_copy_(found).map_err(vlhub_core::Error::from)?;
            }
            Some((_, found)) => {
                wrong.push(format!("`{name}` has shape {:?} in the file and {:?} in the model", found.size(), tensor.size()))
            }
            None if name.starts_with("objective.") || name.starts_with("logit_") => {}
            None => wrong.push(format!("`{name}` is missing")),
        }
    }
    // A whole training checkpoint may be named here; only what looks like a tower's parameter is unexpected.
    let known = |name: &str| variables.iter().any(|(variable, _)| variable == name);
    let aside =
        |name: &str| name.starts_with("optimizer.") || name.starts_with("objective.") || name.starts_with("logit_") || name == "attn_mask";
    for (name, _) in &file {
        let name = name.strip_prefix("module.").unwrap_or(name);
        if !known(name) && !aside(name) {
            wrong.push(format!("`{name}` is not in the model"));
        }
    }
    if wrong.is_empty() {
        return Ok(file);
    }
    let more = if wrong.len() > 10 { format!("\n  and {} more", wrong.len() - 10) } else { String::new() };
    wrong.truncate(10);
    Err(Failure::new(Failure::RESUME, format!("the weights of `{}` do not fit the model:\n  {}{more}", path.display(), wrong.join("\n  "))))
}

/// The views that the loader makes: those of the run file, and `main` for each tower; class labels too where the data has classes.
///
/// # Errors
/// Whatever a plugin refuses.
pub fn views(config: &RunConfig, towers: &Towers, labels: bool) -> Outcome<(Views, Option<ImageInput>)> {
    let mut views = Views { labels, ..Views::default() };
    let mut input = None;
    if let Some(InputSpec::Image { size, mean, std }) = towers.image.as_ref().map(|net| net.input.clone()) {
        let size = (size.0 as u32, size.1 as u32);
        input = Some(ImageInput { size, mean: mean.map(|value| value as f32), std: std.map(|value| value as f32) });
        for view in &config.image_views {
            let mut augment = Vec::new();
            for (index, step) in view.steps.iter().enumerate() {
                let place = format!("view.image.{}.augment.{index}", view.name);
                let built = step.config.build(&vlhub_core::AugmentationCx { size }).map_err(|error| error.within(place))?;
                augment.push((step.plugin.clone(), built));
            }
            views.images.push(ImageView { name: view.name.clone(), augment });
        }
        if !views.images.iter().any(|view| view.name == "main") {
            views.images.push(ImageView { name: "main".into(), augment: Vec::new() });
        }
    }
    if towers.text.is_some() {
        for view in &config.text_views {
            let mut transform = Vec::new();
            for (index, step) in view.steps.iter().enumerate() {
                let place = format!("view.text.{}.transform.{index}", view.name);
                let cx = vlhub_core::CaptionCx { folder: &config.folder };
                transform.push((step.plugin.clone(), step.config.build(&cx).map_err(|error| error.within(place))?));
            }
            views.texts.push(TextView { name: view.name.clone(), transform });
        }
        if !views.texts.iter().any(|view| view.name == "main") {
            views.texts.push(TextView { name: "main".into(), transform: Vec::new() });
        }
    }
    Ok((views, input))
}

/// Whether the token matrix may be cut to the longest text of a batch.
pub fn truncates(towers: &Towers) -> bool {
    matches!(towers.text.as_ref().map(|net| &net.input), Some(InputSpec::Text { truncates: true, .. }))
}

/// A table of parameters: group, number, number trained. Groups are the towers and the objectives.
pub fn parameter_table(towers: &Towers) -> Vec<(String, i64, i64)> {
    let mut table: Vec<(String, i64, i64)> = Vec::new();
    for (name, tensor) in towers.variables() {
        let group = match name.split('.').collect::<Vec<_>>()[..] {
            ["visual", ..] => "image tower".to_owned(),
            ["objective", key, ..] => format!("objective.{key}"),
            [one] if one.starts_with("logit_") => one.to_owned(),
            _ => "text tower".to_owned(),
        };
        let count = tensor.numel() as i64;
        let trained = if tensor.requires_grad() { count } else { 0 };
        match table.iter_mut().find(|(known, ..)| *known == group) {
            Some((_, all, open)) => {
                *all += count;
                *open += trained;
            }
            None => table.push((group, count, trained)),
        }
    }
    table
}

/// A hash of all parameters: equal hashes, equal weights.
pub fn weights_hash(variables: &[(String, Tensor)]) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for (name, tensor) in variables {
        hash.update(name.as_bytes());
        let flat = tensor.detach().to_device(Device::Cpu).contiguous();
        let mut bytes = vec![0u8; flat.numel() * flat.kind().elt_size_in_bytes()];
        flat.copy_data_u8(&mut bytes, flat.numel());
        hash.update(&bytes);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
