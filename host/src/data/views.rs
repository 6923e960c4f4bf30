//! One sample to the views that a run reads: pixels, token ids and a label.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use image::RgbImage;
use vlhub_core::{Augmentation, Bad, Caption, CaptionTransform, Error, Picture, Raw, Source};
use vlhub_sdk::pixels::{Fit, Sampling};
use xxhash_rust::xxh3::xxh3_64;

use super::decode::{DecodeMode, Decoded, Flaw, PictureOptions, Reduction, decode_reduced, panic_text, pixels};
use super::philox::Philox;
use super::tokens::Tokenizer;

/// A view of the picture.
#[derive(Debug)]
pub struct ImageView {
    /// Its name in the batch.
    pub name: String,
    /// What changes the picture, in order, each with its name.
    pub augment: Vec<(String, Box<dyn Augmentation>)>,
}

impl ImageView {
    /// The random numbers that its augmentations draw for a row, one after another.
    fn rng(&self, place: RowPlace) -> Philox {
        place.rng(&format!("image:{}", self.name))
    }

    /// By what a picture of `size` (width, height) may be divided at most, so that it still has as many pixels as this view makes of it.
    fn most_divisor(&self, size: (u32, u32), place: RowPlace, input: ImageInput) -> u32 {
        let Some((_, first)) = self.augment.first() else {
            let (across, down) = (size.0 / input.size.1.max(1), size.1 / input.size.0.max(1));
            return if input.fit == Fit::Longest { across.max(down) } else { across.min(down) };
        };
        // Whatever does not begin with a cut may need every pixel.
        first
            .crop(size, &mut self.rng(place))
            .map_or(1, |crop| (crop.region.width / crop.size.0.max(1)).min(crop.region.height / crop.size.1.max(1)))
    }
}

/// A view of the caption.
#[derive(Debug)]
pub struct TextView {
    /// Its name in the batch.
    pub name: String,
    /// What changes the caption, in order, each with its name.
    pub transform: Vec<(String, Box<dyn CaptionTransform>)>,
}

impl TextView {
    /// Whether one of its transforms writes class labels of its own.
    pub fn makes_labels(&self) -> bool {
        self.transform.iter().any(|(_, transform)| transform.classes().is_some())
    }

    /// The random numbers that its transforms draw for a row, one after another.
    pub(crate) fn rng(&self, place: RowPlace) -> Philox {
        place.rng(&format!("text:{}", self.name))
    }

    /// What its transforms make of a sample's captions and labels.
    pub(crate) fn caption(&self, raw: &Raw, rng: &mut Philox) -> Result<Caption, Unused> {
        let mut caption = raw.caption.clone();
        for (name, transform) in &self.transform {
            caption = transform
                .apply(caption, rng)
                .map_err(|error| failed(raw, "caption transform failed", name, &error))?
                .ok_or_else(|| Unused::FilteredOut(name.clone()))?;
        }
        Ok(caption)
    }
}

/// What a batch holds.
#[derive(Debug, Default)]
pub struct Views {
    /// Views of the picture.
    pub images: Vec<ImageView>,
    /// Views of the caption.
    pub texts: Vec<TextView>,
    /// A view of the caption that is read for the labels that its transforms make, where no objective reads a text.
    pub labeller: Option<TextView>,
    /// Whether class labels are read. They are those that the first text view's transforms leave, or the source's own without a text view.
    pub labels: bool,
}

impl Views {
    /// Names of the classes of labels that the first text view's transforms make, if one does: its labels are those that are read.
    pub fn classes(&self) -> Option<&[String]> {
        self.texts.first().or(self.labeller.as_ref())?.transform.iter().rev().find_map(|(_, transform)| transform.classes())
    }
}

/// A picture of more pixels is large: a batch of such would not fit in memory.
const LARGE: u64 = 25_000_000;

/// What the image tower reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImageInput {
    /// Height and width, in pixels.
    pub size: (u32, u32),
    /// Mean of each channel, for values in 0..1.
    pub mean: [f32; 3],
    /// Standard deviation of each channel.
    pub std: [f32; 3],
    /// How a picture is brought to this size.
    pub fit: Fit,
    /// With which filter, and which direction first.
    pub sampling: Sampling,
    /// Grey level of the border, where there is one.
    pub fill: u8,
}

