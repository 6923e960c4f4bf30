//! Why members of a shard make no sample: which suffixes there are, and which option would read them.

use std::collections::BTreeMap;

use super::group::Group;
use vlhub_sdk::sources::picture_file;

/// Most suffixes that a message lists.
const LISTED: usize = 6;

/// Most suffixes that are counted: names with dots have a suffix of their own for every sample.
const COUNTED: usize = 4096;

/// What the names of a shard's members end in, each with the number of its samples.
#[derive(Debug, Default)]
pub(super) struct Suffixes(BTreeMap<String, usize>);

impl Suffixes {
    pub fn add(&mut self, group: &Group) {
        for (suffix, _) in &group.parts {
            if let Some(count) = self.0.get_mut(suffix) {
                *count += 1;
            } else if self.0.len() < COUNTED {
                self.0.insert(suffix.clone(), 1);
            }
        }
    }

    /// Why `group` has no picture.
    pub fn no_picture(&self, group: &Group, image_key: &str) -> String {
        let wanted: Vec<&str> = image_key.split(';').collect();
        let fits = |suffix: &str| ends_in_one_of(suffix, &wanted) || picture_file::SUFFIXES.contains(&suffix);
        format!("{}{}", ending(group, image_key), self.hint("image_key", group, fits))
    }

    /// Why `group` has no caption.
    pub fn no_caption(&self, group: &Group, text_key: &str, class_key: &str, json_text_key: &str, named: bool) -> String {
        if !json_text_key.is_empty() {
            return format!("{}, which would hold `{json_text_key}`", ending(group, "json"));
        }
        let label = group.find([class_key]).is_some();
        let mut text = if label && !named {
            format!("no member ends in {text_key}, and its class has no name: `classes` is empty")
        } else {
            ending(group, &format!("{text_key} or {class_key}"))
        };
        text += &self.hint("text_key", group, |suffix| ends_in_one_of(suffix, &[text_key]));
        if group.find(["json"]).is_some() {
            text += "; a caption inside the json member is read with `json_text_key`";
        }
        text
    }

    /// Why `group` has no label.
    pub fn no_label(&self, group: &Group, class_key: &str) -> String {
        format!("{}{}", ending(group, class_key), self.hint("class_key", group, |suffix| ends_in_one_of(suffix, &[class_key])))
    }

    /// The option that reads the suffix that was probably meant, or where dots in names come from.
    fn hint(&self, option: &str, group: &Group, fits: impl Fn(&str) -> bool) -> String {
        let near: Vec<(&str, usize)> =
            self.0.iter().filter(|(suffix, _)| fits(suffix)).map(|(suffix, count)| (suffix.as_str(), *count)).collect();
        let Some((likely, count)) = near.iter().max_by_key(|(_, count)| *count) else { return String::new() };
        if near.len() == 1 || *count > 1 {
            return format!("; did you mean {option} = \"{likely}\"?");
        }
        // A suffix of its own for every sample is the rest of a name that has dots.
        let part = group.parts.iter().map(|(suffix, _)| suffix.as_str()).find(|suffix| fits(suffix)).unwrap_or(likely);
        let key = String::from_utf8_lossy(&group.key);
        format!(
            "; names have dots: a key ends at the first dot of a name, so `{key}.{part}` is key `{key}` with suffix `{part}`; rename the members"
        )
    }
}

fn ends_in_one_of(suffix: &str, wanted: &[&str]) -> bool {
    wanted.iter().any(|wanted| suffix.strip_suffix(wanted).is_some_and(|rest| rest.ends_with('.')))
}

/// `no member ends in jpg; its members end in input.jpg, outputs.txt`.
fn ending(group: &Group, wanted: &str) -> String {
    let there: Vec<&str> = group.parts.iter().take(LISTED).map(|(suffix, _)| suffix.as_str()).collect();
    let more = if group.parts.len() > LISTED { ", …" } else { "" };
    format!("no member ends in {wanted}; its members end in {}{more}", there.join(", "))
}
