//! The plugin SDK of VL Hub: all that a plugin depends on.
//!
//! The [`prelude`] has the traits and what they exchange; [`register!`] gives a plugin its name, [`export!`] makes its crate loadable at
//! run time, and `conformance!` (feature `testkit`) holds every plugin of a crate to the laws of its kind. What plugins share is in [`nn`],
//! [`ops`], [`options`], [`pairs`], [`pixels`], [`random`] and [`sources`]. The guide follows.
//!
#![doc = include_str!("../GUIDE.md")]
#![deny(missing_docs)]

pub use vlhub_core::*;
pub use {erased_serde, image, inventory, rand_core, schemars, serde, serde_json, tch, tracing};

mod macros;
pub mod nn;
pub mod ops;
pub mod options;
pub mod pairs;
pub mod pixels;
pub mod random;
pub mod sources;
pub mod suites;
#[cfg(feature = "testkit")]
pub mod testkit;

/// The imports of a plugin's source file.
pub mod prelude {
    pub use crate::{
        Augmentation, AugmentationCx, Backbone, BackboneCx, Bad, Batch, Caption, CaptionCx, CaptionTransform, Config, Dataset, Encoded,
        Error, EvalCx, EvalSuite, Extent, Features, Forward, Hidden, InputSpec, Loss, Modality, Model, Need, Noise, Objective, ObjectiveCx,
        Picture, Projection, Raw, Report, Requires, Result, Scope, Skills, Source, SourceCx, Tokens, Want, Wants, Weights, export,
        register,
    };
    pub use image::RgbImage;
    pub use rand_core::RngCore;
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};
    pub use tch::{Device, IndexOp, Kind, Tensor};
}

/// The JSON schema of an options type, as text. A schema crosses a library's border as text, never as a Rust type.
pub fn schema_json<T: schemars::JsonSchema>() -> String {
    serde_json::to_string(&schemars::schema_for!(T)).unwrap_or_default()
}
