//! From a checked run file to towers, objectives and views.

use std::path::Path;
use std::sync::Arc;

use tch::{Device, Tensor};
use vlhub_core::{InputSpec, Modality, ObjectiveCx, Teacher, Weights};

use crate::config::sections::TokenizerConfig;
use crate::config::{RunConfig, TeacherConfig, TowerConfig};
use crate::data::loader::{ImageInput, ImageView, TextView, Views};
use crate::data::tokens::{self, Tokenizer, TokenizerOptions};
use crate::engine::lora::Adapter;
use crate::engine::optim::Param;
use crate::engine::readonly::{self, ReadOnly};
use crate::engine::terms::Term;
use crate::engine::towers::Towers;
use crate::failure::{Failure, Outcome};
use crate::weights::fit::{self, Fitted, Part};
use crate::weights::{self, locate};

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
    /// The logit scale of `pretrained`.
    pub logit_scale: Option<Tensor>,
}

/// Builds what a run file names, to be used. The same seed gives the same initial weights.
///
/// # Errors
/// Whatever a plugin refuses, an unreadable tokenizer, or weights that do not fit.
pub fn build(config: &RunConfig, device: Device) -> Outcome<Session> {
    let mut session = build_without_tokenizer(config, device)?;
    session.tokenizer = tokenizer(config, &session.towers)?;
    Ok(session)
}

/// [`build`], to be trained: with the towers that objectives only read.
///
/// # Errors
/// As [`build`]; teachers that read other batches.
pub fn build_for_training(config: &RunConfig, device: Device) -> Outcome<Trainable> {
    let teachers = config.teachers.iter().map(|teacher| teach(teacher, device)).collect::<Outcome<Vec<_>>>()?;
    let about: Vec<Teacher> = teachers.iter().map(|(about, _)| about.clone()).collect();
    let mut session = build_weightless(config, device, &about)?;
    load_named(config, &mut session)?;
    session.tokenizer = tokenizer(config, &session.towers)?;
    for (about, towers) in &teachers {
        readonly::check_teacher(&about.name, &session.towers, towers)?;
    }
    let averaged = session.terms.iter().flat_map(|term| &term.needs).any(|need| need.weights == Weights::Average);
    let average = averaged.then(|| average(config, &session.towers)).transpose()?;
    let mut lora = Vec::new();
    for (modality, tower) in towers_of(config) {
        if tower.training.lora.rank > 0 {
            lora.extend(Adapter::attach(&session.towers, modality, &tower.training.lora)?);
        }
    }
    Ok(Trainable { session, readonly: ReadOnly { average, teachers }, lora })
}

/// What a run trains, and what it needs for that.
#[derive(Debug)]
pub struct Trainable {
    /// Towers and objectives.
    pub session: Session,
    /// Towers that objectives only read.
    pub readonly: ReadOnly,
    /// Low-rank adapters.
    pub lora: Vec<Adapter>,
}

/// What the optimiser trains: everything that has gradients, but for weights whose gradients go to adapters.
pub fn params(towers: &Towers, lora: &[Adapter]) -> Vec<Param> {
    let trained = towers.trained().into_iter().filter(|(name, _)| !lora.iter().any(|adapter| adapter.is(name)));
    trained.map(|(name, tensor)| Param { depth: towers.depth(&name), name, tensor }).collect()
}

/// The towers that a run names.
fn towers_of(config: &RunConfig) -> impl Iterator<Item = (Modality, &TowerConfig)> {
    [(Modality::Image, &config.image), (Modality::Text, &config.text)].into_iter().filter_map(|(of, tower)| Some((of, tower.as_ref()?)))
}

/// A teacher with its weights.
fn teach(teacher: &TeacherConfig, device: Device) -> Outcome<(Teacher, Towers)> {
    let place = |failure: Failure| Failure::new(failure.code, format!("teacher.{}: {}", teacher.name, failure.message));
    let mut session = build_weightless(&teacher.config, device, &[]).map_err(place)?;
    load_named(&teacher.config, &mut session).map_err(place)?;
    let about = about_teacher(teacher, &session);
    session.towers.vars.freeze();
    Ok((about, session.towers))
}

