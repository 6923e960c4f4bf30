//! Token ids that the evaluation never asks for.

use std::collections::HashSet;

use vlhub_sdk::captions::{ClassSet, Templates, fill};
use vlhub_sdk::prelude::*;

/// Strips captions of the token ids that no text of an evaluation has: a model cannot learn words that it will not be asked for.
///
/// The texts are those of zero-shot classification: each class name in each template, by the run's own tokenizer. What VL Hub calls `--token-strip`
/// reads its list from an empty file and so makes every id 0, start and end token too; here they stay.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct StripConfig {
    /// Class names of the evaluation: a list; `imagenet`, `in100` or another list that is known; or a file with one name a line (`.json`: a list).
    pub classes: ClassSet,
    /// Sentences around a class name, as in the suite `zeroshot`: a list, or `imagenet` or `simple`.
    pub templates: Templates,
    /// Take the ids out, so that the text grows shorter. Otherwise `id` takes their place.
    pub remove: bool,
    /// What takes the place of an id that is stripped.
    pub id: i64,
}

impl Default for StripConfig {
    fn default() -> Self {
        Self { classes: ClassSet::Named("imagenet".into()), templates: Templates::List(vec!["{}".into()]), remove: false, id: 0 }
    }
}

impl Config<dyn CaptionTransform> for StripConfig {
    fn build(&self, cx: &CaptionCx<'_>) -> Result<Box<dyn CaptionTransform>> {
        let (names, sentences) = (self.classes.names(cx.folder)?, self.templates.sentences()?);
        if self.id < 0 {
            return Err(Error::Options(format!("`id` is {}; an id of the vocabulary is at least 0", self.id)));
        }
        let kept = cx.tokenize.map(|tokenize| {
            let synonyms = || names.iter().flat_map(|name| name.split(", "));
            sentences.iter().flat_map(|sentence| synonyms().flat_map(|name| tokenize(&fill(sentence, name)))).collect()
        });
        Ok(Box::new(Strip { kept, replacement: (!self.remove).then_some(self.id) }))
    }
}

struct Strip {
    /// Ids that the evaluation has; `None` without a tokenizer, where no ids come either.
    kept: Option<HashSet<i64>>,
    /// `None`: stripped ids are taken out.
    replacement: Option<i64>,
}

impl std::fmt::Debug for Strip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kept = self.kept.as_ref().map(HashSet::len);
        f.debug_struct("Strip").field("kept", &kept).field("replacement", &self.replacement).finish()
    }
}

impl CaptionTransform for Strip {
    fn apply(&self, caption: Caption, _rng: &mut dyn RngCore) -> Result<Option<Caption>> {
        Ok(crate::unchanged(caption))
    }

    fn ids(&self, ids: Vec<i64>, _rng: &mut dyn RngCore) -> Result<Vec<i64>> {
        let Some(kept) = &self.kept else { return Ok(ids) };
        Ok(ids.into_iter().filter_map(|id| if kept.contains(&id) { Some(id) } else { self.replacement }).collect())
    }

    fn reads(&self) -> Wants {
        Wants::NOTHING
    }
}

register!(dyn CaptionTransform, "strip", StripConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::random::SplitMix64;

    use super::*;

    /// The id of a word is its first letter.
    fn letters(text: &str) -> Vec<i64> {
        text.split_whitespace().map(|word| i64::from(word.as_bytes()[0])).collect()
    }

    fn stripped(config: &StripConfig, text: &str) -> String {
        let cx = CaptionCx { tokenize: Some(&letters), ..CaptionCx::new(".".as_ref()) };
        let ids = config.build(&cx).expect("it builds").ids(letters(text), &mut SplitMix64(0)).expect("it cannot fail");
        ids.into_iter().map(|id| char::from(id as u8)).collect()
    }

    fn config(remove: bool) -> StripConfig {
        let classes = ClassSet::List(vec!["dog, hound".into(), "great white shark".into()]);
        StripConfig { classes, templates: Templates::List(vec!["photo of {}".into()]), remove, id: i64::from(b'-') }
    }

    #[test]
    fn ids_that_no_text_of_the_evaluation_has_are_stripped() {
        for (text, replaced, removed) in
            [("a photo of dog", "-pod", "pod"), ("hound and great white shark", "h-gws", "hgws"), ("cat", "-", ""), ("", "", "")]
        {
            assert_eq!(stripped(&config(false), text), replaced, "{text}");
            assert_eq!(stripped(&config(true), text), removed, "{text}");
        }
    }

    #[test]
    fn without_a_tokenizer_nothing_is_known_of_ids() {
        let built = StripConfig::default().build(&CaptionCx::new(".".as_ref())).expect("it builds");
        assert_eq!(built.ids(vec![1, 2], &mut SplitMix64(0)).expect("it cannot fail"), [1, 2]);
        let error = StripConfig { id: -1, ..config(false) }.build(&CaptionCx::new(".".as_ref())).expect_err("no id").to_string();
        assert!(error.contains("`id` is -1"), "{error}");
    }
}
