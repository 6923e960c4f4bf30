//! Whose code multiplies float matrices on the CPU.

use std::ffi::c_int;

use tch::TchError;

use crate::checked;

unsafe extern "C" {
    fn vlhub_ext_products(onednn: c_int) -> c_int;
    fn vlhub_ext_uses_onednn() -> c_int;
    fn vlhub_ext_prefers_onednn() -> c_int;
}

/// A library that libtorch comes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// What libtorch takes by itself: Intel's MKL, on x86-64.
    Mkl,
    /// oneDNN, for products `A · B` (with a bias, or none) of at least 2^22 multiplications whose `A` lies row by row; others stay with
    /// MKL. The gradient of a weight is one of those.
    OneDnn,
}

impl Products {
    /// The faster one on this processor: MKL, but for AMD's with AVX-512. It is told by the processor's name and not by a measurement, so that
    /// two runs on one machine round alike.
    pub fn of_this_machine() -> Self {
        // SAFETY: no arguments; it asks the processor.
        if unsafe { vlhub_ext_prefers_onednn() } == 0 { Self::Mkl } else { Self::OneDnn }
    }

    /// What computes them now.
    pub fn now() -> Self {
        // SAFETY: no arguments; it reads a flag.
        if unsafe { vlhub_ext_uses_onednn() } == 0 { Self::Mkl } else { Self::OneDnn }
    }

    /// The name, as in a checkpoint.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mkl => "mkl",
            Self::OneDnn => "onednn",
        }
    }

    /// Lets it compute all products of this process from now on.
    ///
    /// # Errors
    /// A libtorch that was built without it.
    pub fn take(self) -> Result<(), TchError> {
        // SAFETY: a flag by value; the shim lets no exception out.
        checked(unsafe { vlhub_ext_products(c_int::from(self == Self::OneDnn)) })
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    fn apart(left: &Tensor, right: &Tensor) -> f64 {
        ((left - right).abs().max() / right.abs().max()).double_value(&[])
    }

    #[test]
    fn outputs_and_gradients_are_the_same_whoever_multiplies() {
        let random = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu));
        let (x, weight, bias) = (random(&[7, 31, 130]), random(&[190, 130]), random(&[190]));
        let strided = random(&[217, 260]).slice(1, 0, None, 2);
        let run = || {
            let [x, weight, bias] = [&x, &weight, &bias].map(|tensor| tensor.detach().set_requires_grad(true));
            let y = x.linear(&weight, Some(&bias)).tanh();
            (y.square().mean(Kind::Float) + x.linear::<Tensor>(&weight, None).mean(Kind::Float)).backward();
            let double = x.to_kind(Kind::Double).linear::<Tensor>(&weight.to_kind(Kind::Double), None).to_kind(Kind::Float);
            [y, x.grad(), weight.grad(), bias.grad(), strided.mm(&weight.tr()), double, weight.mm(&weight.tr())]
                .map(|tensor| tensor.detach())
        };
        Products::Mkl.take().expect("it is there");
        let wanted = run();
        if let Err(error) = Products::OneDnn.take() {
            assert!(Products::of_this_machine() == Products::Mkl, "{error}");
            return;
        }
        let ours = run();
        Products::Mkl.take().expect("it is there");
        for (place, (ours, wanted)) in ours.iter().zip(&wanted).enumerate() {
            assert_eq!(ours.size(), wanted.size(), "{place}");
            assert!(apart(ours, wanted) < 1e-5, "{place}: {}", apart(ours, wanted));
        }
    }
}
