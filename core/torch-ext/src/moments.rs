//! Moments of an optimiser in fewer bits than a float has: bfloat16, and 8 bits with a scale for each block of elements.
//!
//! Both round at random, up or down with the odds that make the mean right (stochastic rounding). A second moment moves by a fiftieth or a
//! thousandth of itself in a step, which may be less than half of a last digit: rounded to the nearest it would stay where it is. The random
//! numbers are a function of a key and of the place of an element, so neither threads nor resumption change them.

use tch::{Device, TchError, Tensor};

use crate::by_operations;
use crate::dynamic_code::DynamicCode;
use crate::slices::{apart, bf16_bits_mut, bytes, bytes_mut, floats, floats_mut, in_parallel, share};

/// Elements that share a scale, as in bitsandbytes.
pub const BLOCK: usize = 256;

/// Elements that share 64 random bits.
pub(crate) const DRAWN: usize = 4;

/// Rounds the float tensor `values` to bfloat16, into `bits`, which has its shape.
///
/// # Errors
/// Tensors of other kinds or sizes, two that share memory, and libtorch's own.
pub fn round_to_bf16(values: &Tensor, bits: &mut Tensor, key: u64) -> Result<(), TchError> {
    fits("bfloat16 numbers", bits.numel(), values.numel())?;
    if values.device() != Device::Cpu {
        return by_operations::round_to_bf16(values, bits, key);
    }
    apart(&[values, &*bits])?;
    let (from, to) = (floats(values)?, bf16_bits_mut(bits)?);
    let each = share(from.len(), BLOCK);
    in_parallel(from.chunks(each).zip(to.chunks_mut(each)).enumerate(), |(piece, (from, to))| {
        for (at, (from, to)) in from.chunks(DRAWN).zip(to.chunks_mut(DRAWN)).enumerate() {
            let random = draw(key, piece * each / DRAWN + at);
            for (place, (value, bits)) in from.iter().zip(to).enumerate() {
                // Carries into the upper half as often as the lower half says.
                *bits = (value.to_bits().wrapping_add(part(random, place)) >> 16) as u16;
            }
        }
    });
    Ok(())
}

/// Encodes the float tensor `values` in 8 bits: `codes` (uint8) has its shape, `scales` (float) a number for each [`BLOCK`] of its elements, in the
/// order of memory: their largest magnitude.
///
/// # Errors
/// Tensors of other kinds or sizes, two that share memory, and libtorch's own.
pub fn encode_blocks(code: DynamicCode, values: &Tensor, codes: &mut Tensor, scales: &mut Tensor, key: u64) -> Result<(), TchError> {
    fits("codes", codes.numel(), values.numel())?;
    fits("scales", scales.numel(), values.numel().div_ceil(BLOCK))?;
    if values.device() != Device::Cpu {
        return by_operations::encode_blocks(code, values, codes, scales, key);
    }
    apart(&[values, &*codes, &*scales])?;
    let table = code.values();
    let (from, to, scales) = (floats(values)?, bytes_mut(codes)?, floats_mut(scales)?);
    let each = share(from.len(), BLOCK);
    let jobs = from.chunks(each).zip(to.chunks_mut(each)).zip(scales.chunks_mut(each / BLOCK)).enumerate();
    in_parallel(jobs, |(piece, ((from, to), scales))| {
        for (block, ((from, to), scale)) in from.chunks(BLOCK).zip(to.chunks_mut(BLOCK)).zip(scales).enumerate() {
            *scale = from.iter().fold(0.0, |most, value| value.abs().max(most));
            let divisor = if *scale > 0.0 { *scale } else { 1.0 };
            let first = (piece * each + block * BLOCK) / DRAWN;
            for (at, (from, to)) in from.chunks(DRAWN).zip(to.chunks_mut(DRAWN)).enumerate() {
                let random = draw(key, first + at);
                for (place, (value, code)) in from.iter().zip(to).enumerate() {
                    *code = table.encode(value / divisor, (part(random, place) as f32 + 0.5) / 65536.0);
                }
            }
        }
    });
    Ok(())
}

