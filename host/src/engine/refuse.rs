//! What is refused before a run writes anything: data that cannot be used, views that nobody makes.

use tch::{Device, Kind, Tensor};
use vlhub_core::{Batch, InputSpec, Modality};

use super::terms::Term;
use super::towers::Towers;
use crate::data;
use crate::data::loader::Views;
use crate::data::tokens::Tokenizer;
use crate::failure::{Failure, Outcome};

/// Every view that an objective reads must come from the loader or from an objective's `prepare`, which is tried on a batch of blanks.
pub fn views_are_made(towers: &Towers, terms: &[Term], views: &Views, tokenizer: Option<&dyn Tokenizer>) -> Outcome {
    let rows = 2;
    let mut batch = Batch::new(rows);
    if let Some(input) = towers.pictures {
        let (height, width) = (i64::from(input.size.0), i64::from(input.size.1));
        for view in &views.images {
            batch.set_image(&view.name, Tensor::zeros([rows, 3, height, width], (Kind::Float, Device::Cpu)))?;
        }
    }
    if let (Some(tokenizer), Some(InputSpec::Text { context, pad, .. })) = (tokenizer, towers.text.as_ref().map(|net| &net.input)) {
        let mut ids = tokenizer.encode("a picture of something");
        ids.resize(*context as usize, *pad);
        for view in &views.texts {
            batch.set_text(&view.name, Tensor::from_slice(&ids).repeat([rows, 1]))?;
        }
    }
    if views.labels {
        batch.set_extra(Batch::LABELS, Tensor::zeros([rows, 1], (Kind::Int64, Device::Cpu)))?;
    }
    for term in terms {
        // What it says of blanks is no matter; of a real batch it will be asked again.
        let prepared = term.objective.prepare(&mut batch, &mut crate::data::philox::Philox::new([0; 4])).is_ok();
        let (images, texts) = batch.views();
        for need in term.needs.iter().filter(|_| prepared) {
            let there = if need.modality == Modality::Image { &images } else { &texts };
            if !there.contains(&need.view.as_str()) {
                return Err(Failure::usage(format!(
                    "objective.{}: it reads the {} view `{}`; add a table `[view.{}.{}]`. Views of this run: {}",
                    term.key,
                    need.modality,
                    need.view,
                    need.modality,
                    need.view,
                    there.join(" ")
                )));
            }
        }
    }
    Ok(())
}

/// What was found unusable while the source was indexed counts too; the share is taken of at least 1000 samples, as it is later.
pub fn within_budget(source: &dyn data::Source, allowed: f64) -> Outcome {
    let bad = source.problems().len();
    let share = bad as f64 / (source.len() + bad).max(1000) as f64;
    if share <= allowed {
        return Ok(());
    }
    let first: Vec<String> = source.problems().iter().take(3).map(ToString::to_string).collect();
    Err(Failure::new(
        Failure::DATA,
        format!(
            "data.train: {bad} of {} samples cannot be used, more than train.max_bad_fraction = {allowed} allows; first: {}. `vlhub data check` lists them all",
            source.len() + bad,
            first.join("; ")
        ),
    ))
}
