//! Gradient checkpointing: a part of a network that is computed again in the backward pass.

use std::any::Any;
use std::ffi::{c_char, c_int, c_void};
use std::fmt::Display;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use crate::checked;

/// A part as C++ keeps it: tensors in, a tensor out, or what went wrong.
type PartClosure = Box<dyn Fn(&[Tensor]) -> Result<Tensor, String> + Send>;

type RunPart = unsafe extern "C" fn(*mut c_void, *const *mut C_tensor, usize, *mut c_char, usize) -> *mut C_tensor;
type FreePart = unsafe extern "C" fn(*mut c_void);

unsafe extern "C" {
    fn vlhub_ext_wants_graph(inputs: *const *mut C_tensor, count: usize) -> c_int;
    fn vlhub_ext_keep_casts(on: c_int) -> c_int;
    fn vlhub_ext_recompute(
        inputs: *const *mut C_tensor,
        count: usize,
        output: *const C_tensor,
        part: *mut c_void,
        run: RunPart,
        free: FreePart,
    ) -> *mut C_tensor;
}

/// Gradient checkpointing (arXiv 1604.06174): what `part` computes from `inputs`, of which the backward pass keeps `inputs` alone. It runs `part` a
/// second time, with a graph and under the autocast of the first time, and lets the gradients flow back through that: to the inputs, and into the
/// parameters that `part` uses. So memory between the two is that of the inputs, and the price is a second forward pass.
///
/// `part` must give the same numbers each time, change nothing, and get every tensor with a graph as an input: only leaves (parameters) and tensors
/// without gradients may be captured. Its second run happens on the thread of the backward pass, which on a GPU is one of libtorch's; a panic there
/// becomes an error of the backward pass. Where no graph is wanted, or no input has a gradient (the first layer behind a frozen one), `part`
/// runs once, as it is. There are no second derivatives, and no gradients of given tensors alone (`Tensor::run_backward`).
///
/// # Errors
/// What `part` returns, or libtorch's own.
pub fn recomputed<E: Display>(
    inputs: &[&Tensor],
    part: impl Fn(&[Tensor]) -> Result<Tensor, E> + Send + 'static,
) -> Result<Tensor, TchError> {
    let part: PartClosure = Box::new(move |inputs: &[Tensor]| part(inputs).map_err(|error| error.to_string()));
    let inputs: Vec<Tensor> = inputs.iter().map(|input| input.shallow_clone()).collect();
    let pointers: Vec<*mut C_tensor> = inputs.iter().map(|input| input.as_ptr().cast_mut().cast()).collect();
    // SAFETY: live tensors, borrowed for the call; the shim lets no exception out.
    if unsafe { vlhub_ext_wants_graph(pointers.as_ptr(), pointers.len()) } == 0 {
        return part(&inputs).map_err(TchError::Torch);
    }
    let output = {
        let _casts = UncachedCasts::begin();
        let _no_grad = tch::no_grad_guard();
        part(&inputs).map_err(TchError::Torch)?
    };
    // A pointer to a `dyn` is two; a pointer to a box of it is one.
    let part: *mut PartClosure = Box::into_raw(Box::new(part));
    // SAFETY: live tensors, borrowed for the call. `part` belongs to the shim from here on, which gives it to `run` while it has it, from one thread
    // at a time, and to `free` once. No exception comes out.
    let made = unsafe {
        vlhub_ext_recompute(pointers.as_ptr(), pointers.len(), output.as_ptr().cast(), part.cast::<c_void>(), run_part, free_part)
    };
    if made.is_null() {
        checked(1)?;
    }
    // SAFETY: a new tensor, which is ours: null has returned above.
    Ok(unsafe { Tensor::from_ptr(made) })
}

/// Keeps autocast from keeping casts of weights, for this thread and for a while: those that are made without a graph would serve later uses of the
/// weight, which then got no gradient.
struct UncachedCasts(c_int);

impl UncachedCasts {
    fn begin() -> Self {
        // SAFETY: a flag by value, of this thread.
        Self(unsafe { vlhub_ext_keep_casts(0) })
    }
}

impl Drop for UncachedCasts {
    fn drop(&mut self) {
        // SAFETY: the flag as it was, by value.
        let _ = unsafe { vlhub_ext_keep_casts(self.0) };
    }
}

/// Runs a part for the backward pass. Null where it failed, and why in `message`, which has `room` bytes, all zero.
unsafe extern "C" fn run_part(
    part: *mut c_void,
    inputs: *const *mut C_tensor,
    count: usize,
    message: *mut c_char,
    room: usize,
) -> *mut C_tensor {
    // SAFETY: `part` is the box that `recomputed` gave away, which lives until `free_part`; `inputs` are `count` live tensors, at least one.
    let (part, inputs) = unsafe { (&*part.cast::<PartClosure>(), std::slice::from_raw_parts(inputs, count)) };
    let ran = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: live tensors of the caller; each copy holds its own share.
        let inputs: Vec<Tensor> = inputs.iter().map(|input| unsafe { Tensor::clone_from_ptr(*input) }).collect();
        part(&inputs)
    }));
    let said = match ran {
        // The caller takes the tensor over.
        Ok(Ok(output)) => return ManuallyDrop::new(output).as_mut_ptr(),
        Ok(Err(said)) => said,
        Err(panic) => format!("a part that is computed again panicked: {}", text_of(panic.as_ref())),
    };
    let said: Vec<u8> = said.bytes().filter(|byte| *byte != 0).take(room.saturating_sub(1)).collect();
    // SAFETY: fewer bytes than `message` has room for, from a list of our own; the zero behind them stands there already.
    unsafe { std::ptr::copy_nonoverlapping(said.as_ptr(), message.cast::<u8>(), said.len()) };
    std::ptr::null_mut()
}

unsafe extern "C" fn free_part(part: *mut c_void) {
    // SAFETY: the box that `recomputed` gave away, taken back once.
    drop(unsafe { Box::from_raw(part.cast::<PartClosure>()) });
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message")
}

#[cfg(test)]
mod tests;
