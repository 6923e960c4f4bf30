//! Sampling units: which rows of a table are of one picture.

use std::collections::HashSet;

/// The units of a table's rows ([`SampleTable::units`](vlhub_core::SampleTable::units)), from what the data set says of each sample
/// ([`Dataset::unit`](vlhub_core::Dataset::unit)). Empty where no two rows share one, as that is what intervals assume anyway.
pub fn shared_units(units: Vec<Option<String>>) -> Vec<String> {
    let distinct = units.iter().flatten().collect::<HashSet<_>>().len();
    if distinct == units.iter().flatten().count() {
        return Vec::new();
    }
    units.into_iter().map(Option::unwrap_or_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_told_only_where_rows_share_one() {
        let units = |all: &[&str]| all.iter().map(|unit| Some((*unit).to_owned()).filter(|unit| !unit.is_empty())).collect::<Vec<_>>();
        assert_eq!(shared_units(units(&["a", "b", "", "a"])), ["a", "b", "", "a"]);
        assert!(shared_units(units(&["a", "b", "", ""])).is_empty(), "rows without a unit share none");
        assert!(shared_units(Vec::new()).is_empty());
    }
}
