//! Sentences around a class name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vlhub_core::{Error, Result};

/// The name that stands for a data set's own templates.
const DATA: &str = "data";

/// Templates: a list of sentences with `{}` or `{c}` for the class name, or the name of a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Templates {
    /// `imagenet`: the 80 templates that CLIP's authors published for ImageNet. `simple`: the seven of them that do best together. `data`: those
    /// that the data set was published with, where a data set is at hand.
    Set(String),
    /// Sentences with `{}` or `{c}` for the class name.
    List(Vec<String>),
}

impl Templates {
    /// [`Templates::sentences`], where `data` stands for `published`, the templates that a data set brings.
    ///
    /// # Errors
    /// As [`Templates::sentences`], and `data` for a data set that brings none.
    pub fn sentences_for(&self, published: &[String]) -> Result<Vec<String>> {
        match self {
            Self::Set(name) if name == DATA && published.is_empty() => {
                let text = "`templates` is `data`, and the data set brings no templates; write a list such as [\"a photo of a {}.\"]";
                Err(Error::Options(text.into()))
            }
            Self::Set(name) if name == DATA => Self::List(published.to_vec()).sentences(),
            _ => self.sentences(),
        }
    }

    /// The sentences, where there is no data set whose own could be meant.
    ///
    /// # Errors
    /// When the set is unknown, the list is empty, or a sentence has no place for the class name.
    pub fn sentences(&self) -> Result<Vec<String>> {
        let list = match self {
            Self::Set(name) => {
                let set = match name.as_str() {
                    "imagenet" => IMAGENET,
                    "simple" => SIMPLE,
                    DATA => return Err(Error::Options("`templates` is `data`, and no data set is at hand here; write a list".into())),
                    _ if holds_a_place(name) => {
                        return Err(Error::Options(format!("`templates` is one sentence; write it as a list: `[\"{name}\"]`")));
                    }
                    _ => return Err(Error::Options(format!("no set of templates is called `{name}`; known: imagenet simple data"))),
                };
                set.iter().map(|&sentence| sentence.to_owned()).collect()
            }
            Self::List(list) => list.clone(),
        };
        if list.is_empty() {
            return Err(Error::Options("`templates` is empty; give a sentence such as `a photo of a {}.`".into()));
        }
        if let Some(flat) = list.iter().find(|sentence| !holds_a_place(sentence)) {
            return Err(Error::Options(format!("the template `{flat}` has no `{{}}` for the class name")));
        }
        Ok(list)
    }
}

fn holds_a_place(sentence: &str) -> bool {
    sentence.contains("{}") || sentence.contains("{c}")
}

/// The sentence about a class: `{}` and `{c}` are where its name goes.
pub fn fill(sentence: &str, class: &str) -> String {
    // One pass over each mark: a class name that contains `{c}` itself is not filled again.
    sentence.split("{}").map(|part| part.split("{c}").collect::<Vec<_>>().join(class)).collect::<Vec<_>>().join(class)
}

/// The 80 templates that CLIP's authors published for ImageNet.
pub const IMAGENET: &[&str] = &[
    "a bad photo of a {}.",
    "a photo of many {}.",
    "a sculpture of a {}.",
    "a photo of the hard to see {}.",
    "a low resolution photo of the {}.",
    "a rendering of a {}.",
    "graffiti of a {}.",
    "a bad photo of the {}.",
    "a cropped photo of the {}.",
    "a tattoo of a {}.",
    "the embroidered {}.",
    "a photo of a hard to see {}.",
    "a bright photo of a {}.",
    "a photo of a clean {}.",
    "a photo of a dirty {}.",
    "a dark photo of the {}.",
    "a drawing of a {}.",
    "a photo of my {}.",
    "the plastic {}.",
    "a photo of the cool {}.",
    "a close-up photo of a {}.",
    "a black and white photo of the {}.",
    "a painting of the {}.",
    "a painting of a {}.",
    "a pixelated photo of the {}.",
    "a sculpture of the {}.",
    "a bright photo of the {}.",
    "a cropped photo of a {}.",
    "a plastic {}.",
    "a photo of the dirty {}.",
    "a jpeg corrupted photo of a {}.",
    "a blurry photo of the {}.",
    "a photo of the {}.",
    "a good photo of the {}.",
    "a rendering of the {}.",
    "a {} in a video game.",
    "a photo of one {}.",
    "a doodle of a {}.",
    "a close-up photo of the {}.",
    "a photo of a {}.",
    "the origami {}.",
    "the {} in a video game.",
    "a sketch of a {}.",
    "a doodle of the {}.",
    "a origami {}.",
    "a low resolution photo of a {}.",
    "the toy {}.",
    "a rendition of the {}.",
    "a photo of the clean {}.",
    "a photo of a large {}.",
    "a rendition of a {}.",
    "a photo of a nice {}.",
    "a photo of a weird {}.",
    "a blurry photo of a {}.",
    "a cartoon {}.",
    "art of a {}.",
    "a sketch of the {}.",
    "a embroidered {}.",
    "a pixelated photo of a {}.",
    "itap of the {}.",
    "a jpeg corrupted photo of the {}.",
    "a good photo of a {}.",
    "a plushie {}.",
    "a photo of the nice {}.",
    "a photo of the small {}.",
    "a photo of the weird {}.",
    "the cartoon {}.",
    "art of the {}.",
    "a drawing of the {}.",
    "a photo of the large {}.",
    "a black and white photo of a {}.",
    "the plushie {}.",
    "a dark photo of a {}.",
    "itap of a {}.",
    "graffiti of the {}.",
    "a toy {}.",
    "itap of my {}.",
    "a photo of a cool {}.",
    "a photo of a small {}.",
    "a tattoo of the {}.",
];

/// The seven of them that do best together, by the same authors.
pub const SIMPLE: &[&str] = &[
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_a_list_or_the_name_of_a_set() {
        let list = |sentences: &[&str]| Templates::List(sentences.iter().map(|&sentence| sentence.into()).collect());
        for (templates, expected, why) in [
            (Templates::Set("imagenet".into()), Ok(80), "the set of the paper"),
            (Templates::Set("simple".into()), Ok(7), "the short set"),
            (list(&["a {}.", "the {c}"]), Ok(2), "both marks"),
            (Templates::Set("imagnet".into()), Err("known: imagenet simple data"), "a misspelt set"),
            (Templates::Set("a {}.".into()), Err("as a list"), "a sentence that is not in a list"),
            (list(&[]), Err("is empty"), "nothing to say"),
            (list(&["a photo"]), Err("`a photo`"), "every class would get one text"),
        ] {
            match (templates.sentences(), expected) {
                (Ok(sentences), Ok(count)) => assert_eq!(sentences.len(), count, "{why}"),
                (Err(error), Err(word)) => assert!(error.to_string().contains(word), "{why}: {error}"),
                (other, _) => panic!("{why}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_data_sets_own_templates_are_asked_for_by_name() {
        let own = ["a photo of {c}, a flower.".to_owned()];
        let data = Templates::Set("data".into());
        assert_eq!(data.sentences_for(&own).expect("it brings one"), own);
        assert_eq!(Templates::Set("simple".into()).sentences_for(&own).expect("known").len(), 7, "others are not asked for");
        for error in [data.sentences_for(&[]), data.sentences(), data.sentences_for(&["flat".into()])] {
            assert!(error.is_err());
        }
    }

    #[test]
    fn a_class_name_is_put_in_once() {
        assert_eq!(fill("a {} and a {c}.", "{c}at"), "a {c}at and a {c}at.");
    }
}
