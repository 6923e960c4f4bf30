//! Small networks of each family against timm's, from the files that `tests/golden/timm_vit.py` and `timm_beit.py` wrote.

use vlhub_sdk::testkit::golden::check;

const EMBED: i64 = 8;

#[test]
fn vision_transformers_equal_timms() {
    if let Err(wrong) = check(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/timm_vit.json"), EMBED) {
        panic!("{wrong}");
    }
}

#[test]
fn beit_equals_timms() {
    if let Err(wrong) = check(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/timm_beit.json"), EMBED) {
        panic!("{wrong}");
    }
}
