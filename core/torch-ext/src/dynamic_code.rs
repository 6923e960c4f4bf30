//! The eight-bit code of optimiser states.

use std::sync::LazyLock;

/// An eight-bit code for the numbers of a block, divided by the largest magnitude in it: bitsandbytes' dynamic map (Dettmers and others, 2022, arXiv
/// 2110.02861). It has seven decades, each with twice as many steps as the one below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DynamicCode {
    /// From -1 to 1, for first moments. Its longest step is a 71st of the largest magnitude.
    Signed,
    /// From 0 to 1, for second moments. Its longest step is a 142nd of the largest magnitude.
    Unsigned,
}

/// The numbers that codes stand for.
#[derive(Debug)]
pub(crate) struct CodeValues {
    /// In ascending order.
    pub values: [f32; 256],
    /// For the upper half of a float's bits: the last code, but for the last of all, that is at most the least float which begins so.
    below: Vec<u8>,
    /// The least code of a number above zero. A step is divided by the root of a second moment, which must not vanish; in bitsandbytes it may.
    pub least: u8,
}

static SIGNED: LazyLock<CodeValues> = LazyLock::new(|| CodeValues::new(true));
static UNSIGNED: LazyLock<CodeValues> = LazyLock::new(|| CodeValues::new(false));

impl DynamicCode {
    pub(crate) fn values(self) -> &'static CodeValues {
        match self {
            Self::Signed => &SIGNED,
            Self::Unsigned => &UNSIGNED,
        }
    }
}

impl CodeValues {
    fn new(signed: bool) -> Self {
        let mut all = vec![0.0, 1.0];
        for decade in 0..7 {
            let steps: i32 = if signed { 1 << decade } else { 2 << decade };
            for step in 0..steps {
                // The middle of each of equal steps from a tenth of the decade's end to its end.
                let middle = 0.1 + 0.9 * (f64::from(step) + 0.5) / f64::from(steps);
                let value = (middle * 10f64.powi(decade - 6)) as f32;
                all.push(value);
                if signed {
                    all.push(-value);
                }
            }
        }
        all.sort_by(f32::total_cmp);
        let mut values = [0.0; 256];
        values.copy_from_slice(&all);
        let least_float = |upper: u32| f32::from_bits(if upper & 0x8000 == 0 { upper << 16 } else { upper << 16 | 0xFFFF });
        let below = |upper: u32| values.partition_point(|value| *value <= least_float(upper)).saturating_sub(1).min(254) as u8;
        Self { below: (0..1u32 << 16).map(below).collect(), values, least: u8::from(!signed) }
    }

    /// The code of the value below `x` or above it: the latter where `draw`, a random number in 0..1, is less than the share of the way between the
    /// two that lies behind `x`.
    pub fn encode(&self, x: f32, draw: f32) -> u8 {
        let mut at = usize::from(self.below[(x.to_bits() >> 16) as usize]);
        while at < 254 && self.values[at + 1] <= x {
            at += 1;
        }
        let (below, above) = (self.values[at], self.values[at + 1]);
        let code = at as u8 + u8::from(draw < (x - below) / (above - below));
        if x > 0.0 { code.max(self.least) } else { code }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_are_bitsandbytes_and_steps_are_as_long_as_told() {
        // What bitsandbytes.functional.create_dynamic_map gives: its ends, and the place of zero.
        for (code, zero, some) in [
            (DynamicCode::Signed, 127, [(0, -0.992_968_75_f64), (128, 5.5e-7), (129, 3.25e-6), (254, 0.992_968_75), (255, 1.0)]),
            (DynamicCode::Unsigned, 0, [(1, 3.25e-7_f64), (2, 7.75e-7), (3, 2.125e-6), (254, 0.996_484_375), (255, 1.0)]),
        ] {
            let values = code.values().values;
            assert_eq!(values[zero], 0.0);
            for (at, value) in some {
                assert!((f64::from(values[at]) - value).abs() < 1e-6 * value.abs(), "{code:?} {at}: {}", values[at]);
            }
            let longest = values.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f32::max);
            let told = if code == DynamicCode::Signed { 1.0 / 71.0 } else { 1.0 / 142.0 };
            assert!(longest <= told && longest > told * 0.99, "{code:?}: {longest}");
        }
    }

    #[test]
    fn a_number_becomes_the_value_below_or_above_it() {
        for code in [DynamicCode::Signed, DynamicCode::Unsigned] {
            let table = code.values();
            for (at, pair) in table.values.windows(2).enumerate() {
                let (below, above) = (at as u8, at as u8 + 1);
                let lifted = |code: u8, x: f32| if x > 0.0 { code.max(table.least) } else { code };
                for (share, draw, want) in
                    [(0.0, 0.0, below), (0.25, 0.2, above), (0.25, 0.3, below), (0.75, 0.7, above), (0.75, 0.8, below)]
                {
                    let x = pair[0] + share * (pair[1] - pair[0]);
                    assert_eq!(table.encode(x, draw), lifted(want, x), "{code:?} {x} with {draw}");
                }
            }
            assert_eq!(table.encode(1.0, 0.999), 255);
        }
        let (signed, unsigned) = (DynamicCode::Signed.values(), DynamicCode::Unsigned.values());
        assert_eq!((signed.encode(-1.0, 0.0), signed.encode(-0.0, 0.0), signed.encode(1e-9, 0.9)), (0, 127, 127));
        assert_eq!((unsigned.encode(0.0, 0.0), unsigned.encode(1e-30, 0.9)), (0, 1), "what is not zero does not become zero");
    }
}
