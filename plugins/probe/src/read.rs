//! Labelled pictures, batch by batch.

use vlhub_sdk::prelude::*;

/// Pictures with their classes.
#[derive(Default)]
pub(crate) struct Labelled {
    pub images: Vec<RgbImage>,
    pub labels: Vec<i64>,
    /// Where each is from, for messages.
    pub keys: Vec<String>,
}

/// Calls `each` with batches of samples. What cannot be read, has no label, or a label outside `0..classes` where that is given, is listed
/// in `skipped`.
///
/// # Errors
/// Whatever `each` refuses, or a data set without any usable sample.
pub(crate) fn batches(
    data: &dyn Dataset,
    classes: Option<usize>,
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
        let Some(label) = sample.label else {
            skipped.push(format!("{}: no label", sample.key));
            continue;
        };
        if let Some(classes) = classes.filter(|classes| !(0..*classes as i64).contains(&label)) {
            skipped.push(format!("{}: label {label} is not in 0..{classes}", sample.key));
            continue;
        }
        usable += 1;
        ready.images.push(sample.image);
        ready.labels.push(label);
        ready.keys.push(sample.key);
        if ready.labels.len() == batch {
            each(std::mem::take(&mut ready))?;
        }
    }
    if !ready.labels.is_empty() {
        each(ready)?;
    }
    if usable == 0 {
        let skipped = &skipped[before..];
        let first = skipped.first().map(|line| format!("; the first: {line}")).unwrap_or_default();
        return Err(Error::invalid(format!("no sample could be used, {} were skipped{first}", skipped.len())));
    }
    Ok(())
}

/// Scores `[B, classes]` as rows of numbers, one for each of `keys`.
///
/// # Errors
/// Another shape, or a score that is not finite: a NaN compares as equal to nothing, so it would count as a right answer.
pub(crate) fn rows(scores: &Tensor, classes: usize, keys: &[String]) -> Result<Vec<Vec<f32>>> {
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

/// Which `topK` are reported, in order.
///
/// # Errors
/// None, or a K of 0; a batch of 0.
pub(crate) fn checked(topk: &[usize], batch: usize) -> Result<Vec<usize>> {
    let mut topk = topk.to_vec();
    topk.sort_unstable();
    topk.dedup();
    if topk.first().is_none_or(|least| *least == 0) {
        return Err(Error::Options(format!("`topk` is {topk:?}; give at least one number, each at least 1")));
    }
    if batch == 0 {
        return Err(Error::Options("`batch` is 0; at least one picture at a time is needed".into()));
    }
    Ok(topk)
}
