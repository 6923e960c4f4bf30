//! The tokens around a text, where not the `tokenizer.json` but the tokenizer's class in Python decides on them.

use std::fmt::Display;

use tokenizers::Tokenizer as Pipeline;
use tokenizers::processors::template::TemplateProcessing;
use vlhub_core::{Error, Result};

use super::tokenizer_config::TokenizerConfigs;

/// Where a class of transformers puts the token of the language.
enum Place {
    /// Before the text; the end token comes after it.
    First,
    /// After the end token.
    Last,
}

/// Replaces the file's frame where the class or the language says so.
///
/// # Errors
/// A language that the tokenizer does not have, or any where its class knows none.
pub(super) fn reframe(pipeline: &mut Pipeline, beside: &TokenizerConfigs, language: Option<&str>) -> Result<()> {
    let class = beside.text("tokenizer_class").unwrap_or_default();
    // The file alone does not say its class; a language then is taken as NLLB's, whose tokenizer is the one of open_clip's models.
    let is_nllb = class.starts_with("Nllb") || (class.is_empty() && language.is_some());
    let (place, usual) = match class {
        _ if is_nllb && beside.flag("legacy_behaviour") == Some(true) => (Place::Last, "eng_Latn"),
        _ if is_nllb => (Place::First, "eng_Latn"),
        _ if class.starts_with("MBart50") => (Place::First, "en_XX"),
        _ if class.starts_with("MBart") => (Place::Last, "en_XX"),
        _ if language.is_some() => {
            let given = language.unwrap_or_default();
            return Err(Error::Options(format!(
                "`language` = `{given}`: a tokenizer of the class {class} knows no languages; leave it out"
            )));
        }
        _ => return Ok(()),
    };
    let language = language.or_else(|| beside.text("src_lang")).unwrap_or(usual);
    let end = beside.token("eos_token").unwrap_or("</s>");
    match place {
        Place::First => set(pipeline, &[language], &[end]),
        Place::Last => set(pipeline, &[], &[end, language]),
    }
}

/// Puts these tokens before and after every text.
fn set(pipeline: &mut Pipeline, before: &[&str], after: &[&str]) -> Result<()> {
    let no = |why: &dyn Display| Error::invalid(format!("the tokens around a text, {before:?} and {after:?}: {why}"));
    let mut special = Vec::new();
    for token in before.iter().chain(after) {
        let id = pipeline.token_to_id(token).ok_or_else(|| no(&format!("the tokenizer has no token `{token}`")))?;
        special.push(((*token).to_owned(), id));
    }
    let pieces: Vec<&str> = before.iter().copied().chain(["$A"]).chain(after.iter().copied()).collect();
    let mut frame = TemplateProcessing::builder();
    let frame = frame.try_single(pieces).map_err(|why| no(&why))?.special_tokens(special);
    let frame = frame.build().map_err(|why| no(&why))?;
    pipeline.with_post_processor(Some(frame));
    Ok(())
}