fn about_teacher(teacher: &TeacherConfig, session: &Session) -> Teacher {
    Teacher {
        name: teacher.name.clone(),
        embed: teacher.config.top.embed,
        image: session.towers.about(Modality::Image),
        text: session.towers.about(Modality::Text),
        log_scale: session.logit_scale.as_ref().map(|scale| scale.reshape([1i64]).double_value(&[0])),
    }
}

/// A copy of the towers that begins where they begin.
fn average(config: &RunConfig, towers: &Towers) -> Outcome<Towers> {
    let [image, text] = [&config.image, &config.text].map(|tower| tower.as_ref().map(|tower| tower.chosen.config.as_ref()));
    let mut copy = Towers::build(towers.vars.device(), towers.embed, towers.custom_text, image, text)?;
    for (net, tower) in [(&mut copy.image, &config.image), (&mut copy.text, &config.text)] {
        if let (Some(net), Some(tower)) = (net, tower) {
            net.drop = tower.training.drop;
        }
    }
    copy.vars.freeze();
    let _no_grad = tch::no_grad_guard();
    let now = towers.vars.variables();
    for (name, mut tensor) in copy.vars.variables() {
        let start = now.get(&name).ok_or_else(|| vlhub_core::Error::invalid(format!("the towers have no `{name}` to average")))?;
        tensor.f_copy_(start).map_err(vlhub_core::Error::from)?;
    }
    Ok(copy)
}

/// [`build_without_tokenizer`] without weights: for shapes.
pub(crate) fn on_shapes(config: &RunConfig) -> Outcome<Session> {
    build_weightless(config, Device::Cpu, &[])
}

/// [`on_shapes`], and objectives that are told of teachers: for tests of the engine.
#[cfg(test)]
pub(crate) fn with_teachers(config: &RunConfig, teachers: &[Teacher]) -> Outcome<Session> {
    build_weightless(config, Device::Cpu, teachers)
}

/// [`build`] for towers that are given token ids.
///
/// # Errors
/// As [`build`].
pub fn build_without_tokenizer(config: &RunConfig, device: Device) -> Outcome<Session> {
    // A trained model needs no teacher; its objectives are told what it looked like.
    let sketch = |teacher: &TeacherConfig| {
        let sketched = vlhub_torch_ext::on_paper(|| on_shapes(&teacher.config).map(|session| about_teacher(teacher, &session)));
        sketched.map_err(|error| Failure::from(vlhub_core::Error::from(error)))?.0
    };
    let teachers = config.teachers.iter().map(sketch).collect::<Outcome<Vec<_>>>()?;
    let mut session = build_weightless(config, device, &teachers)?;
    load_named(config, &mut session)?;
    Ok(session)
}

/// Loads the weights that the run file names, and freezes what it says.
fn load_named(config: &RunConfig, session: &mut Session) -> Outcome {
    let partial = config.top.pretrained_partial;
    let afresh = starts(config, &session.towers)?;
    if !config.top.pretrained.is_empty() {
        let file = locate::locate(&config.top.pretrained, &config.folder, &config.top.model)?;
        session.logit_scale = load_file(&session.towers, &file, Part::Whole, partial)?.scale;
    }
    for (modality, tower) in towers_of(config).filter(|(_, tower)| !tower.training.init.is_empty()) {
        let file = locate::locate(&tower.training.init, &config.folder, "")?;
        load_file(&session.towers, &file, Part::Tower(modality), partial)?;
    }
    tch::no_grad(|| afresh.into_iter().try_for_each(|(mut variable, start)| variable.f_copy_(&start))).map_err(vlhub_core::Error::from)?;
    for (modality, tower) in towers_of(config) {
        if !tower.training.freeze.is_empty() {
            session.towers.freeze(modality, &tower.training.freeze)?;
        }
        if let Some(unlocked) = tower.training.unlocked {
            session.towers.lock(modality, unlocked)?;
        }
        if tower.training.freeze_bn_stats {
            session.towers.keep_statistics(modality)?;
        }
    }
    Ok(())
}

