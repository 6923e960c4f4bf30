//! `vlhub tokenize`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use super::say_text;
use crate::cli::TokenizeArgs;
use crate::data::tokens::{Tokenizer, TokenizerOptions};
use crate::failure::{Failure, Outcome};
use crate::session;

/// What is printed at once, in bytes.
const PRINTED: usize = 1 << 16;

/// Prints the ids of each text.
pub fn tokenize(args: &TokenizeArgs) -> Outcome {
    let tokenizer = tokenizer(args)?;
    let mut out = String::new();
    let mut all = texts(args)?;
    let ended = all.try_for_each(|text| -> Outcome {
        let ids = tokenizer.encode(&text?);
        out += &serde_json::to_string(&ids).map_err(|error| Failure::new(Failure::RUN, error.to_string()))?;
        out.push('\n');
        if out.len() > PRINTED {
            say_text(&std::mem::take(&mut out));
        }
        Ok(())
    });
    // What is good before a line that is not is printed too.
    say_text(&out);
    ended
}

/// The tokenizer that the flags name.
pub(super) fn tokenizer(args: &TokenizeArgs) -> Outcome<Arc<dyn Tokenizer>> {
    let options = TokenizerOptions { context: args.context, clean: args.clean, ..TokenizerOptions::default() };
    session::named_tokenizer(&args.tokenizer, &options)
}

/// The texts of the file, line by line.
pub(super) fn texts(args: &TokenizeArgs) -> Outcome<impl Iterator<Item = Outcome<String>>> {
    let (name, is_json) = (args.file.display().to_string(), args.json_lines);
    let no = |error: std::io::Error, name: &str| Failure::new(Failure::RUN, format!("{name}: {error}"));
    let input: Box<dyn Read> = if args.file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(&args.file).map_err(|error| Failure::usage(format!("{name}: {error}")))?)
    };
    let lines = BufReader::new(input).split(b'\n').zip(1..);
    Ok(lines.map(move |(line, number): (_, u64)| {
        let line = line.map_err(|error| no(error, &name))?;
        let wrong = |why: String| Failure::new(Failure::DATA, format!("{name}, line {number}: {why}"));
        if is_json {
            let text = serde_json::from_slice(&line);
            return text.map_err(|error| wrong(format!("not a JSON string: {error}; leave out --json-lines where lines are plain text")));
        }
        let mut text =
            String::from_utf8(line).map_err(|error| wrong(format!("not UTF-8: {error}; convert the file first, as with `iconv`")))?;
        if text.ends_with('\r') {
            text.pop();
        }
        Ok(text)
    }))
}
