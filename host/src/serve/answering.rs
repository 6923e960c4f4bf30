//! Answers, on the thread that has the model.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Instant;

use image::RgbImage;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};
use tokio::sync::oneshot;
use vlhub_core::{Captioning, Error, Model, Result};
use vlhub_sdk::captions::fill;
use vlhub_sdk::ops::normalize;

use super::request::Question;
use super::{MOST_BODY, MOST_CLASSES, MOST_PROMPTS, MOST_TEMPLATES, PictureIndex};
use crate::evaluation::EvalModel;

/// Classifiers that are kept in memory.
const KEPT: usize = 8;

/// Prompts that are made and encoded before it is asked again whether somebody waits; of fewer, fewer would have a beginning in common.
const CHUNK: usize = 1024;

/// The factor of cosines before the softmax where the weights have none, CLIP's upper bound.
const USUAL_SCALE: f64 = 100.0;

/// A question, and where its answer goes.
pub type Asked = (Question, oneshot::Sender<Result<Value, String>>);

/// What a classifier is made of, as [`hash_of_prompts`]: texts of strangers are not kept.
type ClassifierKey = [u8; 32];

/// The model with its index.
pub struct Answering<'a> {
    model: &'a EvalModel<'a>,
    /// As it is called on the page.
    name: String,
    /// The factor of cosines before the softmax.
    scale: f64,
    index: PictureIndex,
    /// The classifiers that were made last, the one used last at the end.
    classifiers: RefCell<Vec<(ClassifierKey, Tensor)>>,
}

impl<'a> Answering<'a> {
    /// A model under a name; `scale` is the factor of its cosines, if its weights have one.
    pub fn new(model: &'a EvalModel<'a>, name: String, scale: Option<f64>, index: PictureIndex) -> Self {
        Self { model, name, scale: scale.unwrap_or(USUAL_SCALE), index, classifiers: RefCell::default() }
    }

    /// What a page shows of it.
    pub(super) fn about(&self) -> Value {
        let skills = self.model.skills();
        json!({
            "model": self.name,
            "images": skills.images,
            "texts": skills.texts,
            "captions": skills.captioner.is_some(),
            "classes": skills.classes,
            "indexed": self.index.files.len(),
            "limits": {"body_bytes": MOST_BODY, "classes": MOST_CLASSES, "templates": MOST_TEMPLATES, "prompts": MOST_PROMPTS},
        })
    }

