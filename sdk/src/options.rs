//! Validation of options: every problem of a table is collected, and told at once.

use crate::pairs::ViewPair;
use crate::{Error, ObjectiveCx, Result, Tower};

/// The problems of one table of options.
///
/// ```
/// use vlhub_sdk::options::OptionProblems;
///
/// let mut problems = OptionProblems::default();
/// problems.at_least_one(&[("width", 0), ("layers", 12)]);
/// problems.share("dropout", 1.5);
/// let error = problems.finish().unwrap_err().to_string();
/// assert_eq!(error, "`width` = 0 must be at least 1; `dropout` = 1.5 must be at least 0 and below 1");
/// ```
#[derive(Debug, Default)]
pub struct OptionProblems(Vec<String>);

impl OptionProblems {
    /// Adds a problem.
    pub fn push(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    /// Adds `problem` unless `holds`.
    pub fn ensure(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.0.push(problem());
        }
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A whole number with a lower bound.
    pub fn at_least(&mut self, name: &str, value: i64, least: i64) {
        self.ensure(value >= least, || format!("`{name}` = {value} must be at least {least}"));
    }

    /// Sizes and counts.
    pub fn at_least_one(&mut self, options: &[(&str, i64)]) {
        for (name, value) in options {
            self.at_least(name, *value, 1);
        }
    }

    /// As [`OptionProblems::at_least_one`], for an option of one number for each stage.
    pub fn each_at_least_one(&mut self, name: &str, values: &[i64]) {
        self.ensure(values.iter().all(|value| *value >= 1), || format!("`{name}` = {values:?} must be at least 1 in each stage"));
    }

    /// An option that has one value for each stage.
    pub fn one_for_each_stage(&mut self, name: &str, values: usize, (depths, stages): (&str, usize)) {
        self.ensure(values == stages, || format!("`{name}` has {values} values, and `{depths}` has {stages} stages"));
    }

    /// A rate that leaves something over, in `0..1`.
    pub fn share(&mut self, name: &str, value: f64) {
        self.ensure((0.0..1.0).contains(&value), || format!("`{name}` = {value} must be at least 0 and below 1"));
    }

    /// A probability, in `0..=1`.
    pub fn probability(&mut self, name: &str, value: f64) {
        self.ensure((0.0..=1.0).contains(&value), || format!("`{name}` is {value}; a probability from 0 to 1 is wanted"));
    }

    /// A number within bounds.
    pub fn within(&mut self, name: &str, value: f64, [least, most]: [f64; 2]) {
        self.ensure((least..=most).contains(&value), || format!("`{name}` is {value}; a number from {least} to {most} is wanted"));
    }

    /// A smaller and a larger number within bounds.
    pub fn range(&mut self, name: &str, [low, high]: [f64; 2], [least, most]: [f64; 2]) {
        self.ensure(least <= low && low <= high && high <= most, || {
            format!("`{name}` is [{low}, {high}]; two numbers from {least} to {most} are wanted, the smaller one first")
        });
    }

    /// A finite number above 0.
    pub fn positive(&mut self, name: &str, value: f64) {
        self.ensure(value.is_finite() && value > 0.0, || format!("`{name}` = {value} must be above 0"));
    }

    /// A number that is neither infinite nor NaN.
    pub fn finite(&mut self, name: &str, value: f64) {
        self.ensure(value.is_finite(), || format!("`{name}` is {value}; it must be a finite number"));
    }

    /// The weight of a term, at least 0.
    pub fn weight(&mut self, name: &str, value: f64) {
        self.ensure(value.is_finite() && value >= 0.0, || format!("`{name}` is {value}; a weight is at least 0"));
    }

    /// An option that divides another without remainder. Divisors below 1 are another problem.
    pub fn divides(&mut self, (small, divisor): (&str, i64), (large, value): (&str, i64)) {
        self.ensure(divisor < 1 || value % divisor == 0, || format!("`{small}` = {divisor} does not divide `{large}` = {value}"));
    }

    /// An option that is a multiple of `unit`, which is `why`. Units below 1 are another problem.
    pub fn multiple(&mut self, name: &str, value: i64, unit: i64, why: &str) {
        self.ensure(unit < 1 || value % unit == 0, || format!("`{name}` = {value} is not a multiple of {unit}, {why}"));
    }

    /// The width inside a multilayer perceptron, `width · ratio`, rounded down.
    pub fn mlp_ratio(&mut self, name: &str, width: i64, ratio: f64) {
        self.ensure((width as f64 * ratio) as i64 >= 1, || format!("`{name}` = {ratio} leaves no width inside the MLP"));
    }

    /// The standard deviation by which pictures are divided, channel by channel.
    pub fn std(&mut self, std: [f64; 3]) {
        self.ensure(std.iter().all(|std| *std > 0.0), || format!("`std` = {std:?} must be above 0 in each channel"));
    }

    /// The towers that an objective reads; `why` begins the message, as in "a contrastive objective".
    pub fn both_towers(&mut self, cx: &ObjectiveCx<'_>, why: &str) {
        for (tower, what) in [(&cx.image, "an image"), (&cx.text, "a text")] {
            let name = what.rsplit(' ').next().unwrap_or_default();
            self.ensure(tower.is_some(), || format!("{why} needs {what} tower; add `[backbone.{name}]` to the run"));
        }
    }

    /// Pairs of an image view and a text view.
    pub fn pairs(&mut self, pairs: &[ViewPair]) {
        self.ensure(!pairs.is_empty(), || "`pairs` is empty; name at least one pair, such as `[[\"main\", \"main\"]]`".into());
    }

    /// The options `init_log_scale` and `max_scale` of a [`LogitScale`](crate::nn::LogitScale).
    pub fn logit_scale(&mut self, init_log_scale: f64, max_scale: f64) {
        self.ensure(max_scale.is_finite() && max_scale >= 1.0, || {
            format!("`max_scale` is {max_scale}; it must be at least 1, because the scale is kept in 1..=max_scale")
        });
        self.finite("init_log_scale", init_log_scale);
    }

    /// # Errors
    /// [`Error::Options`] with every problem, if there is one.
    pub fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Options(self.0.join("; "))) }
    }
}

