//! The objective `my_loss`: a hinge over pairs of an image and a text.
#![deny(missing_docs)]

mod loss;

pub use loss::MyLossConfig;

vlhub_sdk::export!();
