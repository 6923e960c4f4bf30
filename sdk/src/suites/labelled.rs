//! Labelled pictures of a data set, batch by batch.

use std::collections::BTreeMap;

use image::RgbImage;
use tch::{Device, Kind, Tensor};
use vlhub_core::{Dataset, Error, Result};

use super::ClassMatch;

/// A batch of pictures with their classes.
#[derive(Debug, Default)]
pub struct Labelled {
    /// The pictures.
    pub images: Vec<RgbImage>,
    /// The class of each: its place among the classes that are asked for. Where several are right, the first of them.
    pub labels: Vec<usize>,
    /// The other right classes of each; of most pictures there are none.
    pub also: Vec<Vec<usize>>,
    /// Where each is from, for messages.
    pub keys: Vec<String>,
    /// The sampling unit of each, where its data set says one ([`Dataset::unit`]).
    pub units: Vec<Option<String>>,
    /// Other columns of each, as far as the data set was opened with them.
    pub meta: Vec<BTreeMap<String, String>>,
}

impl Labelled {
    /// All right classes of a picture.
    pub fn classes(&self, picture: usize) -> Vec<usize> {
        let also = self.also.get(picture).map(Vec::as_slice).unwrap_or_default();
        self.labels.get(picture).into_iter().chain(also).copied().collect()
    }
}

/// Calls `each` with batches of at most `batch` labelled pictures, in the order of the data set. A sample that cannot be read, or has no label,
/// or one that its data set does not have, is listed in `skipped` with the reason. Samples of classes that are not asked for
/// ([`ClassMatch::only`]) are left out; their number comes back, and [`left_out_note`] tells it.
///
/// # Errors
/// Whatever `each` refuses, a data set without any usable sample, or labels that are no classes of those to which they were matched.
pub fn read_labelled(
    data: &dyn Dataset,
    classes: &ClassMatch,
    batch: usize,
    skipped: &mut Vec<String>,
    mut each: impl FnMut(Labelled) -> Result<()>,
) -> Result<u64> {
    let before = skipped.len();
    let mut ready = Labelled::default();
    let (mut usable, mut left_out) = (0, 0);
    for (at, sample) in data.samples().enumerate() {
        let sample = match sample {
            Ok(sample) => sample,
            Err(error) => {
                skipped.push(error.to_string());
                continue;
            }
        };
        if sample.labels.is_empty() {
            skipped.push(format!("{}: no label", sample.key));
            continue;
        }
        let found: Result<Result<Vec<usize>, String>> = sample.labels.iter().map(|label| classes.class_of(*label)).collect();
        let found = match found.map_err(|error| error.within(&sample.key))? {
            Ok(found) => found,
            Err(why) => {
                skipped.push(format!("{}: {why}", sample.key));
                continue;
            }
        };
        let mut places = found.into_iter().filter_map(|class| classes.place(class));
        let Some(label) = places.next() else {
            left_out += 1;
            continue;
        };
        usable += 1;
        ready.images.push(sample.image);
        ready.labels.push(label);
        ready.also.push(places.collect());
        ready.keys.push(sample.key);
        ready.units.push(data.unit(at));
        ready.meta.push(sample.meta);
        if ready.labels.len() >= batch {
            each(std::mem::take(&mut ready))?;
        }
    }
    if !ready.labels.is_empty() {
        each(ready)?;
    }
    match usable {
        0 if left_out > 0 => {
            Err(Error::invalid(format!("no sample is of a class that is asked for; {left_out} of other classes were left out")))
        }
        0 => Err(nothing_usable(&skipped[before..])),
        _ => Ok(left_out),
    }
}

/// What a reader must know of the samples that [`read_labelled`] left out.
pub fn left_out_note(classes: &ClassMatch, left_out: u64) -> Option<String> {
    let asked = classes.asked()?;
    let (kept, all) = (asked.kept().len(), asked.of());
    Some(format!("{kept} of {all} classes are asked for; pictures of other classes that were left out: {left_out}"))
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

#[cfg(test)]
mod tests {
    use vlhub_core::Sample;

    use super::*;
    use crate::suites::ClassList;

    /// A sample that cannot be read, two of one picture, and one of another, of which nothing is said.
    struct Rows(Vec<String>);

    impl Dataset for Rows {
        fn len(&self) -> usize {
            4
        }
        fn classes(&self) -> &[String] {
            &self.0
        }
        fn samples(&self) -> Box<dyn Iterator<Item = Result<Sample>> + '_> {
            let sample = |at: usize| Sample {
                key: format!("row {at}"),
                image: RgbImage::new(1, 1),
                texts: Vec::new(),
                labels: vec![at as i64 % 2],
                meta: BTreeMap::new(),
            };
            Box::new((0..4).map(move |at| if at == 0 { Err(Error::invalid("row 0: broken")) } else { Ok(sample(at)) }))
        }
        fn unit(&self, index: usize) -> Option<String> {
            (index < 3).then(|| "picture".to_owned())
        }
    }

    #[test]
    fn each_sample_has_the_unit_that_its_data_set_says() {
        let data = Rows(["cat", "dog"].map(String::from).to_vec());
        let names = ClassList::named("`data`", data.classes());
        let matched = ClassMatch::new(&names, &names).expect("the same classes");
        let (mut skipped, mut found) = (Vec::new(), Vec::new());
        let each = |ready: Labelled| -> Result<()> {
            found.extend(ready.keys.into_iter().zip(ready.units));
            Ok(())
        };
        read_labelled(&data, &matched, 2, &mut skipped, each).expect("three can be read");
        let one = || Some("picture".to_owned());
        assert_eq!(found, [("row 1".to_owned(), one()), ("row 2".to_owned(), one()), ("row 3".to_owned(), None)]);
        assert_eq!(skipped.len(), 1);
    }
}
