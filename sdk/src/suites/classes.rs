//! Labels of one list of classes as classes of another: by name, never by a place that happens to be the same.

use std::collections::BTreeMap;

use vlhub_core::{Error, Result, suggest};

use super::ClassSubset;

/// Names shown in a message; a list of a thousand classes would hide it.
const SHOWN: usize = 8;

/// Largest number of classes of labels without names: a table of all classes is made for each picture.
const MOST_NUMBERS: usize = 1_000_000;

/// Classes of a data set, a supervised head or a list of prompts.
#[derive(Clone, Copy, Debug)]
pub struct ClassList<'a> {
    /// What they belong to, as messages call it: `` `data` ``, `the supervised head`.
    pub owner: &'a str,
    /// Their names in the order of labels; empty when the owner does not say.
    pub names: &'a [String],
    /// How many there are, where that is known without names.
    pub count: Option<usize>,
}

impl<'a> ClassList<'a> {
    /// Classes of which the names are all that is known.
    pub fn named(owner: &'a str, names: &'a [String]) -> Self {
        Self { owner, names, count: (!names.is_empty()).then_some(names.len()) }
    }
}

/// How a label becomes a class.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    /// The label's place in the list has the class.
    Listed(Vec<usize>),
    /// The label is the number that is a class's name.
    Numbered(BTreeMap<i64, usize>),
    /// The label is the place of the class, below this.
    Same(usize),
}

/// The labels of a data set as classes of a classifier: by name where both have names, by number where names are numbers, and by place, with a
/// note, where one side has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassMatch {
    rule: Rule,
    note: Option<String>,
    /// The classes that are asked for, where that is not all of them.
    asked: Option<ClassSubset>,
    /// Whose numbers labels without names are; then a label that is none of them contradicts the match itself, and is no fault of its sample.
    numbers_of: Option<String>,
}

impl ClassMatch {
    /// Labels that are numbers of classes, when nothing else is known of them.
    pub fn of_numbers() -> Self {
        Self { rule: Rule::Same(MOST_NUMBERS), note: None, asked: None, numbers_of: Some("a data set".into()) }
    }

    /// Matches the labels of `data` to the classes of `known`.
    ///
    /// # Errors
    /// A class of `data` that `known` does not have, with the nearest that it has; a name that stands for two classes; other counts, where there
    /// are no names to go by; numbers as names whose order contradicts their values, where only the order could tell.
    pub fn new(data: &ClassList<'_>, known: &ClassList<'_>) -> Result<Self> {
        Self::find(data, known, false)
    }

    /// Label `n` is class `n` of both, which have as many: lists of one set of classes under other names.
    ///
    /// # Errors
    /// Lists that have not as many classes.
    pub fn in_order(data: &ClassList<'_>, known: &ClassList<'_>, why: &str) -> Result<Self> {
        Self::by_place(data, known, why)
    }

    /// [`ClassMatch::new`], for `known` that may call the classes of `data` by other names, as prompts do: where the two lists have as many names
    /// and no name in two places, they are matched by their order, with a note.
    ///
    /// # Errors
    /// As [`ClassMatch::new`].
    pub fn with_other_names(data: &ClassList<'_>, known: &ClassList<'_>) -> Result<Self> {
        Self::find(data, known, true)
    }

    fn find(data: &ClassList<'_>, known: &ClassList<'_>, renames: bool) -> Result<Self> {
        if data.names.is_empty() {
            return Self::of_labels(data, known);
        }
        if known.names.is_empty() {
            return Self::of_silent(data, known);
        }
        if data.names == known.names {
            return Ok(Self::by(Rule::Same(known.names.len())));
        }
        match (numbers(data.names), numbers(known.names)) {
            (Some(_), Some(values)) => {
                let place = |name: &String| name.trim().parse().ok().and_then(|value: u64| values.iter().position(|known| *known == value));
                Self::listed(data, known, place)
            }
            (None, Some(values)) if counts_up(&values) => Self::by_place(data, known, "the names of the latter are numbers"),
            (Some(values), None) => Self::by_value(data, known, &values),
            _ => Self::by_name(data, known, renames),
        }
    }

    /// Labels without names.
    fn of_labels(data: &ClassList<'_>, known: &ClassList<'_>) -> Result<Self> {
        let numbers_of = Some(known.owner.to_owned());
        if let Some(values) = numbers(known.names) {
            let places = values.iter().zip(0..).map(|(value, place)| (*value as i64, place)).collect();
            return Ok(Self { rule: Rule::Numbered(places), note: None, asked: None, numbers_of });
        }
        let count = known.count.ok_or_else(|| Error::invalid(format!("neither {} nor {} has classes", data.owner, known.owner)))?;
        let taken = match known.names {
            [] => format!("neither {} nor {} names its classes", data.owner, known.owner),
            names => {
                let pairs: Vec<_> = names.iter().zip(0..).map(|(name, label): (_, u64)| format!("{label} for `{name}`")).collect();
                format!("{} does not name its classes: label {}", data.owner, few(&pairs))
            }
        };
        Ok(Self {
            rule: Rule::Same(count),
            note: Some(format!("{taken}; labels were taken for the places of classes")),
            asked: None,
            numbers_of,
        })
    }