/// Initial values of the groups of layers behind the first `load_groups`: loading must not change them.
fn starts(config: &RunConfig, towers: &Towers) -> Outcome<Vec<(Tensor, Tensor)>> {
    let mut starts = Vec::new();
    for (modality, tower) in towers_of(config).filter(|(_, tower)| tower.training.load_groups > 0) {
        let groups = towers.groups(modality)?;
        let last = groups.lockable.len();
        if tower.training.load_groups > last {
            return Err(Failure::usage(format!(
                "backbone.{modality}.load_groups: {} is more than the tower's {last} groups of layers",
                tower.training.load_groups
            )));
        }
        let loaded: Vec<&String> = groups.lockable[..tower.training.load_groups].iter().flatten().collect();
        for (name, variable) in towers.variables().into_iter().filter(|(name, _)| towers.owner(name) == Some(modality)) {
            let inside = towers.inside(modality, &name);
            let kept = |prefix: &&String| inside.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            if !loaded.iter().any(kept) {
                starts.push((variable.shallow_clone(), variable.detach().copy()));
            }
        }
    }
    Ok(starts)
}

fn build_weightless(config: &RunConfig, device: Device, teachers: &[Teacher]) -> Outcome<Session> {
    tch::manual_seed(config.top.seed as i64);
    let image = config.image.as_ref().map(|tower| tower.chosen.config.as_ref());
    let text = config.text.as_ref().map(|tower| tower.chosen.config.as_ref());
    let mut towers = Towers::build(device, config.top.embed, config.top.custom_text, image, text)?;
    towers.pictures = pictures(config, &towers);
    for (net, tower) in [(&mut towers.image, &config.image), (&mut towers.text, &config.text)] {
        if let (Some(net), Some(tower)) = (net, tower) {
            net.drop = tower.training.drop;
        }
    }
    let mut terms = Vec::new();
    for term in &config.objectives {
        let cx = ObjectiveCx {
            path: towers.vars.root() / "objective" / term.key.as_str(),
            shared: towers.vars.root(),
            embed: config.top.embed,
            image: towers.about(Modality::Image),
            text: towers.about(Modality::Text),
            teachers: teachers.to_vec(),
        };
        let place = format!("objective.{}", term.key);
        let objective = term.chosen.config.build(&cx).map_err(|error| error.within(&place))?;
        towers.refuse_renamed(&place)?;
        for need in objective.needs() {
            towers.net(need.modality).map_err(|error| error.within(&place))?;
        }
        terms.push(Term::new(&term.key, term.weight, objective));
    }
    Ok(Session { towers, terms, tokenizer: None, logit_scale: None })
}

/// What becomes of a picture: the tower's size; the run file's word, else the tower's, on everything else.
fn pictures(config: &RunConfig, towers: &Towers) -> Option<ImageInput> {
    let Some(InputSpec::Image { size, mean, std }) = towers.image.as_ref().map(|net| net.input.clone()) else { return None };
    let own = &config.preprocess;
    let channels = |given: Option<[f64; 3]>, towers: [f64; 3]| given.unwrap_or(towers).map(|value| value as f32);
    Some(ImageInput {
        size: (size.0 as u32, size.1 as u32),
        mean: channels(own.mean, mean),
        std: channels(own.std, std),
        fit: own.resize_mode,
        filter: own.interpolation,
        fill: own.fill_color,
    })
}

/// The `tokenizer.json` of a run's tokenizer; none for CLIP's, which is part of the program.
///
/// # Errors
/// Where it was looked for.
pub fn tokenizer_file(config: &RunConfig) -> Outcome<Option<std::path::PathBuf>> {
    let source = config.top.tokenizer.source.as_str();
    if source == "clip" {
        return Ok(None);
    }
    if let Some(published) = crate::hub::Source::parse(source) {
        let found = published.file(&config.folder, "tokenizer.json");
        return found
            .map(Some)
            .map_err(|why| Failure::usage(format!("the tokenizer `{source}`: {why}; with the file at hand, set `tokenizer` to its path")));
    }
    let path = config.folder.join(source);
    Ok(Some(if path.is_dir() { path.join("tokenizer.json") } else { path }))
}

