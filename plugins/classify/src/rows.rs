//! Labels, and what each row loses by them.

use vlhub_sdk::prelude::*;

use crate::Several;

/// The labels `[B, K]` of a batch.
///
/// # Errors
/// A batch without labels, or a label that is neither in `0..classes` nor the -1 that fills rows up.
pub(crate) fn labels_of(batch: &Batch, classes: i64) -> Result<&Tensor> {
    let labels = batch
        .extra(Batch::LABELS)
        .map_err(|error| error.within("there are no class labels to learn; take data with classes, or a transform that finds them"))?;
    if labels.dim() != 2 || labels.kind() != Kind::Int64 {
        return Err(Error::invalid(format!("labels are {:?} of {:?}; [B, K] of Int64 is wanted", labels.size(), labels.kind())));
    }
    let bad = labels.lt(-1).logical_or(&labels.ge(classes));
    if bad.any().int64_value(&[]) != 0 {
        let (row, label) = (bad.nonzero().int64_value(&[0, 0]), labels.masked_select(&bad).int64_value(&[0]));
        return Err(Error::invalid(format!(
            "row {row} of the batch has the label {label}, which is outside of 0..{classes}; set `classes` to the number of classes of the data"
        )));
    }
    Ok(labels)
}

/// How many labels each row has, `[B]`.
fn counts(labels: &Tensor) -> Tensor {
    labels.ge(0).sum_dim_intlist([1i64].as_slice(), false, Kind::Float)
}

/// How much each row counts for, `[B]`: 0 without a label.
pub(crate) fn mass(labels: &Tensor, several: Several) -> Tensor {
    match several {
        Several::Mean | Several::Sum => counts(labels).clamp_max(1.0),
        Several::Each => counts(labels),
    }
}

/// The cross-entropies of each row's labels, `[B]`: their mean or their sum; 0 without a label. `log_probs` is `[B, classes]`.
pub(crate) fn cross_entropy(log_probs: &Tensor, labels: &Tensor, several: Several, smoothing: f64) -> Tensor {
    let absent = labels.lt(0);
    let mut each = -log_probs.gather(1, &labels.clamp_min(0), false);
    if smoothing > 0.0 {
        let even = -log_probs.mean_dim([1i64].as_slice(), true, log_probs.kind());
        each = each * (1.0 - smoothing) + even * smoothing;
    }
    // Filled, not multiplied: what an absent label points to may be infinite.
    let sum = each.masked_fill(&absent, 0.0).sum_dim_intlist([1i64].as_slice(), false, log_probs.kind());
    match several {
        Several::Mean => sum / counts(labels).clamp_min(1.0),
        Several::Sum | Several::Each => sum,
    }
}

/// Targets of yes-or-no questions, `[B, classes]`: 1 for each label of the row, evened out by `smoothing`.
pub(crate) fn targets(labels: &Tensor, classes: i64, smoothing: f64) -> Tensor {
    // Absent labels go to a column of their own, which is cut off.
    let columns = labels.masked_fill(&labels.lt(0), classes);
    let wide = Tensor::zeros([labels.size()[0], classes + 1], (Kind::Float, labels.device())).scatter_value(1, &columns, 1.0);
    wide.narrow(1, 0, classes) * (1.0 - smoothing) + smoothing / classes as f64
}

/// Whether each row's `guess` `[B]` is among its labels, 1 or 0, `[B]`.
pub(crate) fn hits(guess: &Tensor, labels: &Tensor) -> Tensor {
    labels.eq_tensor(&guess.unsqueeze(1)).any_dim(1, false).to_kind(Kind::Float)
}
