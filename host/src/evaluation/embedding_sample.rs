//! A model that notes some of the embeddings that pass through it, for whoever wants to look at them.

use std::cell::RefCell;

use image::{RgbImage, imageops};
use tch::{Kind, Tensor};
use vlhub_core::{Captioning, Encoded, Model, Report, Result, Skills};
use vlhub_sdk::ops::normalize;

/// Embeddings of some pictures and texts of an evaluation, in one space.
#[derive(Clone, Debug, Default)]
pub struct EmbeddingSample {
    /// Numbers of a row: the width of the joint space.
    pub width: usize,
    /// Unit-length rows, one after the other: pictures, then texts.
    pub values: Vec<f32>,
    /// The pictures, [`EmbeddingSample::SIDE`] pixels high and wide.
    pub pictures: Vec<RgbImage>,
    /// What each row is, in words: the class of a picture where it is known, or the first text of a class.
    pub labels: Vec<String>,
}

impl EmbeddingSample {
    /// Height and width of a small picture, in pixels.
    pub const SIDE: u32 = 32;
    /// Pictures that are kept at most, and texts.
    pub const MOST: usize = 1000;

    /// Rows.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether nothing was embedded.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// Passes everything on to `model`, and keeps the first embeddings of pictures and of classes' texts.
pub struct EmbeddingTap<'a> {
    model: &'a dyn Model,
    seen: RefCell<Seen>,
}

#[derive(Default)]
struct Seen {
    width: usize,
    /// Pictures that passed, those that are not kept too.
    passed: usize,
    pictures: Vec<RgbImage>,
    of_pictures: Vec<f32>,
    texts: Vec<String>,
    of_texts: Vec<f32>,
}

impl<'a> EmbeddingTap<'a> {
    /// Nothing has passed yet.
    pub fn new(model: &'a dyn Model) -> Self {
        Self { model, seen: RefCell::default() }
    }

    /// What passed. Pictures are called by their class where `report` has one for each that passed: then its rows are the pictures in their
    /// order. A suite that encodes other pictures too, such as those that it learns from, has fewer rows, and nothing says which they are.
    pub fn sample(self, report: &Report) -> EmbeddingSample {
        let Seen { width, passed, pictures, of_pictures, texts, of_texts } = self.seen.into_inner();
        let table = report.tables.iter().find(|table| table.classes.len() == passed && !report.classes.is_empty());
        let class = |at: usize| table.and_then(|table| report.classes.get(table.classes[at] as usize)).cloned();
        let labels = (0..pictures.len()).map(|at| class(at).unwrap_or_else(|| format!("picture {}", at + 1)));
        let labels = labels.chain(texts).collect();
        EmbeddingSample { width, values: [of_pictures, of_texts].concat(), pictures, labels }
    }
}

/// Up to `most` rows of `embed` `[N, D]` at unit length, one after the other, and D.
fn rows(embed: &Tensor, most: usize) -> Result<(Vec<f32>, usize)> {
    let some = embed.f_narrow(0, 0, embed.size()[0].min(most as i64))?.f_to_kind(Kind::Float)?.f_to_device(tch::Device::Cpu)?;
    let unit = normalize(&some);
    let width = usize::try_from(unit.size()[1]).unwrap_or_default();
    Ok((Vec::try_from(unit.f_contiguous()?.f_view(-1i64)?)?, width))
}

