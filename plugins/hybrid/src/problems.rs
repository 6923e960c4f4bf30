//! What is wrong with a table of options, told at once.

use vlhub_sdk::prelude::*;

/// Everything that is wrong.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    /// Adds `problem` where `wrong` is true.
    pub fn add(&mut self, wrong: bool, problem: impl FnOnce() -> String) {
        if wrong {
            self.0.push(problem());
        }
    }

    pub fn at_least_one(&mut self, options: &[(&str, i64)]) {
        for (name, value) in options {
            self.add(*value < 1, || format!("`{name}` = {value} must be at least 1"));
        }
    }

    pub fn share(&mut self, options: &[(&str, f64)]) {
        for (name, value) in options {
            self.add(!(0.0..1.0).contains(value), || format!("`{name}` = {value} must be at least 0 and below 1"));
        }
    }

    pub fn divides(&mut self, (small, divisor): (&str, i64), (large, value): (&str, i64)) {
        self.add(divisor > 0 && value % divisor != 0, || format!("`{small}` = {divisor} does not divide `{large}` = {value}"));
    }

    pub fn std(&mut self, std: [f64; 3]) {
        self.add(std.iter().any(|std| *std <= 0.0), || format!("`std` = {std:?} must be above 0 in each channel"));
    }

    pub fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Options(self.0.join("; "))) }
    }
}
