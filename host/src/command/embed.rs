//! `vlhub embed`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use tch::{Kind, Tensor};
use vlhub_core::{Encoded, Model};
use vlhub_sdk::captions::{ClassSet, Templates, fill};
use vlhub_sdk::ops::normalize;

use super::model::{ModelRequest, WithoutWeights, choose, weights_name};
use super::named_pictures::NamedPictures;
use super::print_json;
use crate::cli::{EmbedArgs, Shared};
use crate::evaluation::EvalModel;
use crate::failure::{Failure, Outcome};
use crate::formats::write_safetensors;

/// Writes unit-length embeddings of pictures and texts, and zero-shot classifiers.
pub fn embed(shared: &Shared, args: &EmbedArgs) -> Outcome {
    if args.images.is_empty() && args.texts.is_none() && args.text_ids.is_none() && args.classes.is_none() {
        return Err(Failure::usage(
            "nothing to embed; name pictures with `--images`, a file of texts with `--texts` or of ids with `--text-ids`, or classes with `--classes`",
        ));
    }
    let prompts = args.classes.as_deref().map(|classes| prompts(classes, &args.templates)).transpose()?;
    let without = if args.random_weights { WithoutWeights::Random } else { WithoutWeights::WarnOfRunFiles };
    let asked = ModelRequest {
        model: args.model.as_deref(),
        document: None,
        overrides: &args.overrides,
        checkpoint: args.checkpoint.as_deref(),
        weights: &args.weights,
        without,
    };
    let chosen = choose(shared, asked)?;
    let config = &chosen.config;
    let device = crate::device::device(args.device.as_deref().unwrap_or(&config.top.device))?;
    let session = chosen.build(device, args.texts.is_some() || prompts.is_some())?;
    let logit_scale = session.logit_scale().map(Tensor::shallow_clone);
    let model = EvalModel::of_session(&session, &[]);
    let mut out: Vec<(String, Tensor)> = Vec::new();
    let mut clock = Clock::start();
    let pictures = args.pictures.over(config.top.pictures());
    let mut pictures = NamedPictures::find(&args.images, session.towers.pictures, pictures)?;
    let (mut rows, mut names) = (Vec::new(), Vec::new());
    while let Some(read) = pictures.next_batch(usize::from(args.batch))? {
        let (files, images): (Vec<_>, Vec<_>) = read.into_iter().unzip();
        rows.push(unit(model.images(&images, false)?));
        names.extend(files.iter().map(|file| file.display().to_string()));
    }
    if !rows.is_empty() {
        out.push(("image".into(), Tensor::cat(&rows, 0)));
    }
    clock.took("images");
    let texts = match &args.texts {
        Some(path) => read_lines(path)?,
        None => Vec::new(),
    };
    if args.texts.is_some() && texts.is_empty() {
        return Err(Failure::usage("the file of texts is empty; it holds one text a line"));
    }
    let ids = args.text_ids.as_deref().map(read_ids).transpose()?.unwrap_or_default();
    // As many at a time as the memory of their rows allows: equal beginnings are computed once for all of them.
    let mut rows = texts.chunks(TEXTS).map(|texts| Ok(unit(model.texts(texts, false)?))).collect::<Outcome<Vec<_>>>()?;
    rows.extend(ids.chunks(TEXTS).map(|ids| Ok(unit(model.token_ids(ids, false)?))).collect::<Outcome<Vec<_>>>()?);
    if !rows.is_empty() {
        out.push(("text".into(), Tensor::cat(&rows, 0)));
    }
    clock.took("texts");
    if let Some(prompts) = &prompts {
        out.push(("classifier".into(), model.prototypes(prompts)?.to_device(tch::Device::Cpu)));
    }
    clock.took("classifier");
    // The scale as it multiplies similarities. A model without one (SigLIP's bias aside) has none in its file.
    if let Some(scale) = logit_scale {
        out.push(("logit_scale".into(), scale.to_kind(Kind::Float).exp()));
    }
    let named = args.model.clone().or_else(|| args.checkpoint.clone()).unwrap_or_default();
    let which = weights_name(&session);
    let metadata = BTreeMap::from([
        ("model".to_owned(), named),
        ("weights".to_owned(), which.to_owned()),
        ("images".to_owned(), json!(names).to_string()),
    ]);
    write_safetensors(&args.out, &out, &metadata)?;
    if args.json {
        return print_json(&json!({
            "out": args.out, "images": names, "skipped": pictures.skipped(), "texts": texts.len() + ids.len(), "width": config.top.embed, "weights": which,
            "classes": prompts.as_ref().map_or(0, Vec::len), "seconds": clock.parts,
            "checkpoint": session.loaded.first().map(|loaded| &loaded.path), "differences": chosen.all_differences(&session),
        }));
    }
    let classes = prompts.map(|prompts| format!(", {} classes", prompts.len())).unwrap_or_default();
    say!("wrote {}: {} images, {} texts{classes}, width {}", args.out.display(), names.len(), texts.len() + ids.len(), config.top.embed);
    Ok(())
}

/// Texts that are encoded together.
const TEXTS: usize = 16_384;

/// Seconds that each part took.
struct Clock {
    last: Instant,
    parts: BTreeMap<&'static str, f64>,
}

impl Clock {
    fn start() -> Self {
        Self { last: Instant::now(), parts: BTreeMap::new() }
    }

    /// The time since the part before.
    fn took(&mut self, part: &'static str) {
        let now = Instant::now();
        self.parts.insert(part, (now - self.last).as_secs_f64());
        self.last = now;
    }
}

/// For each class its name in every sentence.
fn prompts(classes: &str, templates: &str) -> Outcome<Vec<Vec<String>>> {
    let wrong = |error: vlhub_core::Error| Failure::usage(error.to_string());
    let classes = ClassSet::Named(classes.to_owned()).names(Path::new("")).map_err(wrong)?;
    let path = Path::new(templates);
    let templates = if path.is_file() { Templates::List(read_lines(path)?) } else { Templates::Set(templates.to_owned()) };
    let templates = templates.sentences().map_err(wrong)?;
    Ok(classes.iter().map(|class| templates.iter().map(|sentence| fill(sentence, class)).collect()).collect())
}

fn unit(encoded: Encoded) -> Tensor {
    normalize(&encoded.embed).to_device(tch::Device::Cpu).to_kind(Kind::Float)
}

fn read_lines(path: &Path) -> Outcome<Vec<String>> {
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::usage(format!("cannot read the texts `{}`: {error}", path.display())))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// `ids` `[M, L]` of a safetensors file.
fn read_ids(path: &Path) -> Outcome<Vec<Vec<i64>>> {
    let tensors = crate::formats::read_safetensors(path)?;
    let wrong = |why: String| Failure::usage(format!("`{}`: {why}", path.display()));
    let ids = tensors.into_iter().find(|(name, _)| name == "ids").ok_or_else(|| wrong("there is no tensor `ids`".into()))?.1;
    let &[rows, length] = &ids.size()[..] else { return Err(wrong(format!("`ids` has shape {:?}; [M, L] is wanted", ids.size()))) };
    let flat = Vec::<i64>::try_from(ids.to_kind(Kind::Int64).reshape([-1])).map_err(vlhub_core::Error::from)?;
    Ok((0..rows as usize).map(|row| flat[row * length as usize..][..length as usize].to_vec()).collect())
}
