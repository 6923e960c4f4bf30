//! The texts of each class, and the classes as a model sees them.

use vlhub_sdk::captions::fill;
use vlhub_sdk::ops::normalize;
use vlhub_sdk::prelude::*;
use vlhub_sdk::random::SplitMix64;
use vlhub_sdk::{Scorer, serde_json};

/// Caption transforms, one after another, over a text that stays one text.
pub(crate) struct Rewriter {
    option: &'static str,
    steps: Vec<Box<dyn CaptionTransform>>,
}

impl Rewriter {
    /// Those that the values of `option` name.
    ///
    /// # Errors
    /// A transform that is not known, or that refuses its options.
    pub fn build(option: &'static str, values: &[serde_json::Value], cx: &EvalCx<'_>) -> Result<Self> {
        let steps = values.iter().map(|value| (cx.transform)(value)).collect::<Result<_>>();
        Ok(Self { option, steps: steps.map_err(|error| error.within(format!("`{option}`")))? })
    }

    /// The text that they make of one. Draws depend on the text alone, so they are the same each time, and in whatever order texts come.
    ///
    /// # Errors
    /// A transform that drops the text, or makes several of it.
    fn rewrite(&self, text: &str) -> Result<String> {
        let mut caption = Caption { texts: vec![text.to_owned()], ..Caption::default() };
        let mut rng = SplitMix64(seed(text));
        for step in &self.steps {
            let dropped = || Error::Options(format!("`{}` drops the text `{text}`; every class needs its texts", self.option));
            caption = step.apply(caption, &mut rng)?.ok_or_else(dropped)?;
        }
        match <[String; 1]>::try_from(caption.texts) {
            Ok([text]) => Ok(text),
            Err(texts) => {
                let (option, count) = (self.option, texts.len());
                Err(Error::Options(format!("`{option}` makes {count} texts of `{text}`; use transforms that leave one")))
            }
        }
    }
}

/// A seed of a text's bytes: FNV-1a.
fn seed(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

/// How the prompts of a class are made.
pub(crate) struct ClassTexts {
    /// Sentences around a class name.
    pub templates: Vec<String>,
    /// Rewrites class names.
    pub names: Rewriter,
    /// Rewrites prompts.
    pub prompts: Rewriter,
}

impl ClassTexts {
    /// For each class its prompts, in the order of the templates.
    ///
    /// # Errors
    /// A transform that drops a text, or makes several of it.
    pub fn of(&self, classes: &[String]) -> Result<Vec<Vec<String>>> {
        let group = |class: &String| {
            let class = self.names.rewrite(class)?;
            self.templates.iter().map(|template| self.prompts.rewrite(&fill(template, &class))).collect()
        };
        classes.iter().map(group).collect()
    }

    /// The classes as `model` sees them; about `batch` texts are encoded at a time.
    ///
    /// # Errors
    /// As [`ClassTexts::of`], and what the model refuses.
    pub fn encoded<'a>(&self, classes: &[String], model: &'a dyn Model, batch: usize) -> Result<Prompts<'a>> {
        let groups = self.of(classes)?;
        let Some(scorer) = model.skills().scorer else { return Ok(Prompts::Embedded(model.prototypes(&groups)?)) };
        let each = (0..self.templates.len()).map(|template| {
            let groups = groups.chunks(batch).map(|classes| {
                let texts: Vec<_> = classes.iter().map(|texts| texts[template].clone()).collect();
                model.texts(&texts, scorer.tokens())
            });
            groups.collect()
        });
        Ok(Prompts::Scored(scorer, each.collect::<Result<_>>()?))
    }
}

/// The classes as the model sees them.
pub(crate) enum Prompts<'a> {
    /// `[C, D]`, unit rows.
    Embedded(Tensor),
    /// For each template, groups of classes.
    Scored(&'a dyn Scorer, Vec<Vec<Encoded>>),
}

impl Prompts<'_> {
    /// Whether tokens of pictures are read.
    pub fn tokens(&self) -> bool {
        matches!(self, Self::Scored(scorer, _) if scorer.tokens())
    }

    /// Scores of pictures, `[B, C]`.
    ///
    /// # Errors
    /// What the model's own scorer refuses.
    pub fn scores(&self, images: &Encoded) -> Result<Tensor> {
        let scores = match self {
            Self::Embedded(classes) => normalize(&images.embed.to_kind(Kind::Float)).f_matmul(&classes.tr())?,
            Self::Scored(scorer, templates) => {
                let each = templates.iter().map(|groups| {
                    let groups: Result<Vec<_>> = groups.iter().map(|texts| scorer.score(images, texts)).collect();
                    Ok(Tensor::f_cat(&groups?, 1)?.to_kind(Kind::Float))
                });
                Tensor::f_stack(&each.collect::<Result<Vec<_>>>()?, 0)?.f_mean_dim([0i64].as_slice(), false, Kind::Float)?
            }
        };
        Ok(scores)
    }
}
