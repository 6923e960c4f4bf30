//! `tests/golden/augment.json`: operations by torchvision, timm and Pillow.

use sha2::{Digest, Sha256};
use vlhub_sdk::pixels::Interpolation;
use vlhub_sdk::prelude::*;
use vlhub_sdk::serde_json::{self, Value};

use crate::jpeg_compression::through_jpeg;
use crate::rand_augment::{RandAugment, RandAugmentConfig};
use crate::timm_operation::{Manner, TimmOperation};
use crate::toy;

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct Case {
    op: String,
    source: (u32, u32, u32),
    arguments: Vec<Value>,
    size: (u32, u32),
    first: Vec<u8>,
    sha256: String,
}

const FILL: [u8; 3] = [9, 80, 200];

fn interpolation(value: &Value) -> Interpolation {
    serde_json::from_value(value.clone()).expect("an interpolation")
}

fn run(case: &Case) -> RgbImage {
    let image = toy::drawn(case.source.0, case.source.1, case.source.2);
    let arguments = &case.arguments;
    let whole = |at: usize| arguments[at].as_u64().expect("a whole number");
    match case.op.as_str() {
        "jpeg" => through_jpeg(&image, whole(0) as u8).expect("it is written and read"),
        "rand_augment" => {
            let (magnitude, num_magnitude_bins, interpolation) = (whole(0) as u32, whole(1) as u32, interpolation(&arguments[4]));
            let config = RandAugmentConfig { magnitude, num_magnitude_bins, interpolation, fill: FILL, ..RandAugmentConfig::default() };
            RandAugment(config).operation(&image, whole(2), arguments[3].as_f64().expect("a direction"))
        }
        "timm" => {
            let name = arguments[0].as_str().expect("a name");
            let operation = TimmOperation::all().find(|operation| format!("{operation:?}") == name).expect("an operation");
            let (increasing, negative) = (arguments[2] == true, arguments[3] == true);
            let magnitude = arguments[1].as_f64().expect("a level");
            let manner = Manner { magnitude, increasing, interpolation: interpolation(&arguments[4]), fill: FILL };
            operation.apply(&image, manner, &mut Always(negative))
        }
        other => panic!("the golden file has an operation `{other}` that this test does not know"),
    }
}

/// Every chance of 1/2 falls so.
struct Always(bool);

impl RngCore for Always {
    fn next_u32(&mut self) -> u32 {
        if self.0 { 0 } else { u32::MAX }
    }
    fn next_u64(&mut self) -> u64 {
        if self.0 { 0 } else { u64::MAX }
    }
    fn fill_bytes(&mut self, into: &mut [u8]) {
        into.fill(if self.0 { 0 } else { u8::MAX });
    }
}

#[test]
fn operations_equal_torchvisions_timms_and_pillows_to_the_byte() {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/augment.json"));
    let golden: Golden = serde_json::from_str(text).expect("the golden file");
    assert!(golden.cases.len() > 500, "only {} cases: is the golden file whole?", golden.cases.len());
    let mut wrong = Vec::new();
    for case in &golden.cases {
        let out = run(case);
        let digest: String = Sha256::digest(out.as_raw()).iter().map(|byte| format!("{byte:02x}")).collect();
        let first = &out.as_raw()[..case.first.len().min(out.len())];
        if out.dimensions() != case.size || digest != case.sha256 {
            wrong.push(format!("{} {:?} {:?}: starts {first:?}; wanted {:?}", case.op, case.source, case.arguments, case.first));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), golden.cases.len(), wrong.join("\n"));
}
