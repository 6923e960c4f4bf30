//! A part of a data set's classes: which of them a suite asks for, and where each stands then.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vlhub_core::{Error, Result, suggest};

use crate::captions::{imagenet_subset, imagenet_subsets};

/// Number of ImageNet's classes, which the known subsets count.
const IMAGENET_CLASSES: usize = 1000;

/// The classes that a suite asks for: VL Hub's `--caption-subset`.
///
/// Known are `in100`, `in100_dogs` and `in100_random_01` to `in100_random_09`, subsets of ImageNet's classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SubsetChoice {
    /// The name of a known subset; or a file with numbers or names, one a line or as a JSON list.
    Named(String),
    /// Numbers of classes: their labels, from 0.
    Numbers(Vec<u32>),
    /// Names of classes.
    Names(Vec<String>),
}

impl SubsetChoice {
    /// Finds the classes among those of a data set. `lists` has one list or several of what they are called, each in the order of labels, and all
    /// of them with `count` names or none; files are read by `read_text`.
    ///
    /// # Errors
    /// A name that no class has, or two; a number that is no label; a class twice; no class at all; a known subset of other classes; a file that
    /// cannot be read.
    pub fn find(&self, count: usize, lists: &[&[String]], read_text: &dyn Fn(&str) -> Result<String>) -> Result<ClassSubset> {
        let refused = |problem: String| Error::Options(format!("`subset`: {problem}"));
        let kept = match self {
            Self::Numbers(numbers) => numbers.iter().map(|number| *number as usize).collect(),
            Self::Names(names) => places(names, lists).map_err(refused)?,
            Self::Named(name) => match imagenet_subset(name) {
                Some(_) if count != IMAGENET_CLASSES && lists.iter().any(|list| !list.is_empty()) => {
                    let text = format!("`{name}` is a subset of ImageNet's {IMAGENET_CLASSES} classes, and the data set has {count}");
                    return Err(refused(text));
                }
                Some(numbers) => numbers.into_iter().map(|number| number as usize).collect(),
                None => from_file(name, lists, read_text).map_err(refused)?,
            },
        };
        ClassSubset::new(kept, count).map_err(|error| refused(error.to_string()))
    }
}

/// The places of names, each in the first list that has it.
fn places(names: &[String], lists: &[&[String]]) -> Result<Vec<usize>, String> {
    let mut known: Vec<HashMap<&str, Vec<usize>>> = Vec::new();
    for list in lists {
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        list.iter().enumerate().for_each(|(at, name)| places.entry(name).or_default().push(at));
        known.push(places);
    }
    let place = |name: &String| match known.iter().find_map(|list| list.get(name.as_str())).map(Vec::as_slice) {
        Some([only]) => Ok(*only),
        Some(several) => Err(format!("several classes are called `{name}`; give the number of the one that is meant: {several:?}")),
        None => {
            let all = lists.iter().flat_map(|list| list.iter().map(String::as_str));
            let near = suggest(name, all).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            Err(format!("no class is called `{name}`{near}"))
        }
    };
    names.iter().map(place).collect()
}

fn from_file(name: &str, lists: &[&[String]], read_text: &dyn Fn(&str) -> Result<String>) -> Result<Vec<usize>, String> {
    let text = read_text(name).map_err(|error| {
        let known: Vec<&str> = imagenet_subsets().collect();
        let hint = match suggest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known subsets: {}", known.join(" ")),
        };
        format!("no subset is called `{name}`, and no such file can be read ({error}); {hint}")
    })?;
    let text = text.trim_start_matches('\u{feff}').trim();
    let items: Vec<String> = if text.starts_with('[') {
        let list: Vec<serde_json::Value> =
            serde_json::from_str(text).map_err(|error| format!("`{name}` is no JSON list of class names or numbers: {error}"))?;
        list.into_iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect()
    } else {
        text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
    };
    match items.iter().map(|item| item.parse().ok()).collect::<Option<Vec<usize>>>() {
        Some(numbers) => Ok(numbers),
        None => places(&items, lists).map_err(|problem| format!("`{name}`: {problem}")),
    }
}

/// Some of the classes `0..of`, in an order of their own. This is the one place where a class gets its place among fewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassSubset {
    kept: Vec<usize>,
    /// For each of all classes its place in `kept`.
    places: Vec<Option<usize>>,
}

impl ClassSubset {
    /// The classes `kept`, of `of`.
    ///
    /// # Errors
    /// None, one that is not below `of`, or one twice.
    pub fn new(kept: Vec<usize>, of: usize) -> Result<Self> {
        let mut places = vec![None; of];
        for (place, class) in kept.iter().enumerate() {
            match places.get_mut(*class) {
                None => return Err(Error::invalid(format!("class {class} is not below {of}, the number of classes"))),
                Some(Some(_)) => return Err(Error::invalid(format!("class {class} is named twice"))),
                Some(free) => *free = Some(place),
            }
        }
        if kept.is_empty() { Err(Error::invalid("no class is left")) } else { Ok(Self { kept, places }) }
    }

    /// Those of them that are among `others` too, in the order of this subset.
    ///
    /// # Errors
    /// None is.
    pub fn among(&self, others: &[usize]) -> Result<Self> {
        let kept = self.kept.iter().copied().filter(|class| others.contains(class)).collect();
        Self::new(kept, self.places.len())
    }

    /// The same classes under other numbers: class `n` becomes `numbers[n]`, of `of`.
    ///
    /// # Errors
    /// Two classes of one number.
    pub fn renumbered(&self, numbers: &[usize], of: usize) -> Result<Self> {
        Self::new(self.kept.iter().filter_map(|class| numbers.get(*class).copied()).collect(), of)
    }

    /// The classes, in order: those at place 0, 1, ….
    pub fn kept(&self) -> &[usize] {
        &self.kept
    }

    /// The place of a class, where it is one of them.
    pub fn place(&self, class: usize) -> Option<usize> {
        self.places.get(class).copied().flatten()
    }

    /// How many classes there are in all.
    pub fn of(&self) -> usize {
        self.places.len()
    }

    /// What they are called, of the names of all classes.
    pub fn names(&self, all: &[String]) -> Vec<String> {
        self.kept.iter().filter_map(|class| all.get(*class).cloned()).collect()
    }
}

/// The classes that a suite asks for: those of its option, among those that the data set's own evaluation asks for. `None` where both are all.
///
/// # Errors
/// As [`SubsetChoice::find`], and a subset of which the data set has none.
pub fn asked_classes(
    choice: Option<&SubsetChoice>,
    evaluated: &[u32],
    (count, lists): (usize, &[&[String]]),
    read_text: &dyn Fn(&str) -> Result<String>,
) -> Result<Option<ClassSubset>> {
    let evaluated: Vec<usize> = evaluated.iter().map(|class| *class as usize).collect();
    let Some(choice) = choice else {
        return if evaluated.is_empty() { Ok(None) } else { ClassSubset::new(evaluated, count).map(Some) };
    };
    let subset = choice.find(count, lists, read_text)?;
    if evaluated.is_empty() {
        return Ok(Some(subset));
    }
    let common = subset.among(&evaluated);
    common.map(Some).map_err(|_| Error::Options("`subset`: none of its classes is among those that the data set has pictures of".into()))
}

#[cfg(test)]
mod tests;
