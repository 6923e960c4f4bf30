//! What is refused before a run writes anything: data that cannot be used, views that nobody makes.

use image::RgbImage;
use vlhub_core::{Batch, Forward, InputSpec, Modality};

use crate::data;
use crate::data::batch::{PixelRows, TokenRows, labels};
use crate::data::loader::Views;
use crate::data::tokens::Tokenizer;
use crate::engine::terms::Term;
use crate::engine::towers::Towers;
use crate::failure::{Failure, Outcome};

/// Every view that an objective reads must come from the loader or from an objective's `prepare`, which is tried on a batch of blanks.
pub fn views_are_made(towers: &Towers, terms: &[Term], views: &Views, tokenizer: Option<&dyn Tokenizer>) -> Outcome {
    const ROWS: usize = 2;
    let mut batch = Batch::new(ROWS as i64);
    if let Some(input) = towers.pictures {
        let blank = RgbImage::new(input.size.1, input.size.0);
        let pictures = PixelRows::new(input).tensor([&blank; ROWS].into_iter())?;
        for view in &views.images {
            batch.set_image(&view.name, pictures.shallow_clone())?;
        }
    }
    if let (Some(tokenizer), Some(InputSpec::Text { context, pad, .. })) = (tokenizer, towers.text.as_ref().map(|net| &net.input)) {
        let ids = tokenizer.encode("a picture of something");
        let texts = TokenRows { context: *context as usize, pad: *pad, truncate: false }.tensor(&[ids.as_slice(); ROWS])?;
        for view in &views.texts {
            batch.set_text(&view.name, texts.shallow_clone())?;
        }
    }
    if views.labels {
        batch.set_extra(Batch::LABELS, labels(&[&[0i64] as &[i64]; ROWS])?)?;
    }
    for term in terms {
        // What it says of blanks is no matter; of a real batch it will be asked again.
        let prepared = term.objective.prepare(&mut batch, &mut crate::data::philox::Philox::new([0; 4])).is_ok();
        let (images, texts) = batch.views();
        for Forward { modality, view, .. } in term.needs.iter().map(|need| &need.forward).filter(|_| prepared) {
            let there = if *modality == Modality::Image { &images } else { &texts };
            if !there.contains(&view.as_str()) {
                return Err(Failure::usage(format!(
                    "objective.{}: it reads the {modality} view `{view}`; add a table `[view.{modality}.{view}]`. Views of this run: {}",
                    term.key,
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
