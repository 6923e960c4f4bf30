//! The flags that a command line gives.

use super::flag::CompatFlag;
use super::table;

/// A flag as it was given.
#[derive(Clone, Debug)]
pub struct GivenFlag {
    /// Its line of the table.
    pub flag: &'static CompatFlag,
    /// What followed it; `true` or `false` for a switch.
    pub values: Vec<String>,
}

/// The flags of open_clip and VL Hub that were given, in their order.
#[derive(Clone, Debug, Default)]
pub struct GivenFlags(Vec<GivenFlag>);

impl GivenFlags {
    /// Adds one behind the others.
    pub(super) fn push(&mut self, given: GivenFlag) {
        self.0.push(given);
    }

    /// Whether none was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, GivenFlag> {
        self.0.iter()
    }

    /// The last one of a name: later ones replace earlier ones, as in argparse.
    pub fn get(&self, name: &str) -> Option<&GivenFlag> {
        debug_assert!(table::exact(name).is_some(), "`{name}` is in the table");
        self.0.iter().rev().find(|given| given.flag.name == name)
    }

    /// What followed a flag that takes one value.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.values.first().map(String::as_str)
    }

    /// The number that followed a flag; it was checked when it was read.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.text(name)?.parse().ok()
    }

    /// The whole number that followed a flag; it was checked when it was read.
    pub fn whole(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// Whether a switch is on.
    pub fn on(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }
}