    /// Names against classes of which nothing but the number is known.
    fn of_silent(data: &ClassList<'_>, known: &ClassList<'_>) -> Result<Self> {
        if let Some(values) = numbers(data.names)
            && !values.is_sorted()
        {
            return Err(Error::invalid(format!(
                "{} does not name its classes, and the names of {} are numbers in another order than their values ({}): which of the two orders is \
                 meant cannot be told. Write `class_names = […]`, the classes that the model was trained on in their order, into the run file",
                known.owner,
                data.owner,
                few(&quoted(data.names)),
            )));
        }
        Self::by_place(data, known, &format!("{} does not name its classes", known.owner))
    }

    fn by_name(data: &ClassList<'_>, known: &ClassList<'_>, renames: bool) -> Result<Self> {
        let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, name) in known.names.iter().enumerate() {
            places.entry(name).or_default().push(place);
        }
        let common: Vec<_> = data.names.iter().enumerate().filter(|(_, name)| places.contains_key(name.as_str())).collect();
        let stays = |(place, name): &(usize, &String)| places[name.as_str()].contains(place);
        if renames && common.len() < data.names.len() && data.names.len() == known.names.len() && common.iter().all(stays) {
            let why = match common.len() {
                0 => "they have no name in common".to_owned(),
                count => format!("only {count} names are in both, each at one place"),
            };
            return Self::by_place(data, known, &why);
        }
        let mut seen = BTreeMap::new();
        for (label, name) in data.names.iter().enumerate() {
            let other = seen.insert(name, label).map(|other| (data.owner, other, label));
            let twice = match places.get(name.as_str()).map(Vec::as_slice) {
                Some([first, second, ..]) => Some((known.owner, *first, *second)),
                _ => None,
            };
            if let Some((owner, first, second)) = other.or(twice) {
                return Err(Error::invalid(format!(
                    "{owner} has the class `{name}` twice, at places {first} and {second}, so {} and {} cannot be matched by name; give both the \
                     same list, or each class a name of its own",
                    data.owner, known.owner
                )));
            }
        }
        Self::listed(data, known, |name| places.get(name.as_str()).map(|places| places[0]))
    }

    /// Numbers as names against names: the number counts the classes from 0, or, where there are as many of both in order, from anywhere.
    fn by_value(data: &ClassList<'_>, known: &ClassList<'_>, values: &[u64]) -> Result<Self> {
        let count = known.names.len() as u64;
        if values.contains(&0) && values.iter().all(|value| *value < count) {
            let places: Vec<usize> = values.iter().map(|value| *value as usize).collect();
            let note = format!("the classes of {} are numbers: {}", data.owner, taken(data.names, known.names, &places));
            return Ok(Self { note: Some(note), ..Self::by(Rule::Listed(places)) });
        }
        if values.len() == known.names.len() && values.is_sorted() {
            return Self::by_place(data, known, &format!("the names of {} are numbers in order", data.owner));
        }
        Err(Error::invalid(format!(
            "the names of {} are numbers ({}) which neither count the {count} classes of {} from 0 nor are as many in order; name the classes",
            data.owner,
            few(&quoted(data.names)),
            known.owner
        )))
    }

    fn by_place(data: &ClassList<'_>, known: &ClassList<'_>, why: &str) -> Result<Self> {
        let (ours, theirs) = (data.names.len(), known.count.unwrap_or(known.names.len()));
        if ours != theirs {
            return Err(Error::invalid(format!(
                "{} has {ours} classes ({}) and {} has {theirs}, and they cannot be matched by name: {why}",
                data.owner,
                few(&quoted(data.names)),
                known.owner
            )));
        }
        let places: Vec<usize> = (0..ours).collect();
        let first = if known.names.is_empty() { few(&quoted(data.names)) } else { taken(data.names, known.names, &places) };
        let note = format!("the classes of {} and of {} were matched by their order, because {why}: {first}", data.owner, known.owner);
        Ok(Self { note: Some(note), ..Self::by(Rule::Same(ours)) })
    }

    /// Every class of `data` at the place that it has in `known`.
    fn listed(data: &ClassList<'_>, known: &ClassList<'_>, place: impl Fn(&String) -> Option<usize>) -> Result<Self> {
        let places: Vec<Option<usize>> = data.names.iter().map(place).collect();
        let unknown: Vec<&String> = data.names.iter().zip(&places).filter(|(_, place)| place.is_none()).map(|(name, _)| name).collect();
        if !unknown.is_empty() {
            let near = |name: &str| suggest(name, known.names.iter().map(String::as_str));
            let shown = unknown.iter().map(|name| match near(name) {
                Some(near) => format!("`{name}` (near: `{near}`)"),
                None => format!("`{name}`"),
            });
            return Err(Error::invalid(format!(
                "{} of the {} classes of {} are none of {}: {}. Classes are matched by name; it has the {}: {}. Give {} these names, or leave the \
                 others out",
                unknown.len(),
                data.names.len(),
                data.owner,
                known.owner,
                few(&shown.collect::<Vec<_>>()),
                known.names.len(),
                few(&quoted(known.names)),
                data.owner,
            )));
        }
        Ok(Self::by(Rule::Listed(places.into_iter().flatten().collect())))
    }

    fn by(rule: Rule) -> Self {
        Self { rule, note: None, asked: None, numbers_of: None }
    }

    /// Asks for a part of the classes alone: [`ClassMatch::place`] tells where each stands then.
    #[must_use]
    pub fn only(self, asked: ClassSubset) -> Self {
        Self { asked: Some(asked), ..self }
    }

    /// The place of a class among those that are asked for; its own number where all are.
    pub fn place(&self, class: usize) -> Option<usize> {
        self.asked.as_ref().map_or(Some(class), |asked| asked.place(class))
    }

    /// The part of the classes that is asked for.
    pub fn asked(&self) -> Option<&ClassSubset> {
        self.asked.as_ref()
    }

    /// The class of each of `count` labels, where all of them have one.
    pub fn classes_of(&self, count: usize) -> Option<Vec<usize>> {
        (0..count as i64).map(|label| self.find_class(label)).collect()
    }

    /// The class of a label. `Ok(Err(reason))` when its sample cannot be used, because the data set has no such class.
    ///
    /// # Errors
    /// A label of a data set without names that is none of the classes: then labels and classes do not belong together.
    pub fn class_of(&self, label: i64) -> Result<Result<usize, String>> {
        let Some(class) = self.find_class(label) else {
            return match &self.numbers_of {
                None => Ok(Err(self.why_not(label))),
                Some(owner) => Err(Error::invalid(format!("{}, the classes of {owner}", self.why_not(label)))),
            };
        };
        Ok(Ok(class))
    }

    fn find_class(&self, label: i64) -> Option<usize> {
        let place = usize::try_from(label).ok();
        match &self.rule {
            Rule::Listed(places) => place.and_then(|place| places.get(place).copied()),
            Rule::Numbered(places) => places.get(&label).copied(),
            Rule::Same(count) => place.filter(|place| place < count),
        }
    }

    fn why_not(&self, label: i64) -> String {
        match &self.rule {
            Rule::Listed(places) => format!("label {label} is not in 0..{}", places.len()),
            Rule::Numbered(places) => {
                format!("label {label} is none of the classes {}", few(&places.keys().map(i64::to_string).collect::<Vec<_>>()))
            }
            Rule::Same(count) => format!("label {label} is not in 0..{count}"),
        }
    }

    /// What a reader must know when classes were not matched by name.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }
}

