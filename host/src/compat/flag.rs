//! One line of the table of flags.

/// The programs that have a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagOrigin {
    /// open_clip 3.3.0.
    OpenClip,
    /// open_clip's main branch behind 3.3.0.
    OpenClipMain,
    /// VL Hub in Python.
    VlHub,
    /// open_clip and VL Hub.
    Both,
    /// VL Hub's README alone: its parser does not know the flag.
    Readme,
}

impl FlagOrigin {
    /// How the page names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenClip => "open_clip",
            Self::OpenClipMain => "open_clip (main)",
            Self::VlHub => "VL Hub",
            Self::Both => "both",
            Self::Readme => "VL Hub's README",
        }
    }

    /// Whether open_clip's parser knows the flag.
    pub fn in_open_clip(self) -> bool {
        matches!(self, Self::OpenClip | Self::OpenClipMain | Self::Both)
    }

    /// Whether VL Hub's parser knows the flag, or its README.
    pub fn in_vlhub(self) -> bool {
        matches!(self, Self::VlHub | Self::Both | Self::Readme)
    }
}

/// What follows a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagValue {
    /// Nothing, or true or false: `--gc`, `--gc=True`, `--gc false`.
    Switch,
    /// A text.
    Text,
    /// A whole number.
    Whole,
    /// A number.
    Number,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Numbers, at least one.
    Numbers,
    /// Whole numbers, at least one.
    Wholes,
    /// Texts, or none.
    Texts,
    /// Nothing, or a path behind `=`: where the reference has the path of its author.
    Place,
}

/// What becomes of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagEffect {
    /// The value of an option, by its dotted path.
    Option(&'static str),
    /// Options that depend on other flags too; the text is for the page.
    Translated(&'static str),
    /// A table `[eval.…]` of this suite.
    Suite(&'static str),
    /// A flag of this program with the same name.
    Own,
    /// Nothing, without a word, for this reason: what it asks for is so anyway.
    Ignored(&'static str),
    /// Nothing, which the log says with this text.
    Told(&'static str),
    /// An error with this reason, and what to do instead.
    Refused(&'static str),
}

/// A flag of open_clip or VL Hub.
#[derive(Clone, Copy, Debug)]
pub struct CompatFlag {
    /// Its name without the leading dashes, with `-` for each `_`.
    pub name: &'static str,
    /// Who has it.
    pub origin: FlagOrigin,
    /// What follows it.
    pub takes: FlagValue,
    /// What it means.
    pub meaning: &'static str,
    /// What becomes of it.
    pub effect: FlagEffect,
    /// How that differs from what the reference does; empty where it does not.
    pub difference: &'static str,
}

impl CompatFlag {
    const fn new(name: &'static str, origin: FlagOrigin, takes: FlagValue, meaning: &'static str, effect: FlagEffect) -> Self {
        Self { name, origin, takes, meaning, effect, difference: "" }
    }

    const fn differs(mut self, difference: &'static str) -> Self {
        self.difference = difference;
        self
    }

    /// One that is the value of the option at `path`.
    pub(super) const fn option(
        name: &'static str,
        origin: FlagOrigin,
        takes: FlagValue,
        meaning: &'static str,
        path: &'static str,
        difference: &'static str,
    ) -> Self {
        Self::new(name, origin, takes, meaning, FlagEffect::Option(path)).differs(difference)
    }

    /// One that is translated together with others.
    pub(super) const fn translated(
        name: &'static str,
        origin: FlagOrigin,
        takes: FlagValue,
        meaning: &'static str,
        becomes: &'static str,
        difference: &'static str,
    ) -> Self {
        Self::new(name, origin, takes, meaning, FlagEffect::Translated(becomes)).differs(difference)
    }

    /// One that asks for a suite.
    pub(super) const fn suite(
        name: &'static str,
        origin: FlagOrigin,
        takes: FlagValue,
        meaning: &'static str,
        suite: &'static str,
        difference: &'static str,
    ) -> Self {
        Self::new(name, origin, takes, meaning, FlagEffect::Suite(suite)).differs(difference)
    }

    /// One that this program has too.
    pub(super) const fn own(
        name: &'static str,
        origin: FlagOrigin,
        takes: FlagValue,
        meaning: &'static str,
        difference: &'static str,
    ) -> Self {
        Self::new(name, origin, takes, meaning, FlagEffect::Own).differs(difference)
    }

    /// One without effect, of which nothing is said.
    pub(super) const fn ignored(
        name: &'static str,
        origin: FlagOrigin,
        takes: FlagValue,
        meaning: &'static str,
        why: &'static str,
    ) -> Self {
        Self::new(name, origin, takes, meaning, FlagEffect::Ignored(why))
    }

    /// One without effect, which is told.
    pub(super) const fn told(name: &'static str, origin: FlagOrigin, takes: FlagValue, meaning: &'static str, why: &'static str) -> Self {
        Self::new(name, origin, takes, meaning, FlagEffect::Told(why))
    }

    /// One that is refused.
    pub(super) const fn refused(
        name: &'static str,
        origin: FlagOrigin,
        takes: FlagValue,
        meaning: &'static str,
        why: &'static str,
    ) -> Self {
        Self::new(name, origin, takes, meaning, FlagEffect::Refused(why))
    }
}
