//! A trained model as evaluation suites see it.

use std::cell::Cell;
use std::sync::Arc;

use image::RgbImage;
use tch::{Device, Tensor};
use vlhub_core::guard::catch;
use vlhub_core::{Captioning, Encoded, Error, InputSpec, Modality, Model, Result, Skills, TextSide, mean_direction};
use vlhub_torch_ext::span;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{ClassifierCache, text_rows};
use crate::data::batch::{PixelRows, TokenRows};
use crate::data::tokens::Tokenizer;
use crate::engine::terms::Term;
use crate::engine::towers::Towers;
use crate::session::Session;

/// Texts that are encoded before the classes that they belong to are averaged: it bounds the memory of a classifier of many classes.
const TEXTS: usize = 100_000;

/// What a model has encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodedCounts {
    /// Pictures.
    pub images: u64,
    /// Texts, equal ones too.
    pub texts: u64,
    /// Their token ids, from start to end, without padding.
    pub tokens: u64,
    /// Tokens that went through the text tower for them: equal texts and common beginnings once, and what padding was left.
    pub computed: u64,
}

/// Towers with their preprocessing.
#[derive(Debug)]
pub struct EvalModel<'a> {
    /// The towers.
    pub towers: &'a Towers,
    /// The objectives, for their skills.
    pub terms: &'a [Term],
    /// Turns texts into ids.
    pub tokenizer: Option<Arc<dyn Tokenizer>>,
    /// What the classes of the supervised head are called, in the order of its logits; empty when that is not known.
    pub class_names: &'a [String],
    /// Where classifiers made of texts are kept, if they are.
    pub classifiers: Option<ClassifierCache>,
    counts: Cell<EncodedCounts>,
}

impl<'a> EvalModel<'a> {
    /// The model that was built, whose supervised head has these classes.
    pub fn of_session(session: &'a Session, class_names: &'a [String]) -> Self {
        Self::new(&session.towers, &session.terms, session.tokenizer.clone(), class_names)
    }

    /// These towers and objectives, whose supervised head has these classes. No classifier is kept.
    pub fn new(towers: &'a Towers, terms: &'a [Term], tokenizer: Option<Arc<dyn Tokenizer>>, class_names: &'a [String]) -> Self {
        Self { towers, terms, tokenizer, class_names, classifiers: None, counts: Cell::default() }
    }

    /// What was encoded since this was asked last.
    pub fn take_counts(&self) -> EncodedCounts {
        self.counts.take()
    }

    fn count_texts(&self, ids: &[Vec<i64>], computed: u64) {
        let mut counts = self.counts.get();
        counts.texts += ids.len() as u64;
        counts.tokens += ids.iter().map(|ids| ids.len() as u64).sum::<u64>();
        counts.computed += computed;
        self.counts.set(counts);
    }

    fn device(&self) -> Device {
        self.towers.vars.device()
    }
}

fn ids_of(tokenizer: &dyn Tokenizer, texts: &[String]) -> Vec<Vec<i64>> {
    texts.iter().map(|text| tokenizer.encode(text)).collect()
}

