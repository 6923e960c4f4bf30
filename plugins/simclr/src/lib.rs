//! Self-supervised objectives of pictures alone: two views of one picture belong together.
//!
//! `simclr` finds the other view of each picture among all views of the batch (SimCLR, Chen et al., 2020, arXiv 2002.05709); beside `clip` it
//! is SLIP (Mu et al., 2021, arXiv 2112.12750). `byol` predicts what a moving average of the run makes of the other view, and needs no wrong
//! answers (BYOL, Grill et al., 2020, arXiv 2006.07733). Both read the image tower alone, own their heads, and answer for the rows in
//! `features.own()`; batch norm in the heads sees the rows of the whole batch. So they are exact under gradient caching and over several
//! processes.
//!
//! SimCLR:
//!
//! ```toml
//! [view.image.a]
//! augment = [{ use = "simclr" }]
//! [view.image.b]
//! augment = [{ use = "simclr" }]
//!
//! [objective.simclr]
//! ```
//!
//! SLIP adds a third view, which goes with the caption, and CLIP's objective with the same weight:
//!
//! ```toml
//! [view.image.main]
//! augment = [{ use = "random_resized_crop", scale = [0.5, 1.0] }]
//!
//! [objective.clip]
//! ```
//!
//! BYOL, whose views differ in how often they are blurred and solarised. Its paper jitters the saturation by 0.2, half as much; list the
//! steps of `simclr` one by one for that.
//!
//! ```toml
//! [view.image.a]
//! augment = [{ use = "simclr", blur = 1.0 }]
//! [view.image.b]
//! augment = [{ use = "simclr", blur = 0.1 }, { use = "solarize", p = 0.2 }]
//!
//! [objective.byol]
//! ```
#![forbid(unsafe_code)]

mod byol;
#[cfg(test)]
mod golden;
mod nt_xent;
mod simclr;
mod views;

pub use {byol::ByolConfig, simclr::SimclrConfig, views::On};

vlhub_sdk::export!();