/// Names of so many classes whose labels are numbers: `0`, `1`, ….
pub fn number_names(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// The values of names that are all numbers, each another one.
fn numbers(names: &[String]) -> Option<Vec<u64>> {
    let digits = |name: &String| name.trim().bytes().all(|byte| byte.is_ascii_digit());
    let values: Option<Vec<u64>> = names.iter().map(|name| name.trim().parse().ok().filter(|_| digits(name))).collect();
    values.filter(|values| {
        let mut sorted = values.clone();
        sorted.sort_unstable();
        sorted.dedup();
        sorted.len() == names.len() && !names.is_empty()
    })
}

/// 0, 1, 2, ….
fn counts_up(values: &[u64]) -> bool {
    values.iter().zip(0..).all(|(value, place)| *value == place)
}

fn quoted(names: &[String]) -> Vec<String> {
    names.iter().map(|name| format!("`{name}`")).collect()
}

/// The first few of a list.
fn few(list: &[String]) -> String {
    let rest = list.len().saturating_sub(SHOWN);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    list[..list.len().min(SHOWN)].join(", ") + &more
}

/// `` `n01440764` was taken for `tench`, … ``.
fn taken(names: &[String], known: &[String], places: &[usize]) -> String {
    let pairs: Vec<_> = names.iter().zip(places).map(|(name, place)| format!("`{name}` was taken for `{}`", known[*place])).collect();
    few(&pairs)
}

#[cfg(test)]
mod tests;