/// The image tower and the text tower of a run; `why` begins the message, as in "a contrastive objective".
///
/// # Errors
/// When the run lacks one of them.
pub fn both_towers<'a>(cx: &'a ObjectiveCx<'_>, why: &str) -> Result<(&'a Tower, &'a Tower)> {
    let mut problems = OptionProblems::default();
    problems.both_towers(cx, why);
    problems.finish()?;
    cx.image.as_ref().zip(cx.text.as_ref()).ok_or_else(|| Error::Options(format!("{why} needs both towers")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(check: impl FnOnce(&mut OptionProblems)) -> String {
        let mut problems = OptionProblems::default();
        check(&mut problems);
        problems.finish().map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn problems_are_told_together_and_in_order() {
        let all = told(|problems| {
            problems.at_least("tile", -1, 0);
            problems.share("dropout", f64::NAN);
            problems.std([1.0, 0.0, 1.0]);
        });
        assert_eq!(
            all,
            "`tile` = -1 must be at least 0; `dropout` = NaN must be at least 0 and below 1; `std` = [1.0, 0.0, 1.0] must be above 0 in each channel"
        );
    }

    #[test]
    fn bounds_are_where_they_are_said_to_be() {
        for (message, wrong, why) in [
            (told(|p| p.share("a", 0.0)), false, "0 leaves all"),
            (told(|p| p.share("a", 1.0)), true, "1 leaves nothing"),
            (told(|p| p.probability("a", 1.0)), false, "always"),
            (told(|p| p.probability("a", -0.1)), true, "below 0"),
            (told(|p| p.range("a", [0.5, 0.5], [0.0, 1.0])), false, "a range of one number"),
            (told(|p| p.range("a", [0.6, 0.5], [0.0, 1.0])), true, "the larger first"),
            (told(|p| p.positive("a", f64::INFINITY)), true, "no number"),
            (told(|p| p.weight("a", 0.0)), false, "0 turns a term off"),
            (told(|p| p.divides(("a", 0), ("b", 7))), false, "0 is another problem"),
            (told(|p| p.divides(("a", 2), ("b", 7))), true, "7 is odd"),
            (told(|p| p.mlp_ratio("a", 4, 0.2)), true, "0.8 of a channel"),
            (told(|p| p.logit_scale(0.0, 1.0)), false, "a scale of 1"),
            (told(|p| p.logit_scale(f64::NAN, 100.0)), true, "no number"),
            (told(|p| p.logit_scale(0.0, 0.5)), true, "below the lower bound"),
        ] {
            assert_eq!(!message.is_empty(), wrong, "{why}: {message}");
        }
    }
}
