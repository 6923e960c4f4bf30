//! Copies to a GPU beside what it computes.

use std::ffi::{c_int, c_void};

use tch::{Device, TchError, Tensor};
use torch_sys::C_tensor;

use crate::checked;

unsafe extern "C" {
    fn vlhub_ext_pinned(tensor: *const C_tensor, copy: *mut *mut C_tensor) -> c_int;
    fn vlhub_ext_transfer_begin(index: c_int) -> *mut c_void;
    fn vlhub_ext_transfer_send(transfer: *mut c_void, tensor: *const C_tensor, copy: *mut *mut C_tensor) -> c_int;
    fn vlhub_ext_transfer_arrive(transfer: *mut c_void) -> c_int;
    fn vlhub_ext_transfer_end(transfer: *mut c_void);
}

/// A copy of a tensor on the CPU in pinned memory, which a GPU reads by itself. Any thread may make one.
///
/// # Errors
/// libtorch's own, as where there is no GPU, or no more memory may be pinned.
pub fn pinned(tensor: &Tensor) -> Result<Tensor, TchError> {
    let mut copy: *mut C_tensor = std::ptr::null_mut();
    // SAFETY: a live tensor, borrowed for the call, and a place for the address of another; the shim lets no exception out.
    checked(unsafe { vlhub_ext_pinned(tensor.as_ptr().cast(), &mut copy) })?;
    // SAFETY: the shim made this tensor, and nobody else has it.
    Ok(unsafe { Tensor::from_ptr(copy.cast()) })
}

/// A second stream of a GPU, on which tensors are copied there while it computes. On the CPU nothing is copied.
#[derive(Debug)]
pub struct TransferStream {
    device: Device,
    /// Null but for a GPU.
    transfer: *mut c_void,
}

impl TransferStream {
    /// For copies to a device.
    ///
    /// # Errors
    /// libtorch's own, as where there is no such GPU.
    pub fn new(device: Device) -> Result<Self, TchError> {
        let Device::Cuda(index) = device else { return Ok(Self { device, transfer: std::ptr::null_mut() }) };
        // SAFETY: a number by value; the shim lets no exception out.
        let transfer = unsafe { vlhub_ext_transfer_begin(index as c_int) };
        checked(c_int::from(transfer.is_null()))?;
        Ok(Self { device, transfer })
    }

    /// Begins to copy a tensor, and does not wait for the copy where the tensor is [`pinned`]. The copy may be read after
    /// [`TransferStream::arrive`] alone. The tensor may be dropped at once, and must not be changed before the copy has been read.
    ///
    /// # Errors
    /// libtorch's own, as when the GPU is full.
    pub fn send(&self, tensor: &Tensor) -> Result<Tensor, TchError> {
        if self.transfer.is_null() {
            return tensor.f_to_device(self.device);
        }
        let mut copy: *mut C_tensor = std::ptr::null_mut();
        // SAFETY: made by `vlhub_ext_transfer_begin` and not ended yet; a live tensor, borrowed for the call, and a place for the address of
        // another; the shim lets no exception out.
        checked(unsafe { vlhub_ext_transfer_send(self.transfer, tensor.as_ptr().cast(), &mut copy) })?;
        // SAFETY: the shim made this tensor, and nobody else has it.
        Ok(unsafe { Tensor::from_ptr(copy.cast()) })
    }

    /// Lets what this thread asks of the GPU from now on wait there for all that was sent. This thread itself does not wait.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn arrive(&self) -> Result<(), TchError> {
        if self.transfer.is_null() {
            return Ok(());
        }
        // SAFETY: made by `vlhub_ext_transfer_begin` and not ended yet; the shim lets no exception out.
        checked(unsafe { vlhub_ext_transfer_arrive(self.transfer) })
    }
}

impl Drop for TransferStream {
    fn drop(&mut self) {
        // SAFETY: made by `vlhub_ext_transfer_begin`, and ended once; null is nothing to end.
        unsafe { vlhub_ext_transfer_end(self.transfer) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_the_cpu_tensors_pass_through() {
        let transfer = TransferStream::new(Device::Cpu).expect("there is a CPU");
        transfer.arrive().expect("nothing was sent");
        let tensor = Tensor::from_slice(&[1i64, 2, 3]);
        let sent = transfer.send(&tensor).expect("it is there");
        transfer.arrive().expect("it is there");
        assert_eq!((sent.data_ptr(), &sent), (tensor.data_ptr(), &tensor));
    }

    #[test]
    fn a_gpu_that_is_not_there_is_an_error_and_not_a_crash() {
        assert!(TransferStream::new(Device::Cuda(127)).is_err());
    }

    #[test]
    fn pinned_memory_holds_the_same_numbers_or_is_refused() {
        let tensor = Tensor::from_slice(&[1i64, 2, 3]);
        match pinned(&tensor) {
            Ok(copy) => assert_eq!(copy, tensor),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}
