//! The contract of VL Hub.
//!
//! A plugin is one of seven things: a [`Backbone`] (images or token ids to features), an [`Objective`] (features to a loss), an
//! [`Augmentation`] (image to image), a [`CaptionTransform`] (caption to caption), an [`EvalSuite`] (model to numbers), a [`Source`] (where
//! samples come from) or an [`ObjectStore`] (where files come from that are not on this machine). It is [registered](registry) by name, in the binary or in a [library](abi) that is loaded at run time, and is built from
//! options that serde parses. This crate holds no I/O, no threads and no policy; `ARCHITECTURE.md` beside it has the map and the invariants.
#![deny(missing_docs)]

pub mod abi;
pub mod augmentation;
pub mod backbone;
pub mod batch;
pub mod caption;
pub mod error;
pub mod eval;
pub mod features;
pub mod guard;
pub mod noise;
pub mod objective;
pub mod registry;
pub mod source;
pub mod store;

pub use augmentation::{Augmentation, AugmentationCx, Crop, Region};
pub use backbone::{Backbone, BackboneCx, Hidden, InputSpec, Projection};
pub use batch::Batch;
pub use caption::{Caption, CaptionCx, CaptionTransform, Tokenize};
pub use error::{Error, Result, suggest};
pub use eval::{
    Answer, BuildTransform, Captioner, Captioning, Classifier, Dataset, Datasets, Decoding, EvalCx, EvalSuite, Example, Matrix, MeanOf,
    Metric, Model, Report, Requires, Sample, SampleTable, ScoreColumn, Scorer, Skills, TextSide, Thumbnail, mean_direction,
};
pub use features::{Encoded, Features, Tokens};
pub use noise::Noise;
pub use objective::{Forward, Loss, Modality, Need, Objective, ObjectiveCx, Scope, Teacher, Tower, Weights};
pub use registry::{Config, Exports, Kind, Listed, Origin, PluginEntry, Provenance, Registry, registered_here};
pub use source::{Bad, Extent, LocalFile, Picture, Raw, Share, Source, SourceCx, SourceHost, Want, Wants};
pub use store::{Digest, ObjectInfo, ObjectSink, ObjectStore, StoreCx, StoreFault};
