//! timm's description of a RandAugment, such as `rand-m9-mstd0.5-inc1`.

use crate::timm_operation::TimmOperation::{self, *};
use crate::timm_operation::{FULL, USUAL};

/// What such a description says.
#[derive(Clone, Debug, PartialEq)]
pub struct TimmPolicy {
    /// Magnitude, `m`: a whole number.
    pub magnitude: u32,
    /// Number of operations, `n`.
    pub layers: u32,
    /// Probability of each operation, `p`.
    pub probability: f64,
    /// Standard deviation of the magnitude, `mstd`; infinite for a magnitude that is drawn evenly from 0 on.
    pub deviation: f64,
    /// Largest magnitude, `mmax`: what is above is cut to it.
    pub most: f64,
    /// Whether more magnitude always changes more, `inc1`.
    pub increasing: bool,
    /// The operations, with their weights.
    pub operations: Vec<(TimmOperation, f64)>,
    /// Whether operations are drawn without replacement, by their weights.
    pub weighted: bool,
}

/// What a section may begin with, the longer ones first.
const KEYS: [&str; 6] = ["mstd", "mmax", "inc", "m", "n", "p"];

impl TimmPolicy {
    /// Reads a description.
    ///
    /// # Errors
    /// What cannot be read, and what may be written. timm itself passes over sections without a digit and over unknown sets.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut policy = Self {
            magnitude: FULL as u32,
            layers: 2,
            probability: 0.5,
            deviation: 0.0,
            most: FULL,
            increasing: false,
            operations: Vec::new(),
            weighted: false,
        };
        let mut sections = text.split('-');
        if sections.next() != Some("rand") {
            return Err(format!("`{text}` does not begin with `rand`, as in `rand-m9-mstd0.5-inc1`"));
        }
        let mut set = None;
        for section in sections {
            if let Some(name) = section.strip_prefix('t') {
                set = Some(
                    named_set(name).ok_or_else(|| format!("`{section}`: there is no set `{name}`; there are `tweights`, `t3a`, `t3aw`"))?,
                );
                continue;
            }
            let key = KEYS.into_iter().find(|key| section.starts_with(key)).unwrap_or_default();
            let value = &section[key.len()..];
            let wrong = |wanted: &str| format!("`{section}`: `{key}` wants {wanted}");
            let whole = |wanted: &str, most: u32| value.parse().ok().filter(|value| *value <= most).ok_or_else(|| wrong(wanted));
            match key {
                "m" => policy.magnitude = whole("a whole number from 0 to 100, as in `m9`", 100)?,
                "n" => policy.layers = whole("a whole number from 0 to 20, as in `n2`", 20)?,
                "mmax" => policy.most = f64::from(whole("a whole number from 1 to 100, as in `mmax30`", 100)?),
                "inc" => policy.increasing = whole("0 or 1, as in `inc1`", 1)? == 1,
                "p" => {
                    let share = value.parse().ok().filter(|share| (0.0..=1.0).contains(share));
                    policy.probability = share.ok_or_else(|| wrong("a number from 0 to 1, as in `p0.5`"))?;
                }
                "mstd" => {
                    let deviation = value.parse::<f64>().ok().filter(|deviation| deviation.is_finite());
                    let deviation = deviation.ok_or_else(|| wrong("a number, as in `mstd0.5`; above 100 the magnitude is drawn evenly"))?;
                    policy.deviation = if deviation > 100.0 { f64::INFINITY } else { deviation };
                }
                _ => return Err(format!("`{section}`: unknown; there are m, n, p, mstd, mmax and inc with a number, and t with a set")),
            }
        }
        // timm takes 0 for no bound of its own.
        if policy.most == 0.0 {
            policy.most = FULL;
        }
        if let Some((operations, weighted)) = set {
            policy.increasing = true;
            (policy.operations, policy.weighted) = (operations, weighted);
        } else {
            policy.operations = USUAL.map(|operation| (operation, 1.0)).to_vec();
        }
        if policy.weighted && policy.layers as usize > policy.operations.len() {
            return Err(format!("`{text}`: {} operations without replacement, of a set of {}", policy.layers, policy.operations.len()));
        }
        Ok(policy)
    }
}

/// A set by its name: operations with weights, and whether these count. Its operations are those that increase with the magnitude.
fn named_set(name: &str) -> Option<(Vec<(TimmOperation, f64)>, bool)> {
    Some(match name {
        "weights" => {
            let one_in_twenty =
                [Solarize, SolarizeAdd, Contrast, Brightness, Equalize, Posterize, Invert].map(|operation| (operation, 0.05));
            let quarters = [Color, Sharpness, AutoContrast].map(|operation| (operation, 0.25));
            let moves = [(Rotate, 3.0), (ShearX, 2.0), (ShearY, 2.0), (TranslateX, 1.0), (TranslateY, 1.0)];
            (moves.into_iter().chain(quarters).chain(one_in_twenty).collect(), true)
        }
        "3a" => ([Solarize, Desaturate, GaussianBlur].map(|operation| (operation, 1.0)).to_vec(), false),
        "3aw" => {
            let three = [Solarize, Desaturate, GaussianBlur].map(|operation| (operation, 6.0));
            let moves = [(Rotate, 3.0), (ShearX, 2.0), (ShearY, 2.0)];
            let rest =
                [Posterize, AutoContrast, Color, Sharpness, Contrast, Brightness, Equalize, Invert].map(|operation| (operation, 1.0));
            (three.into_iter().chain(moves).chain(rest).collect(), true)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_stand_in_any_order_and_have_timms_defaults() {
        let plain = TimmPolicy::parse("rand").expect("timm's defaults");
        assert_eq!((plain.magnitude, plain.layers, plain.probability, plain.deviation, plain.most), (10, 2, 0.5, 0.0, 10.0));
        assert!(!plain.increasing && !plain.weighted && plain.operations.len() == 15);
        let all = TimmPolicy::parse("rand-inc1-n3-mstd0.5-p0.8-mmax30-m15").expect("every section");
        assert_eq!((all.magnitude, all.layers, all.probability, all.deviation, all.most, all.increasing), (15, 3, 0.8, 0.5, 30.0, true));
        assert_eq!(TimmPolicy::parse("rand-mstd101").expect("it is read").deviation, f64::INFINITY);
        let weighted = TimmPolicy::parse("rand-tweights").expect("a set");
        assert!(weighted.weighted && weighted.increasing && weighted.operations.len() == 15);
    }

    #[test]
    fn what_timm_would_pass_over_or_stop_at_is_told() {
        for (text, part) in [
            ("m9-inc1", "does not begin with `rand`"),
            ("rand-mstdinf", "`mstd` wants a number"),
            ("rand-inc", "`inc` wants 0 or 1"),
            ("rand-m9.5", "`m` wants a whole number"),
            ("rand-t3b", "there is no set `3b`"),
            ("rand-w0", "`w0`: unknown"),
            ("rand-p2", "`p` wants a number from 0 to 1"),
            ("rand-n16-tweights", "16 operations without replacement"),
            ("rand-", "``: unknown"),
        ] {
            let error = TimmPolicy::parse(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
