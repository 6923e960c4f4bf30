//! The header line of a table: which columns are read.

use std::path::Path;

use vlhub_core::{Bad, Error, Result, Want, Wants, suggest};

use super::CsvConfig;

/// Numbers of the columns that are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct CsvColumns {
    pub(super) image: Option<usize>,
    pub(super) caption: Option<usize>,
    pub(super) label: Option<usize>,
}

/// The first line of a table, and which of its columns are read.
pub(super) struct HeaderLine<'a> {
    pub(super) config: &'a CsvConfig,
    pub(super) names: &'a [String],
    pub(super) path: &'a Path,
    pub(super) file: &'a str,
    pub(super) separator: u8,
}

impl HeaderLine<'_> {
    pub(super) fn columns(&self, wants: Wants, problems: &mut Vec<Bad>) -> Result<CsvColumns> {
        let names = self.names;
        if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)).map(|(_, name)| name) {
            return Err(Error::invalid(format!("{}:1: column `{twice}` stands there twice", self.path.display())));
        }
        let CsvConfig { img_key, caption_key, label_key, .. } = self.config;
        // The name of its class is the caption of a row when there is no column of captions.
        let classes = caption_key.is_empty() && !label_key.is_empty();
        let text = if classes { wants.text.min(Want::Optional) } else { wants.text };
        let label = if classes { wants.label.max(wants.text) } else { wants.label };
        let before = problems.len();
        let columns = CsvColumns {
            image: self.find("img_key", img_key, wants.picture, "no image column", problems)?,
            caption: self.find("caption_key", caption_key, text, "no caption column", problems)?,
            label: self.find("label_key", label_key, label, "no label column", problems)?,
        };
        if let (CsvColumns { image: None, caption: None, label: None }, Some(first)) = (columns, problems.get(before)) {
            return Err(Error::invalid(format!("{}:1: {}", self.path.display(), first.detail)));
        }
        Ok(columns)
    }

    /// The number of a column, if it is read. One that is only read where it is there, and that the user has not named, may be missing; it is
    /// noted then.
    fn find(&self, option: &str, name: &str, want: Want, reason: &'static str, problems: &mut Vec<Bad>) -> Result<Option<usize>> {
        if name.is_empty() && want == Want::Required {
            return Err(Error::invalid(format!("`{option}` is empty, but {} are read", what(option))));
        }
        if name.is_empty() || !want.is_read() {
            return Ok(None);
        }
        if let Some(at) = self.names.iter().position(|column| column == name) {
            return Ok(Some(at));
        }
        let near = suggest(name, self.names.iter().map(String::as_str)).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let other = if self.separator == b'\t' { "," } else { "\\t" };
        let hint = if self.names.len() == 1 { format!("; is another `separator` right, such as \"{other}\"?") } else { String::new() };
        let columns = self.names.join(" ");
        let detail = format!("`{option}` names column `{name}`, which is not there{near}{hint} columns: {columns}");
        let defaults = CsvConfig::default();
        let is_default = [defaults.img_key, defaults.caption_key].iter().any(|default| default == name);
        if want == Want::Required || !is_default {
            return Err(Error::invalid(format!("{}:1: {detail}", self.path.display())));
        }
        problems.push(Bad { key: self.file.to_owned(), place: format!("{}:1", self.file), reason, detail });
        Ok(None)
    }
}

/// What the column of an option holds.
fn what(option: &str) -> &'static str {
    match option {
        "img_key" => "pictures",
        "caption_key" => "captions",
        _ => "class labels",
    }
}