impl Model for EmbeddingTap<'_> {
    fn images(&self, images: &[RgbImage], tokens: bool) -> Result<Encoded> {
        let encoded = self.model.images(images, tokens)?;
        let seen = &mut *self.seen.borrow_mut();
        seen.passed += images.len();
        let room = EmbeddingSample::MOST - seen.pictures.len();
        if room > 0 {
            let (values, width) = rows(&encoded.embed, room)?;
            seen.width = width;
            seen.of_pictures.extend(values);
            let side = EmbeddingSample::SIDE;
            seen.pictures.extend(images.iter().take(room).map(|image| imageops::thumbnail(image, side, side)));
        }
        Ok(encoded)
    }

    fn texts(&self, texts: &[String], tokens: bool) -> Result<Encoded> {
        self.model.texts(texts, tokens)
    }

    fn prototypes(&self, groups: &[Vec<String>]) -> Result<Tensor> {
        let prototypes = self.model.prototypes(groups)?;
        let seen = &mut *self.seen.borrow_mut();
        let room = EmbeddingSample::MOST - seen.texts.len();
        if room > 0 {
            let (values, width) = rows(&prototypes, room)?;
            seen.width = width;
            seen.of_texts.extend(values);
            seen.texts.extend(groups.iter().take(room).map(|texts| texts.first().cloned().unwrap_or_default()));
        }
        Ok(prototypes)
    }

    fn skills(&self) -> Skills<'_> {
        self.model.skills()
    }

    fn captions(&self, images: &[RgbImage], how: &Captioning) -> Result<Vec<String>> {
        self.model.captions(images, how)
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use vlhub_core::SampleTable;

    use super::*;

    /// Embeds everything as (3, 4).
    struct Constant;

    impl Model for Constant {
        fn images(&self, images: &[RgbImage], _tokens: bool) -> Result<Encoded> {
            let embed = Tensor::from_slice(&[3f32, 4.0]).repeat([images.len() as i64, 1]);
            Ok(Encoded { pooled: embed.shallow_clone(), embed, tokens: None })
        }
        fn texts(&self, texts: &[String], _tokens: bool) -> Result<Encoded> {
            self.images(&vec![RgbImage::new(1, 1); texts.len()], false)
        }
        fn skills(&self) -> Skills<'_> {
            Skills { images: true, texts: true, ..Skills::default() }
        }
    }

    #[test]
    fn pictures_that_were_learnt_from_have_no_labels_of_those_that_were_measured() {
        let pictures = vec![RgbImage::new(2, 2); 3];
        let mut report = Report { classes: vec!["cat".into(), "dog".into()], ..Report::default() };
        report.tables.push(SampleTable { classes: vec![1, 0, 1], ..SampleTable::default() });
        let tap = EmbeddingTap::new(&Constant);
        // A nearest-neighbour suite encodes `train` first, and then `data`.
        (0..2).for_each(|_| drop(tap.images(&pictures, false).expect("it embeds")));
        let expected: Vec<String> = (1..=6).map(|number| format!("picture {number}")).collect();
        assert_eq!(tap.sample(&report).labels, expected);
        // Pictures beyond those that are kept count, too.
        let tap = EmbeddingTap::new(&Constant);
        (0..5).for_each(|_| drop(tap.images(&vec![RgbImage::new(2, 2); 300], false).expect("it embeds")));
        report.tables[0].classes = [vec![1; 1000], vec![0; 500]].concat();
        assert_eq!(tap.sample(&report).labels[999], "dog");
    }

    #[test]
    fn some_pictures_and_classes_are_kept_with_their_names() {
        let pictures = vec![RgbImage::from_pixel(50, 20, Rgb([7, 8, 9])); 3];
        let pass = || {
            let tap = EmbeddingTap::new(&Constant);
            assert_eq!(tap.images(&pictures, false).expect("it embeds").embed.size(), [3, 2]);
            assert_eq!(tap.prototypes(&[vec!["a cat".into(), "the cat".into()]]).expect("it embeds").size(), [1, 2]);
            tap
        };
        let mut report = Report { classes: vec!["cat".into(), "dog".into()], ..Report::default() };
        report.tables.push(SampleTable { classes: vec![1, 0, 1], ..SampleTable::default() });
        let sample = pass().sample(&report);
        assert_eq!(sample.labels, ["dog", "cat", "dog", "a cat"]);
        assert_eq!((sample.width, sample.values.as_slice()), (2, &[0.6, 0.8, 0.6, 0.8, 0.6, 0.8, 0.6, 0.8][..]));
        assert_eq!((sample.pictures.len(), sample.pictures[0].dimensions()), (3, (32, 32)));
        assert_eq!(pass().sample(&Report::default()).labels[..2], ["picture 1", "picture 2"]);
        let tap = EmbeddingTap::new(&Constant);
        (0..5).for_each(|_| drop(tap.images(&vec![RgbImage::new(2, 2); 300], false)));
        assert_eq!(tap.sample(&Report::default()).len(), EmbeddingSample::MOST);
    }
}