impl Model for EvalModel<'_> {
    fn images(&self, images: &[RgbImage], tokens: bool) -> Result<Encoded> {
        self.towers.net(Modality::Image)?;
        let Some(input) = self.towers.pictures else { return Err(Error::invalid("the image tower reads no images")) };
        let _no_grad = tch::no_grad_guard();
        let prepared = span(c"eval/preparing pictures", || {
            let prepared: Vec<RgbImage> = images.iter().map(|image| input.prepare(image)).collect();
            PixelRows::new(input).tensor(prepared.iter())
        });
        let pictures = prepared?.f_to_device(self.device())?;
        self.counts.set(EncodedCounts { images: self.counts.get().images + images.len() as u64, ..self.counts.get() });
        span(c"eval/forward image", || self.towers.encode(Modality::Image, &pictures, tokens, None))
    }

    fn texts(&self, texts: &[String], tokens: bool) -> Result<Encoded> {
        self.towers.net(Modality::Text)?;
        let tokenizer = self.tokenizer.as_ref().ok_or_else(|| Error::invalid("the run has no tokenizer"))?;
        self.token_ids(&span(c"eval/tokenising", || ids_of(&**tokenizer, texts)), tokens)
    }

    fn prototypes(&self, groups: &[Vec<String>]) -> Result<Tensor> {
        self.towers.net(Modality::Text)?;
        let tokenizer = self.tokenizer.as_ref().ok_or_else(|| Error::invalid("the run has no tokenizer"))?;
        let all = || groups.iter().map(|texts| ids_of(&**tokenizer, texts)).collect();
        let ids: Vec<Vec<Vec<i64>>> = span(c"eval/tokenising", all);
        let file = match &self.classifiers {
            Some(cache) => Some(cache.file(self.towers, &ids.iter().map(Vec::as_slice).collect::<Vec<_>>())?),
            None => None,
        };
        if let Some(known) = file.as_deref().and_then(|file| ClassifierCache::read(file, groups.len())) {
            tracing::info!("the classifier of {} classes was computed before", groups.len());
            return Ok(known.f_to_device(self.device())?);
        }
        let mut rows = Vec::with_capacity(groups.len());
        let mut start = 0;
        while start < groups.len() {
            // As many classes as have [`TEXTS`] texts together, at least one.
            let mut end = start + 1;
            let mut texts = ids[start].len();
            while end < groups.len() && texts + ids[end].len() <= TEXTS {
                texts += ids[end].len();
                end += 1;
            }
            let together = ids[start..end].concat();
            let (encoded, computed) = text_rows::encode(self.towers, &together)?;
            self.count_texts(&together, computed);
            span(c"eval/means of classes", || -> Result<()> {
                let mut first = 0;
                for class in &ids[start..end] {
                    rows.push(mean_direction(&encoded.embed.f_narrow(0, first, class.len() as i64)?)?);
                    first += class.len() as i64;
                }
                Ok(())
            })?;
            start = end;
        }
        let classifier = Tensor::f_stack(&rows, 0)?;
        if let Some(Err(error)) = file.map(|file| ClassifierCache::write(&file, &classifier)) {
            tracing::warn!("{error}; the classifier is not kept");
        }
        Ok(classifier)
    }

    fn skills(&self) -> Skills<'_> {
        let (images, texts) = (self.towers.image.is_some(), self.towers.text.is_some());
        let mut skills = Skills { images, texts, classes: self.class_names, ..Skills::default() };
        for term in self.terms {
            let of = term.objective.skills();
            skills.scorer = skills.scorer.or(of.scorer);
            skills.captioner = skills.captioner.or(of.captioner);
            skills.classifier = skills.classifier.or(of.classifier);
        }
        skills
    }

    fn captions(&self, images: &[RgbImage], how: &Captioning) -> Result<Vec<String>> {
        let lacks = || Error::Options("this model writes no captions: no objective of it can, as `[objective.caption]` does".into());
        let captioner = self.skills().captioner.ok_or_else(lacks)?;
        let tokenizer = self.tokenizer.as_ref().ok_or_else(|| Error::invalid("the run has no tokenizer"))?;
        let frame: Vec<i64> = tokenizer.encode("").into_iter().filter(|id| *id != tokenizer.pad()).collect();
        let [start, .., end] = frame[..] else {
            return Err(Error::invalid("captions need a tokenizer that marks the start and the end of a text; this one does not"));
        };
        let encoded = self.images(images, true)?;
        // What is drawn for a picture depends on the picture alone, not on its place among others.
        let seeds: Vec<u64> = images.iter().map(|image| xxh3_64_with_seed(image.as_raw(), how.seed)).collect();
        // The captioner may be part of a library, which no panic of this program may reach.
        let encode = |ids: &Tensor| catch("the text tower", || self.towers.encode(Modality::Text, ids, true, None));
        let _no_grad = tch::no_grad_guard();
        let ids = span(c"eval/writing captions", || captioner.caption(&encoded, &seeds, &TextSide { encode: &encode, start, end }, how))?;
        let rows = ids.f_to_device(Device::Cpu)?;
        let text = |row: i64| {
            let mut ids = Vec::<i64>::try_from(rows.f_get(row)?)?;
            // A caption that broke off has no end token, and CLIP's padding is a word (`!`).
            ids.truncate(ids.iter().rposition(|id| *id != tokenizer.pad()).map_or(0, |last| last + 1));
            Ok(tokenizer.decode(&ids).trim().to_owned())
        };
        (0..images.len() as i64).map(text).collect()
    }
}

impl EvalModel<'_> {
    /// Encodes rows of token ids, filled up with the text tower's padding.
    ///
    /// # Errors
    /// Ids that the text tower does not take.
    pub fn token_ids(&self, ids: &[Vec<i64>], tokens: bool) -> Result<Encoded> {
        let net = self.towers.net(Modality::Text)?;
        let InputSpec::Text { context, pad, truncates, .. } = net.input else {
            return Err(Error::invalid("the text tower reads no texts"));
        };
        if !tokens {
            let (encoded, computed) = text_rows::encode(self.towers, ids)?;
            self.count_texts(ids, computed);
            return Ok(encoded);
        }
        let _no_grad = tch::no_grad_guard();
        let rows: Vec<&[i64]> = ids.iter().map(Vec::as_slice).collect();
        let input = TokenRows { context: context as usize, pad, truncate: truncates }.tensor(&rows)?.f_to_device(self.device())?;
        self.count_texts(ids, input.numel() as u64);
        span(c"eval/forward text", || self.towers.encode(Modality::Text, &input, tokens, None))
    }
}