/// The run's tokenizer; none without a text tower.
///
/// # Errors
/// A file that cannot be read, or ids that the text tower does not take.
pub fn tokenizer(config: &RunConfig, towers: &Towers) -> Outcome<Option<Arc<dyn Tokenizer>>> {
    let Some(net) = &towers.text else { return Ok(None) };
    let InputSpec::Text { context, vocab, pad, .. } = net.input else { return Ok(None) };
    let TokenizerConfig { clean, strip_sep, language, mode, .. } = config.top.tokenizer.clone();
    let options = TokenizerOptions { context: context as usize, clean, strip_sep, language, mode };
    let tokenizer = match tokenizer_file(config)? {
        None => tokens::clip_with(&options)?,
        Some(file) => tokens::from_file_with(&file, &options)?,
    };
    if tokenizer.pad() != pad {
        return Err(Failure::usage(format!(
            "the tokenizer `{}` fills up with id {} and the text tower expects {pad}; set `backbone.text.pad={}`",
            config.top.tokenizer.source,
            tokenizer.pad(),
            tokenizer.pad()
        )));
    }
    if tokenizer.vocab() as i64 > vocab {
        return Err(Failure::usage(format!(
            "the tokenizer `{}` has {} ids and the text tower takes {vocab}; set `backbone.text.vocab={}`",
            config.top.tokenizer.source,
            tokenizer.vocab(),
            tokenizer.vocab()
        )));
    }
    Ok(Some(tokenizer))
}

/// Weights that were loaded.
#[derive(Debug)]
pub struct Loaded {
    /// What became of the file.
    pub fitted: Fitted,
    /// `logit_scale` of the file: models without an objective have no place for it.
    pub scale: Option<Tensor>,
}

/// Loads what `source` stands for ([`locate::locate`]); relative paths start where the program was started.
///
/// # Errors
/// As [`load_file`].
pub fn load(towers: &Towers, config: &RunConfig, source: &str, part: Part) -> Outcome<Loaded> {
    let file = locate::locate(source, Path::new("."), &config.top.model)?;
    load_file(towers, &file, part, config.top.pretrained_partial)
}

/// Loads a file or folder of weights of any kind and maker that is known.
///
/// # Errors
/// What is wrong with the file, or what is missing, unexpected or of another shape.
pub fn load_file(towers: &Towers, path: &Path, part: Part, partial: bool) -> Outcome<Loaded> {
    let refused = |error: vlhub_core::Error| Failure::new(Failure::RESUME, error.to_string());
    let file = weights::read(path, &weights::Limits::default()).map_err(refused)?;
    let tensors = file.tensors.into_iter().collect();
    let fitted = fit::fit(towers, &tensors, part, partial, &path.display().to_string())?;
    for (name, from, to) in &fitted.resized {
        tracing::info!("{}: `{name}` was resized from {from:?} to {to:?}", path.display());
    }
    for (what, names) in [("kept as initialised, the weights lack", &fitted.missing), ("left out, the model lacks", &fitted.unexpected)] {
        if !names.is_empty() {
            tracing::warn!("{}: {what} {}: {}", path.display(), names.len(), names.join(" "));
        }
    }
    let scale = tensors.get("logit_scale").map(Tensor::shallow_clone);
    Ok(Loaded { fitted, scale })
}

/// The views that the loader makes: those of the run file, and `main` for each tower; class labels too where the data has classes.
///
/// # Errors
/// Whatever a plugin refuses.
pub fn views(config: &RunConfig, towers: &Towers, labels: bool) -> Outcome<(Views, Option<ImageInput>)> {
    let mut views = Views { labels, ..Views::default() };
    let input = towers.pictures;
    if let Some(ImageInput { size, .. }) = input {
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

/// Whether every text tower that reads a batch allows the token matrix to be cut to its longest text.
pub fn truncate(towers: &Towers, readonly: &ReadOnly) -> bool {
    truncates(towers) && readonly.teachers.iter().all(|(_, teacher)| teacher.text.is_none() || truncates(teacher))
}

fn truncates(towers: &Towers) -> bool {
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
