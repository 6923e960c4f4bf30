//! Which columns of a file are read, and what they hold.

use arrow_schema::{DataType, Field, Schema};
use vlhub_sdk::prelude::*;
use vlhub_sdk::serde_json::Value;
use vlhub_sdk::sources::{ColumnKeys, TableColumns, TableHeader};

/// What the column of pictures holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImageColumn {
    /// A struct of `bytes` and, it may be, `path`: the numbers of these fields. Hugging Face's `Image`.
    Struct { bytes: Option<usize>, path: Option<usize> },
    /// Encoded bytes.
    Bytes,
    /// Paths of files.
    Path,
}

/// The columns of a file that are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    /// All columns' names.
    pub names: Vec<String>,
    pub read: TableColumns,
    pub image: Option<ImageColumn>,
    /// Other columns that can be written as text.
    pub meta: Vec<usize>,
}

impl Columns {
    /// Of a file's schema. `place` is the file, for people.
    ///
    /// # Errors
    /// A column that is required or named and is missing, or one whose type is no picture, caption or label.
    pub fn of(
        schema: &Schema,
        keys: ColumnKeys<'_>,
        defaults: ColumnKeys<'_>,
        wants: Wants,
        place: &str,
        problems: &mut Vec<Bad>,
    ) -> Result<Self> {
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        // A default that is not there is like no name: only names that the user wrote are missed.
        let there = |key: &'_ str, default: &str| key != default || names.iter().any(|name| name == key);
        let or_none = |key, default| if there(key, default) { key } else { "" };
        let has_caption = there(keys.caption, defaults.caption) && !keys.caption.is_empty();
        let asked = ColumnKeys {
            image: if wants.picture == Want::Required { keys.image } else { or_none(keys.image, defaults.image) },
            caption: if has_caption || (wants.text == Want::Required && !names.iter().any(|name| name == keys.label)) {
                keys.caption
            } else {
                ""
            },
            label: if wants.label == Want::Required { keys.label } else { or_none(keys.label, defaults.label) },
        };
        let header = TableHeader { names: &names, keys: asked, defaults, place, short: place, hint: "" };
        let read = header.columns(wants, problems)?;
        let field = |at: Option<usize>| at.map(|at| schema.field(at));
        let refused = |option: &str, field: &Field, wanted: &str| {
            Error::invalid(format!("{place}: `{option}` names column `{}`, which holds {}; {wanted}", field.name(), field.data_type()))
        };
        let image = field(read.image)
            .map(|field| {
                ImageColumn::of(field.data_type()).ok_or_else(|| {
                    refused("img_key", field, "a struct of `bytes` and `path`, bytes of a picture's file, or the path of one is wanted")
                })
            })
            .transpose()?;
        if let Some(field) = field(read.caption).filter(|field| !is_text(field.data_type()) && !item(field).is_some_and(is_text)) {
            return Err(refused("caption_key", field, "a text or a list of texts is wanted"));
        }
        if let Some(field) = field(read.label).filter(|field| !is_label(field.data_type()) && !item(field).is_some_and(is_label)) {
            return Err(refused("label_key", field, "a number, a name, or a list of them is wanted"));
        }
        let is_other = |at: usize| ![read.image, read.caption, read.label].contains(&Some(at));
        let plain = |at: usize| is_text(schema.field(at).data_type()) || is_label(schema.field(at).data_type());
        let plain = |at: usize| plain(at) || *schema.field(at).data_type() == DataType::Boolean;
        let meta = if wants.meta.is_read() { (0..names.len()).filter(|at| is_other(*at) && plain(*at)).collect() } else { Vec::new() };
        Ok(Self { names, read, image, meta })
    }

    /// Which of pictures, captions and labels are there.
    pub fn has(&self) -> [bool; 3] {
        [self.read.image, self.read.caption, self.read.label].map(|column| column.is_some())
    }

    /// Whether a column of labels holds names.
    pub fn named_labels(schema: &Schema, label: usize) -> bool {
        let field = schema.field(label);
        is_text(item(field).unwrap_or_else(|| field.data_type()))
    }

    /// Numbers of all columns that are read, in order.
    pub fn all(&self) -> Vec<usize> {
        let TableColumns { image, caption, label } = self.read;
        let mut all: Vec<usize> = [image, caption, label].into_iter().flatten().chain(self.meta.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl ImageColumn {
    fn of(kind: &DataType) -> Option<Self> {
        match kind {
            DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => Some(Self::Bytes),
            DataType::Utf8 | DataType::LargeUtf8 => Some(Self::Path),
            DataType::Struct(fields) => {
                let at = |name: &str, fits: fn(&DataType) -> bool| {
                    fields.iter().position(|field| field.name() == name && fits(field.data_type()))
                };
                let (bytes, path) = (at("bytes", |kind| Self::of(kind) == Some(Self::Bytes)), at("path", is_text));
                (bytes.is_some() || path.is_some()).then_some(Self::Struct { bytes, path })
            }
            _ => None,
        }
    }
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8)
}

/// What can be a label: a whole number, also as pandas writes a column of them with holes, or a name.
fn is_label(kind: &DataType) -> bool {
    kind.is_integer() || kind.is_floating() || is_text(kind)
}

/// What a list holds.
fn item(field: &Field) -> Option<&DataType> {
    match field.data_type() {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => Some(item.data_type()),
        _ => None,
    }
}

/// Names of the classes of a column, as Hugging Face `datasets` writes them into a file's metadata.
pub(crate) fn class_names(huggingface: &str, column: &str) -> Option<Vec<String>> {
    let about: Value = vlhub_sdk::serde_json::from_str(huggingface).ok()?;
    let feature = about.get("info")?.get("features")?.get(column)?;
    // A list of labels says so in one of two ways, by the version of `datasets`.
    let feature = match feature {
        Value::Array(items) => items.first()?,
        Value::Object(_) => feature.get("feature").unwrap_or(feature),
        _ => return None,
    };
    let names = feature.get("names").filter(|_| feature.get("_type").is_some_and(|kind| kind == "ClassLabel"))?;
    names.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_names_are_found_as_every_version_writes_them() {
        let about = |feature: &str| {
            format!(r#"{{"info": {{"features": {{"label": {feature}, "text": {{"dtype": "string", "_type": "Value"}}}}}}}}"#)
        };
        for (feature, names) in [
            (r#"{"names": ["cat", "dog"], "_type": "ClassLabel"}"#, Some(2)),
            (r#"{"feature": {"names": ["cat"], "_type": "ClassLabel"}, "_type": "List"}"#, Some(1)),
            (r#"{"feature": {"names": ["cat"], "_type": "ClassLabel"}, "length": -1, "_type": "Sequence"}"#, Some(1)),
            (r#"[{"names": ["cat"], "_type": "ClassLabel"}]"#, Some(1)),
            (r#"{"dtype": "int64", "_type": "Value"}"#, None),
            ("7", None),
        ] {
            assert_eq!(class_names(&about(feature), "label").map(|names| names.len()), names, "{feature}");
        }
        assert_eq!(class_names("no JSON", "label"), None);
    }
}
