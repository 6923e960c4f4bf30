//! `vlhub caption`.

use serde_json::json;
use vlhub_core::{Captioning, Decoding, Model};

use super::model::{ModelRequest, WithoutWeights, choose, weights_name};
use super::named_pictures::NamedPictures;
use super::print_json;
use crate::cli::{CaptionArgs, CaptionMethod, Shared};
use crate::evaluation::EvalModel;
use crate::failure::{Failure, Outcome};

/// Writes captions of pictures.
pub fn caption(shared: &Shared, args: &CaptionArgs) -> Outcome {
    let without = if args.random_weights { WithoutWeights::Random } else { WithoutWeights::Refuse };
    let asked = ModelRequest {
        model: args.model.as_deref(),
        document: None,
        overrides: &args.overrides,
        checkpoint: args.checkpoint.as_deref(),
        weights: &args.weights,
        without,
    };
    let chosen = choose(shared, asked)?;
    let device = crate::device::device(args.device.as_deref().unwrap_or(&chosen.config.top.device))?;
    let session = chosen.build(device, true)?;
    let model = EvalModel::of_session(&session, &[]);
    if model.skills().captioner.is_none() {
        let named =
            [&args.model, &args.checkpoint].into_iter().flatten().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" with ");
        return Err(Failure::usage(format!(
            "the model {named} writes no captions: it has no `objective.caption`; models that have it: `vlhub models list coca`"
        )));
    }
    let loaded = session.loaded.first();
    let unfilled = loaded.map_or(&[][..], |loaded| &loaded.fitted.unfilled).iter().map(String::as_str);
    let lacking: Vec<&str> = unfilled.filter(|name| !name.starts_with("logit_")).collect();
    if let [first, ..] = lacking[..] {
        return Err(Failure::new(
            Failure::RESUME,
            format!(
                "the weights `{}` lack {} parameters of the objectives, such as `{first}`: a model was trained there that writes no captions",
                loaded.map(|loaded| loaded.path.display().to_string()).unwrap_or_default(),
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
    let pictures = args.pictures.over(chosen.config.top.pictures());
    let mut pictures = NamedPictures::find(&args.images, session.towers.pictures, pictures)?;
    while let Some(read) = pictures.next_batch(usize::from(args.batch))? {
        let (files, images): (Vec<_>, Vec<_>) = read.into_iter().unzip();
        for (file, caption) in files.iter().zip(model.captions(&images, &how)?) {
            match args.json {
                true => captions.push(json!({"image": file, "caption": caption})),
                false => say!("{}\t{caption}", file.display()),
            }
        }
    }
    if !args.json {
        return Ok(());
    }
    print_json(&json!({
        "captions": captions, "skipped": pictures.skipped(), "weights": weights_name(&session), "checkpoint": loaded.map(|loaded| &loaded.path),
        "differences": chosen.all_differences(&session),
    }))
}
