//! The tokenizer of a run, held against what its text tower takes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vlhub_core::InputSpec;

use crate::config::RunConfig;
use crate::config::sections::TokenizerConfig;
use crate::data::tokens::{self, Tokenizer, TokenizerOptions};
use crate::engine::towers::Towers;
use crate::failure::{Failure, Outcome};

/// The `tokenizer.json` of a run's tokenizer; none for CLIP's, which is part of the program.
///
/// # Errors
/// Where it was looked for.
pub fn tokenizer_file(config: &RunConfig) -> Outcome<Option<PathBuf>> {
    file_of(&config.top.tokenizer.source, &config.folder)
}

/// The file that a name of a tokenizer stands for; paths start at `folder`.
fn file_of(source: &str, folder: &Path) -> Outcome<Option<PathBuf>> {
    if source == "clip" {
        return Ok(None);
    }
    if let Some(published) = crate::hub::PublishedSource::parse(source) {
        let found = published.file(folder, "tokenizer.json");
        return found
            .map(Some)
            .map_err(|why| Failure::usage(format!("the tokenizer `{source}`: {why}; with the file at hand, set `tokenizer` to its path")));
    }
    let path = folder.join(source);
    Ok(Some(if path.is_dir() { path.join("tokenizer.json") } else { path }))
}

/// A tokenizer by its name, without a run: `clip`, a path, or one that is published. Paths start at the working folder.
///
/// # Errors
/// A file that cannot be read, or options that the tokenizer does not have.
pub fn named_tokenizer(source: &str, options: &TokenizerOptions) -> Outcome<Arc<dyn Tokenizer>> {
    Ok(match file_of(source, Path::new(""))? {
        None => tokens::clip_with(options)?,
        Some(file) => tokens::from_file_with(&file, options)?,
    })
}

/// The run's tokenizer; none without a text tower.
///
/// # Errors
/// A file that cannot be read, or ids that the text tower does not take.
pub fn tokenizer(config: &RunConfig, towers: &Towers) -> Outcome<Option<Arc<dyn Tokenizer>>> {
    let Some(net) = &towers.text else { return Ok(None) };
    let InputSpec::Text { context, vocab, pad, .. } = net.input else { return Ok(None) };
    let TokenizerConfig { clean, strip_sep, language, mode, .. } = config.top.tokenizer.clone();
    let options = TokenizerOptions { context: context as usize, clean, strip_sep, language, mode };
    let tokenizer = match tokenizer_file(config)? {
        None => tokens::clip_with(&options)?,
        Some(file) => tokens::from_file_with(&file, &options)?,
    };
    if tokenizer.pad() != pad {
        return Err(Failure::usage(format!(
            "the tokenizer `{}` fills up with id {} and the text tower expects {pad}; set `backbone.text.pad={}`",
            config.top.tokenizer.source,
            tokenizer.pad(),
            tokenizer.pad()
        )));
    }
    if tokenizer.vocab() as i64 > vocab {
        return Err(Failure::usage(format!(
            "the tokenizer `{}` has {} ids and the text tower takes {vocab}; set `backbone.text.vocab={}`",
            config.top.tokenizer.source,
            tokenizer.vocab(),
            tokenizer.vocab()
        )));
    }
    Ok(Some(tokenizer))
}
