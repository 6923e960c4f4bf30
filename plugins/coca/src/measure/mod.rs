//! What written captions are worth against those that people wrote: the suite `caption`.

mod bleu;
mod cider;
mod ngrams;
mod ptb;
mod suite;

pub use suite::CaptionSuiteConfig;
