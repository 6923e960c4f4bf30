//! How fast samples are read, decoded, augmented and tokenised, each alone and all together as in training.

use std::time::{Duration, Instant};

use image::RgbImage;
use serde::Serialize;
use vlhub_core::{Error, Picture, Raw, Result};

use super::decode;
use super::loader::{LoadError, Loader};
use super::views::{Row, RowPlace};
use crate::measuring::{calls_per_second, median};

/// Samples that are kept in memory while a stage runs: enough to be no cache effect, few enough to fit.
const KEPT: usize = 64;
/// Or as many decoded pictures as take these bytes: large ones are no cache effect sooner.
const KEPT_BYTES: usize = 64 << 20;
/// A machine's other work comes and goes: each stage runs so often, in turn with the others, and the median counts.
const ROUNDS: usize = 3;

/// Samples a second, with the loader's number of threads. A stage that a run does not have is `None`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Speed {
    /// Threads of the loader.
    pub threads: usize,
    /// Mean width and height of the pictures that were looked at, and bytes of a sample's picture.
    pub picture: Option<[f64; 3]>,
    /// Reading a sample's bytes from the source, in the order of training.
    pub read: f64,
    /// Decoding its picture as the run does: with so many threads nothing that trains on pictures can be faster.
    pub decode: Option<f64>,
    /// All image views of a decoded picture: augmentations, and the size of the tower.
    pub augment: Option<f64>,
    /// All text views of a caption: transforms and tokens.
    pub tokenise: Option<f64>,
    /// Batches as training gets them, in rows a second.
    pub end_to_end: f64,
    /// `end_to_end` as a share of `decode`.
    pub of_decode: Option<f64>,
}

/// Measures every stage for about `seconds` in all. Samples that cannot be used are passed over.
///
/// # Errors
/// Data of which no sample can be used, or a loader that gives up.
pub fn measure(loader: &Loader, seconds: f64) -> Result<Speed> {
    let maker = &loader.shared().maker;
    let threads = loader.shared().config.threads.max(1);
    let raws: Vec<Raw> = (0..maker.source.len()).filter_map(|index| maker.source.read(index).ok()).take(KEPT).collect();
    if raws.is_empty() {
        return Err(Error::invalid("no sample can be read"));
    }
    let shows = !maker.views.images.is_empty();
    let mut pictures: Vec<RgbImage> = Vec::new();
    let mut bytes = 0;
    for raw in raws.iter().filter(|_| shows) {
        if bytes > KEPT_BYTES {
            break;
        }
        pictures.extend(decode::pixels(raw, maker.pictures).ok().map(decode::Decoded::into_image));
        bytes += pictures.last().map_or(0, |picture| picture.as_raw().len());
    }
    if shows && pictures.is_empty() {
        return Err(Error::invalid("no picture of the first samples can be decoded; `vlhub data check` says why"));
    }
    let each = Duration::from_secs_f64(seconds / (5 * ROUNDS) as f64);
    let place = |number: usize| RowPlace { seed: 0, epoch: 0, position: number as u64, attempt: 0 };
    // A sample that cannot be used takes its time in training too, but is no sample.
    let read = |number: usize| maker.source.read(number % maker.source.len()).is_ok();
    let decoded = |number: usize| {
        let raw = &raws[number % raws.len()];
        maker.image.map_or_else(|| decode::pixels(raw, maker.pictures).is_ok(), |input| maker.decoded(raw, place(number), input).is_ok())
    };
    let augment = |number: usize| {
        let (raw, picture) = (&raws[number % raws.len()], pictures[number % pictures.len()].clone());
        maker.pictures(raw, picture, None, place(number)).is_ok()
    };
    let tokenise = |number: usize| maker.texts(&raws[number % raws.len()], place(number), &mut Row::default()).is_ok();
    let mut rounds: [Vec<f64>; 5] = Default::default();
    for _ in 0..ROUNDS {
        rounds[0].push(calls_per_second(threads, each, &read));
        if shows {
            rounds[1].push(calls_per_second(threads, each, &decoded));
            rounds[2].push(calls_per_second(threads, each, &augment));
        }
        if !maker.views.texts.is_empty() {
            rounds[3].push(calls_per_second(threads, each, &tokenise));
        }
        rounds[4].push(batches(loader, each)?);
    }
    let [read, decode, augment, tokenise, whole] = rounds.map(median);
    let end_to_end = whole.unwrap_or_default();
    Ok(Speed {
        threads,
        picture: shows.then(|| about(&raws, &pictures)),
        read: read.unwrap_or_default(),
        decode,
        augment,
        tokenise,
        end_to_end,
        of_decode: decode.map(|decode| end_to_end / decode),
    })
}

/// Rows a second of a loader that has begun.
fn batches(loader: &Loader, each: Duration) -> Result<f64> {
    let mut stream = loader.start(0);
    let mut next = || match stream.next() {
        Ok(loaded) => Ok(loaded.batch.rows() as f64),
        Err(LoadError::Budget(why)) => Err(Error::invalid(why)),
        Err(LoadError::Failed(error)) => Err(error),
    };
    next()?;
    let (start, mut rows) = (Instant::now(), 0.0);
    while rows == 0.0 || start.elapsed() < each {
        rows += next()?;
    }
    Ok(rows / start.elapsed().as_secs_f64())
}

/// Mean width, height and bytes.
fn about(raws: &[Raw], pictures: &[RgbImage]) -> [f64; 3] {
    let mean = |sum: f64, of: usize| sum / of.max(1) as f64;
    let bytes = raws.iter().map(|raw| if let Some(Picture::Encoded(bytes)) = &raw.picture { bytes.len() } else { 0 });
    [
        mean(pictures.iter().map(|picture| f64::from(picture.width())).sum(), pictures.len()),
        mean(pictures.iter().map(|picture| f64::from(picture.height())).sum(), pictures.len()),
        mean(bytes.map(|bytes| bytes as f64).sum(), raws.len()),
    ]
}
