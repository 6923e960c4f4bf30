//! All that a VL Hub plugin depends on.
//!
//! `GUIDE.md` beside this crate leads to a first objective in a quarter of an hour. The [`prelude`] has the five traits and what they exchange;
//! [`register!`] gives a plugin its name, [`export!`] makes its crate loadable at run time, [`nn`] and [`ops`] hold the mathematics that
//! plugins share, and `conformance!` (feature `testkit`) holds every plugin of a crate to the laws of its kind.
#![deny(missing_docs)]

pub use vlhub_core::*;
pub use {erased_serde, image, inventory, rand_core, schemars, serde, serde_json, tch, tracing};

mod macros;
pub mod nn;
pub mod ops;
pub mod pixels;
pub mod random;
pub mod suites;
#[cfg(feature = "testkit")]
pub mod testkit;

/// What a plugin's source file begins with.
pub mod prelude {
    pub use crate::{
        Augmentation, AugmentationCx, Backbone, BackboneCx, Batch, Caption, CaptionCx, CaptionTransform, Config, Dataset, Encoded, Error,
        EvalCx, EvalSuite, Features, Hidden, InputSpec, Loss, Modality, Model, Need, Noise, Objective, ObjectiveCx, Projection, Region,
        Report, Requires, Result, Scope, Skills, Tokens, Weights, export, register,
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
