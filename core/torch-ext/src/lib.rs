//! The few parts of libtorch that VL Hub needs and tch does not reach, through one C++ file that catches every exception.

use std::ffi::{CStr, c_char, c_int};

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn vlhub_ext_error() -> *const c_char;
    fn vlhub_ext_fused_adamw(
        params: *const *mut C_tensor,
        grads: *const *mut C_tensor,
        exp_avg: *const *mut C_tensor,
        exp_avg_sq: *const *mut C_tensor,
        steps: *const *mut C_tensor,
        count: usize,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
    ) -> c_int;
    fn vlhub_ext_forget_gradient(tensor: *mut C_tensor) -> c_int;
    fn vlhub_ext_deterministic(on: c_int) -> c_int;
}

/// What AdamW keeps for a list of parameters; all lists have one length and one order.
#[derive(Debug)]
pub struct AdamW<'a> {
    /// The parameters, changed in place.
    pub params: &'a [Tensor],
    /// Their gradients.
    pub grads: &'a [Tensor],
    /// First moments, changed in place.
    pub exp_avg: &'a [Tensor],
    /// Second moments, changed in place.
    pub exp_avg_sq: &'a [Tensor],
    /// Number of this step, from 1, `[]` float32: one for all parameters, for the correction of the moments' bias.
    pub step: &'a Tensor,
}

/// Rates of one AdamW step (Loshchilov and Hutter, 2019).
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Added to the denominator.
    pub eps: f64,
}

/// One step of AdamW over all parameters in one kernel (`at::_fused_adamw_`, CPU and CUDA).
///
/// # Errors
/// libtorch's own, as when a gradient's shape is not its parameter's.
pub fn fused_adamw(state: &AdamW<'_>, rates: Rates) -> Result<(), TchError> {
    let count = state.params.len();
    if [state.grads, state.exp_avg, state.exp_avg_sq].iter().any(|list| list.len() != count) {
        return Err(TchError::Torch("fused_adamw: lists of different lengths".into()));
    }
    if count == 0 {
        return Ok(());
    }
    let pointers = |list: &[Tensor]| list.iter().map(|tensor| tensor.as_ptr().cast_mut().cast()).collect::<Vec<*mut C_tensor>>();
    let lists = [state.params, state.grads, state.exp_avg, state.exp_avg_sq].map(pointers);
    let steps = vec![state.step.as_ptr().cast_mut().cast::<C_tensor>(); count];
    // SAFETY: five lists of `count` live tensors, borrowed for the call; the shim keeps none and lets no exception out.
    let status = unsafe {
        vlhub_ext_fused_adamw(
            lists[0].as_ptr(),
            lists[1].as_ptr(),
            lists[2].as_ptr(),
            lists[3].as_ptr(),
            steps.as_ptr(),
            count,
            rates.lr,
            rates.beta1,
            rates.beta2,
            rates.weight_decay,
            rates.eps,
        )
    };
    checked(status)
}

/// Makes a parameter's gradient undefined, as PyTorch's `set_to_none`. A gradient of zeros would still decay and carry momentum.
///
/// # Errors
/// libtorch's own.
pub fn forget_gradient(tensor: &Tensor) -> Result<(), TchError> {
    // SAFETY: a live tensor, borrowed for the call; the shim lets no exception out.
    checked(unsafe { vlhub_ext_forget_gradient(tensor.as_ptr().cast_mut().cast()) })
}

/// Asks libtorch for deterministic kernels; it warns where it has none.
///
/// # Errors
/// libtorch's own.
pub fn deterministic(on: bool) -> Result<(), TchError> {
    // SAFETY: a flag by value; the shim lets no exception out.
    checked(unsafe { vlhub_ext_deterministic(c_int::from(on)) })
}

fn checked(status: c_int) -> Result<(), TchError> {
    if status == 0 {
        return Ok(());
    }
    // SAFETY: the shim returns a NUL-terminated text of this thread, which stays as it is until the next call.
    let text = unsafe { CStr::from_ptr(vlhub_ext_error()) };
    Err(TchError::Torch(text.to_string_lossy().into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_step_is_the_formula() {
        let param = Tensor::from_slice(&[1.0f32, -2.0]);
        let grad = Tensor::from_slice(&[0.5f32, 0.25]);
        let zeros = || param.zeros_like();
        let step = Tensor::from(1.0f32);
        let state = AdamW { params: &[param.shallow_clone()], grads: &[grad], exp_avg: &[zeros()], exp_avg_sq: &[zeros()], step: &step };
        fused_adamw(&state, Rates { lr: 0.1, beta1: 0.9, beta2: 0.98, weight_decay: 0.2, eps: 1e-6 }).expect("it runs");
        // At the first step the corrected moments are g and g², so the step is lr · sign(g) after a decay of lr · wd.
        let expected = [1.0 * (1.0 - 0.02) - 0.1, -2.0 * (1.0 - 0.02) - 0.1];
        for (index, want) in expected.into_iter().enumerate() {
            assert!((param.double_value(&[index as i64]) - want).abs() < 1e-5, "{param:?}");
        }
    }

    #[test]
    fn a_forgotten_gradient_is_undefined() {
        let param = Tensor::from_slice(&[1.0f32]).set_requires_grad(true);
        (&param * 2.0).sum(tch::Kind::Float).backward();
        assert!(param.grad().defined());
        forget_gradient(&param).expect("it runs");
        assert!(!param.grad().defined());
    }

    #[test]
    fn lists_of_different_lengths_are_an_error_and_not_a_crash() {
        let tensor = |n: i64| Tensor::zeros([n], (tch::Kind::Float, tch::Device::Cpu));
        let state = AdamW { params: &[tensor(2)], grads: &[tensor(2)], exp_avg: &[tensor(2)], exp_avg_sq: &[], step: &tensor(1) };
        assert!(fused_adamw(&state, Rates { lr: 0.1, beta1: 0.9, beta2: 0.98, weight_decay: 0.0, eps: 1e-6 }).is_err());
    }
}
