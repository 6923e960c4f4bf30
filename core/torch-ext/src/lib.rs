//! The few parts of libtorch that VL Hub needs and tch does not reach, through one C++ file that catches every exception.

use std::ffi::{CStr, c_char, c_int, c_void};

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

mod by_operations;
mod dynamic_code;
mod filled;
mod grouped;
mod memory;
mod mixed;
mod moments;
mod products;
mod profile;
mod recompute;
mod slices;
mod stream;
mod watch;

pub use dynamic_code::DynamicCode;
pub use filled::filled;
pub use grouped::metered_by_group;
pub use memory::{gpu_peak, is_out_of_memory};
pub use mixed::autocast;
pub use moments::{BLOCK, decode_blocks, encode_blocks, round_to_bf16};
pub use products::Products;
pub use profile::{TimeSpan, profiled, span};
pub use recompute::recomputed;
pub use stream::{TransferStream, pinned};
pub use watch::{LayerOutput, Usage, metered, watched};

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
    fn vlhub_ext_give_gradient(tensor: *mut C_tensor, gradient: *mut C_tensor) -> c_int;
    fn vlhub_ext_tf32(on: c_int) -> c_int;
    fn vlhub_ext_deterministic(on: c_int) -> c_int;
    fn vlhub_ext_serial_thread() -> c_int;
    fn vlhub_ext_keep_memory();
    fn vlhub_ext_paper_begin() -> *mut c_void;
    fn vlhub_ext_paper_end(paper: *mut c_void);
    fn vlhub_ext_multiplications() -> f64;
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

/// Makes `gradient` a parameter's gradient. It must have the parameter's shape; later backward passes add to it.
///
/// # Errors
/// Another shape, and libtorch's own.
pub fn give_gradient(tensor: &Tensor, gradient: &Tensor) -> Result<(), TchError> {
    if tensor.size() != gradient.size() {
        return Err(TchError::Torch(format!("a gradient {:?} for a parameter {:?}", gradient.size(), tensor.size())));
    }
    // SAFETY: two live tensors, borrowed for the call, of which libtorch counts the second as its own; the shim lets no exception out.
    checked(unsafe { vlhub_ext_give_gradient(tensor.as_ptr().cast_mut().cast(), gradient.as_ptr().cast_mut().cast()) })
}

/// Whether a GPU may compute products and convolutions of float tensors in TF32, whose numbers have 10 bits behind the point where float has 23.
/// Unasked, libtorch lets convolutions do so and products not. It says nothing to a CPU.
///
/// # Errors
/// libtorch's own.
pub fn tf32(on: bool) -> Result<(), TchError> {
    // SAFETY: a flag by value; the shim lets no exception out.
    checked(unsafe { vlhub_ext_tf32(c_int::from(on)) })
}

/// Asks libtorch for deterministic kernels; it warns where it has none.
///
/// # Errors
/// libtorch's own.
pub fn deterministic(on: bool) -> Result<(), TchError> {
    // SAFETY: a flag by value; the shim lets no exception out.
    checked(unsafe { vlhub_ext_deterministic(c_int::from(on)) })
}

/// Lets libtorch use this thread alone for what this thread asks of it. To be called first in every thread that makes tensors beside the one
/// that trains.
///
/// Otherwise each of them gets a team of OpenMP threads. GNU's OpenMP, which libtorch comes with, stops waiting actively once there are more
/// threads in teams than cores; each of the thousand small loops of a step then begins by waking a sleeping thread, and training a small
/// model on two cores takes 1.4 times as long.
pub fn serial_thread() {
    // SAFETY: no arguments; the shim lets no exception out. Where it fails, the thread works as any other, only slower.
    let _ = unsafe { vlhub_ext_serial_thread() };
}

/// Lets the allocator keep up to 1 GiB of what is freed. A step frees what the next one asks for; given back to the system in between, every page
/// is cleared and mapped anew (a seventh of a small model's step on the CPU). Does nothing where the C library is not GNU's.
pub fn keep_memory() {
    // SAFETY: no arguments; two settings of the C library, which may be made at any time.
    unsafe { vlhub_ext_keep_memory() }
}

/// Runs `work` with shapes alone: tensors that it makes on a device have no memory and no numbers, so a model of any size is built and run
/// in no time. Returns what it returned, and the multiplications (each with its addition) of its products of matrices and convolutions;
/// `einsum` is not counted. Nothing of it may be read, and none of its tensors may be used with others afterwards.
///
/// # Errors
/// libtorch's own.
pub fn on_paper<T>(work: impl FnOnce() -> T) -> Result<(T, f64), TchError> {
    struct Paper(*mut c_void);
    impl Drop for Paper {
        fn drop(&mut self) {
            // SAFETY: made by `vlhub_ext_paper_begin` on this thread, and ended once.
            unsafe { vlhub_ext_paper_end(self.0) }
        }
    }
    // SAFETY: no arguments; the shim lets no exception out.
    let paper = Paper(unsafe { vlhub_ext_paper_begin() });
    if paper.0.is_null() {
        checked(1)?;
    }
    let done = work();
    // SAFETY: a number of this thread, by value.
    Ok((done, unsafe { vlhub_ext_multiplications() }))
}

