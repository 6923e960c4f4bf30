//! `vlhub bench tokens`.

use super::{print_json, seconds_above_zero};
use crate::cli::BenchTokensArgs;
use crate::command::tokenize::{texts, tokenizer};
use crate::data::tokens::speed;
use crate::failure::Outcome;

/// Measures a tokenizer.
pub(super) fn tokens(args: &BenchTokensArgs) -> Outcome {
    let seconds = seconds_above_zero(args.seconds)?;
    let tokenizer = tokenizer(&args.texts)?;
    let texts = texts(&args.texts)?.collect::<Outcome<Vec<_>>>()?;
    let speed = speed::measure(&*tokenizer, &texts, seconds)?;
    if args.json {
        return print_json(&speed);
    }
    say!("{} texts of {:.1} bytes and {:.1} ids on average, by one thread:", speed.texts, speed.bytes, speed.ids);
    say!("  {:>10.0} texts a second, {:.1} MB/s", speed.texts_per_second, speed.megabytes_per_second);
    Ok(())
}
