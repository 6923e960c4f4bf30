//! What evaluation suites share: batches of labelled pictures, counts of right answers, and classes matched by name.

mod classes;
mod counts;
mod labelled;

pub use classes::{ClassList, ClassMatch, number_names};
pub use counts::{Counts, predicted};
pub use labelled::{Labelled, checked_topk, nothing_usable, read_labelled, score_rows};
