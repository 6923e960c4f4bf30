//! A workbook that pandas wrote, against what pandas reads back of it.

use std::path::Path;

use vlhub_sdk::prelude::*;
use vlhub_sdk::serde_json::Value;

use crate::xlsx::XlsxConfig;

#[test]
fn a_sheet_of_pandas_reads_as_pandas_reads_it() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden"));
    // `tests/golden/tables.py` wrote both and says with which versions.
    let golden: Value = vlhub_sdk::serde_json::from_slice(&std::fs::read(folder.join("tables.json")).expect("it is there")).expect("JSON");
    let rows = golden["xlsx"].as_array().expect("a list");
    let config = XlsxConfig { path: "tables.xlsx".into(), sheet: "pairs".into(), label_key: "kind".into(), ..XlsxConfig::default() };
    // Pictures are not there; all else is read.
    let wants = Wants { picture: Want::Unread, ..Wants::WHATEVER };
    let source = config.build(&SourceCx { wants, ..SourceCx::new(folder) }).expect("it is whole");
    assert_eq!((source.len(), rows.len(), source.problems().len()), (6, 6, 0));
    assert_eq!(source.classes(), ["dog", "cat"]);
    for (index, row) in rows.iter().enumerate() {
        let raw = source.read(index).expect("nothing is required");
        let plain = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            // A sheet knows no whole numbers; what has no fraction is written as one.
            Value::Number(number) => {
                number.as_f64().filter(|number| number.fract() == 0.0).map_or(number.to_string(), |number| (number as i64).to_string())
            }
            other => other.to_string(),
        };
        assert_eq!(raw.caption.texts.first().cloned().unwrap_or_default(), plain(&row["title"]), "row {index}");
        assert_eq!(source.classes()[raw.caption.labels[0] as usize], plain(&row["kind"]), "row {index}");
        for column in ["filepath", "number", "when", "good"] {
            assert_eq!(raw.caption.meta[column], plain(&row[column]), "row {index}, {column}");
        }
    }
}
