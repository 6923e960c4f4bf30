//! Mixed precision: the arithmetic in which towers compute while training.

use std::os::unix::process::ExitStatusExt;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind};
use vlhub_core::{Encoded, Result};

use crate::failure::{Failure, Outcome};

/// `train.precision`, with open_clip's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Everything in float.
    #[default]
    Fp32,
    /// Products, convolutions and attention of the towers in bfloat16 (libtorch's autocast; on a CPU what follows them too). Parameters,
    /// their gradients, what the towers put out, objectives and suites stay float.
    #[serde(alias = "amp_bfloat16")]
    AmpBf16,
}

impl Precision {
    /// The name, as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::AmpBf16 => "amp_bf16",
        }
    }

    /// Runs the forward pass of a tower in this precision. Its outputs are float: with a scale of 100, a similarity of bfloat16 features
    /// times bfloat16 features would be off by 0.4.
    ///
    /// # Errors
    /// Whatever the tower refuses.
    pub fn forward(self, device: Device, tower: impl FnOnce() -> Result<Encoded>) -> Result<Encoded> {
        match self {
            Self::Fp32 => tower(),
            Self::AmpBf16 => Ok(vlhub_torch_ext::in_bf16(device, tower)??.map(|output| output.to_kind(Kind::Float))),
        }
    }

    /// Refuses what would end the process: a processor that advertises bfloat16 instructions which the system does not allow. They are
    /// tried in a process of their own.
    ///
    /// # Errors
    /// How that process ended, and what helps.
    pub fn check(self, device: Device) -> Outcome {
        let (Self::AmpBf16, Device::Cpu, Ok(program)) = (self, device, std::env::current_exe()) else { return Ok(()) };
        match std::process::Command::new(program).arg("internal-probe-bf16").output() {
            Ok(output) if output.status.signal() == Some(signal_hook::consts::SIGILL) => Err(Failure::usage(format!(
                "train.precision = \"amp_bf16\": a product in bfloat16 ends a process on this machine ({}), whose processor advertises \
                 instructions that the system does not allow; set ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 in the environment, or take fp32",
                output.status
            ))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_open_clips() {
        let read = |text: &str| serde_json::from_str::<Precision>(text);
        for (text, precision) in
            [("\"fp32\"", Precision::Fp32), ("\"amp_bf16\"", Precision::AmpBf16), ("\"amp_bfloat16\"", Precision::AmpBf16)]
        {
            assert_eq!(read(text).expect(text), precision);
        }
        assert_eq!(serde_json::to_string(&Precision::AmpBf16).expect("text"), format!("\"{}\"", Precision::AmpBf16.name()));
        assert!(read("\"amp\"").expect_err("it would need a scaled loss").to_string().contains("`amp_bf16`"));
    }
}
