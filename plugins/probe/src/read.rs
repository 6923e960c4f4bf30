//! Labelled pictures, batch by batch.

use vlhub_sdk::prelude::*;

/// Pictures with their classes.
#[derive(Default)]
pub(crate) struct Labelled {
    pub images: Vec<RgbImage>,
    pub labels: Vec<usize>,
}

/// Calls `each` with batches of usable samples. What cannot be read, or has no class among `classes`, is listed in `skipped`.
///
/// # Errors
/// Whatever `each` refuses, or a data set without any usable sample.
pub(crate) fn batches(
    data: &dyn Dataset,
    classes: usize,
    batch: usize,
    skipped: &mut Vec<String>,
    mut each: impl FnMut(Labelled) -> Result<()>,
) -> Result<()> {
    let mut ready = Labelled::default();
    let mut usable = 0;
    for sample in data.samples() {
        let problem = match sample {
            Err(error) => error.to_string(),
            Ok(sample) => match sample.label {
                None => format!("{}: no label", sample.key),
                Some(label) => match usize::try_from(label).ok().filter(|label| *label < classes) {
                    None => format!("{}: label {label} is not in 0..{classes}", sample.key),
                    Some(label) => {
                        usable += 1;
                        ready.images.push(sample.image);
                        ready.labels.push(label);
                        if ready.labels.len() == batch {
                            each(std::mem::take(&mut ready))?;
                        }
                        continue;
                    }
                },
            },
        };
        skipped.push(problem);
    }
    if !ready.labels.is_empty() {
        each(ready)?;
    }
    if usable == 0 {
        let first = skipped.first().map(|line| format!("; the first: {line}")).unwrap_or_default();
        return Err(Error::invalid(format!("no sample could be used, {} were skipped{first}", skipped.len())));
    }
    Ok(())
}

/// Scores `[rows, classes]` as rows of numbers.
///
/// # Errors
/// Another shape, or a score that is not finite: it compares as equal to nothing, so it would count as a right answer.
pub(crate) fn rows(scores: &Tensor, classes: usize) -> Result<Vec<Vec<f32>>> {
    if scores.size().len() != 2 || scores.size()[1] != classes as i64 {
        return Err(Error::invalid(format!("scores have shape {:?}; {classes} classes were expected", scores.size())));
    }
    let flat = Vec::<f32>::try_from(scores.to_device(Device::Cpu).to_kind(Kind::Float).contiguous().view(-1))?;
    if flat.iter().any(|score| !score.is_finite()) {
        return Err(Error::invalid("the model's scores are not finite"));
    }
    Ok(flat.chunks(classes).map(<[f32]>::to_vec).collect())
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
