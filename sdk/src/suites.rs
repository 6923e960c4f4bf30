//! What evaluation suites share: batches of labelled pictures, counts of right answers, and classes matched by name.

mod classes;
mod counts;
mod data_table;
mod labelled;
mod subset;
mod units;

pub use classes::{ClassList, ClassMatch, number_names};
pub use counts::{Counts, predicted, rank};
pub use data_table::{SHORT, data_table, data_table_with};
pub use labelled::{Labelled, checked_topk, left_out_note, nothing_usable, read_labelled, score_rows};
pub use subset::{ClassSubset, SubsetChoice, asked_classes};
pub use units::shared_units;
