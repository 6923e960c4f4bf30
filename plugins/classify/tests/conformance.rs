//! The laws for `classify` in several settings: its own defaults lack the number of classes, so they cannot be built.

use vlhub_plugin_classify::{ClassifyConfig, Criterion, Several};
use vlhub_sdk::Objective;

/// The toy data has three classes.
fn three() -> ClassifyConfig {
    ClassifyConfig { classes: 3, ..Default::default() }
}

fn summed() -> ClassifyConfig {
    ClassifyConfig { several: Several::Sum, label_smoothing: 0.1, ..three() }
}

fn each() -> ClassifyConfig {
    ClassifyConfig { several: Several::Each, mixup: 0.8, ..three() }
}

fn binary() -> ClassifyConfig {
    ClassifyConfig { loss: Criterion::Bce, ..three() }
}

fn mixed() -> ClassifyConfig {
    ClassifyConfig { mixup: 0.8, cutmix: 1.0, label_smoothing: 0.1, ..three() }
}

fn mixed_binary() -> ClassifyConfig {
    ClassifyConfig { cutmix: 1.0, sum_classes: true, target_threshold: Some(0.2), ..binary() }
}

vlhub_sdk::register!(dyn Objective, "classify_three", ClassifyConfig, three);
vlhub_sdk::register!(dyn Objective, "classify_summed", ClassifyConfig, summed);
vlhub_sdk::register!(dyn Objective, "classify_each", ClassifyConfig, each);
vlhub_sdk::register!(dyn Objective, "classify_binary", ClassifyConfig, binary);
vlhub_sdk::register!(dyn Objective, "classify_mixed", ClassifyConfig, mixed);
vlhub_sdk::register!(dyn Objective, "classify_mixed_binary", ClassifyConfig, mixed_binary);

vlhub_sdk::conformance!(except: [
    "objective::classify::builds_twice" = "`classes` has no default; `classify_three` and the others have it",
    "objective::classify::needs" = "`classes` has no default; `classify_three` and the others have it",
    "objective::classify::finite" = "`classes` has no default; `classify_three` and the others have it",
    "objective::classify::gradients" = "`classes` has no default; `classify_three` and the others have it",
    "objective::classify::partition" = "`classes` has no default; `classify_three` and the others have it",
    "objective::classify::permutation" = "`classes` has no default; `classify_three` and the others have it",
    "objective::classify::aligned" = "`classes` has no default; `classify_three` and the others have it",
    "objective::classify::cached_step" = "`classes` has no default; `classify_three` and the others have it",
    "objective::classify::learns" = "`classes` has no default; `classify_three` and the others have it",
]);