    /// The indexed files.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.index.files.clone()
    }

    /// Answers, as long as somebody waits for it.
    pub(super) fn answer(&self, (question, reply): Asked) {
        if reply.is_closed() {
            return;
        }
        let begin = Instant::now();
        let _no_grad = tch::no_grad_guard();
        let is_gone = || reply.is_closed();
        let answer = match question {
            Question::Classify { image, classes, templates } => self.classify(image, &classes, &templates, &is_gone),
            Question::SearchText(text, top) => self.found(|| self.model.texts(&[text], false).map(|encoded| encoded.embed), top),
            Question::SearchImage(image, top) => self.found(|| self.model.images(&[image], false).map(|encoded| encoded.embed), top),
            Question::Caption(image) => {
                self.model.captions(&[image], &Captioning::default()).map(|captions| json!({"caption": captions.first()}))
            }
        };
        let answer = answer.map_err(|error| error.to_string()).map(|mut answer| {
            answer["milliseconds"] = json!(begin.elapsed().as_millis() as u64);
            answer
        });
        // The client may have gone meanwhile.
        reply.send(answer).ok();
    }

    fn classify(&self, image: RgbImage, classes: &[String], templates: &[String], is_gone: &dyn Fn() -> bool) -> Result<Value> {
        let skills = self.model.skills();
        let (scores, names, kind) = if classes.is_empty() {
            let head = skills.classifier.ok_or_else(|| Error::invalid("`classes` is empty, and the model has no head of its own"))?;
            let logits = head.classify(&self.model.images(&[image], false)?)?.squeeze_dim(0);
            let names = (0..head.classes()).map(|at| skills.classes.get(at).cloned().unwrap_or_else(|| format!("class {at}"))).collect();
            (logits, names, "logit")
        } else if let Some(scorer) = skills.scorer {
            let image = self.model.images(&[image], scorer.tokens())?;
            let of_class = |class: &String| -> Result<Tensor> {
                check_awaited(is_gone)?;
                let texts = self.model.texts(&prompts(class, templates), scorer.tokens())?;
                Ok(scorer.score(&image, &texts)?.to_kind(Kind::Float).mean(Kind::Float))
            };
            (Tensor::f_stack(&classes.iter().map(of_class).collect::<Result<Vec<_>>>()?, 0)?, classes.to_vec(), "score")
        } else {
            let classifier = self.classifier(classes, templates, is_gone)?;
            let embed = normalize(&self.model.images(&[image], false)?.embed.to_kind(Kind::Float));
            (classifier.f_matmul(&embed.f_reshape([-1, 1])?)?.squeeze_dim(1), classes.to_vec(), "cosine")
        };
        let scores = scores.to_device(Device::Cpu).to_kind(Kind::Float);
        let scale = if kind == "cosine" { self.scale } else { 1.0 };
        let shares = Vec::<f32>::try_from((&scores * scale).softmax(0, Kind::Float))?;
        let scores = Vec::<f32>::try_from(scores)?;
        if let Some(bad) = scores.iter().find(|score| !score.is_finite()) {
            return Err(Error::invalid(format!("a score is {bad}: the weights are not finite")));
        }
        let mut rows: Vec<(String, f32, f32)> =
            names.into_iter().zip(scores).zip(shares).map(|((name, score), share)| (name, score, share)).collect();
        rows.sort_by(|left, right| right.1.total_cmp(&left.1));
        let rows: Vec<Value> =
            rows.iter().map(|(name, score, share)| json!({"class": name, "score": score, "probability": share})).collect();
        Ok(json!({"scores": rows, "kind": kind}))
    }

    /// The classifier of these classes, remembered.
    fn classifier(&self, classes: &[String], templates: &[String], is_gone: &dyn Fn() -> bool) -> Result<Tensor> {
        let key = hash_of_prompts(classes, templates);
        let mut kept = self.classifiers.borrow_mut();
        if let Some(at) = kept.iter().position(|(known, _)| *known == key) {
            let known = kept.remove(at);
            kept.push(known);
        } else {
            let made = make_classifier(self.model, classes, templates, is_gone)?;
            if kept.len() == KEPT {
                drop(kept.remove(0));
            }
            kept.push((key, made));
        }
        let (_, classifier) = kept.last().ok_or_else(|| Error::invalid("no classifier"))?;
        Ok(classifier.shallow_clone())
    }

    fn found(&self, embed: impl FnOnce() -> Result<Tensor>, top: usize) -> Result<Value> {
        if self.index.files.is_empty() {
            return Err(Error::invalid("no pictures are indexed; start `vlhub serve` with `--images FOLDER`"));
        }
        let query = normalize(&embed()?.to_kind(Kind::Float)).squeeze_dim(0);
        let found = self.index.nearest(&query, top)?;
        let results: Vec<Value> = found
            .iter()
            .map(|(at, score)| json!({"id": at, "file": self.index.files[*at].display().to_string(), "score": score}))
            .collect();
        Ok(json!({"results": results}))
    }
}

/// The prompts of one class.
fn prompts(class: &str, templates: &[String]) -> Vec<String> {
    templates.iter().map(|template| fill(template, class)).collect()
}

/// The classifier `[classes, D]`, some classes at a time: only their prompts are in memory, and it is given up when nobody waits any more.
fn make_classifier(model: &dyn Model, classes: &[String], templates: &[String], is_gone: &dyn Fn() -> bool) -> Result<Tensor> {
    let at_once = (CHUNK / templates.len().max(1)).max(1);
    let mut rows = Vec::new();
    for some in classes.chunks(at_once) {
        check_awaited(is_gone)?;
        rows.push(model.prototypes(&some.iter().map(|class| prompts(class, templates)).collect::<Vec<_>>())?);
    }
    Ok(Tensor::f_cat(&rows, 0)?)
}

