//! Published sets of pictures with captions, in the layouts in which they are published. Nothing is fetched: what is not there is told as absent.

mod coco;
mod flickr;
mod karpathy;
mod listed;
mod sugarcrepe;
mod winoground;

pub use coco::CocoCaptionsConfig;
pub use flickr::{FlickrConfig, FlickrSet};
pub use sugarcrepe::SugarcrepeConfig;
pub use winoground::WinogroundConfig;

use std::path::Path;

use vlhub_sdk::prelude::*;
use vlhub_sdk::serde::de::DeserializeOwned;
use vlhub_sdk::serde_json;

/// The text of a file, for messages that name it.
fn text_of(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).map_err(|error| Error::io(file, error))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// What a JSON file holds.
fn json_of<T: DeserializeOwned>(file: &Path) -> Result<T> {
    serde_json::from_str(&text_of(file)?).map_err(|error| Error::invalid(format!("{}: {error}", file.display())))
}

/// Refuses a folder option that was left out.
fn require_path(path: &str, layout: &str) -> Result<()> {
    if path.is_empty() { Err(Error::invalid(format!("`path` is missing: {layout}"))) } else { Ok(()) }
}

/// A published data set that is not there.
fn absent(path: &Path, layout: &str) -> Error {
    Error::Absent { path: path.display().to_string(), layout: layout.to_owned() }
}

#[cfg(test)]
mod tests;
