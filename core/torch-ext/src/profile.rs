//! Where the time of a step goes.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;

use tch::TchError;

use crate::checked;

type Each = unsafe extern "C" fn(*mut c_void, *const c_char, u64, u64, u64, u64);

unsafe extern "C" {
    fn vlhub_ext_profile_begin() -> c_int;
    fn vlhub_ext_profile_end(path: *const c_char, to: *mut c_void, each: Each) -> c_int;
    fn vlhub_ext_span_begin(name: *const c_char) -> *mut c_void;
    fn vlhub_ext_span_end(span: *mut c_void);
}

/// A stretch of time on a thread of the CPU: an operation of libtorch, or what [`span`] names. They lie within each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeSpan {
    /// `aten::addmm`, or a name of ours.
    pub name: String,
    /// The thread, by a number.
    pub thread: u64,
    /// When it began, in nanoseconds from some moment on.
    pub start: u64,
    /// How long it took, in nanoseconds, with all that lies within it.
    pub duration: u64,
    /// Floating-point operations of a product of matrices, a convolution or its gradients: two for each multiplication with its addition. 0 for
    /// others.
    pub flops: u64,
}

/// Runs `work` under libtorch's profiler. Returns what it returned, and what happened on the CPU, in no order. With `trace`, all of it is written
/// there for a trace viewer (Chrome's JSON), a GPU's kernels too.
///
/// # Errors
/// libtorch's own, as when a profiler runs already.
pub fn profiled<T>(trace: Option<&Path>, work: impl FnOnce() -> T) -> Result<(T, Vec<TimeSpan>), TchError> {
    /// Ends the profiler also when `work` panics.
    struct Running;
    impl Drop for Running {
        fn drop(&mut self) {
            // SAFETY: an empty text, and no place for events, which are then not asked for.
            let _ = unsafe { vlhub_ext_profile_end(c"".as_ptr(), std::ptr::null_mut(), collect) };
        }
    }
    let path = trace.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    let path = CString::new(path).map_err(|_| TchError::Torch("profile: a NUL in the path of the trace".into()))?;
    // SAFETY: no arguments; the shim lets no exception out.
    checked(unsafe { vlhub_ext_profile_begin() })?;
    let running = Running;
    let done = work();
    std::mem::forget(running);
    let mut spans: Vec<TimeSpan> = Vec::new();
    // SAFETY: a NUL-terminated text and a list, both alive for the call; `collect` gets this list and nothing else.
    checked(unsafe { vlhub_ext_profile_end(path.as_ptr(), (&raw mut spans).cast(), collect) })?;
    Ok((done, spans))
}

/// Operations that libtorch counts too, one for each number: they are no products.
const ELEMENTWISE: [&CStr; 2] = [c"aten::mul", c"aten::add"];

unsafe extern "C" fn collect(to: *mut c_void, name: *const c_char, thread: u64, start: u64, duration: u64, flops: u64) {
    // SAFETY: `to` is the list of `profiled`, and `name` a NUL-terminated text that lives for this call.
    let (spans, name) = unsafe { (&mut *to.cast::<Vec<TimeSpan>>(), CStr::from_ptr(name)) };
    let flops = if ELEMENTWISE.contains(&name) { 0 } else { flops };
    spans.push(TimeSpan { name: name.to_string_lossy().into_owned(), thread, start, duration, flops });
}

/// Names what `work` does in a profile; costs next to nothing without one.
pub fn span<T>(name: &CStr, work: impl FnOnce() -> T) -> T {
    struct Open(*mut c_void);
    impl Drop for Open {
        fn drop(&mut self) {
            // SAFETY: made by `vlhub_ext_span_begin` on this thread, and ended once; null is nothing to end.
            unsafe { vlhub_ext_span_end(self.0) }
        }
    }
    // SAFETY: a NUL-terminated text, which is copied; the shim lets no exception out.
    let _open = Open(unsafe { vlhub_ext_span_begin(name.as_ptr()) });
    work()
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn operations_lie_within_the_spans_that_name_them_and_products_are_counted() {
        let folder = std::env::temp_dir().join(format!("vlhub-profile-{}", std::process::id()));
        let x = Tensor::ones([32, 64], (Kind::Float, Device::Cpu));
        let factor = Tensor::ones([32, 32], (Kind::Float, Device::Cpu));
        let (y, spans) = profiled(Some(&folder), || span(c"the product", || x.mm(&x.tr()) * &factor + &factor)).expect("it runs");
        assert_eq!(y.size(), [32, 32]);
        let find = |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {spans:?}"));
        let (outer, product) = (find("the product"), find("aten::mm"));
        assert_eq!(product.flops, 2 * 32 * 32 * 64);
        assert_eq!((find("aten::mul").flops, find("aten::add").flops), (0, 0), "element by element");
        assert_eq!(outer.thread, product.thread);
        assert!(outer.start <= product.start && product.start + product.duration <= outer.start + outer.duration);
        let trace = std::fs::read_to_string(&folder).expect("the trace is there");
        std::fs::remove_file(&folder).expect("it is ours");
        assert!(trace.contains("traceEvents") && trace.contains("the product"));
        // A product that is added where the sum stands.
        let (_, spans) = profiled(None, || Tensor::zeros([32, 32], (Kind::Float, Device::Cpu)).addmm_(&x, &x.tr())).expect("it runs");
        assert_eq!(spans.iter().map(|span| span.flops).sum::<u64>(), 2 * 32 * 32 * 64, "{spans:?}");
        // Two groups of two channels, 3 x 3, at 8 x 8 places of six channels of two pictures.
        let convolution = 2 * 2 * 9 * (8 * 8) * 6 * 2;
        let kernel = Tensor::ones([6, 2, 3, 3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        for (is_trained, gradients) in [(false, 1), (true, 2)] {
            let pictures = Tensor::ones([2, 4, 8, 8], (Kind::Float, Device::Cpu)).set_requires_grad(is_trained);
            let run = || pictures.conv2d(&kernel, None::<Tensor>, [1, 1], [1, 1], [1, 1], 2).sum(Kind::Float).backward();
            let ((), spans) = profiled(None, run).expect("it runs");
            let flops = |name: &str| spans.iter().filter(|span| span.name == name).map(|span| span.flops).sum::<u64>();
            assert_eq!((flops("aten::conv2d"), flops("aten::convolution_backward")), (convolution, gradients * convolution));
        }
        // Another one may follow, also behind a panic.
        assert!(std::panic::catch_unwind(|| profiled(None, || panic!("within"))).is_err());
        assert!(profiled(None, || ()).is_ok());
    }
}
