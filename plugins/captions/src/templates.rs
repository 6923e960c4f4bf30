//! Sentences around captions, as CLIP's prompts (Radford et al., 2021).

use vlhub_sdk::prelude::*;
use vlhub_sdk::random::below;

use crate::with_texts;

/// Puts captions into sentences such as `a photo of a {}.`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct TemplatesConfig {
    /// Sentences; `{}` or `{c}` is where the caption goes, once or more often.
    pub templates: Vec<String>,
    /// Whether each caption comes out in every sentence, one after another; otherwise in one, drawn anew for each.
    pub all: bool,
}

impl Default for TemplatesConfig {
    fn default() -> Self {
        Self { templates: vec!["a photo of a {}.".into()], all: false }
    }
}

impl Config<dyn CaptionTransform> for TemplatesConfig {
    fn build(&self, _cx: &CaptionCx<'_>) -> Result<Box<dyn CaptionTransform>> {
        if self.templates.is_empty() {
            return Err(Error::Options("`templates` is empty; give at least one sentence, such as `a photo of a {}.`".into()));
        }
        // Cut before any caption comes, so that a caption with braces in it is not taken for a template.
        let cut = |template: &String| -> Vec<String> { template.replace("{c}", "{}").split("{}").map(str::to_owned).collect() };
        let templates: Vec<_> = self.templates.iter().map(cut).collect();
        if let Some(at) = templates.iter().position(|parts| parts.len() < 2) {
            return Err(Error::Options(format!("template `{}` has no `{{}}` for the caption", self.templates[at])));
        }
        Ok(Box::new(Templates { templates, all: self.all }))
    }
}

#[derive(Debug)]
struct Templates {
    /// What stands before, between and after the places of the caption.
    templates: Vec<Vec<String>>,
    all: bool,
}

impl CaptionTransform for Templates {
    fn apply(&self, mut caption: Caption, rng: &mut dyn RngCore) -> Result<Option<Caption>> {
        let texts = std::mem::take(&mut caption.texts);
        let mut out = Vec::with_capacity(texts.len());
        // `a photo of a .` is no caption: what says nothing is left out before it meets a template.
        for text in texts.iter().filter(|text| !text.trim().is_empty()) {
            if self.all {
                out.extend(self.templates.iter().map(|parts| parts.join(text)));
            } else {
                let at = below(rng, self.templates.len() as u64) as usize;
                out.push(self.templates[at].join(text));
            }
        }
        Ok(with_texts(caption, out))
    }

    fn reads(&self) -> Wants {
        Wants::NOTHING
    }
}

register!(dyn CaptionTransform, "templates", TemplatesConfig);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::texts;

    fn config(templates: &[&str], all: bool) -> TemplatesConfig {
        TemplatesConfig { templates: templates.iter().map(|text| (*text).to_owned()).collect(), all }
    }

    #[test]
    fn the_caption_stands_where_the_braces_were() {
        for (templates, input, expected, why) in [
            (&["a photo of a {}."][..], &["dog"][..], &["a photo of a dog."][..], "one place"),
            (&["{c}, a {}"], &["dog"], &["dog, a dog"], "both spellings, twice"),
            (&["{}"], &["dog"], &["dog"], "nothing around it"),
            (&["a {}", "the {}"], &["dog", "cat"], &["a dog", "the dog", "a cat", "the cat"], "caption by caption"),
            (&["a {}"], &["{}", "{c}"], &["a {}", "a {c}"], "a caption with braces is a caption"),
            (&["a {}"], &["", "dog"], &["a dog"], "an empty caption makes no sentence"),
        ] {
            let expected: Vec<_> = expected.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(texts(&config(templates, true), input, 0), Some(expected), "{why}");
        }
    }

    #[test]
    fn each_caption_draws_its_own_template_and_each_template_has_the_same_chance() {
        let config = config(&["a {}", "b {}", "c {}"], false);
        let (mut count, mut different) = ([0; 3], false);
        for seed in 0..3000 {
            let out = texts(&config, &["x", "x"], seed * 7919).expect("nothing is empty");
            assert_eq!(out.len(), 2, "one sentence each");
            count[usize::from(out[0].as_bytes()[0] - b'a')] += 1;
            different |= out[0] != out[1];
        }
        assert!(count.iter().all(|count| (850..1150).contains(count)), "{count:?}");
        assert!(different, "the second caption draws for itself");
    }

    #[test]
    fn templates_that_cannot_work_are_refused() {
        for (templates, wanted) in [(&[][..], "`templates` is empty"), (&["a {}", "a photo"], "template `a photo` has no `{}`")] {
            let error = config(templates, false).build(&CaptionCx::new(".".as_ref())).expect_err(wanted).to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
