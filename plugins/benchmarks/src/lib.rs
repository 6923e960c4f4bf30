//! Published classification data sets, read as they lie on disk: a source for each, with its class names, templates and labels.
//!
//! The suites of the same names (`zeroshot` with other defaults) measure a model on them; `accuracy` measures a supervised head, with
//! `data = { use = "imagenet_a", path = "…" }`. Nothing is downloaded: a data set that is not there is told with the files that would have to
//! be.
#![forbid(unsafe_code)]

mod about;
mod aircraft;
mod cars;
mod disk;
mod flowers;
mod food101;
mod imagenet;
mod imagenet_c;
mod inat;
mod inat_json;
mod insecta;
mod lists;
mod mat;
mod objectnet;
mod openimages;
mod real;
mod relocate;
mod species;
mod table;

vlhub_sdk::export!();

#[cfg(test)]
mod testing;
