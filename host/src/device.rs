//! Where tensors live: what `device = "…"` of a run file stands for on this machine.

use tch::Device;
use vlhub_torch_ext::Products;

use crate::failure::{Failure, Outcome};

/// Version of libtorch that this release is built for.
pub const TORCH: &str = "2.11.0";

/// What `auto`, `cpu`, `cuda` or `cuda:N` asks for: nothing in particular, the CPU, or a GPU.
///
/// # Errors
/// Another text.
pub fn parse(name: &str) -> Outcome<Option<Device>> {
    match name {
        "auto" => return Ok(None),
        "cpu" => return Ok(Some(Device::Cpu)),
        _ => {}
    }
    let index = match name.strip_prefix("cuda") {
        Some("") => Some(0),
        Some(rest) => rest.strip_prefix(':').and_then(|number| number.parse().ok()),
        None => None,
    };
    index
        .map(|index| Some(Device::Cuda(index)))
        .ok_or_else(|| Failure::usage(format!("device `{name}` is unknown; known: auto cpu cuda cuda:N")))
}

/// The device that a name stands for on this machine.
///
/// # Errors
/// CUDA was asked for and is not there: never a silent CPU.
pub fn device(name: &str) -> Outcome<Device> {
    let wanted = parse(name)?;
    if wanted == Some(Device::Cpu) {
        return Ok(Device::Cpu);
    }
    crate::libraries::open_cuda();
    // Unasked, libtorch lets a GPU's convolutions compute in TF32.
    vlhub_torch_ext::tf32(false).map_err(vlhub_core::Error::from)?;
    let count = if tch::Cuda::is_available() { tch::Cuda::device_count() } else { 0 };
    match wanted {
        None => Ok(if count > 0 { Device::Cuda(0) } else { Device::Cpu }),
        Some(Device::Cuda(index)) if (index as i64) < count => Ok(Device::Cuda(index)),
        _ if count == 0 => Err(Failure::usage(format!(
            "device `{name}`: this libtorch finds no GPU; `cargo vlhub doctor` says why, `cargo vlhub setup --cuda` installs a libtorch with CUDA"
        ))),
        _ => Err(Failure::usage(format!("device `{name}`: there are {count} GPUs, numbered from 0"))),
    }
}

/// Variable of the environment that names the library of float products on the CPU.
pub const PRODUCTS: &str = "VLHUB_PRODUCTS";

/// Chooses whose code multiplies float matrices on the CPU, for this process: `mkl` or `onednn` where [`PRODUCTS`] says so, otherwise what is faster
/// on this processor.
///
/// # Errors
/// Another name, or a libtorch that was built without oneDNN.
pub fn choose_products() -> Outcome {
    let named = std::env::var(PRODUCTS).unwrap_or_default();
    let products = match named.as_str() {
        "" => Products::of_this_machine(),
        "mkl" => Products::Mkl,
        "onednn" => Products::OneDnn,
        _ => return Err(Failure::usage(format!("{PRODUCTS}={named} is unknown; known: mkl onednn"))),
    };
    products.take().map_err(|error| Failure::usage(format!("{PRODUCTS}={}: {error}", products.name())))
}

/// A device, and what decides there how sums round: `Cpu, 2 threads, onednn`.
pub fn in_words(device: Device) -> String {
    let threads = tch::get_num_threads();
    if device == Device::Cpu {
        format!("{device:?}, {threads} threads, {}", Products::now().name())
    } else {
        format!("{device:?}, {threads} threads")
    }
}