/// Bytes that the numbers of a tensor take.
pub fn tensor_bytes(tensor: &Tensor) -> usize {
    tensor.numel() * tensor.kind().elt_size_in_bytes()
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
    use tch::{Device, Kind, nn};

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
    fn a_gradient_that_is_given_is_added_to() {
        let param = Tensor::from_slice(&[1.0f32, 2.0]).set_requires_grad(true);
        give_gradient(&param, &Tensor::from_slice(&[0.5f32, 0.25])).expect("it runs");
        (&param * 2.0).sum(Kind::Float).backward();
        assert_eq!(Vec::<f32>::try_from(param.grad()).expect("two numbers"), [2.5, 2.25]);
        assert!(give_gradient(&param, &Tensor::from_slice(&[1.0f32])).is_err(), "another shape");
    }

    #[test]
    fn tf32_changes_nothing_on_a_cpu() {
        let x = Tensor::arange(64 * 64, (Kind::Float, Device::Cpu)).view([64, 64]) / 1000.0;
        let product = x.mm(&x);
        for on in [true, false] {
            tf32(on).expect("it runs");
            let off = ((x.mm(&x) - &product).abs().max() / product.abs().max()).double_value(&[]);
            assert!(off < 1e-6, "TF32 would be 1e-4 off: {off}");
        }
    }

    #[test]
    fn a_serial_thread_is_alone_and_no_other_thread_is() {
        // Whatever machine this runs on, two threads may be asked for.
        let asked_for = || std::thread::spawn(tch::get_num_threads).join().expect("it ends");
        tch::set_num_threads(2);
        let serial = std::thread::spawn(|| {
            serial_thread();
            tch::get_num_threads()
        });
        assert_eq!(serial.join().expect("it ends"), 1);
        assert_eq!((tch::get_num_threads(), asked_for()), (2, 2), "this thread, and one that starts later");
    }

    #[test]
    fn lists_of_different_lengths_are_an_error_and_not_a_crash() {
        let tensor = |n: i64| Tensor::zeros([n], (tch::Kind::Float, tch::Device::Cpu));
        let state = AdamW { params: &[tensor(2)], grads: &[tensor(2)], exp_avg: &[tensor(2)], exp_avg_sq: &[], step: &tensor(1) };
        assert!(fused_adamw(&state, Rates { lr: 0.1, beta1: 0.9, beta2: 0.98, weight_decay: 0.0, eps: 1e-6 }).is_err());
    }

    #[test]
    fn on_paper_a_huge_product_is_a_matter_of_shapes() {
        let work = || {
            let store = nn::VarStore::new(Device::Cpu);
            let weight = store.root().randn("weight", &[1 << 20, 1 << 20], 0.0, 1.0);
            let x = Tensor::zeros([4, 1 << 20], (Kind::Float, Device::Cpu));
            let index = Tensor::from_slice(&[0i64, 2]);
            let y = x.index_select(0, &index).linear::<Tensor>(&weight, None);
            let picture = Tensor::zeros([2, 6, 8, 8], (Kind::Float, y.device()));
            let kernel = Tensor::ones([4, 3, 3, 3], (Kind::Float, Device::Cpu));
            (y.size(), picture.conv2d::<Tensor>(&kernel, None, [1, 1], [1, 1], [1, 1], 2).size())
        };
        let ((product, conv), count) = on_paper(work).expect("runs on paper");
        assert_eq!((product, conv), (vec![2, 1 << 20], vec![2, 4, 8, 8]));
        assert_eq!(count, 2.0 * (1u64 << 40) as f64 + f64::from(2 * 4 * 8 * 8 * 3 * 3 * 3));
        assert_eq!(Tensor::from_slice(&[1.0, 2.0]).sum(Kind::Float).double_value(&[]), 3.0, "numbers are back");
    }

    #[test]
    fn on_paper_shapes_are_those_of_real_tensors() {
        type Operation = fn(&Tensor) -> Tensor;
        let operations: &[(&str, Operation)] = &[
            ("conv2d", |x| x.conv2d(&Tensor::ones([4, 3, 3, 2], (Kind::Float, x.device())), None::<Tensor>, [2, 1], [1, 0], [1, 2], 1)),
            ("layer_norm", |x| x.layer_norm([8i64], None::<Tensor>, None::<Tensor>, 1e-5, false)),
            ("attention", |x| Tensor::scaled_dot_product_attention(x, x, x, None::<Tensor>, 0.0, true, None, false)),
            ("where", |x| x.where_self(&x.gt(0.0), &Tensor::zeros([5, 1, 1, 1], (Kind::Float, x.device())))),
            ("embedding", |x| {
                let ids = Tensor::zeros([2, 5], (Kind::Int64, x.device()));
                Tensor::embedding(&x.view([3, 64]), &ids, -1, false, false)
            }),
            ("roll", |x| x.roll([1, 1], [2, 3])),
            ("bicubic", |x| x.internal_upsample_bicubic2d_aa([16, 16], false, None, None)),
            ("index", |x| x.index(&[None::<Tensor>, Some(Tensor::from_slice(&[0i64]))])),
            ("cat", |x| Tensor::cat(&[x, &Tensor::from_slice(&[0f32]).expand([1, 3, 8, 8], false)], 1)),
        ];
        for (name, operation) in operations {
            let run = || operation(&Tensor::ones([1, 3, 8, 8], (Kind::Float, Device::Cpu))).size();
            let on_paper = on_paper(run).expect("runs on paper").0;
            assert_eq!(on_paper, run(), "{name}");
        }
    }
}
