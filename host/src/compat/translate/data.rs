//! `[data.train]`, and the pairs of `--val-data`.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Purpose, Translator};

/// Name of the suite that `--val-data` makes.
pub(super) const VALIDATION: &str = "eval.val";

impl Translator<'_> {
    /// What is trained on.
    pub(super) fn data(&mut self) {
        let given = self.request.given;
        let schema = given.text("schema").map(str::to_owned);
        if let (Some(_), Some(_)) = (&schema, given.text("train-data")) {
            return self.problem("schema", "names the data, and so does `--train-data`; leave one of them out");
        }
        let synthetic = given.text("dataset-type") == Some("synthetic");
        let (flag, source) = if let Some(schema) = schema {
            ("schema", Some(Map::from_iter([("use".to_owned(), json!("mix")), ("schema".to_owned(), self.path(&schema).into())])))
        } else if let Some(path) = given.text("train-data").map(str::to_owned) {
            ("train-data", self.source("train-data", &path))
        } else if synthetic {
            ("dataset-type", self.source("dataset-type", ""))
        } else {
            self.without_data();
            return;
        };
        let Some(mut source) = source else { return };
        if let Some(factors) = given.text("train-data-upsampling-factors") {
            match factors.split("::").map(str::parse::<f64>).collect::<Result<Vec<_>, _>>() {
                Ok(factors) => drop(source.insert("upsampling".into(), json!(factors))),
                Err(_) => self.problem("train-data-upsampling-factors", format!("are numbers joined by `::`, not `{factors}`")),
            }
        }
        self.samples(source.get("use").and_then(Value::as_str));
        self.document.says("data.train", &format!("--{flag}"));
        for (key, value) in source {
            let flag = FLAG_OF.iter().find(|(option, known)| *option == key && given.get(known).is_some()).map_or(flag, |(_, flag)| flag);
            self.set(&format!("data.train.{key}"), value, flag);
        }
    }

    /// Options of the data that has no flag of its own: of a run file below.
    fn without_data(&mut self) {
        let given = self.request.given;
        for (option, flag) in FLAG_OF {
            let Some(text) = given.text(flag).map(str::to_owned) else { continue };
            if self.request.below.is_some() && !["use", "max_classes", "max_samples_per_class", "upsampling"].contains(&option) {
                let value = if flag == "csv-separator" { separator(&text) } else { text };
                self.set(&format!("data.train.{option}"), value, flag);
            } else if self.request.purpose == Purpose::Train {
                self.problem(flag, "says how data is read, and no data is named; add `--train-data`");
            }
        }
        let of_file = self.text_of_file("data.train.use").map(str::to_owned);
        self.samples(of_file.as_deref());
    }

    /// Samples of an epoch of data of a kind. Tables say themselves how many rows they have; open_clip does not look at the flag for them.
    fn samples(&mut self, kind: Option<&str>) {
        let Some(samples) = self.request.given.whole("train-num-samples") else { return };
        match kind {
            Some("shapes") => self.set("data.train.samples", samples, "train-num-samples"),
            Some("csv" | "xlsx" | "parquet" | "imagefolder") => {
                self.notes.push("`--train-num-samples` has no effect: an epoch is every row of the table, as in open_clip".into());
            }
            _ => self.set("train.samples", samples, "train-num-samples"),
        }
    }

    /// The table of a source.
    pub(super) fn source(&mut self, flag: &str, path: &str) -> Option<Map<String, Value>> {
        let given = self.request.given;
        let kind = given.text("dataset-type").unwrap_or("auto");
        let kind = match kind {
            "auto" => match by_name(path) {
                Some(kind) => kind,
                None => {
                    self.problem(
                        flag,
                        format!("`{path}`: its name does not tell what it is; say `--dataset-type webdataset`, `csv` or `imagefolder`"),
                    );
                    return None;
                }
            },
            "webdataset-audio" | "synthetic-audio" => {
                self.problem("dataset-type", "VL Hub reads pictures and texts, no sounds");
                return None;
            }
            "synthetic" => "shapes",
            named => named,
        };
        let mut table = Map::from_iter([("use".to_owned(), Value::from(kind))]);
        let place = self.path(path);
        match kind {
            "webdataset" => {
                table.insert("shards".into(), place.into());
                for (option, flag) in [("image_key", "image-key"), ("text_key", "text-key"), ("json_text_key", "json-text-key")] {
                    let Some(text) = given.text(flag) else { continue };
                    if text.contains(';') && option != "image_key" {
                        self.problem(flag, format!("`{text}`: one is read, not several"));
                    }
                    table.insert(option.into(), text.into());
                }
            }
            "csv" | "xlsx" | "parquet" => self.table(kind, place, &mut table),
            "imagefolder" => {
                table.insert("path".into(), place.into());
                if flag == "train-data" {
                    self.size_controlled(&mut table);
                }
            }
            _ => {}
        }
        Some(table)
    }

    /// Columns of a table. The defaults of open_clip's separator and columns hold for tables of text.
    fn table(&mut self, kind: &str, place: String, table: &mut Map<String, Value>) {
        let given = self.request.given;
        let comma = plain(&place).ends_with(".csv");
        table.insert("path".into(), place.into());
        if let Some(key) = given.text("csv-img-key") {
            table.insert("img_key".into(), key.into());
        }
        if kind == "csv" && (comma || given.get("csv-separator").is_some()) {
            table.insert("separator".into(), separator(given.text("csv-separator").unwrap_or("\t")).into());
        }
        let Some(key) = given.text("csv-caption-key") else { return };
        let column = ["taxon!", "preproc!"].iter().find_map(|start| key.strip_prefix(start));
        // Labels that a filter finds are found in captions.
        let of_labels = given.on("integer-labels") && given.text("ds-filter").is_none_or(str::is_empty);
        if column.is_some() || of_labels {
            table.insert("caption_key".into(), "".into());
            table.insert("label_key".into(), column.unwrap_or(key).into());
        } else {
            table.insert("caption_key".into(), key.into());
        }
    }

    /// `--size-controlled "K, N"`: K pictures of N classes.
    fn size_controlled(&mut self, table: &mut Map<String, Value>) {
        let Some(text) = self.request.given.text("size-controlled").filter(|text| !text.is_empty()) else { return };
        let numbers: Result<Vec<u64>, _> = text.split(',').map(|part| part.trim().parse()).collect();
        match numbers.as_deref() {
            Ok([samples, classes]) if *samples > 0 && *classes > 0 => {
                table.insert("max_classes".into(), (*classes).into());
                table.insert("max_samples_per_class".into(), samples.div_ceil(*classes).into());
            }
            _ => self.problem("size-controlled", format!("is two whole numbers, samples and classes: `\"100000, 100\"`, not `{text}`")),
        }
    }
}

