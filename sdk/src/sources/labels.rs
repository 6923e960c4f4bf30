//! Class labels of a table.

use std::collections::HashMap;

/// Class labels of a table: numbers, or names that are numbered as they are met.
#[derive(Clone, Debug)]
pub struct LabelColumn {
    names: HashMap<String, u32>,
    /// Whether names that are not known yet become classes.
    open: bool,
    known: u32,
}

impl LabelColumn {
    /// Labels of known classes; where there is none, names become classes as they are met.
    pub fn new(classes: &[String]) -> Self {
        let names = (0..).zip(classes).map(|(number, name)| (name.clone(), number)).collect();
        Self { names, open: classes.is_empty(), known: classes.len() as u32 }
    }

    /// The label that a cell says.
    ///
    /// # Errors
    /// It is no class, or a number that no class has.
    pub fn of(&mut self, text: &str) -> Result<u32, String> {
        match self.get(text)? {
            Some(number) => Ok(number),
            None => {
                let number = self.names.len() as u32;
                self.names.insert(text.trim().to_owned(), number);
                Ok(number)
            }
        }
    }

    /// The label that a cell says; `None` for a name that would become a class.
    ///
    /// # Errors
    /// It is no class, or a number that no class has.
    pub fn get(&self, text: &str) -> Result<Option<u32>, String> {
        let text = text.trim();
        if let Some(number) = self.names.get(text) {
            return Ok(Some(*number));
        }
        match text.parse::<i64>() {
            // A number is a label, not a name; with known classes it must be one of them.
            Ok(number) => u32::try_from(number)
                .ok()
                .filter(|number| self.open || *number < self.known)
                .map(Some)
                .ok_or_else(|| format!("`{text}` is out of range")),
            Err(_) if text.is_empty() || text.parse::<f64>().is_ok() || text.starts_with('[') || !self.open => {
                Err(format!("`{}` is no class", text.chars().take(40).collect::<String>()))
            }
            Err(_) => Ok(None),
        }
    }

    /// Whether a class has a name by now.
    pub fn has_name(&self, label: u32) -> bool {
        label < self.known.max(self.names.len() as u32)
    }

    /// The classes in the order of labels; `given` are those that were known.
    pub fn finish(self, given: Vec<String>) -> Vec<String> {
        if !self.open {
            return given;
        }
        let mut names: Vec<(u32, String)> = self.names.into_iter().map(|(name, number)| (number, name)).collect();
        names.sort_unstable();
        names.into_iter().map(|(_, name)| name).collect()
    }
}
