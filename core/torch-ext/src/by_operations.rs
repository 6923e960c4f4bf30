//! What `moments` does by loops on the CPU, by libtorch's operations on any device: the same numbers, to the last bit.

use tch::{Kind, TchError, Tensor};

use crate::dynamic_code::DynamicCode;
use crate::moments::{BLOCK, DRAWN};

/// Elements that are dealt with at once, whole blocks: on the way they take some fifty bytes each.
const AT_ONCE: i64 = 1 << 22;

pub(crate) fn round_to_bf16(values: &Tensor, bits: &Tensor, key: u64) -> Result<(), TchError> {
    pieces(values, |first, values| {
        let random = random(key, first, values)?;
        let sum = values.f_view_dtype(Kind::Int)?.f_add(&random)?.f_bitwise_and(-0x1_0000i64)?;
        piece(bits, first, values.numel())?.f_copy_(&sum.f_view_dtype(Kind::Float)?)
    })
}

pub(crate) fn encode_blocks(code: DynamicCode, values: &Tensor, codes: &Tensor, scales: &Tensor, key: u64) -> Result<(), TchError> {
    let table = Tensor::f_from_slice(&code.values().values)?.f_to_device(values.device())?;
    pieces(values, |first, values| {
        let count = values.numel() as i64;
        let blocks = (count as usize).div_ceil(BLOCK) as i64;
        let padded = values.f_constant_pad_nd([0, blocks * BLOCK as i64 - count])?.f_view([blocks, BLOCK as i64])?;
        let scale = padded.f_abs()?.f_amax([1i64].as_slice(), true)?;
        piece(scales, first / BLOCK as i64, blocks as usize)?.f_copy_(&scale.f_flatten(0, -1)?)?;
        let divisor = scale.f_where_self(&scale.f_gt(0.0)?, &scale.f_ones_like()?)?;
        let x = padded.f_div(&divisor)?.f_flatten(0, -1)?.f_narrow(0, 0, count)?;
        let at = x.f_bucketize(&table, true, true)?.f_add_scalar(-1i64)?.f_clamp(0i64, 254i64)?;
        let (below, above) = (table.f_index_select(0, &at)?, table.f_index_select(0, &at.f_add_scalar(1i64)?)?);
        let way = x.f_sub(&below)?.f_div(&above.f_sub(&below)?)?;
        let draw = random(key, first, &x)?.f_to_kind(Kind::Float)?.f_add_scalar(0.5)?.f_mul_scalar(1.0 / 65536.0)?;
        let least = x.f_gt(0.0)?.f_to_kind(Kind::Int)?.f_mul_scalar(i64::from(code.values().least))?;
        let code = at.f_add(&draw.f_lt_tensor(&way)?.f_to_kind(Kind::Int)?)?.f_maximum(&least)?;
        piece(codes, first, count as usize)?.f_copy_(&code)
    })
}

pub(crate) fn decode_blocks(code: DynamicCode, codes: &Tensor, scales: &Tensor, values: &Tensor) -> Result<(), TchError> {
    let table = Tensor::f_from_slice(&code.values().values)?.f_to_device(values.device())?;
    pieces(codes, |first, codes| {
        let count = codes.numel() as i64;
        let blocks = (count as usize).div_ceil(BLOCK) as i64;
        let scale = piece(scales, first / BLOCK as i64, blocks as usize)?.f_unsqueeze(1)?.f_expand([blocks, BLOCK as i64], false)?;
        let scale = scale.f_reshape([blocks * BLOCK as i64])?.f_narrow(0, 0, count)?;
        let decoded = table.f_index_select(0, &codes.f_to_kind(Kind::Int)?)?.f_mul(&scale)?;
        piece(values, first, count as usize)?.f_copy_(&decoded)
    })
}

/// Calls `work` with pieces of a tensor's elements, in the order of memory, each with the place of its first.
fn pieces(tensor: &Tensor, work: impl Fn(i64, &Tensor) -> Result<(), TchError>) -> Result<(), TchError> {
    let count = tensor.numel() as i64;
    let mut first = 0;
    while first < count {
        let next = (first + AT_ONCE).min(count);
        work(first, &piece(tensor, first, (next - first) as usize)?)?;
        first = next;
    }
    Ok(())
}

/// `count` elements from the `first` on: a view.
fn piece(tensor: &Tensor, first: i64, count: usize) -> Result<Tensor, TchError> {
    if !tensor.is_contiguous() {
        return Err(TchError::Torch("moments: a contiguous tensor is needed".into()));
    }
    tensor.f_flatten(0, -1)?.f_narrow(0, first, count as i64)
}

/// 16 random bits for each of the elements of a piece that begins at the place `first`, int32.
fn random(key: u64, first: i64, like: &Tensor) -> Result<Tensor, TchError> {
    let begin = first / DRAWN as i64;
    let end = begin + like.numel().div_ceil(DRAWN) as i64;
    let places = Tensor::f_arange_start(begin, end, (Kind::Int64, like.device()))?;
    let x = mix(&places.f_mul_scalar(0x9e37_79b9_7f4a_7c15_u64 as i64)?.f_add_scalar(key as i64)?)?;
    let shifts = Tensor::f_from_slice(&[0i64, 16, 32, 48])?.f_to_device(like.device())?;
    let parts = x.f_unsqueeze(1)?.f_bitwise_right_shift(&shifts)?.f_bitwise_and(0xFFFFi64)?;
    parts.f_flatten(0, -1)?.f_narrow(0, 0, like.numel() as i64)?.f_to_kind(Kind::Int)
}

/// The last steps of splitmix64.
fn mix(x: &Tensor) -> Result<Tensor, TchError> {
    let x = x.f_bitwise_xor_tensor(&shifted(x, 30)?)?.f_mul_scalar(0xbf58_476d_1ce4_e5b9_u64 as i64)?;
    let x = x.f_bitwise_xor_tensor(&shifted(&x, 27)?)?.f_mul_scalar(0x94d0_49bb_1331_11eb_u64 as i64)?;
    x.f_bitwise_xor_tensor(&shifted(&x, 31)?)
}

/// libtorch shifts signed numbers arithmetically; the mask clears the copies of the sign.
fn shifted(x: &Tensor, bits: i64) -> Result<Tensor, TchError> {
    x.f_bitwise_right_shift_tensor_scalar(bits)?.f_bitwise_and((1i64 << (64 - bits)) - 1)
}
