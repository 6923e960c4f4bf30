//! Precision: the arithmetic in which towers compute while training.

use std::os::unix::process::ExitStatusExt;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind};
use vlhub_core::{Encoded, Result};

use super::scaler::LossScaler;
use crate::failure::{Failure, Outcome};

/// `train.precision`, with open_clip's names. Parameters, the gradients that steps are made of, what towers put out, objectives and suites are float in
/// each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Everything in float.
    #[default]
    Fp32,
    /// Everything in float, of which a GPU's products and convolutions read the first 10 bits behind the point (TF32). It is an error on a CPU.
    Tf32,
    /// Products, convolutions and attention of the towers in bfloat16 (libtorch's autocast; on a CPU what follows them too).
    #[serde(alias = "amp_bfloat16")]
    AmpBf16,
    /// The same in float16, with a scaled loss ([`LossScaler`]).
    #[serde(alias = "amp")]
    AmpFp16,
    /// The towers' weights are rounded to bfloat16 for the passes of a step, so that what flows between layers is bfloat16 too; steps are made on float
    /// weights. Norms keep float weights, and so do tables of words and of relative positions on a CPU. Suites
    /// measure the float weights.
    #[serde(alias = "bf16")]
    PureBf16,
}

impl Precision {
    /// The name, as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
            Self::AmpBf16 => "amp_bf16",
            Self::AmpFp16 => "amp_fp16",
            Self::PureBf16 => "pure_bf16",
        }
    }

    /// The kind of number in which towers compute products, where it is not float.
    fn kind(self) -> Option<Kind> {
        match self {
            Self::Fp32 | Self::Tf32 => None,
            Self::AmpBf16 | Self::PureBf16 => Some(Kind::BFloat16),
            Self::AmpFp16 => Some(Kind::Half),
        }
    }

    /// Runs the forward pass of a tower in this precision. Its outputs are float: with a scale of 100, a similarity of bfloat16 features
    /// times bfloat16 features would be off by 0.4.
    ///
    /// # Errors
    /// Whatever the tower refuses.
    pub fn forward(self, device: Device, tower: impl FnOnce() -> Result<Encoded>) -> Result<Encoded> {
        match self.kind() {
            None => tower(),
            Some(kind) => Ok(vlhub_torch_ext::autocast(device, kind, tower)??.map(|output| output.to_kind(Kind::Float))),
        }
    }

    /// The loss scaler, where one is needed: bfloat16 has the range of float.
    pub fn scaler(self) -> Option<LossScaler> {
        (self == Self::AmpFp16).then(LossScaler::default)
    }

    /// Lets float tensors compute as this precision says, for the process.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn take(self) -> Result<()> {
        Ok(vlhub_torch_ext::tf32(self == Self::Tf32)?)
    }

    /// Refuses what the device does not have, and what would end the process: a processor that advertises instructions which the system does not
    /// allow. They are tried in a process of their own.
    ///
    /// # Errors
    /// What is missing, or how that process ended, and what helps.
    pub fn check(self, device: Device) -> Outcome {
        if self == Self::Tf32 && device == Device::Cpu {
            return Err(Failure::usage("train.precision = \"tf32\": the run is on a CPU, and only GPUs have TF32; take fp32, or amp_bf16"));
        }
        let probe = match self.kind() {
            None => return Ok(()),
            Some(Kind::Half) => "internal-probe-fp16",
            Some(_) => "internal-probe-bf16",
        };
        let (Device::Cpu, Ok(program)) = (device, std::env::current_exe()) else { return Ok(()) };
        match std::process::Command::new(program).arg(probe).output() {
            Ok(output) if output.status.signal() == Some(signal_hook::consts::SIGILL) => Err(Failure::usage(format!(
                "train.precision = \"{}\": such a product ends a process on this machine ({}), whose processor advertises \
                 instructions that the system does not allow; set ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 in the environment, or take fp32",
                self.name(),
                output.status
            ))),
            _ => Ok(()),
        }
    }

    /// What a user of this precision should know before a run on this device.
    pub fn warning(self, device: Device) -> Option<String> {
        (self == Self::AmpFp16 && device == Device::Cpu).then(|| {
            "train.precision = \"amp_fp16\" on a CPU: few processors multiply float16, and on the others it is slower than fp32; amp_bf16 is as fast \
             or faster, and needs no scaled loss"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_open_clips() {
        let read = |text: &str| serde_json::from_str::<Precision>(&format!("\"{text}\""));
        for (precision, texts) in [
            (Precision::Fp32, &["fp32"][..]),
            (Precision::Tf32, &["tf32"]),
            (Precision::AmpBf16, &["amp_bf16", "amp_bfloat16"]),
            (Precision::AmpFp16, &["amp_fp16", "amp"]),
            (Precision::PureBf16, &["pure_bf16", "bf16"]),
        ] {
            for text in texts {
                assert_eq!(read(text).expect(text), precision);
            }
            assert_eq!(serde_json::to_string(&precision).expect("text"), format!("\"{}\"", precision.name()));
            assert_eq!(precision.name(), texts[0]);
        }
        assert!(read("pure_fp16").expect_err("weights would underflow").to_string().contains("`amp_fp16`"));
    }

    #[test]
    fn a_cpu_has_no_tf32_and_float_needs_no_scale() {
        let refused = Precision::Tf32.check(Device::Cpu).expect_err("there is none").message;
        assert!(refused.contains("take fp32"), "{refused}");
        assert!(Precision::Fp32.check(Device::Cpu).is_ok() && Precision::Tf32.check(Device::Cuda(0)).is_ok());
        let scaled = [Precision::Fp32, Precision::Tf32, Precision::AmpBf16, Precision::AmpFp16, Precision::PureBf16];
        assert_eq!(scaled.map(|precision| precision.scaler().is_some()), [false, false, false, true, false]);
    }
}
