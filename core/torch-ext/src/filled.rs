//! Tensors that are written in place.

use tch::{Device, Kind, TchError, Tensor};

/// A float32 tensor of this shape, on the CPU, whose numbers `fill` writes: without zeros before and without a copy after, which for a batch of
/// pictures cost as much as making the numbers. What `fill` leaves out is arbitrary.
///
/// # Errors
/// libtorch's own, as when there is no memory.
pub fn filled(shape: &[i64], fill: impl FnOnce(&mut [f32])) -> Result<Tensor, TchError> {
    let tensor = Tensor::f_empty(shape, (Kind::Float, Device::Cpu))?;
    let count = tensor.numel();
    let data = tensor.data_ptr().cast::<f32>();
    if count > 0 && !data.is_null() {
        // SAFETY: a new tensor on the CPU is contiguous, holds `count` numbers of this type, aligned, and nobody else has it. libtorch made the
        // memory, and every bit pattern is a float.
        fill(unsafe { std::slice::from_raw_parts_mut(data, count) });
    }
    Ok(tensor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_in_the_tensor() {
        let tensor =
            filled(&[2, 3], |values| values.iter_mut().zip(0u8..).for_each(|(value, number)| *value = f32::from(number))).expect("room");
        assert_eq!(tensor, Tensor::from_slice(&[0f32, 1.0, 2.0, 3.0, 4.0, 5.0]).view([2, 3]));
        assert_eq!(filled(&[0, 3], |_| ()).expect("nothing").size(), [0, 3]);
    }
}
