//! What the options of both losses must fulfil.

use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pairs::ViewPair;
use vlhub_sdk::prelude::*;

/// What is wrong with the options that both losses have.
pub(crate) fn problems(pairs: &[ViewPair], log_scale: f64, max_scale: f64, tile: i64, cx: &ObjectiveCx<'_>) -> OptionProblems {
    let mut problems = OptionProblems::default();
    problems.pairs(pairs);
    problems.logit_scale(log_scale, max_scale);
    problems.ensure(tile >= 0, || format!("`tile` is {tile}; it is a number of rows, or 0 for what suits the batch"));
    problems.both_towers(cx, "a contrastive objective");
    problems
}
