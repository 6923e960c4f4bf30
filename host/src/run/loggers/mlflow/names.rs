//! Names that MLflow takes: letters, digits, `_`, `-`, `.`, `:`, `/` and spaces, and none that would be another file's as a path.

use std::collections::BTreeMap;

/// Most characters of a name.
const LONGEST: usize = 250;

/// What is called what at MLflow. Names that MLflow takes stay as they are.
#[derive(Debug, Default)]
pub(super) struct MlflowNames {
    known: BTreeMap<String, String>,
}

impl MlflowNames {
    /// The name at MLflow. `R@1` becomes `R_at_1`; where two names would become one, the later gets a number.
    pub fn name(&mut self, ours: &str) -> String {
        if let Some(known) = self.known.get(ours) {
            return known.clone();
        }
        let plain = acceptable(ours);
        let taken = |name: &String| self.known.values().any(|known| known == name);
        let numbered = std::iter::once(plain.clone()).chain((2..).map(|number| format!("{plain}_{number}")));
        let name = numbered.into_iter().find(|name| !taken(name)).unwrap_or(plain);
        self.known.insert(ours.to_owned(), name.clone());
        name
    }

    /// Names that are others at MLflow: ours, and MLflow's.
    pub fn changed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.known.iter().filter(|(ours, name)| ours != name).map(|(ours, name)| (ours.as_str(), name.as_str()))
    }
}

fn acceptable(name: &str) -> String {
    let mut plain = String::new();
    for letter in name.chars() {
        match letter {
            '@' => plain.push_str("_at_"),
            letter if letter.is_alphanumeric() || "_-.:/ ".contains(letter) => plain.push(letter),
            _ => plain.push('_'),
        }
    }
    // What a path leaves out: empty parts, `.` and `..`.
    if plain.split('/').any(|part| ["", ".", ".."].contains(&part)) {
        plain = plain.replace('/', "_");
    }
    // Room for a number.
    let mut plain: String = plain.chars().take(LONGEST - 8).collect();
    if ["", ".", ".."].contains(&plain.as_str()) || plain.starts_with("..") {
        plain.insert(0, '_');
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_acceptable_and_stay_different() {
        let mut names = MlflowNames::default();
        for (ours, theirs) in [
            ("train/loss", "train/loss"),
            ("val/flickr-image_to_text_R@1", "val/flickr-image_to_text_R_at_1"),
            ("val/flickr-image_to_text_R_at_1", "val/flickr-image_to_text_R_at_1_2"),
            ("a//b", "a__b"),
            ("../a", ".._a"),
            ("ä%b", "ä_b"),
        ] {
            let expected = if theirs.starts_with("..") { format!("_{theirs}") } else { theirs.to_owned() };
            assert_eq!(names.name(ours), expected);
            assert_eq!(names.name(ours), expected, "the same each time");
        }
        assert_eq!(names.name(&"x".repeat(300)).len(), 242);
        assert!(names.changed().any(|pair| pair == ("a//b", "a__b")) && names.changed().all(|(ours, _)| ours != "train/loss"));
    }
}
