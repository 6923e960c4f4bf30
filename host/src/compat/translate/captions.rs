//! `[view.text.main]`: what becomes of captions.

use std::path::Path;

use serde_json::{Value, json};

use super::{Translator, classes};

/// Transforms without options, and their flags, in the order in which VL Hub applies them behind those that find classes.
const PLAIN: [(&str, &str); 3] = [("csv-scrambled", "scramble_words"), ("token-scrambled", "scramble_tokens"), ("token-reduce", "reduce")];

/// Where they stand in a run file.
const TRANSFORM: &str = "view.text.main.transform";

impl Translator<'_> {
    /// The transforms of captions: labels first, then words, then tokens.
    pub(super) fn captions(&mut self) {
        let given = self.request.given;
        let filter = given.text("ds-filter").filter(|name| !name.is_empty()).map(str::to_owned);
        let list = match filter.as_deref().map(classes::list).transpose() {
            Ok(list) => list.map(|list| if list.contains(['/', '.']) || Path::new(&list).is_file() { self.path(&list) } else { list }),
            Err(message) => return self.problem("ds-filter", message),
        };
        if list.is_none() && given.on("strict") {
            self.problem("strict", "says how the classes of `--ds-filter` are matched; add it");
        }
        let classes = list.clone().unwrap_or_else(|| "imagenet".into());
        let mut steps: Vec<(&str, Value)> = Vec::new();
        let mut step = |flag: &'static str, value: Value| steps.push((flag, value));
        if let Some(list) = &list {
            let mode = [("strict", "strict"), ("multiclass", "multi")].iter().find(|(flag, _)| given.on(flag)).map(|(_, mode)| *mode);
            step("ds-filter", json!({"use": "match_labels", "classes": list, "mode": mode.unwrap_or("single")}));
        }
        // VL Hub trains on the cleaned captions of what it matches.
        if given.on("csv-cleaned") || list.is_some() && !self.is_textless() {
            step(if given.on("csv-cleaned") { "csv-cleaned" } else { "ds-filter" }, json!("clean"));
        }
        if given.on("simplecaptions") {
            step("simplecaptions", json!({"use": "simple", "classes": classes}));
        }
        if given.on("ds-cipher") {
            step("ds-cipher", json!({"use": "ds_cipher", "classes": classes}));
        }
        if let Some(path) = given.text("metacaptions").filter(|path| !path.is_empty()) {
            step("metacaptions", json!({"use": "metacaptions", "path": self.path(path)}));
        }
        if let Some(shift) = given.whole("shift-cipher") {
            step("shift-cipher", json!({"use": "shift_cipher", "k": shift}));
        }
        for (flag, name) in PLAIN.iter().filter(|(flag, _)| given.on(flag)) {
            step(flag, json!(name));
        }
        if given.on("token-strip") {
            step("token-strip", json!({"use": "strip", "classes": classes}));
        }
        if let Some(tokens) = given.whole("token-trunc") {
            step("token-trunc", json!({"use": "truncate", "tokens": tokens}));
        }
        self.set_list(TRANSFORM, steps);
        if let Some(flag) = ["strict", "multiclass"].into_iter().find(|flag| list.is_some() && given.on(flag)) {
            self.document.says(&format!("{TRANSFORM}.0.mode"), &format!("--{flag}"));
        }
    }
}