/// Options of a source, and the flags that set them.
const FLAG_OF: [(&str, &str); 11] = [
    ("use", "dataset-type"),
    ("separator", "csv-separator"),
    ("img_key", "csv-img-key"),
    ("caption_key", "csv-caption-key"),
    ("label_key", "csv-caption-key"),
    ("image_key", "image-key"),
    ("text_key", "text-key"),
    ("json_text_key", "json-text-key"),
    ("max_classes", "size-controlled"),
    ("max_samples_per_class", "size-controlled"),
    ("upsampling", "train-data-upsampling-factors"),
];

/// A tab is typed as `\t` in a shell, and pandas takes that for one.
fn separator(text: &str) -> String {
    if text == "\\t" { "\t".into() } else { text.into() }
}

/// A path without what says that it is compressed.
fn plain(path: &str) -> &str {
    path.strip_suffix(".gz").or_else(|| path.strip_suffix(".zst")).unwrap_or(path)
}

/// The kind of data that a path's name tells, as `--dataset-type auto` does; folders, Parquet and workbooks besides.
fn by_name(path: &str) -> Option<&'static str> {
    let last = path.rsplit("::").next().unwrap_or(path);
    let plain = plain(last);
    let ends = [(".csv", "csv"), (".tsv", "csv"), (".tar", "webdataset"), (".parquet", "parquet"), (".xlsx", "xlsx")];
    let known = ends.iter().find(|(end, _)| plain.ends_with(end)).map(|(_, kind)| *kind);
    known.or_else(|| Path::new(last).is_dir().then_some("imagefolder"))
}
