//! The corpora of the fuzz targets, replayed: what was found once stays mended, without a fuzzer.

use std::path::Path;

#[path = "../fuzz/targets.rs"]
mod targets;

#[test]
fn corpora_are_replayed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut bytes_of_all = 0;
    for (name, target) in targets::TARGETS {
        let inputs: Vec<_> = std::fs::read_dir(folder.join(name)).expect("each target has a corpus").flatten().collect();
        assert!(!inputs.is_empty(), "{name}");
        for input in inputs {
            let bytes = std::fs::read(input.path()).expect("it is there");
            bytes_of_all += bytes.len();
            // What is cut or empty is met as well.
            for length in [bytes.len(), bytes.len() / 2, 0] {
                target(&bytes[..length]);
            }
        }
    }
    assert!(bytes_of_all < 400 << 10, "corpora are small: {bytes_of_all} bytes");
}