impl ImageInput {
    /// A picture of the tower's size.
    pub fn prepare(&self, image: &RgbImage) -> RgbImage {
        vlhub_sdk::pixels::prepare(image, self.size, self.fit, self.sampling, self.fill)
    }

    /// A picture that can be held in a batch: as it is, or of the tower's size when it is large. [`ImageInput::prepare`] makes the same of both.
    pub fn bounded(&self, image: RgbImage) -> RgbImage {
        if u64::from(image.width()) * u64::from(image.height()) > LARGE { self.prepare(&image) } else { image }
    }
}

/// One row of a batch.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub key: String,
    /// Pixels of each image view, of the right size.
    pub images: Vec<RgbImage>,
    /// Token ids of each text view.
    pub ids: Vec<Vec<i64>>,
    /// Class labels; none for a sample without a class, which may still have a caption.
    pub labels: Vec<i64>,
}

/// Why there is no row.
#[derive(Debug)]
pub(crate) enum Unused {
    /// It cannot be used.
    Bad(Bad),
    /// A caption transform dropped it.
    FilteredOut(String),
}

/// Where a draw is made: what its random numbers depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowPlace {
    pub seed: u64,
    pub epoch: u64,
    /// The row's place in the epoch.
    pub position: u64,
    /// How many samples were tried for this row before.
    pub attempt: u64,
}

impl RowPlace {
    /// The generator of one view. A view's name decides, so another view beside it changes nothing.
    pub fn rng(&self, view: &str) -> Philox {
        Philox::new([self.seed, self.epoch, self.position, self.attempt, xxh3_64(view.as_bytes())])
    }
}

impl From<Bad> for Unused {
    fn from(bad: Bad) -> Self {
        Self::Bad(bad)
    }
}

/// Runs what is done with one sample, and turns a panic into a bad sample.
pub(crate) fn guarded<T, E: From<Bad>>(source: &dyn Source, index: usize, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        // The panic may come from the source itself, so it is not asked for the key without a guard.
        let key = catch_unwind(AssertUnwindSafe(|| source.key(index))).unwrap_or_else(|_| format!("sample {index}"));
        Err(Bad { place: key.clone(), key, reason: "panic", detail: panic_text(panic.as_ref()) }.into())
    })
}

/// Makes rows.
#[derive(Debug)]
pub(crate) struct RowMaker {
    pub source: Arc<dyn Source>,
    pub views: Views,
    pub tokenizer: Option<Arc<dyn Tokenizer>>,
    pub image: Option<ImageInput>,
    pub pictures: PictureOptions,
    pub decode: DecodeMode,
}

impl RowMaker {
    /// Reads sample `index` and makes its row. Nothing that is wrong with a sample, a panic included, leaves this function but as [`Unused`].
    pub fn row(&self, index: usize, place: RowPlace) -> Result<Row, Unused> {
        guarded(&*self.source, index, || self.unguarded(index, place))
    }

    fn unguarded(&self, index: usize, place: RowPlace) -> Result<Row, Unused> {
        let raw = self.source.read(index).map_err(Unused::Bad)?;
        // Captions first: they are cheap, and a sample that is dropped need not be decoded.
        let mut row = Row { key: raw.key.clone(), ..Row::default() };
        self.texts(&raw, place, &mut row)?;
        if let Some(input) = self.image.filter(|_| !self.views.images.is_empty()) {
            let (decoded, reduction) = self.decoded(&raw, place, input)?;
            // What the picture takes counts until its views are small.
            let (image, _memory) = decoded.into_parts();
            row.images = self.pictures(&raw, image, reduction, place)?;
        }
        Ok(row)
    }

    /// The picture as the run decodes it, and by what it was divided.
    pub fn decoded(&self, raw: &Raw, place: RowPlace, input: ImageInput) -> Result<(Decoded, Option<Reduction>), Unused> {
        match self.reduced(raw, place, input)? {
            Some((decoded, reduction)) => Ok((decoded, Some(reduction))),
            None => Ok((pixels(raw, self.pictures).map_err(Unused::Bad)?, None)),
        }
    }

