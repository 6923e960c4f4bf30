//! Which weights of a file are taken: those that the optimiser left, or their moving average.

use tch::Tensor;

use crate::engine::ema::PREFIX;
use crate::formats::{WeightFile, WeightSet};

/// The weights of a file that were taken.
#[derive(Debug)]
pub struct SelectedWeights {
    /// Them, without the other set.
    pub tensors: Vec<(String, Tensor)>,
    /// Which they are.
    pub set: WeightSet,
    /// Whether the file has the other set too.
    pub both: bool,
}

/// Takes one set of weights. A run's checkpoint keeps its average under `ema.`; of other files, [`crate::formats::read_part`] has read one set
/// already. `wanted` is what the user asks for, `measured` what the run measured with, `converted` what a converted file says that it is.
///
/// # Errors
/// What is asked for and not there.
pub fn take(
    file: &mut WeightFile,
    wanted: Option<WeightSet>,
    measured: Option<WeightSet>,
    converted: Option<WeightSet>,
) -> Result<SelectedWeights, String> {
    let tensors = std::mem::take(&mut file.tensors);
    let (average, rest): (Vec<_>, Vec<_>) = tensors.into_iter().partition(|(name, _)| name.starts_with(PREFIX));
    if average.is_empty() {
        let set = if file.extras.average { WeightSet::Average } else { converted.unwrap_or(WeightSet::Raw) };
        return match wanted {
            Some(wanted) if wanted != set => Err(match wanted {
                WeightSet::Average => "it holds no moving average of weights; runs with `[ema]` have one".into(),
                WeightSet::Raw => "it holds a moving average alone".into(),
            }),
            _ => Ok(SelectedWeights { tensors: rest, set, both: !file.extras.others.is_empty() }),
        };
    }
    let set = wanted.or(measured).unwrap_or(WeightSet::Raw);
    let tensors = match set {
        WeightSet::Raw => rest,
        WeightSet::Average => {
            let mut taken: Vec<(String, Tensor)> =
                average.into_iter().filter_map(|(name, tensor)| Some((name.strip_prefix(PREFIX)?.to_owned(), tensor))).collect();
            let averaged: std::collections::BTreeSet<String> = taken.iter().map(|(name, _)| name.clone()).collect();
            taken.extend(rest.into_iter().filter(|(name, _)| !averaged.contains(name)));
            taken
        }
    };
    Ok(SelectedWeights { tensors, set, both: true })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::formats::{Extras, Format};

    fn file(names: &[(&str, f32)], extras: Extras) -> WeightFile {
        let tensors = names.iter().map(|(name, value)| ((*name).to_owned(), Tensor::from(*value))).collect();
        WeightFile { tensors, format: Format::Safetensors, extras, path: PathBuf::from("a.safetensors") }
    }

    #[test]
    fn a_checkpoints_average_replaces_the_weights_it_averages() {
        let both = || file(&[("ema.w", 1.0), ("w", 2.0), ("buffer", 3.0)], Extras::default());
        let value = |taken: &SelectedWeights, name: &str| {
            let found: Vec<_> = taken.tensors.iter().filter(|(known, _)| known == name).collect();
            assert_eq!(found.len(), 1, "{name} is there once");
            found[0].1.double_value(&[])
        };
        for (wanted, measured, expected) in [
            (None, None, WeightSet::Raw),
            (None, Some(WeightSet::Average), WeightSet::Average),
            (Some(WeightSet::Raw), Some(WeightSet::Average), WeightSet::Raw),
            (Some(WeightSet::Average), Some(WeightSet::Raw), WeightSet::Average),
        ] {
            let taken = take(&mut both(), wanted, measured, None).expect("it is there");
            assert_eq!((taken.set, taken.both), (expected, true));
            assert_eq!(value(&taken, "w"), if expected == WeightSet::Average { 1.0 } else { 2.0 });
            assert_eq!(value(&taken, "buffer"), 3.0);
        }
    }

    #[test]
    fn what_is_asked_for_and_not_there_is_refused() {
        let plain = || file(&[("w", 1.0)], Extras::default());
        assert!(take(&mut plain(), Some(WeightSet::Average), None, None).expect_err("there is none").contains("no moving average"));
        assert_eq!(
            take(&mut plain(), Some(WeightSet::Average), None, Some(WeightSet::Average)).expect("it says so").set,
            WeightSet::Average
        );
        let timm = file(&[("w", 1.0)], Extras { average: true, ..Extras::default() });
        assert!(take(&mut { timm }, Some(WeightSet::Raw), None, None).is_err());
    }
}
