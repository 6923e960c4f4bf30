//! Labelled pictures of a data set, batch by batch.

use image::RgbImage;
use tch::{Device, Kind, Tensor};
use vlhub_core::{Dataset, Error, Result};

use super::ClassMatch;

/// A batch of pictures with their classes.
#[derive(Debug, Default)]
pub struct Labelled {
    /// The pictures.
    pub images: Vec<RgbImage>,
    /// The class of each: an index into the classes to which the labels were matched.
    pub labels: Vec<usize>,
    /// Where each is from, for messages.
    pub keys: Vec<String>,
}

/// Calls `each` with batches of at most `batch` labelled pictures, in the order of the data set. A sample that cannot be read, or has no label,
/// or one that its data set does not have, is listed in `skipped` with the reason.
///
/// # Errors
/// Whatever `each` refuses, a data set without any usable sample, or labels that are no classes of those to which they were matched.
pub fn read_labelled(
    data: &dyn Dataset,
    classes: &ClassMatch,
    batch: usize,
    skipped: &mut Vec<String>,
    mut each: impl FnMut(Labelled) -> Result<()>,
) -> Result<()> {
    let before = skipped.len();
    let mut ready = Labelled::default();
    let mut usable = 0;
    for sample in data.samples() {
        let sample = match sample {
            Ok(sample) => sample,
            Err(error) => {
                skipped.push(error.to_string());
                continue;
            }
        };
        let Some(label) = sample.label() else {
            skipped.push(format!("{}: no label", sample.key));
            continue;
        };
        let class = match classes.class_of(label).map_err(|error| error.within(&sample.key))? {
            Ok(class) => class,
            Err(why) => {
                skipped.push(format!("{}: {why}", sample.key));
                continue;
            }
        };
        usable += 1;
        ready.images.push(sample.image);
        ready.labels.push(class);
        ready.keys.push(sample.key);
        if ready.labels.len() >= batch {
            each(std::mem::take(&mut ready))?;
        }
    }
    if !ready.labels.is_empty() {
        each(ready)?;
    }
    if usable == 0 { Err(nothing_usable(&skipped[before..])) } else { Ok(()) }
}

/// The error of a data set without any usable sample, with the first reason.
pub fn nothing_usable(skipped: &[String]) -> Error {
    let first = skipped.first().map(|line| format!("; the first: {line}")).unwrap_or_default();
    Error::invalid(format!("no sample could be used, {} were skipped{first}", skipped.len()))
}

/// Scores `[B, classes]` as rows of numbers, one for each of `keys`.
///
/// # Errors
/// Another shape, or a score that is not finite: a NaN compares as equal to nothing, so it would count as a right answer.
pub fn score_rows(scores: &Tensor, classes: usize, keys: &[String]) -> Result<Vec<Vec<f32>>> {
    let wanted = [keys.len() as i64, classes as i64];
    if scores.size() != wanted || classes == 0 {
        return Err(Error::invalid(format!("scores have shape {:?}; {wanted:?} was expected", scores.size())));
    }
    let flat = Vec::<f32>::try_from(scores.to_device(Device::Cpu).to_kind(Kind::Float).contiguous().view(-1))?;
    let rows: Vec<_> = flat.chunks(classes).map(<[f32]>::to_vec).collect();
    match rows.iter().zip(keys).find(|(row, _)| row.iter().any(|score| !score.is_finite())) {
        Some((_, key)) => Err(Error::invalid(format!("{key}: the model's scores are not finite"))),
        None => Ok(rows),
    }
}

/// The `topk` option of a suite, sorted and each number once.
///
/// # Errors
/// No number, or a 0 among them; a `batch` of 0.
pub fn checked_topk(topk: &[usize], batch: usize) -> Result<Vec<usize>> {
    let mut sorted = topk.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.first().is_none_or(|least| *least == 0) {
        return Err(Error::Options(format!("`topk` is {topk:?}; give at least one number, each at least 1")));
    }
    if batch == 0 {
        return Err(Error::Options("`batch` is 0; at least one picture at a time is needed".into()));
    }
    Ok(sorted)
}
