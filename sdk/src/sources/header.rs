//! The header of a table: which columns are read.

use vlhub_core::{Bad, Error, Result, Want, Wants, suggest};

/// The options that name a table's columns; an empty name reads none.
#[derive(Clone, Copy, Debug)]
pub struct ColumnKeys<'a> {
    /// `img_key`: the pictures.
    pub image: &'a str,
    /// `caption_key`: the captions.
    pub caption: &'a str,
    /// `label_key`: the class labels.
    pub label: &'a str,
}

/// Numbers of the columns that are read, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableColumns {
    /// Pictures.
    pub image: Option<usize>,
    /// Captions.
    pub caption: Option<usize>,
    /// Class labels.
    pub label: Option<usize>,
}

/// The names of a table's columns.
#[derive(Clone, Copy, Debug)]
pub struct TableHeader<'a> {
    /// The names, in order.
    pub names: &'a [String],
    /// What the user asks for.
    pub keys: ColumnKeys<'a>,
    /// What is asked for where the user says nothing.
    pub defaults: ColumnKeys<'a>,
    /// Where the header is, with its path.
    pub place: &'a str,
    /// Where the header is, for lists of problems.
    pub short: &'a str,
    /// What may be wrong where a column is not found.
    pub hint: &'a str,
}

impl TableHeader<'_> {
    /// Finds the columns that are read. One that is only read where it is there, and that the user has not named, may be missing; it is noted in
    /// `problems` then.
    ///
    /// # Errors
    /// A column that is required or named and is missing, or a name that stands there twice.
    pub fn columns(&self, wants: Wants, problems: &mut Vec<Bad>) -> Result<TableColumns> {
        let names = self.names;
        if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)).map(|(_, name)| name) {
            return Err(Error::invalid(format!("{}: column `{twice}` stands there twice", self.place)));
        }
        let ColumnKeys { image, caption, label: label_key } = self.keys;
        // The name of its class is the caption of a row when there is no column of captions.
        let classes = caption.is_empty() && !label_key.is_empty();
        let text = if classes { wants.text.min(Want::Optional) } else { wants.text };
        let label = if classes { wants.label.max(wants.text) } else { wants.label };
        let before = problems.len();
        let columns = TableColumns {
            image: self.find("img_key", image, wants.picture, "no image column", problems)?,
            caption: self.find("caption_key", caption, text, "no caption column", problems)?,
            label: self.find("label_key", label_key, label, "no label column", problems)?,
        };
        if let (TableColumns { image: None, caption: None, label: None }, Some(first)) = (columns, problems.get(before)) {
            return Err(Error::invalid(format!("{}: {}", self.place, first.detail)));
        }
        Ok(columns)
    }

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
        let detail = format!("`{option}` names column `{name}`, which is not there{near}{}; columns: {}", self.hint, self.names.join(" "));
        let ColumnKeys { image, caption, label } = self.defaults;
        if want == Want::Required || ![image, caption, label].contains(&name) {
            return Err(Error::invalid(format!("{}: {detail}", self.place)));
        }
        problems.push(Bad { key: self.short.to_owned(), place: self.short.to_owned(), reason, detail });
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
