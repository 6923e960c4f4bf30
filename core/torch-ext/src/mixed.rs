//! Mixed precision.

use std::ffi::{c_int, c_void};

use tch::{Device, TchError};

use crate::checked;

unsafe extern "C" {
    fn vlhub_ext_autocast_begin(cuda: c_int) -> *mut c_void;
    fn vlhub_ext_autocast_end(autocast: *mut c_void);
}

/// Runs `work` on this thread with libtorch's autocast to bfloat16 for `device`: products of matrices, convolutions and attention are
/// computed in bfloat16. On a GPU norms and softmax are computed in float; on a CPU, where libtorch has no such rule, what follows a product
/// stays in bfloat16. Parameters stay as they are, and so do their gradients; the backward pass may run afterwards. Outputs may be bfloat16.
///
/// # Errors
/// libtorch's own.
pub fn in_bf16<T>(device: Device, work: impl FnOnce() -> T) -> Result<T, TchError> {
    struct Autocast(*mut c_void);
    impl Drop for Autocast {
        fn drop(&mut self) {
            // SAFETY: made by `vlhub_ext_autocast_begin` on this thread, and ended once; null is nothing to end.
            unsafe { vlhub_ext_autocast_end(self.0) }
        }
    }
    // SAFETY: a flag by value; the shim lets no exception out.
    let autocast = Autocast(unsafe { vlhub_ext_autocast_begin(c_int::from(device.is_cuda())) });
    if autocast.0.is_null() {
        checked(1)?;
    }
    Ok(work())
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;

    // No product is computed here: where the processor's bfloat16 is advertised and not allowed, it would end the tests.
    #[test]
    fn it_is_on_while_it_runs_and_for_this_thread_alone() {
        // A product of nothing has a kind and no work.
        let kind = || Tensor::zeros([0, 4], (Kind::Float, Device::Cpu)).matmul(&Tensor::zeros([4, 0], (Kind::Float, Device::Cpu))).kind();
        assert_eq!(kind(), Kind::Float);
        let (inside, nested, after, beside) = in_bf16(Device::Cpu, || {
            let nested = in_bf16(Device::Cpu, kind).expect("it runs");
            (kind(), nested, kind(), std::thread::spawn(kind).join().expect("it ends"))
        })
        .expect("it runs");
        assert_eq!([inside, nested, after, beside], [Kind::BFloat16, Kind::BFloat16, Kind::BFloat16, Kind::Float]);
        assert_eq!(kind(), Kind::Float);
        let ended = std::panic::catch_unwind(|| in_bf16(Device::Cpu, || panic!("within")));
        assert!(ended.is_err());
        assert_eq!(kind(), Kind::Float, "a panic ends it too");
    }
}
