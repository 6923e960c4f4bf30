//! Checks that several augmentations make on their options.

use vlhub_sdk::prelude::*;

/// A probability.
pub fn probability(option: &str, value: f64) -> Result<()> {
    check((0.0..=1.0).contains(&value), || format!("`{option}` is {value}; a probability from 0 to 1 is wanted"))
}

/// A smaller and a larger number within bounds.
pub fn range(option: &str, [low, high]: [f64; 2], least: f64, most: f64) -> Result<()> {
    check(least <= low && low <= high && high <= most, || {
        format!("`{option}` is [{low}, {high}]; two numbers from {least} to {most} are wanted, the smaller one first")
    })
}

/// One number within bounds.
pub fn number(option: &str, value: f64, least: f64, most: f64) -> Result<()> {
    check((least..=most).contains(&value), || format!("`{option}` is {value}; a number from {least} to {most} is wanted"))
}

fn check(holds: bool, problem: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Options(problem())) }
}
