//! `vlhub caption`.

use std::path::Path;

use serde_json::json;
use vlhub_core::{Captioning, Decoding, Model};

use super::embed::{pictures, read_picture};
use super::print_json;
use crate::cli::{CaptionArgs, CaptionMethod, Shared};
use crate::evaluation::EvalModel;
use crate::failure::{Failure, Outcome};
use crate::session::{self, initial_weights};
use crate::weights::fit::Part;
use crate::weights::locate::locate;

/// Writes captions of pictures.
pub fn caption(shared: &Shared, args: &CaptionArgs) -> Outcome {
    let mut config = super::model_or_run(shared, &args.model, &args.overrides)?;
    let device = crate::device::device(args.device.as_deref().unwrap_or(&config.top.device))?;
    let files = pictures(&args.images)?;
    // Loaded below, where what it lacks is seen.
    let named = std::mem::take(&mut config.top.pretrained);
    let session = session::build(&config, device)?;
    let model = EvalModel { towers: &session.towers, terms: &session.terms, tokenizer: session.tokenizer.clone(), class_names: &[] };
    if model.skills().captioner.is_none() {
        return Err(Failure::usage(format!(
            "the model `{}` writes no captions: it has no `objective.caption`; models that have it: `vlhub models list coca`",
            args.model
        )));
    }
    let weights = match &args.checkpoint {
        Some(source) => locate(source, Path::new("."), &config.top.model)?,
        None if named.is_empty() => {
            return Err(Failure::usage("a model that learnt nothing writes nothing; name weights with `--checkpoint`"));
        }
        None => locate(&named, &config.folder, &config.top.model)?,
    };
    let fitted = initial_weights::load_file(&session.towers, &weights, Part::Whole, config.top.pretrained_partial)?.fitted;
    let lacking: Vec<&str> = fitted.unfilled.iter().map(String::as_str).filter(|name| !name.starts_with("logit_")).collect();
    if let [first, ..] = lacking[..] {
        return Err(Failure::new(
            Failure::RESUME,
            format!(
                "the weights `{}` lack {} parameters of the objectives, such as `{first}`: a model was trained there that writes no captions",
                weights.display(),
                lacking.len()
            ),
        ));
    }
    let method = match args.method {
        CaptionMethod::Greedy => Decoding::Greedy,
        CaptionMethod::Sample => Decoding::Sample { temperature: args.temperature, top_k: args.top_k, top_p: args.top_p },
        CaptionMethod::Beam => Decoding::Beam { beams: args.beams, groups: args.beam_groups },
    };
    let how = Captioning {
        method,
        longest: args.max_length,
        shortest: args.min_length,
        repetition_penalty: args.repetition_penalty,
        seed: args.seed,
    };
    let mut captions = Vec::new();
    for files in files.chunks(usize::from(args.batch)) {
        let images = files.iter().map(|file| read_picture(file)).collect::<Outcome<Vec<_>>>()?;
        for (file, caption) in files.iter().zip(model.captions(&images, &how)?) {
            match args.json {
                true => captions.push(json!({"image": file, "caption": caption})),
                false => say!("{}\t{caption}", file.display()),
            }
        }
    }
    if args.json { print_json(&json!({"captions": captions})) } else { Ok(()) }
}
