//! Answers, on the thread that has the model.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Instant;

use image::RgbImage;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tokio::sync::oneshot;
use vlhub_core::{Captioning, Error, Model, Result};
use vlhub_sdk::captions::fill;
use vlhub_sdk::ops::normalize;

use super::request::Question;
use super::{MOST_BODY, MOST_CLASSES, MOST_TEMPLATES, PictureIndex};
use crate::evaluation::EvalModel;

/// Classifiers that are kept in memory.
const KEPT: usize = 8;

/// The factor of cosines before the softmax where the weights have none, CLIP's upper bound.
const USUAL_SCALE: f64 = 100.0;

/// A question, and where its answer goes.
pub type Asked = (Question, oneshot::Sender<Result<Value, String>>);

/// The model with its index.
pub struct Answering<'a> {
    model: &'a EvalModel<'a>,
    /// As it is called on the page.
    name: String,
    /// The factor of cosines before the softmax.
    scale: f64,
    index: PictureIndex,
    /// Prompts and their classifiers, the one used last at the end.
    classifiers: RefCell<Vec<(Vec<Vec<String>>, Tensor)>>,
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
            "limits": {"body_bytes": MOST_BODY, "classes": MOST_CLASSES, "templates": MOST_TEMPLATES},
        })
    }

    /// The indexed files.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.index.files.clone()
    }

    /// Answers, unless nobody waits for it any more.
    pub(super) fn answer(&self, (question, reply): Asked) {
        if reply.is_closed() {
            return;
        }
        let begin = Instant::now();
        let _no_grad = tch::no_grad_guard();
        let answer = match question {
            Question::Classify { image, classes, templates } => self.classify(image, &classes, &templates),
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

    fn classify(&self, image: RgbImage, classes: &[String], templates: &[String]) -> Result<Value> {
        let skills = self.model.skills();
        let (scores, names, kind) = if classes.is_empty() {
            let head = skills.classifier.ok_or_else(|| Error::invalid("`classes` is empty, and the model has no head of its own"))?;
            let logits = head.classify(&self.model.images(&[image], false)?)?.squeeze_dim(0);
            let names = (0..head.classes()).map(|at| skills.classes.get(at).cloned().unwrap_or_else(|| format!("class {at}"))).collect();
            (logits, names, "logit")
        } else {
            let usual = ["a photo of a {}.".to_owned()];
            let templates = if templates.is_empty() { &usual[..] } else { templates };
            let prompts: Vec<Vec<String>> =
                classes.iter().map(|class| templates.iter().map(|sentence| fill(sentence, class)).collect()).collect();
            if let Some(scorer) = skills.scorer {
                let image = self.model.images(&[image], scorer.tokens())?;
                let of_class = |texts: &Vec<String>| -> Result<Tensor> {
                    Ok(scorer.score(&image, &self.model.texts(texts, scorer.tokens())?)?.to_kind(Kind::Float).mean(Kind::Float))
                };
                (Tensor::f_stack(&prompts.iter().map(of_class).collect::<Result<Vec<_>>>()?, 0)?, classes.to_vec(), "score")
            } else {
                let classifier = self.classifier(prompts)?;
                let embed = normalize(&self.model.images(&[image], false)?.embed.to_kind(Kind::Float));
                (classifier.f_matmul(&embed.f_reshape([-1, 1])?)?.squeeze_dim(1), classes.to_vec(), "cosine")
            }
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

    /// The classifier of these prompts, remembered.
    fn classifier(&self, prompts: Vec<Vec<String>>) -> Result<Tensor> {
        let mut kept = self.classifiers.borrow_mut();
        if let Some(at) = kept.iter().position(|(known, _)| *known == prompts) {
            let known = kept.remove(at);
            kept.push(known);
        } else {
            let made = self.model.prototypes(&prompts)?;
            if kept.len() == KEPT {
                drop(kept.remove(0));
            }
            kept.push((prompts, made));
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
