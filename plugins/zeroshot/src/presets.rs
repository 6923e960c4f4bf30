//! Suites that are named like published data sets: the suite `zeroshot` with their data, class names and templates.

use vlhub_sdk::captions::Templates;
use vlhub_sdk::prelude::*;
use vlhub_sdk::serde_json::json;

use crate::suite::ZeroshotConfig;

/// `zeroshot` on the data of the source `name`, with the templates that it brings.
fn on(name: &str) -> ZeroshotConfig {
    ZeroshotConfig { data: json!({ "use": name }), templates: Templates::Set("data".into()), ..ZeroshotConfig::default() }
}

macro_rules! presets {
    ($($name:literal)*) => { $(register!(dyn EvalSuite, $name, ZeroshotConfig, || on($name));)* };
}

presets! {
    "imagenet" "imagenet_v2" "imagenet_a" "imagenet_r" "imagenet_sketch" "imagenet_real" "imagenet_c" "imagenet_stylized" "objectnet"
    "food101" "fgvc_aircraft" "stanford_cars" "flowers102"
    "inat2017" "inat2018" "inat2021" "birds525" "insecta" "fungi" "insects2" "arboretum" "bioclip_rare"
}

// Its classes differ much in size.
register!(dyn EvalSuite, "openimages", ZeroshotConfig, || ZeroshotConfig { balanced: true, ..on("openimages") });
// Each picture is judged between the two species of its pair.
register!(dyn EvalSuite, "confounding", ZeroshotConfig, || ZeroshotConfig { candidates: "class_options".into(), ..on("confounding") });
