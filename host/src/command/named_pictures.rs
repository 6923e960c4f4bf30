//! Pictures that are named on the command line, in batches: what cannot be used is left out and listed.

use std::path::PathBuf;
use std::sync::Arc;

use image::RgbImage;
use vlhub_core::Bad;

use crate::data::decode::PictureOptions;
use crate::data::ordered::{Ordered, ordered};
use crate::data::pictures::{self, Pictures};
use crate::data::views::ImageInput;
use crate::failure::{Failure, Outcome};

/// Pictures that are still to be read, and what was left out so far.
#[derive(Debug)]
pub struct NamedPictures {
    /// Read ahead by other threads, in order.
    read: Ordered<(PathBuf, Result<RgbImage, Bad>)>,
    skipped: Vec<Bad>,
    used: usize,
}

/// Threads that read and decode.
const THREADS: usize = 4;

impl NamedPictures {
    /// Looks for files; of folders, for pictures in them and below. `input` is what the image tower reads.
    ///
    /// # Errors
    /// Exit status 2: a path at which there is nothing, folders without pictures, or a model without an image tower.
    pub fn find(paths: &[PathBuf], input: Option<ImageInput>, options: PictureOptions) -> Outcome<Self> {
        let found = if paths.is_empty() { Ok(Pictures::default()) } else { pictures::find(paths) };
        let Pictures { files, skipped } = found.map_err(|error| Failure::usage(error.to_string()))?;
        if input.is_none() && !files.is_empty() {
            return Err(Failure::usage("the model has no image tower, so it reads no pictures"));
        }
        let count = files.len();
        let work = move |at: usize| {
            let file = files[at].clone();
            let image = match &input {
                Some(input) => pictures::read(&file, input, options),
                None => Err(Bad { key: String::new(), place: file.display().to_string(), reason: "no image tower", detail: String::new() }),
            };
            (file, image)
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
        Ok(Self { read: ordered(threads, 0..count, Arc::new(work)), skipped, used: 0 })
    }

    /// The next pictures that can be used, at most `most`, each with its file; `None` at the end, where what was left
    /// out is logged.
    ///
    /// # Errors
    /// Exit status 3: there were pictures, and none could be used.
    pub fn next_batch(&mut self, most: usize) -> Outcome<Option<Vec<(PathBuf, RgbImage)>>> {
        let mut batch = Vec::new();
        while batch.len() < most
            && let Some((file, image)) = self.read.next()
        {
            match image {
                Ok(image) => batch.push((file, image)),
                Err(bad) => self.skipped.push(bad),
            }
        }
        self.used += batch.len();
        if !batch.is_empty() {
            return Ok(Some(batch));
        }
        let told = pictures::told(&self.skipped);
        if self.used == 0 && !self.skipped.is_empty() {
            return Err(Failure::new(Failure::DATA, format!("no picture could be used\n  {}", told.join("\n  "))));
        }
        if !told.is_empty() {
            let were = if self.skipped.len() == 1 { "file was" } else { "files were" };
            tracing::warn!("{} {were} not used\n  {}", self.skipped.len(), told.join("\n  "));
        }
        Ok(None)
    }

    /// What was left out, once the end was reached.
    pub fn skipped(&self) -> &[Bad] {
        &self.skipped
    }
}