    /// The picture decoded smaller, where the run allows that and every image view still gets enough of it.
    fn reduced(&self, raw: &Raw, place: RowPlace, input: ImageInput) -> Result<Option<(Decoded, Reduction)>, Unused> {
        let Some(Picture::Encoded(bytes)) = raw.picture.as_ref().filter(|_| self.decode == DecodeMode::Fast) else { return Ok(None) };
        let most = |size| self.views.images.iter().map(|view| view.most_divisor(size, place, input)).min().unwrap_or(1);
        decode_reduced(bytes, self.pictures, most).map_err(|flaw| Unused::Bad(flaw.of(raw)))
    }

    /// Token ids of every text view and, where labels are read, those that the first view's transforms leave, or the sample's own.
    pub fn texts(&self, raw: &Raw, place: RowPlace, row: &mut Row) -> Result<(), Unused> {
        let mut labels = None;
        for view in &self.views.texts {
            let mut rng = view.rng(place);
            let caption = view.caption(raw, &mut rng)?;
            let text = caption.texts.first().ok_or_else(|| bad(raw, "no caption", format!("none is left for view `{}`", view.name)))?;
            if let Some(tokenizer) = &self.tokenizer {
                row.ids.push(self.ids(view, tokenizer.as_ref(), text, raw, &mut rng)?);
            }
            labels.get_or_insert(caption.labels);
        }
        if let Some(view) = &self.views.labeller {
            labels.get_or_insert(view.caption(raw, &mut view.rng(place))?.labels);
        }
        if self.views.labels {
            row.labels = labels.unwrap_or_else(|| raw.caption.labels.clone());
        }
        Ok(())
    }

    /// Every image view of a sample's picture, which may have been decoded smaller.
    pub fn pictures(&self, raw: &Raw, image: RgbImage, reduction: Option<Reduction>, place: RowPlace) -> Result<Vec<RgbImage>, Unused> {
        let Some(input) = self.image else { return Ok(Vec::new()) };
        let Some((last, others)) = self.views.images.split_last() else { return Ok(Vec::new()) };
        // The last view gets the picture itself, the others a copy.
        let one = |view, image| self.picture(view, image, reduction, raw, place, input);
        let mut views: Vec<_> = others.iter().map(|view| one(view, image.clone())).collect::<Result<_, _>>()?;
        views.push(one(last, image)?);
        Ok(views)
    }

    /// Ids of a text, framed; the transforms rewrite those within the frame.
    fn ids(&self, view: &TextView, tokenizer: &dyn Tokenizer, text: &str, raw: &Raw, rng: &mut Philox) -> Result<Vec<i64>, Unused> {
        let mut ids = tokenizer.encode(text);
        for (name, transform) in &view.transform {
            let body = tokenizer.body(&ids);
            let own = ids[body.clone()].to_vec();
            let own = transform.ids(own, rng).map_err(|error| failed(raw, "caption transform failed", name, &error))?;
            ids.splice(body, own);
        }
        Ok(ids)
    }

    fn picture(
        &self,
        view: &ImageView,
        mut image: RgbImage,
        reduction: Option<Reduction>,
        raw: &Raw,
        place: RowPlace,
        input: ImageInput,
    ) -> Result<RgbImage, Unused> {
        let mut rng = view.rng(place);
        for (number, (name, augmentation)) in view.augment.iter().enumerate() {
            // Of a picture that was decoded smaller the first augmentation makes the cut that it planned for the whole one.
            let planned = reduction.filter(|_| number == 0).and_then(|reduction| {
                let crop = augmentation.crop(reduction.size, &mut rng)?;
                Some(reduction.part(crop.region))
            });
            let changed = match planned {
                Some(part) => augmentation.apply_crop(image, part, &mut rng),
                None => augmentation.apply(image, &mut rng),
            };
            image = changed.map_err(|error| failed(raw, "augmentation failed", name, &error))?;
            if image.width() == 0 || image.height() == 0 {
                return Err(bad(raw, "augmentation failed", format!("`{name}` left no pixels")));
            }
        }
        let (height, width) = input.size;
        if image.dimensions() == (width, height) { Ok(image) } else { Ok(input.prepare(&image)) }
    }
}

fn bad(raw: &Raw, reason: &'static str, detail: String) -> Unused {
    Unused::Bad(Flaw { reason, detail }.of(raw))
}

fn failed(raw: &Raw, reason: &'static str, name: &str, error: &Error) -> Unused {
    let reason = if matches!(error, Error::Panic { .. }) { "panic" } else { reason };
    bad(raw, reason, format!("`{name}`: {error}"))
}
