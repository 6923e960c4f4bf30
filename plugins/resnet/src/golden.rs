//! Every family against open_clip and timm, from the files beside `tests/golden/known.py`.

use vlhub_sdk::testkit::golden;

/// Width of the joint space in the golden files.
const EMBED: i64 = 24;

fn check(file: &str) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
    if let Err(why) = golden::check(format!("{folder}/{file}.json"), EMBED) {
        panic!("{why}");
    }
}

#[test]
fn the_resnet_of_clip_equals_open_clips() {
    check("modified_resnet");
}

#[test]
fn resnets_equal_timms() {
    check("timm_resnet");
}

#[test]
fn resnets_of_the_second_version_equal_timms() {
    check("timm_resnetv2");
}

#[test]
fn regnets_with_and_without_norm_equal_timms() {
    check("timm_regnet");
}