/// Decodes what [`encode_blocks`] encoded, into the float tensor `values`.
///
/// # Errors
/// Tensors of other kinds or sizes, two that share memory, and libtorch's own.
pub fn decode_blocks(code: DynamicCode, codes: &Tensor, scales: &Tensor, values: &mut Tensor) -> Result<(), TchError> {
    fits("codes", codes.numel(), values.numel())?;
    fits("scales", scales.numel(), values.numel().div_ceil(BLOCK))?;
    if values.device() != Device::Cpu {
        return by_operations::decode_blocks(code, codes, scales, values);
    }
    apart(&[codes, scales, &*values])?;
    let table = &code.values().values;
    let (from, scales, to) = (bytes(codes)?, floats(scales)?, floats_mut(values)?);
    let each = share(from.len(), BLOCK);
    in_parallel(from.chunks(each).zip(scales.chunks(each / BLOCK)).zip(to.chunks_mut(each)), |((from, scales), to)| {
        for ((from, scale), to) in from.chunks(BLOCK).zip(scales).zip(to.chunks_mut(BLOCK)) {
            for (code, value) in from.iter().zip(to) {
                *value = table[usize::from(*code)] * scale;
            }
        }
    });
    Ok(())
}

/// 64 random bits, for [`DRAWN`] elements: of the key and their place among such groups, by the last steps of splitmix64.
fn draw(key: u64, place: usize) -> u64 {
    let x = key.wrapping_add((place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The 16 of these bits that are for one element.
fn part(random: u64, place: usize) -> u32 {
    (random >> (16 * place)) as u32 & 0xFFFF
}

fn fits(what: &str, found: usize, wanted: usize) -> Result<(), TchError> {
    if found == wanted { Ok(()) } else { Err(TchError::Torch(format!("moments: {found} {what} where {wanted} are needed"))) }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    /// Numbers of many magnitudes, of both signs or none below zero.
    fn numbers(count: i64, code: DynamicCode) -> Tensor {
        let at = Tensor::arange(count, (Kind::Double, Device::Cpu));
        let values = (&at * 0.7).sin() * ((&at * 0.013).sin() * 9.0).exp() * 1e-6;
        let values = if code == DynamicCode::Unsigned { values.square() } else { values };
        values.to_kind(Kind::Float)
    }

    fn encoded(code: DynamicCode, values: &Tensor, key: u64) -> (Tensor, Tensor) {
        let mut codes = Tensor::zeros(values.size(), (Kind::Uint8, Device::Cpu));
        let mut scales = Tensor::zeros([values.numel().div_ceil(BLOCK) as i64], (Kind::Float, Device::Cpu));
        encode_blocks(code, values, &mut codes, &mut scales, key).expect("they fit");
        (codes, scales)
    }

    fn decoded(code: DynamicCode, codes: &Tensor, scales: &Tensor) -> Tensor {
        let mut values = Tensor::zeros(codes.size(), (Kind::Float, Device::Cpu));
        decode_blocks(code, codes, scales, &mut values).expect("they fit");
        values
    }

    fn rounded(values: &Tensor, key: u64) -> Tensor {
        let mut bits = Tensor::zeros(values.size(), (Kind::BFloat16, Device::Cpu));
        round_to_bf16(values, &mut bits, key).expect("it fits");
        bits
    }

    #[test]
    fn what_is_decoded_is_within_a_step_of_what_was_encoded_and_right_on_the_average() {
        for (code, step) in [(DynamicCode::Signed, 1.0 / 71.0), (DynamicCode::Unsigned, 1.0 / 142.0)] {
            let values = numbers(3 * 256 + 7, code);
            let largest = numbers(4 * 256, code).view([4, 256]).narrow(0, 0, 3).abs().amax([1i64].as_slice(), true);
            let whole = |x: &Tensor| x.narrow(0, 0, 3 * 256).view([3, 256]);
            let mut sum = Tensor::zeros_like(&values);
            let draws = 400;
            for key in 0..draws {
                let (codes, scales) = encoded(code, &values, key);
                let back = decoded(code, &codes, &scales);
                let off = ((whole(&back) - whole(&values)).abs() / &largest).max().double_value(&[]);
                assert!(off <= step, "{code:?}: {off}");
                sum += back;
            }
            // 400 draws of a step that is chosen with the worst odds: deviation of a 40th of a step. The lower end of the signed code lies at
            // -0.993, and second moments are lifted from zero to the first value.
            let mean = whole(&sum) / draws as f64;
            let off = ((mean - whole(&values)).abs() / &largest).max().double_value(&[]);
            assert!(off < 0.6 * step, "{code:?}: the mean is {off} off, a step is {step}");
        }
    }

    #[test]
    fn bfloat16_is_the_number_below_or_above_and_right_on_the_average() {
        let values = numbers(2000, DynamicCode::Signed);
        let mut sum = Tensor::zeros_like(&values);
        for key in 0..400 {
            let back = rounded(&values, key).to_kind(Kind::Float);
            let off = ((&back - &values).abs() / values.abs().clamp_min(1e-30)).max().double_value(&[]);
            assert!(off <= 1.0 / 128.0, "{off}");
            sum += back;
        }
        let off = ((sum / 400.0 - &values).abs() / values.abs().clamp_min(1e-30)).max().double_value(&[]);
        // Of 2000 numbers, the one whose 400 draws are the least even: four and a half deviations of half a digit.
        assert!(off < 0.15 / 128.0, "{off}");
        let exact = Tensor::from_slice(&[1.0f32, -0.5, 0.0, 384.0, f32::INFINITY]);
        assert!(rounded(&exact, 9).to_kind(Kind::Float).equal(&exact), "what bfloat16 has stays");
        // A thousandth less in each step: to the nearest it would never move.
        let mut moment = Tensor::ones([4096], (Kind::Float, Device::Cpu));
        for key in 0..1000 {
            moment = rounded(&(moment * 0.999), key).to_kind(Kind::Float);
        }
        let mean = moment.mean(Kind::Float).double_value(&[]);
        assert!((mean - 0.999f64.powi(1000)).abs() < 0.01, "{mean}");
    }

    #[test]
    fn loops_and_operations_give_the_same_numbers_and_threads_change_none() {
        // Enough that several threads share them, and a block that is not full at the end.
        let count = (1 << 17) + 777;
        for code in [DynamicCode::Signed, DynamicCode::Unsigned] {
            let values = numbers(count, code);
            let _ = values.narrow(0, 512, 256).zero_();
            let (codes, scales) = encoded(code, &values, 5);
            let (same_codes, same_scales) = (codes.zeros_like(), scales.zeros_like());
            by_operations::encode_blocks(code, &values, &same_codes, &same_scales, 5).expect("it runs");
            assert!(scales.equal(&same_scales), "{code:?}: scales");
            let differ = codes.not_equal_tensor(&same_codes).sum(Kind::Int64).int64_value(&[]);
            assert_eq!(differ, 0, "{code:?}: so many codes differ");
            assert!(!codes.equal(&encoded(code, &values, 6).0), "another key draws other numbers");
            let (back, same) = (decoded(code, &codes, &scales), values.zeros_like());
            by_operations::decode_blocks(code, &codes, &scales, &same).expect("it runs");
            assert!(back.equal(&same), "{code:?}: decoded");
            assert_eq!(back.narrow(0, 512, 256).abs().max().double_value(&[]), 0.0, "zeros stay");
        }
        let values = numbers(count, DynamicCode::Signed);
        let same = Tensor::zeros([count], (Kind::BFloat16, Device::Cpu));
        by_operations::round_to_bf16(&values, &same, 5).expect("it runs");
        assert!(rounded(&values, 5).equal(&same));
    }

    #[test]
    fn tensors_that_do_not_fit_are_refused() {
        let values = Tensor::zeros([300], (Kind::Float, Device::Cpu));
        let of = |count: i64, kind| Tensor::zeros([count], (kind, Device::Cpu));
        let encode = |mut codes: Tensor, mut scales: Tensor| encode_blocks(DynamicCode::Signed, &values, &mut codes, &mut scales, 0);
        assert!(encode(of(300, Kind::Uint8), of(2, Kind::Float)).is_ok());
        assert!(encode(of(299, Kind::Uint8), of(2, Kind::Float)).is_err());
        assert!(encode(of(300, Kind::Uint8), of(1, Kind::Float)).is_err());
        assert!(encode(of(300, Kind::Int8), of(2, Kind::Float)).is_err());
        assert!(round_to_bf16(&values, &mut of(300, Kind::Half), 0).is_err());
        assert!(encode(of(300, Kind::Uint8), values.narrow(0, 7, 2)).is_err(), "scales that lie among the values");
        let mut whole = of(300, Kind::Float);
        let inside = whole.narrow(0, 0, 2);
        assert!(decode_blocks(DynamicCode::Signed, &of(300, Kind::Uint8), &inside, &mut whole).is_err());
    }
}
