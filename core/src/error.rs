//! One error type for the contract, and the suggestion for a misspelt name.

use std::path::PathBuf;

/// What goes wrong between the host and a plugin. The host adds the place in the run file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A plugin name that this build does not have.
    #[error("no {kind} is called `{name}`{}", hint(.kind, .near, .known, .elsewhere))]
    Unknown {
        /// The kind that was asked for.
        kind: &'static str,
        /// What the user wrote.
        name: String,
        /// The one known name that is close to it.
        near: Option<String>,
        /// Every known name of the kind.
        known: Vec<String>,
        /// Why it may be missing: a plugin of another kind, or one that this build leaves out.
        elsewhere: Option<String>,
    },
    /// Two plugins of one kind with one name.
    #[error("two plugins of kind {kind} are called `{name}`: {first} and {second}; leave one of them out")]
    Duplicate {
        /// Their kind.
        kind: &'static str,
        /// Their name.
        name: String,
        /// Where the first was registered.
        first: String,
        /// Where the second was registered.
        second: String,
    },
    /// Options that do not parse, or that contradict each other.
    #[error("{0}")]
    Options(String),
    /// A view or an output that a plugin reads without having declared it.
    #[error("`{plugin}` reads {what} but does not declare it in `needs`; it declares: {declared}")]
    Undeclared {
        /// The plugin.
        plugin: String,
        /// What it asked for.
        what: String,
        /// What it declared.
        declared: String,
    },
    /// Something that a plugin was given, or returned, does not have the documented shape or range.
    #[error("{0}")]
    Invalid(String),
    /// A plugin panicked; the panic was stopped at its border.
    #[error("`{plugin}` panicked: {message}")]
    Panic {
        /// The plugin.
        plugin: String,
        /// First line of the panic.
        message: String,
    },
    /// libtorch refused an operation.
    #[error("{}", first_line(.0))]
    Tensor(#[from] tch::TchError),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not on this machine, or not unpacked, and a [glance](crate::Extent::Glance) brings nothing. Whoever glances takes it for good.
    #[error("`{0}` is not on this machine yet")]
    Elsewhere(String),
    /// A published data set is not where it was looked for. A suite that reads it is passed over and told as absent, not failed.
    #[error("`{path}` is not there; {layout}")]
    Absent {
        /// Where it was looked for.
        path: String,
        /// What would have to be there, and where it comes from.
        layout: String,
    },
    /// Another error, with the plugin or step in which it happened.
    #[error("{context}: {source}")]
    Context {
        /// Where.
        context: String,
        /// What.
        source: Box<Error>,
    },
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Says where the error happened.
    pub fn within(self, context: impl Into<String>) -> Self {
        Self::Context { context: context.into(), source: Box::new(self) }
    }
    /// Whether it is [`Error::Elsewhere`], wherever it happened.
    pub fn is_elsewhere(&self) -> bool {
        match self {
            Self::Elsewhere(_) => true,
            Self::Context { source, .. } => source.is_elsewhere(),
            _ => false,
        }
    }
    /// Whether it is [`Error::Absent`], wherever it happened.
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Absent { .. } => true,
            Self::Context { source, .. } => source.is_absent(),
            _ => false,
        }
    }
    /// An [`Error::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }
    /// An [`Error::Io`].
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }
}

/// libtorch's messages carry a C++ back trace; a user needs the first line.
pub(crate) fn first_line(error: &tch::TchError) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("Internal torch error: ").unwrap_or(&text);
    text.lines().next().unwrap_or_default().to_owned()
}

/// More names than this are no help in a message; the list of plugins folds them.
const MANY: usize = 40;

fn hint(kind: &str, near: &Option<String>, known: &[String], elsewhere: &Option<String>) -> String {
    let mut hint = String::new();
    if let Some(why) = elsewhere {
        hint += &format!(": {why}");
    }
    if let Some(near) = near {
        hint += &format!("; did you mean `{near}`?");
    }
    if elsewhere.is_none() {
        let known = match known.len() {
            0 => "none in this build".into(),
            1..=MANY => known.join(" "),
            count => format!("{count} names, which `vlhub plugins list {kind}` shows"),
        };
        hint += &format!(" known: {known}");
        if near.is_none() {
            hint.insert(0, ';');
        }
    }
    hint
}

/// The known name that `typed` was probably meant to be: equal but for case, `-` and `_`, or at most a third of its letters away (rustc's rule).
pub fn suggest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '/'], "_");
    let wanted = plain(typed);
    let allowed = (typed.chars().count().max(3)) / 3;
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wanted, &plain(name)), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, name)| (*distance, name.len()))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_comes_with_what_is_known_unless_that_is_a_wall_of_names() {
        let unknown = |count: usize| {
            let known = (0..count).map(|number| format!("name{number}")).collect();
            Error::Unknown { kind: "backbone", name: "x".into(), near: None, known, elsewhere: None }.to_string()
        };
        assert_eq!(unknown(0), "no backbone is called `x`; known: none in this build");
        assert!(unknown(MANY).ends_with(" name38 name39"), "{}", unknown(MANY));
        assert_eq!(unknown(300), "no backbone is called `x`; known: 300 names, which `vlhub plugins list backbone` shows");
    }

    #[test]
    fn suggestions() {
        let names = ["clip", "siglip", "simclr", "vit_b_32", "text_transformer", "mlm"];
        for (typed, expected, why) in [
            ("simclar", Some("simclr"), "one letter too many"),
            ("CLIP", Some("clip"), "case does not matter"),
            ("ViT-B-32", Some("vit_b_32"), "dashes are open_clip's habit"),
            ("vit", None, "a prefix of many is not a typo of one"),
            ("sigilp", Some("siglip"), "two letters swapped count once"),
            ("filip", None, "two of five letters away is another name, not a typo"),
            ("resnet", None, "nothing is near"),
            ("", None, "nothing was typed"),
        ] {
            assert_eq!(suggest(typed, names), expected, "{why}");
        }
    }
}
