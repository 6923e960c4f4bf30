//! Positives: which pairs of rows belong together.

use std::ops::Range;

use vlhub_sdk::prelude::*;

/// What makes the text of another row a right answer too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "snake_case")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Positives {
    /// Nothing: each row has its own pair alone.
    #[default]
    Pairs,
    /// A common class label. A row without a label has its own pair alone.
    Labels,
    /// Equal token ids.
    Texts,
}

impl Positives {
    /// The groups of `total` rows whose texts are the view `text`.
    ///
    /// # Errors
    /// When the batch has no labels, or not the rows of the features.
    pub(crate) fn groups(self, batch: &Batch, text: &str, total: i64, device: Device) -> Result<Groups> {
        let keys = match self {
            Self::Pairs => return Ok(Groups::default()),
            Self::Labels => batch
                .extra(Batch::LABELS)
                .map_err(|error| Error::invalid(format!("`positives = \"labels\"` needs data with classes: {error}")))?
                .shallow_clone(),
            // Equal rows get equal numbers.
            Self::Texts => batch.text(text)?.unique_dim(0, false, true, false).1.unsqueeze(1),
        };
        if keys.dim() != 2 || keys.size()[0] != total {
            let shape = keys.size();
            return Err(Error::invalid(format!(
                "what `positives` compares has shape {shape:?}; it takes [{total}, K], a row for each feature"
            )));
        }
        Ok(Groups { keys: Some(keys.to_device(device)) })
    }
}

/// Keys of rows: rows that share one belong together.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// `[N, K]` int64, -1 where a row has no more.
    keys: Option<Tensor>,
}

impl Groups {
    /// Where another row's pair is right too, `[rows, columns]` bool, false for the own pair. `None` when there is no such place.
    pub(crate) fn others(&self, rows: &Range<i64>, columns: &Range<i64>) -> Option<Tensor> {
        let keys = self.keys.as_ref()?;
        let cut = |range: &Range<i64>| keys.narrow(0, range.start, range.end - range.start);
        // -2 for "none" on one side is equal to nothing on the other.
        let (left, right) = (cut(rows), cut(columns));
        let left = left.masked_fill(&left.less(0), -2);
        let mut same = Tensor::zeros([left.size()[0], right.size()[0]], (Kind::Bool, keys.device()));
        // One matrix for two keys, and never one for all: samples have a label or two.
        for one in left.unbind(1) {
            for other in right.unbind(1) {
                let _ = same.logical_or_(&one.unsqueeze(1).eq_tensor(&other.unsqueeze(0)));
            }
        }
        let _ = same.diagonal(rows.start - columns.start, 0, 1).fill_(0);
        Some(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        let mut batch = Batch::new(4);
        batch.set_extra(Batch::LABELS, Tensor::from_slice(&[0i64, 2, 1, -1, -1, -1, 2, 1]).view([4, 2])).expect("four rows");
        batch.set_text("main", Tensor::from_slice(&[5i64, 6, 5, 0, 5, 6, 6, 5]).view([4, 2])).expect("four rows");
        batch
    }

    #[test]
    fn rows_with_a_common_key_are_positives_of_each_other() {
        for (positives, expected) in [
            (Positives::Labels, [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0]]),
            (Positives::Texts, [[0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]),
        ] {
            let groups = positives.groups(&batch(), "main", 4, Device::Cpu).expect("groups");
            let expected = Tensor::from_slice(&expected.concat()).view([4, 4]).to_kind(Kind::Bool);
            assert!(groups.others(&(0..4), &(0..4)).expect("a mask").equal(&expected), "{positives:?}");
            for (rows, columns) in [(0..2, 2..4), (2..4, 0..2), (1..3, 0..4), (3..4, 3..4), (2..2, 0..4)] {
                let part = expected.narrow(0, rows.start, rows.end - rows.start).narrow(1, columns.start, columns.end - columns.start);
                assert!(groups.others(&rows, &columns).expect("a mask").equal(&part), "{positives:?} {rows:?} {columns:?}");
            }
        }
        assert!(Positives::Pairs.groups(&batch(), "main", 4, Device::Cpu).expect("groups").others(&(0..4), &(0..4)).is_none());
    }

    #[test]
    fn a_batch_that_does_not_describe_the_features_is_refused() {
        for (batch, positives, word) in [
            (Batch::new(4), Positives::Labels, "needs data with classes"),
            (Batch::new(4), Positives::Texts, "`main`"),
            (batch().slice(0..2), Positives::Labels, "[2, 2]"),
            (batch().slice(0..2), Positives::Texts, "[2, 1]"),
        ] {
            let error = positives.groups(&batch, "main", 4, Device::Cpu).expect_err("refused").to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
