//! Memory that runs out, and how much of a GPU's is taken.

use std::ffi::c_int;

use tch::Device;

unsafe extern "C" {
    fn vlhub_ext_reset_peak(index: c_int) -> c_int;
    fn vlhub_ext_peak(index: c_int, bytes: *mut i64) -> c_int;
}

/// What is said where there is no memory: by libtorch's allocator on a GPU, by CUDA and by this shim; by libtorch's allocator on the CPU; by C++; and
/// by the libraries of NVIDIA, which take memory of their own.
const WORDS: [&str; 5] =
    ["out of memory", "DefaultCPUAllocator: ", "std::bad_alloc", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"];

/// Whether an error, or a panic that unwrapped one, says that there was no memory. tch hands on the text of libtorch's exceptions and not their
/// class, so this is the one place that knows the words.
pub fn is_out_of_memory(message: &str) -> bool {
    WORDS.iter().any(|words| message.contains(words))
}

/// Runs `work`, and tells the most bytes that were allocated at once on a GPU meanwhile: of all threads, with what was there before. `None` on the
/// CPU, and where libtorch does not count.
pub fn gpu_peak<T>(device: Device, work: impl FnOnce() -> T) -> (T, Option<i64>) {
    let Device::Cuda(index) = device else { return (work(), None) };
    let index = index as c_int;
    // SAFETY: a number by value; the shim lets no exception out.
    let counts = unsafe { vlhub_ext_reset_peak(index) } == 0;
    let done = work();
    let mut bytes = 0;
    // SAFETY: a number by value, and a place for one that outlives the call; the shim lets no exception out.
    let told = counts && unsafe { vlhub_ext_peak(index, &mut bytes) } == 0;
    (done, told.then_some(bytes))
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;
    use crate::checked;

    unsafe extern "C" {
        fn vlhub_ext_full() -> c_int;
    }

    #[test]
    fn memory_that_runs_out_is_told_from_other_errors() {
        let float = (Kind::Float, Device::Cpu);
        let refused = Tensor::f_empty([1i64 << 60], float).expect_err("nobody has that much");
        // SAFETY: no arguments; the shim lets no exception out.
        let raised = checked(unsafe { vlhub_ext_full() }).expect_err("it raises");
        assert!(raised.to_string().contains("no room"), "{raised}");
        for error in [&refused, &raised] {
            assert!(is_out_of_memory(&error.to_string()), "{error}");
            // As a panic of `unwrap` has it.
            assert!(is_out_of_memory(&format!("{error:?}")), "{error}");
        }
        let other = Tensor::zeros([2, 3], float).f_matmul(&Tensor::zeros([2, 3], float)).expect_err("shapes do not fit");
        assert!(!is_out_of_memory(&other.to_string()), "{other}");
        for said in ["CUDA out of memory. Tried to allocate 2.00 GiB.", "CUDA error: out of memory", "std::bad_alloc"] {
            assert!(is_out_of_memory(said), "{said}");
        }
    }

    #[test]
    fn work_is_done_whether_or_not_a_gpu_counts() {
        assert_eq!(gpu_peak(Device::Cpu, || 3), (3, None));
        assert_eq!(gpu_peak(Device::Cuda(0), || 3).0, 3);
    }
}
