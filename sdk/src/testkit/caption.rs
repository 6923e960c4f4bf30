//! Laws of caption transforms.

use std::path::Path;

use vlhub_core::{Caption, CaptionCx, CaptionTransform, Config};

use super::toy::Seeded;
use super::{Law, LawOutcome, Verdict, all, ensure, failed};

/// Options of a caption transform.
pub type CaptionOptions = dyn Config<dyn CaptionTransform>;

/// The laws, by name.
pub const LAWS: &[Law<dyn CaptionTransform>] =
    &[("same_seed", |entry| with(entry, same_seed)), ("odd_texts", |entry| with(entry, odd_texts)), ("drops", |entry| with(entry, drops))];

fn with(entry: &vlhub_core::PluginEntry<dyn CaptionTransform>, law: fn(&CaptionOptions) -> Verdict) -> LawOutcome {
    all::default_config(entry).and_then(|config| law(&*config)).into()
}

fn build(config: &CaptionOptions) -> Result<Box<dyn CaptionTransform>, String> {
    config.build(&CaptionCx::new(Path::new("."))).map_err(failed("building with the default options"))
}

/// Captions as the world has them: none, empty, blank, emoji, other scripts, long, several, with labels.
fn captions() -> Vec<Caption> {
    let one = |text: &str| Caption { texts: vec![text.into()], ..Caption::default() };
    vec![
        Caption::default(),
        one(""),
        one(" \n\t "),
        one("🐕‍🦺🎉"),
        one("ein Hündchen, 小狗 и кот"),
        one(&"word ".repeat(2000)),
        one(&"x".repeat(10_000)),
        one("www.flickr.com & \"quoted\" #tag 123"),
        one("a photo of a red fox, jumping!"),
        Caption { texts: ["a dog", "a golden retriever", ""].map(String::from).to_vec(), labels: vec![3, -1], ..Caption::default() },
    ]
}

/// One seed is one text, also for a second transform of the same options.
pub fn same_seed(config: &CaptionOptions) -> Verdict {
    let (first, second) = (build(config)?, build(config)?);
    for caption in captions() {
        for seed in 0..6 {
            let ours = first.apply(caption.clone(), &mut Seeded(seed)).map_err(failed("apply"))?;
            let theirs = second.apply(caption.clone(), &mut Seeded(seed)).map_err(failed("apply"))?;
            ensure(ours == theirs, || format!("two results from seed {seed} for {}", short(&caption)))?;
        }
    }
    Ok(())
}

/// No text is an error.
pub fn odd_texts(config: &CaptionOptions) -> Verdict {
    let transform = build(config)?;
    for caption in captions() {
        let about = short(&caption);
        transform.apply(caption, &mut Seeded(1)).map_err(|error| format!("{about}: {error}"))?;
    }
    Ok(())
}

/// A drop is `None`: words never become an empty text, nor several texts none.
pub fn drops(config: &CaptionOptions) -> Verdict {
    let transform = build(config)?;
    let full = |caption: &Caption| !caption.texts.is_empty() && caption.texts.iter().all(|text| !text.trim().is_empty());
    for caption in captions().into_iter().filter(full) {
        for seed in 0..6 {
            let about = short(&caption);
            if let Some(out) = transform.apply(caption.clone(), &mut Seeded(seed)).map_err(failed("apply"))? {
                ensure(full(&out), || format!("{about} became {:?} with seed {seed}; a drop is `None`", out.texts))?;
            }
        }
    }
    Ok(())
}

fn short(caption: &Caption) -> String {
    let text: String = format!("{:?}", caption.texts).chars().take(60).collect();
    format!("the caption {text}")
}