/// Ends the work on a question whose client has gone, or was told that the model is busy.
///
/// # Errors
/// Nobody waits for the answer any more.
fn check_awaited(is_gone: &dyn Fn() -> bool) -> Result<()> {
    if is_gone() { Err(Error::invalid("nobody waits for the answer any more")) } else { Ok(()) }
}

/// Cryptographic, because whoever asks chooses the texts: two questions must not get one classifier.
fn hash_of_prompts(classes: &[String], templates: &[String]) -> ClassifierKey {
    let mut hash = Sha256::new();
    for list in [classes, templates] {
        hash.update((list.len() as u64).to_le_bytes());
        for text in list {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use vlhub_core::{Encoded, Skills};

    use super::*;

    /// A class's row is the length of its first prompt. Counts calls, and remembers the most prompts of one.
    #[derive(Default)]
    struct CountingModel {
        calls: Cell<usize>,
        most: Cell<usize>,
    }

    impl Model for CountingModel {
        fn images(&self, _images: &[RgbImage], _tokens: bool) -> Result<Encoded> {
            Err(Error::invalid("no pictures are asked for"))
        }
        fn texts(&self, _texts: &[String], _tokens: bool) -> Result<Encoded> {
            Err(Error::invalid("no texts are asked for"))
        }
        fn prototypes(&self, groups: &[Vec<String>]) -> Result<Tensor> {
            self.calls.set(self.calls.get() + 1);
            self.most.set(self.most.get().max(groups.iter().map(Vec::len).sum()));
            let lengths: Vec<f32> = groups.iter().map(|group| group[0].len() as f32).collect();
            Ok(Tensor::from_slice(&lengths).view([-1, 1]))
        }
        fn skills(&self) -> Skills<'_> {
            Skills { texts: true, ..Skills::default() }
        }
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|at| "a".repeat(at % 50 + 1)).collect()
    }

    #[test]
    fn a_classifier_is_made_in_chunks_and_has_its_rows_in_order() {
        let model = CountingModel::default();
        let (classes, templates) = (names(2000), ["{}", "a {}", "the {}"].map(str::to_owned));
        let made = make_classifier(&model, &classes, &templates, &|| false).expect("somebody waits");
        let lengths: Vec<f32> = classes.iter().map(|class| class.len() as f32).collect();
        assert_eq!(made, Tensor::from_slice(&lengths).view([-1, 1]));
        assert!(model.calls.get() == 6 && model.most.get() <= CHUNK, "{} calls, {} prompts", model.calls.get(), model.most.get());
    }

    #[test]
    fn work_stops_between_chunks_when_the_client_has_gone() {
        let model = CountingModel::default();
        let gone_after_two = || model.calls.get() == 2;
        let error = make_classifier(&model, &names(5000), &["a {}".to_owned()], &gone_after_two).expect_err("nobody waits");
        assert!(error.to_string().contains("nobody waits") && model.calls.get() == 2, "{error}");
    }

    #[test]
    fn other_prompts_have_another_key() {
        let key = |classes: &[&str], templates: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            hash_of_prompts(&owned(classes), &owned(templates))
        };
        let first = key(&["ab", "c"], &["{}"]);
        assert_eq!(first, key(&["ab", "c"], &["{}"]));
        for (classes, templates, why) in [
            (&["a", "bc"][..], &["{}"][..], "the same letters"),
            (&["c", "ab"], &["{}"], "another order"),
            (&["ab"], &["c", "{}"], "a class that is a template"),
            (&["ab", "c"], &["{c}"], "another mark"),
        ] {
            assert_ne!(first, key(classes, templates), "{why}");
        }
    }
}
