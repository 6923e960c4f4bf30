//! A file that Hugging Face `datasets` wrote, against what `datasets` reads back of it.

use std::path::Path;

use sha2::{Digest, Sha256};
use vlhub_sdk::prelude::*;
use vlhub_sdk::serde_json::Value;
use vlhub_sdk::sources::Files;

use crate::table::ParquetConfig;

#[test]
fn an_export_of_datasets_reads_as_datasets_reads_it() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden"));
    // `tests/golden/tables.py` wrote both and says with which versions.
    let golden: Value = vlhub_sdk::serde_json::from_slice(&std::fs::read(folder.join("tables.json")).expect("it is there")).expect("JSON");
    let rows = golden["parquet"].as_array().expect("a list");
    for caption_key in ["text", "captions"] {
        let config =
            ParquetConfig { path: Files::One("tables.parquet".into()), caption_key: caption_key.into(), ..ParquetConfig::default() };
        let source = config.build(&SourceCx::new(folder)).expect("it is whole");
        assert_eq!((source.len(), rows.len()), (12, 12));
        assert_eq!(source.classes(), ["cat", "dog", "sea horse"]);
        for (index, row) in rows.iter().enumerate() {
            let raw = source.read(index).expect("nothing is required");
            let Some(Picture::Encoded(bytes)) = raw.picture else { panic!("row {index} has a picture") };
            let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(row["image"]["sha256"], digest.as_str(), "row {index}");
            let texts: Vec<&str> = match &row[caption_key] {
                Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
                text => text.as_str().into_iter().collect(),
            };
            assert_eq!(raw.caption.texts, texts, "row {index}");
            // -1 is how `datasets` writes that a label is not known.
            let labels: Vec<i64> = row["label"].as_i64().into_iter().filter(|label| *label >= 0).collect();
            assert_eq!(raw.caption.labels, labels, "row {index}");
            let meta = &raw.caption.meta;
            assert_eq!(
                (meta.get("image").map(String::as_str), meta["count"].clone()),
                (row["image"]["path"].as_str(), row["count"].to_string())
            );
            let score = meta.get("score").map(|score| score.parse::<f32>().expect("a number"));
            assert_eq!(score, row["score"].as_f64().map(|score| score as f32), "row {index}: null is not there");
        }
    }
}
