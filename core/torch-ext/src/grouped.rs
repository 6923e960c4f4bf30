//! Memory by group of layers.

use std::ffi::c_void;

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use crate::checked;

unsafe extern "C" {
    fn vlhub_ext_groups_begin(weights: *const *mut C_tensor, group_of: *const usize, count: usize, groups: usize) -> *mut c_void;
    fn vlhub_ext_groups_end(metering: *mut c_void, live: *mut i64);
}

/// [`metered`](crate::metered) by group of layers: bytes of the tensors that `work` makes and that are still there at its end, for each of
/// `groups` groups, and then for what came before any of them. A tensor belongs to the group of the weight that was read last before it was made:
/// what a layer computes between two of its weights, and behind its last one, is its own. `weights` has each weight with its group.
///
/// # Errors
/// libtorch's own, or a group from `groups` on.
pub fn metered_by_group<T>(weights: &[(Tensor, usize)], groups: usize, work: impl FnOnce() -> T) -> Result<(T, Vec<i64>), TchError> {
    struct Metering(*mut c_void, Vec<i64>);
    impl Metering {
        fn end(&mut self) {
            if !self.0.is_null() {
                // SAFETY: made by `vlhub_ext_groups_begin` on this thread for one group less than the list has places, and ended once.
                unsafe { vlhub_ext_groups_end(self.0, self.1.as_mut_ptr()) }
                self.0 = std::ptr::null_mut();
            }
        }
    }
    impl Drop for Metering {
        fn drop(&mut self) {
            self.end();
        }
    }
    if weights.iter().any(|(_, group)| *group >= groups) {
        return Err(TchError::Torch(format!("metered_by_group: a weight of a group that is none of {groups}")));
    }
    let pointers: Vec<*mut C_tensor> = weights.iter().map(|(tensor, _)| tensor.as_ptr().cast_mut().cast()).collect();
    let group_of: Vec<usize> = weights.iter().map(|(_, group)| *group).collect();
    // SAFETY: two lists of one length, of live tensors and of groups below `groups`, borrowed for the call; the shim keeps the addresses of their
    // numbers alone, and lets no exception out.
    let begun = unsafe { vlhub_ext_groups_begin(pointers.as_ptr(), group_of.as_ptr(), pointers.len(), groups) };
    let mut metering = Metering(begun, vec![0; groups + 1]);
    if metering.0.is_null() {
        checked(1)?;
    }
    let done = work();
    metering.end();
    Ok((done, std::mem::take(&mut metering.1)))
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn a_tensor_belongs_to_the_weight_that_was_read_last() {
        let float = (Kind::Float, Device::Cpu);
        let [first, second] = [8, 16].map(|width| Tensor::ones([width, width], float).set_requires_grad(true));
        let older = Tensor::ones([4], float);
        let weights = [(first.shallow_clone(), 0), (second.shallow_clone(), 1)];
        let work = || {
            let x = Tensor::ones([4, 8], float);
            drop(older);
            let hidden = x.matmul(&first).gelu("none");
            let wide = Tensor::cat(&[&hidden, &hidden], 1);
            (x, wide.matmul(&second).detach())
        };
        let ((x, out), live) = metered_by_group(&weights, 2, work).expect("it runs");
        assert_eq!((x.size(), out.size()), (vec![4, 8], vec![4, 16]));
        // The graph is gone with its output: what is left is what was returned.
        assert_eq!(live, [0, 4 * 16 * 4, 4 * 8 * 4]);
        let graph = || Tensor::ones([4, 8], float).matmul(&first).gelu("none");
        let (_kept, live) = metered_by_group(&weights, 2, graph).expect("it runs");
        assert!(live[0] >= 2 * 4 * 8 * 4 && live[1] == 0 && live[2] == 4 * 8 * 4, "{live:?}");
        let wrong = metered_by_group(&weights, 1, || ()).expect_err("the second group of one");
        assert!(wrong.to_string().contains("none of 1"), "{wrong}");
        assert!(std::panic::catch_unwind(|| metered_by_group(&[], 0, || panic!("within"))).is_err());
        assert_eq!(metered_by_group(&[], 0, || ()).expect("another one may follow").1, [0]);
    }
}
