//! What a table knows of a class, appended to its captions.

use std::collections::HashMap;
use std::path::Path;

use vlhub_sdk::prelude::*;

use crate::map_texts;

/// Appends attributes of a sample's classes, from a CSV file, to its captions (VL Hub's `--metacaptions`).
///
/// The classes are the sample's labels: the data's, or those that `match_labels` before it made. Each attribute that the caption does not have
/// yet is appended after a space. VL Hub looks a label up as a part of the text of its row's, so that class 0 finds the row of 400.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct MetacaptionsConfig {
    /// The CSV file, with a header; nothing is appended without one.
    pub path: String,
    /// Column of the labels that a row is about: a number, or several, separated by commas. The first row of a label counts.
    pub label_column: String,
    /// Columns of attributes, of which a cell may have several, separated by commas; in the order in which they are appended.
    pub columns: Vec<String>,
}

impl Default for MetacaptionsConfig {
    fn default() -> Self {
        let columns = ["functional_classname", "subclass", "relations_locations", "relations_objects", "relations_events"];
        Self { path: String::new(), label_column: "idx".into(), columns: columns.map(String::from).to_vec() }
    }
}

impl Config<dyn CaptionTransform> for MetacaptionsConfig {
    fn build(&self, cx: &CaptionCx<'_>) -> Result<Box<dyn CaptionTransform>> {
        let attributes = if self.path.is_empty() { HashMap::new() } else { self.read(&cx.folder.join(&self.path))? };
        Ok(Box::new(Metacaptions(attributes)))
    }
}

impl MetacaptionsConfig {
    fn read(&self, path: &Path) -> Result<HashMap<i64, Vec<String>>> {
        let broken = |detail: String| Error::Options(format!("`path`: {}{detail}", path.display()));
        let mut table = csv::Reader::from_path(path).map_err(|error| broken(format!(" cannot be read: {error}")))?;
        let header = table.headers().map_err(|error| broken(format!(": {error}")))?.clone();
        let place = |column: &String| {
            header.iter().position(|name| name.trim() == column).ok_or_else(|| {
                let known: Vec<&str> = header.iter().collect();
                broken(format!(" has no column `{column}`; it has: {}", known.join(", ")))
            })
        };
        let (label, columns) = (place(&self.label_column)?, self.columns.iter().map(place).collect::<Result<Vec<_>>>()?);
        let mut attributes = HashMap::new();
        for row in table.records() {
            let row = row.map_err(|error| broken(format!(": {error}")))?;
            let line = row.position().map_or(0, csv::Position::line);
            let parts = |column: usize| {
                let cell = row.get(column).unwrap_or_default();
                cell.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty())
            };
            let own: Vec<String> = columns.iter().flat_map(|&column| parts(column)).collect();
            for number in parts(label) {
                let number = number.parse().map_err(|_| broken(format!(":{line}: `{number}` is no label; labels are numbers from 0")))?;
                attributes.entry(number).or_insert_with(|| own.clone());
            }
        }
        Ok(attributes)
    }
}

/// The attributes of each class that has any.
#[derive(Debug)]
struct Metacaptions(HashMap<i64, Vec<String>>);

impl CaptionTransform for Metacaptions {
    fn apply(&self, caption: Caption, _rng: &mut dyn RngCore) -> Result<Option<Caption>> {
        let own: Vec<&String> = caption.labels.iter().filter_map(|label| self.0.get(label)).flatten().collect();
        Ok(map_texts(caption, |mut text| {
            // Attributes alone are no caption.
            if !text.trim().is_empty() {
                for attribute in &own {
                    if !text.contains(attribute.as_str()) {
                        text.push(' ');
                        text.push_str(attribute);
                    }
                }
            }
            text
        }))
    }

    fn reads(&self) -> Wants {
        Wants { label: Want::Optional, ..Wants::NOTHING }
    }
}

register!(dyn CaptionTransform, "metacaptions", MetacaptionsConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::random::SplitMix64;

    use super::*;

    /// Rows as in VL Hub's `in1k_metadata.csv`.
    const TABLE: &str = "functional_classname,in1k_classnames,idx,subclass,relations_locations,relations_objects,relations_events\n\
        formal robe,\"judge's robe, academic gown\",400,clothing,\"courtroom, school\",\"gavel, book, wig, cap\",\"trial, graduation\"\n\
        apron,,411,clothing,kitchen,food,\n\
        car,,\"568, 4\",,street,,\n\
        late,,4,,nowhere,,\n";

    fn folder() -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("vlhub-metacaptions-{}-{:?}", std::process::id(), std::thread::current().id()));
        std::fs::create_dir_all(&folder).expect("made");
        std::fs::write(folder.join("table.csv"), TABLE).expect("written");
        folder
    }

    #[test]
    fn attributes_of_the_labels_are_appended() {
        let folder = folder();
        let config = MetacaptionsConfig { path: "table.csv".into(), ..MetacaptionsConfig::default() };
        let built = config.build(&CaptionCx::new(&folder)).expect("it builds");
        let caption = |labels: &[i64], text: &str| Caption { texts: vec![text.into()], labels: labels.to_vec(), ..Caption::default() };
        for (labels, text, expected, why) in [
            (&[411][..], "an apron", "an apron clothing kitchen food", "what it says already is not said again"),
            (&[400], "a gown at school", "a gown at school formal robe clothing courtroom gavel book wig cap trial graduation", "lists"),
            (&[0], "a tench", "a tench", "0 is a part of 400, and no row's"),
            (&[568], "x", "x car street", "the first of two labels"),
            (&[4], "x", "x car street", "the second; the first row of a label counts"),
            (&[411, 4], "x", "x apron clothing kitchen food car street", "one label after another"),
            (&[], "x", "x", "no label"),
        ] {
            let changed = built.apply(caption(labels, text), &mut SplitMix64(0)).expect("it cannot fail").expect("it stays");
            assert_eq!((changed.texts.concat().as_str(), changed.labels.as_slice()), (expected, labels), "{why}");
        }
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_table_that_cannot_be_read_is_refused_by_its_place() {
        let folder = folder();
        std::fs::write(folder.join("words.csv"), "idx,subclass\n1,a\ndog,b\n").expect("written");
        let config = |path: &str, columns: &[&str]| MetacaptionsConfig {
            path: path.into(),
            columns: columns.iter().map(|&column| column.into()).collect(),
            ..MetacaptionsConfig::default()
        };
        for (path, columns, wanted) in [
            ("none.csv", &["subclass"][..], "none.csv cannot be read"),
            ("table.csv", &["colour"], "has no column `colour`; it has: functional_classname"),
            ("words.csv", &["subclass"], "words.csv:3: `dog` is no label"),
        ] {
            let error = config(path, columns).build(&CaptionCx::new(&folder)).expect_err(wanted).to_string();
            assert!(error.contains(wanted), "{error}");
        }
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
