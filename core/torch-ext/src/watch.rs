//! Watching what a piece of work does: the memory that its tensors take, and what comes out of the layers of given weights.

use std::ffi::c_void;

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use crate::checked;

unsafe extern "C" {
    fn vlhub_ext_meter_begin() -> *mut c_void;
    fn vlhub_ext_meter_end(meter: *mut c_void, live: *mut i64, peak: *mut i64);
    fn vlhub_ext_watch_begin(weights: *const *mut C_tensor, count: usize) -> *mut c_void;
    fn vlhub_ext_watch_end(watch: *mut c_void, places: *mut i64, deviations: *mut f64);
}

/// Memory that a piece of work took for tensors, beyond what was there before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that it made and that were still there at its end.
    pub live: i64,
    /// The most bytes that were there at once.
    pub peak: i64,
}

/// Runs `work` on this thread and counts the bytes of the tensors that it makes, as libtorch's allocators report them: exact, on the CPU
/// and on a GPU. What is older is not counted when it goes, and neither is what another measurement within `work` counts.
///
/// # Errors
/// libtorch's own.
pub fn metered<T>(work: impl FnOnce() -> T) -> Result<(T, Usage), TchError> {
    struct Meter(*mut c_void, Usage);
    impl Meter {
        fn end(&mut self) {
            if !self.0.is_null() {
                // SAFETY: made by `vlhub_ext_meter_begin` on this thread, and ended once; both numbers outlive the call.
                unsafe { vlhub_ext_meter_end(self.0, &mut self.1.live, &mut self.1.peak) }
                self.0 = std::ptr::null_mut();
            }
        }
    }
    impl Drop for Meter {
        fn drop(&mut self) {
            self.end();
        }
    }
    // SAFETY: no arguments; the shim lets no exception out.
    let mut meter = Meter(unsafe { vlhub_ext_meter_begin() }, Usage::default());
    if meter.0.is_null() {
        checked(1)?;
    }
    let done = work();
    meter.end();
    Ok((done, meter.1))
}

/// The output of the layer of a weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerOutput {
    /// Its place among the weights, in the order in which they were used.
    pub place: usize,
    /// Standard deviation of everything that came out.
    pub deviation: f64,
}

/// Runs `work` on this thread and watches the products and convolutions with `weights`: for each weight what came out where it was used
/// first, or `None` where it was not used. It sees every layer, whoever wrote it.
///
/// # Errors
/// libtorch's own.
pub fn watched<T>(weights: &[Tensor], work: impl FnOnce() -> T) -> Result<(T, Vec<Option<LayerOutput>>), TchError> {
    struct Watch(*mut c_void, Vec<i64>, Vec<f64>);
    impl Watch {
        fn end(&mut self) {
            if !self.0.is_null() {
                // SAFETY: made by `vlhub_ext_watch_begin` on this thread for as many weights as both lists have places, and ended once.
                unsafe { vlhub_ext_watch_end(self.0, self.1.as_mut_ptr(), self.2.as_mut_ptr()) }
                self.0 = std::ptr::null_mut();
            }
        }
    }
    impl Drop for Watch {
        fn drop(&mut self) {
            self.end();
        }
    }
    let pointers: Vec<*mut C_tensor> = weights.iter().map(|tensor| tensor.as_ptr().cast_mut().cast()).collect();
    // SAFETY: live tensors, borrowed for the call; the shim keeps the addresses of their numbers alone, and lets no exception out.
    let begun = unsafe { vlhub_ext_watch_begin(pointers.as_ptr(), pointers.len()) };
    let mut watch = Watch(begun, vec![-1; weights.len()], vec![0.0; weights.len()]);
    if watch.0.is_null() {
        checked(1)?;
    }
    let done = work();
    watch.end();
    let seen = watch.1.iter().zip(&watch.2);
    Ok((
        done,
        seen.map(|(place, deviation)| (*place >= 0).then_some(LayerOutput { place: *place as usize, deviation: *deviation })).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::metered_by_group;

    #[test]
    fn memory_is_counted_to_the_byte() {
        let kept = Tensor::zeros([8], (Kind::Float, Device::Cpu));
        let work = || {
            let large = Tensor::zeros([1 << 20], (Kind::Float, Device::Cpu));
            drop(large);
            Tensor::ones([256], (Kind::Float, Device::Cpu))
        };
        let (made, usage) = metered(work).expect("it runs");
        assert_eq!((made.numel(), kept.numel()), (256, 8));
        assert_eq!(usage, Usage { live: 1024, peak: 4 << 20 });
    }

    #[test]
    fn memory_of_a_measurement_within_another_takes_nothing_from_it_when_it_goes() {
        let floats = |count: i64| Tensor::zeros([count], (Kind::Float, Device::Cpu));
        let work = || {
            let (large, inner) = metered(|| floats(1 << 20)).expect("it runs");
            let (larger, groups) = metered_by_group(&[], 0, || floats(1 << 21)).expect("it runs");
            assert_eq!((inner.live, groups), (4 << 20, vec![8 << 20]));
            drop((large, larger));
            floats(256)
        };
        let (made, usage) = metered(work).expect("it runs");
        assert_eq!((made.numel(), usage), (256, Usage { live: 1024, peak: 1024 }));
    }

    #[test]
    fn a_graph_stays_until_it_is_dropped() {
        let weight = Tensor::ones([64, 64], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let (loss, held) =
            metered(|| Tensor::ones([32, 64], (Kind::Float, Device::Cpu)).matmul(&weight).gelu("none").sum(Kind::Float)).expect("it runs");
        let bare = |x: Tensor| x.matmul(&weight).gelu("none").sum(Kind::Float);
        let (_, free) = metered(|| tch::no_grad(|| bare(Tensor::ones([32, 64], (Kind::Float, Device::Cpu))))).expect("it runs");
        assert!(held.live >= 2 * 32 * 64 * 4 && free.live <= 8, "{held:?} {free:?}");
        drop(loss);
    }

    #[test]
    fn layers_are_seen_in_the_order_of_their_use_with_what_comes_out() {
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        let (first, second, idle) = (random(&[16, 8]), random(&[4, 16]) * 3.0, random(&[2, 2]));
        let kernel = random(&[5, 3, 2, 2]);
        let weights = [&second, &first, &idle, &kernel].map(Tensor::shallow_clone);
        let (out, seen) = watched(&weights, || {
            let hidden = random(&[10, 8]).linear(&first, None::<&Tensor>);
            let out = hidden.relu().matmul(&second.tr());
            let _ = random(&[2, 3, 6, 6]).conv2d(&kernel, None::<&Tensor>, [1, 1], [0, 0], [1, 1], 1);
            (hidden, out)
        })
        .expect("it runs");
        let places: Vec<Option<usize>> = seen.iter().map(|seen| seen.map(|seen| seen.place)).collect();
        assert_eq!(places, [Some(1), Some(0), None, Some(2)]);
        for (seen, out) in [(seen[1], out.0), (seen[0], out.1)] {
            let wanted = out.to_kind(Kind::Double).std(true).double_value(&[]);
            assert!((seen.expect("it was used").deviation - wanted).abs() < 1e-9);
        }
        let quiet = watched(&weights, || ()).expect("it runs").1;
        assert!(quiet.iter().all(Option::is_none));
    }
}
