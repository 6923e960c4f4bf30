//! Views of pictures and captions: the augmentations and transforms of a run file, built.

use vlhub_core::{AugmentationCx, CaptionCx, Error, InputSpec, Wants};
use vlhub_sdk::pixels::Sampling;

use crate::config::RunConfig;
use crate::data::loader::{ImageInput, ImageView, TextView, Views};
use crate::data::tokens::Tokenizer;
use crate::engine::readonly::ReadOnly;
use crate::engine::towers::Towers;
use crate::failure::Outcome;

/// What becomes of a picture: the tower's size; the run file's word, else the tower's, on everything else.
pub(super) fn image_input(config: &RunConfig, towers: &Towers) -> Option<ImageInput> {
    let Some(InputSpec::Image { size, mean, std }) = towers.image.as_ref().map(|net| net.input.clone()) else { return None };
    let own = &config.preprocess;
    let channels = |given: Option<[f64; 3]>, towers: [f64; 3]| given.unwrap_or(towers).map(|value| value as f32);
    Some(ImageInput {
        size: (size.0 as u32, size.1 as u32),
        mean: channels(own.mean, mean),
        std: channels(own.std, std),
        fit: own.resize_mode,
        sampling: Sampling { filter: own.interpolation, pass_order: own.pass_order },
        fill: own.fill_color,
    })
}

/// The views that the loader makes of what is read: those of the run file, and `main` for each tower. Whether labels are among them is for the
/// data to say.
///
/// # Errors
/// Whatever a plugin refuses.
pub fn views(config: &RunConfig, towers: &Towers, tokenizer: Option<&dyn Tokenizer>, wants: Wants) -> Outcome<Views> {
    let mut views = Views::default();
    if let Some(ImageInput { size, .. }) = towers.pictures.filter(|_| wants.picture.is_read()) {
        for view in &config.image_views {
            let mut augment = Vec::new();
            for (index, step) in view.steps.iter().enumerate() {
                let built = step.config.build(&AugmentationCx { size });
                let built = built.map_err(|error| error.within(augment_key(&view.name, index)))?;
                augment.push((step.plugin.clone(), built));
            }
            views.images.push(ImageView { name: view.name.clone(), augment });
        }
        if !views.images.iter().any(|view| view.name == "main") {
            views.images.push(ImageView { name: "main".into(), augment: Vec::new() });
        }
    }
    if towers.text.is_some() && wants.text.is_read() {
        views.texts = text_views(config, tokenizer)?;
        if !views.texts.iter().any(|view| view.name == "main") {
            views.texts.push(TextView { name: "main".into(), transform: Vec::new() });
        }
    } else if wants.label.is_read() {
        // Labels made of captions need no text tower.
        views.labeller = text_views(config, tokenizer)?.into_iter().next().filter(TextView::makes_labels);
    }
    Ok(views)
}

/// The views of captions that a run file has. Without a tokenizer, transforms that rewrite token ids do nothing.
///
/// # Errors
/// Whatever a plugin refuses.
pub fn text_views(config: &RunConfig, tokenizer: Option<&dyn Tokenizer>) -> Outcome<Vec<TextView>> {
    let tokenize = tokenizer.map(|tokenizer| {
        move |text: &str| {
            let ids = tokenizer.encode(text);
            ids[tokenizer.body(&ids)].to_vec()
        }
    });
    let cx = CaptionCx { folder: &config.folder, tokenize: tokenize.as_ref().map(|tokenize| tokenize as &vlhub_core::Tokenize<'_>) };
    let mut views = Vec::new();
    for view in &config.text_views {
        let mut transform = Vec::new();
        for (index, step) in view.steps.iter().enumerate() {
            let built = step.config.build(&cx).map_err(|error| error.within(transform_key(&view.name, index)))?;
            transform.push((step.plugin.clone(), built));
        }
        views.push(TextView { name: view.name.clone(), transform });
    }
    Ok(views)
}

/// What of the views cannot be built, each with its dotted key: all of it, where [`views`] stops at the first.
pub fn refused_steps(config: &RunConfig) -> Vec<(String, Error)> {
    let mut refused = Vec::new();
    // Towers that cannot be built say so when the run is built; without them no size of pictures is known.
    if let Some(ImageInput { size, .. }) = super::on_paper(config).ok().and_then(|session| session.towers.pictures) {
        for view in &config.image_views {
            for (index, step) in view.steps.iter().enumerate() {
                let built = step.config.build(&AugmentationCx { size });
                refused.extend(built.err().map(|error| (augment_key(&view.name, index), error)));
            }
        }
    }
    let cx = CaptionCx { folder: &config.folder, tokenize: None };
    for view in &config.text_views {
        for (index, step) in view.steps.iter().enumerate() {
            refused.extend(step.config.build(&cx).err().map(|error| (transform_key(&view.name, index), error)));
        }
    }
    refused
}

fn augment_key(view: &str, index: usize) -> String {
    format!("view.image.{view}.augment.{index}")
}

fn transform_key(view: &str, index: usize) -> String {
    format!("view.text.{view}.transform.{index}")
}

/// Whether every text tower that reads a batch allows the token matrix to be cut to its longest text.
pub fn truncate(towers: &Towers, readonly: &ReadOnly) -> bool {
    truncates(towers) && readonly.teachers.iter().all(|(_, teacher)| teacher.text.is_none() || truncates(teacher))
}

fn truncates(towers: &Towers) -> bool {
    matches!(towers.text.as_ref().map(|net| &net.input), Some(InputSpec::Text { truncates: true, .. }))
}
