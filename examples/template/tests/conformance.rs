//! Every law of every plugin of this crate.

use my_loss as _;

vlhub_sdk::conformance!();
