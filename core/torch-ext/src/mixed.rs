//! Mixed precision.

use std::ffi::{c_int, c_void};

use tch::{Device, Kind, TchError};

use crate::checked;

unsafe extern "C" {
    fn vlhub_ext_autocast_begin(cuda: c_int, half: c_int) -> *mut c_void;
    fn vlhub_ext_autocast_end(autocast: *mut c_void);
}

/// Runs `work` on this thread with libtorch's autocast to `kind`, bfloat16 or float16 ("half"), for `device`: products of matrices, convolutions
/// and attention are computed in it. On a GPU norms and softmax are computed in float; on a CPU, where libtorch has no such rule, what follows a
/// product stays in `kind`. Parameters stay as they are, and so do their gradients; the backward pass may run afterwards. Outputs may be of `kind`.
///
/// # Errors
/// Another kind, and libtorch's own.
pub fn autocast<T>(device: Device, kind: Kind, work: impl FnOnce() -> T) -> Result<T, TchError> {
    struct Autocast(*mut c_void);
    impl Drop for Autocast {
        fn drop(&mut self) {
            // SAFETY: made by `vlhub_ext_autocast_begin` on this thread, and ended once; null is nothing to end.
            unsafe { vlhub_ext_autocast_end(self.0) }
        }
    }
    let half = match kind {
        Kind::Half => true,
        Kind::BFloat16 => false,
        _ => return Err(TchError::Torch(format!("autocast: to BFloat16 or Half, not to {kind:?}"))),
    };
    // SAFETY: two flags by value; the shim lets no exception out.
    let autocast = Autocast(unsafe { vlhub_ext_autocast_begin(c_int::from(device.is_cuda()), c_int::from(half)) });
    if autocast.0.is_null() {
        checked(1)?;
    }
    Ok(work())
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::*;

    // No product is computed here: where the processor's bfloat16 or float16 is advertised and not allowed, it would end the tests.
    #[test]
    fn it_is_on_while_it_runs_and_for_this_thread_alone() {
        // A product of nothing has a kind and no work.
        let kind = || Tensor::zeros([0, 4], (Kind::Float, Device::Cpu)).matmul(&Tensor::zeros([4, 0], (Kind::Float, Device::Cpu))).kind();
        assert_eq!(kind(), Kind::Float);
        for (outer, inner) in [(Kind::BFloat16, Kind::BFloat16), (Kind::Half, Kind::BFloat16), (Kind::BFloat16, Kind::Half)] {
            let (inside, nested, after, beside) = autocast(Device::Cpu, outer, || {
                let nested = autocast(Device::Cpu, inner, kind).expect("it runs");
                (kind(), nested, kind(), std::thread::spawn(kind).join().expect("it ends"))
            })
            .expect("it runs");
            assert_eq!([inside, nested, after, beside], [outer, inner, outer, Kind::Float]);
            assert_eq!(kind(), Kind::Float);
        }
        let ended = std::panic::catch_unwind(|| autocast(Device::Cpu, Kind::BFloat16, || panic!("within")));
        assert!(ended.is_err());
        assert_eq!(kind(), Kind::Float, "a panic ends it too");
        assert!(autocast(Device::Cpu, Kind::Double, kind).is_err(), "nothing is rounded to double");
    }
}
