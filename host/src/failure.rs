//! Why a command ends, as an exit status and a message.

use std::fmt;

/// A command that could not do its work.
#[derive(Debug)]
pub struct Failure {
    /// Exit status: one of the constants of [`Failure`].
    pub code: u8,
    /// What, where, and what to do; without the leading `error:`.
    pub message: String,
}

impl Failure {
    /// Something failed while the command ran.
    pub const RUN: u8 = 1;
    /// Wrong flags or a wrong run file.
    pub const USAGE: u8 = 2;
    /// More samples were unusable than the run allows.
    pub const DATA: u8 = 3;
    /// No checkpoint to resume from, or one that does not fit.
    pub const RESUME: u8 = 4;
    /// The loss or a gradient is not finite.
    pub const NONFINITE: u8 = 5;
    /// A plugin library was refused, or a plugin panicked.
    pub const PLUGIN: u8 = 7;
    /// Stopped by a signal, with everything saved: requeue it.
    pub const PREEMPTED: u8 = 75;

    /// A failure with its exit status.
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
    /// Wrong flags or a wrong run file.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Self::USAGE, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<vlhub_core::Error> for Failure {
    fn from(error: vlhub_core::Error) -> Self {
        let mut inner = &error;
        while let vlhub_core::Error::Context { source, .. } = inner {
            inner = source;
        }
        let code = match inner {
            vlhub_core::Error::Panic { .. } => Self::PLUGIN,
            vlhub_core::Error::Unknown { .. } | vlhub_core::Error::Options(_) => Self::USAGE,
            _ => Self::RUN,
        };
        Self::new(code, error.to_string())
    }
}

/// What a command returns.
pub type Outcome<T = ()> = Result<T, Failure>;

/// `; did you mean `x`? known: x y z`: what to say after a name that nobody knows.
pub fn hint(typed: &str, known: &[&str]) -> String {
    let near = vlhub_core::suggest(typed, known.iter().copied()).map(|near| format!(" did you mean `{near}`?")).unwrap_or_default();
    format!(";{near} known: {}", if known.is_empty() { "none".to_owned() } else { known.join(" ") })
}
