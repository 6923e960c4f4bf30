//! How fast a tokenizer is.

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use vlhub_core::{Error, Result};

use super::Tokenizer;

/// What one thread does in a second of its processor time, so that other work of the machine hardly counts.
#[derive(Clone, Debug, Serialize)]
pub struct TokenSpeed {
    /// Texts that were looked at; they are taken again and again.
    pub texts: usize,
    /// Bytes of a text, on average.
    pub bytes: f64,
    /// Ids of a text, on average.
    pub ids: f64,
    /// Texts tokenised in a second.
    pub texts_per_second: f64,
    /// Their bytes, in millions.
    pub megabytes_per_second: f64,
}

/// Tokenises the texts over and over, for `seconds`.
///
/// # Errors
/// No text.
pub fn measure(tokenizer: &dyn Tokenizer, texts: &[String], seconds: f64) -> Result<TokenSpeed> {
    if texts.is_empty() {
        return Err(Error::invalid("there is no text to tokenise"));
    }
    let mean = |sum: usize| sum as f64 / texts.len() as f64;
    let bytes = mean(texts.iter().map(String::len).sum());
    // The first time fills what is made at first use, and is not measured.
    let ids = mean(texts.iter().map(|text| tokenizer.encode(text).len()).sum());
    let (start, mut done, mut taken) = (processor_time(), 0_usize, 0.0);
    while taken < seconds {
        for text in texts {
            std::hint::black_box(tokenizer.encode(text));
        }
        done += texts.len();
        taken = processor_time() - start;
    }
    let texts_per_second = done as f64 / taken;
    Ok(TokenSpeed { texts: texts.len(), bytes, ids, texts_per_second, megabytes_per_second: texts_per_second * bytes / 1e6 })
}

/// Of this thread, in seconds.
fn processor_time() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}
