//! Rows of a table whose cells are texts: a picture's path, a caption, a class.

use std::path::PathBuf;

use vlhub_core::{Bad, Caption, Picture, Raw, Want, Wants};

use super::{LabelColumn, TableColumns, picture_file};

/// A table of picture files and captions: what a row must have, and the sample that it is.
#[derive(Clone, Debug)]
pub struct PictureTable {
    /// Names of the columns.
    pub header: Vec<String>,
    /// Which of them are read.
    pub columns: TableColumns,
    /// Where relative paths of pictures start.
    pub folder: PathBuf,
    /// Class names in the order of labels; empty when classes have none.
    pub classes: Vec<String>,
    /// What is read of a row.
    pub wants: Wants,
}

impl PictureTable {
    /// Whether the cells of a column are read.
    pub fn reads(&self, column: usize) -> bool {
        let TableColumns { image, caption, label } = self.columns;
        self.wants.meta.is_read() || [image, caption, label].contains(&Some(column))
    }

    /// The label of a row, whose class becomes known with it.
    ///
    /// # Errors
    /// Why the row cannot be used: a class of reason, and the particular case.
    pub fn check(&self, cells: &[String], labels: &mut LabelColumn) -> Result<Option<u32>, (&'static str, String)> {
        if cells.len() != self.header.len() {
            return Err(("ragged row", format!("it has {} columns, the header {}", cells.len(), self.header.len())));
        }
        let Wants { picture, text, label, .. } = self.wants;
        let is_blank = |column: Option<usize>| column.is_some_and(|column| cells[column].trim().is_empty());
        if picture == Want::Required && is_blank(self.columns.image) {
            return Err(("no image", "its path is empty".into()));
        }
        if text == Want::Required && is_blank(self.columns.caption) {
            return Err(("empty caption", String::new()));
        }
        let Some(column) = self.columns.label else { return Ok(None) };
        let class_is_caption = text.is_read() && self.columns.caption.is_none();
        if label == Want::Optional && !class_is_caption && cells[column].trim().is_empty() {
            // As a sample of a shard without a label.
            return Ok(None);
        }
        let found = labels.of(&cells[column]).map_err(|detail| ("bad label", detail))?;
        if text == Want::Required && class_is_caption && !labels.has_name(found) {
            return Err(("no caption", format!("class {found} has no name, which would be the caption")));
        }
        Ok(Some(found))
    }

    /// The sample that a row is. `cells` are as many as columns, `label` is what [`PictureTable::check`] found.
    ///
    /// # Errors
    /// Its picture's file cannot be read.
    pub fn sample(&self, key: String, mut cells: Vec<String>, label: Option<u32>) -> Result<Raw, Bad> {
        let mut caption = Caption::default();
        match self.columns.caption {
            Some(column) => caption.texts.push(std::mem::take(&mut cells[column])),
            None if self.wants.text.is_read() => {
                caption.texts.extend(label.and_then(|label| self.classes.get(label as usize)).cloned());
            }
            None => {}
        }
        caption.texts.retain(|text| !text.trim().is_empty());
        if self.wants.label.is_read() {
            caption.labels.extend(label.map(i64::from));
        }
        let mut picture = None;
        if let Some(column) = self.columns.image.filter(|column| !cells[*column].trim().is_empty()) {
            let path = self.folder.join(cells[column].trim());
            let bytes = picture_file::read_named_by(&path, &key)?;
            picture = Some(Picture::Encoded(bytes));
        }
        if self.wants.meta.is_read() {
            let others = self.header.iter().zip(cells).enumerate().filter(|(column, _)| Some(*column) != self.columns.caption);
            caption.meta.extend(others.map(|(_, (name, cell))| (name.clone(), cell)));
        }
        Ok(Raw { key, picture, caption })
    }
}
