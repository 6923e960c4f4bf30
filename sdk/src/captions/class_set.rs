//! Lists of class names: those that come with the SDK, and files.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vlhub_core::{Error, Result, suggest};

/// Number of ImageNet's classes.
const IMAGENET_CLASSES: usize = 1000;
/// ImageNet's classes under open_clip's names. Source and licence of the lists: `sdk/assets/class_names/README.md`.
const IMAGENET: &str = include_str!("../../assets/class_names/imagenet.txt");
/// ImageNet's classes, each with all the words of its WordNet synset.
const IMAGENET_WORDNET: &str = include_str!("../../assets/class_names/imagenet_wordnet.txt");
/// Columns of VL Hub's other lists of names for ImageNet's classes, under their names.
const IMAGENET_VLHUB: &str = include_str!("../../assets/class_names/imagenet_vlhub.tsv");
/// A line for each subset of ImageNet's classes: its name, and their numbers.
const SUBSETS: &str = include_str!("../../assets/class_names/imagenet_subsets.txt");

/// Class names: a list, the name of a list that is known here, or a file.
///
/// Known are `imagenet` (1000 names, open_clip's), `imagenet_wordnet` or `default` (the same classes with their WordNet synonyms), VL Hub's lists
/// `openclip` (open_clip's names of 2022, in small letters), `default_first` (the first of the synonyms), `ours`, `no_overlap`,
/// `no_overlap_short`, `no_perm`, and its subsets of 100 classes: `in100`, `in100_dogs`, `in100_random_01` to `in100_random_09`, each in its own
/// order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ClassSet {
    /// `imagenet` or another known list, or a file with one name a line, or a JSON list (`.json`).
    Named(String),
    /// The names, in the order of labels.
    List(Vec<String>),
}

impl ClassSet {
    /// The names in the order of labels: label `n` is name `n`. A name may be several synonyms, separated by `, `. Files start at `folder`.
    ///
    /// # Errors
    /// A file that cannot be read or has no names, an empty name, or a name of a list that is not known.
    pub fn names(&self, folder: &Path) -> Result<Vec<String>> {
        self.names_read_by(&|name| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(|error| Error::io(path, error))
        })
    }

    /// [`ClassSet::names`], with files read by somebody else.
    ///
    /// # Errors
    /// As [`ClassSet::names`].
    pub fn names_read_by(&self, read_text: &dyn Fn(&str) -> Result<String>) -> Result<Vec<String>> {
        match self {
            Self::Named(name) => known(name).map_or_else(|| read(name, read_text), Ok),
            Self::List(names) if names.is_empty() => Err(Error::Options("`classes` is empty; name at least one class".into())),
            Self::List(names) => whole(names.clone(), "`classes`"),
        }
    }
}

/// A list that comes with the SDK.
fn known(name: &str) -> Option<Vec<String>> {
    match name {
        "imagenet" => return Some(lines(IMAGENET)),
        "imagenet_wordnet" | "default" => return Some(lines(IMAGENET_WORDNET)),
        "default_first" => {
            return Some(IMAGENET_WORDNET.lines().filter_map(|words| Some(words.split(", ").next()?.to_owned())).collect());
        }
        _ => {}
    }
    if let Some(names) = column(name) {
        return Some(names);
    }
    let all = lines(IMAGENET);
    Some(imagenet_subset(name)?.into_iter().filter_map(|number| all.get(number as usize).cloned()).collect())
}

/// Whether class names are ImageNet's in the order of its labels: those of a known list, or WordNet numbers (`n01440764`).
pub fn is_imagenet(names: &[String]) -> bool {
    let is_number = |name: &String| name.len() == 9 && name.starts_with('n') && name[1..].bytes().all(|byte| byte.is_ascii_digit());
    if names.len() != IMAGENET_CLASSES {
        return false;
    }
    let numbers = names.iter().all(is_number) && names.is_sorted();
    numbers || all_known().into_iter().any(|list| known(list).is_some_and(|known| known == names))
}

/// ImageNet's numbers of the classes of a known subset (`in100`, …), in its order.
pub fn imagenet_subset(name: &str) -> Option<Vec<u32>> {
    let numbers = SUBSETS.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))?;
    Some(numbers.split(' ').filter_map(|number| number.parse().ok()).collect())
}

/// Names of the subsets that are known.
pub fn imagenet_subsets() -> impl Iterator<Item = &'static str> {
    SUBSETS.lines().filter_map(|line| Some(line.split_once(": ")?.0))
}

/// One of VL Hub's lists.
fn column(name: &str) -> Option<Vec<String>> {
    let mut rows = IMAGENET_VLHUB.lines();
    let at = rows.next()?.split('\t').position(|column| column == name)?;
    rows.map(|row| Some(row.split('\t').nth(at)?.to_owned())).collect()
}

/// Names of the lists that are known.
fn all_known() -> Vec<&'static str> {
    let columns = IMAGENET_VLHUB.lines().next().unwrap_or_default().split('\t');
    ["imagenet", "imagenet_wordnet", "default", "default_first"].into_iter().chain(columns).chain(imagenet_subsets()).collect()
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.trim().to_owned()).collect()
}

fn read(name: &str, read_text: &dyn Fn(&str) -> Result<String>) -> Result<Vec<String>> {
    let text = read_text(name).map_err(|error| {
        let known = all_known();
        let hint = match suggest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known lists: {}", known.join(" ")),
        };
        Error::Options(format!("`classes`: no list is called `{name}`, and no such file can be read ({error}); {hint}"))
    })?;
    let place = format!("`{name}`");
    let names = if name.ends_with(".json") {
        serde_json::from_str(&text).map_err(|error| Error::Options(format!("{place} is no JSON list of class names: {error}")))?
    } else {
        lines(text.trim_start_matches('\u{feff}').trim_end())
    };
    whole(names, &place)
}

/// Refuses empty names: they would move the labels of those after them unseen.
fn whole(names: Vec<String>, place: &str) -> Result<Vec<String>> {
    match names.iter().position(|name| name.trim().is_empty()) {
        _ if names.is_empty() => Err(Error::Options(format!("{place} has no class names; write one a line"))),
        Some(at) => Err(Error::Options(format!("{place}: name {} is empty; label n is the name with number n, from 0", at + 1))),
        None => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Result<Vec<String>> {
        ClassSet::Named(name.into()).names(Path::new("/nowhere"))
    }

    #[test]
    fn known_lists_have_the_classes_of_imagenet_in_their_order() {
        let imagenet = named("imagenet").expect("it is known");
        assert_eq!((imagenet.len(), imagenet[0].as_str(), imagenet[999].as_str()), (1000, "tench", "toilet paper"));
        let words = named("imagenet_wordnet").expect("it is known");
        assert_eq!((words.len(), words[0].as_str()), (1000, "tench, Tinca tinca"));
        let subset = named("in100").expect("it is known");
        assert_eq!(
            (subset.len(), subset[0].as_str(), subset[1].as_str()),
            (100, imagenet[386].as_str(), "ice cream"),
            "not in ImageNet's order"
        );
        assert_eq!(named("in100_dogs").expect("it is known"), imagenet[151..251]);
        for name in all_known() {
            let names = named(name).expect("it is listed");
            assert!(names.len() == 1000 || names.len() == 100, "{name}: {}", names.len());
            assert!(names.iter().all(|class| !class.trim().is_empty()), "{name}");
        }
    }

    #[test]
    fn imagenet_is_known_by_its_names_or_numbers() {
        for name in ["imagenet", "imagenet_wordnet", "openclip", "default_first", "no_overlap"] {
            assert!(is_imagenet(&named(name).expect("known")), "{name}");
        }
        let numbers: Vec<String> = (0..1000).map(|number| format!("n{number:08}")).collect();
        assert!(is_imagenet(&numbers));
        let turned: Vec<String> = numbers.iter().rev().cloned().collect();
        for (other, why) in
            [(&numbers[..999], "one is missing"), (&turned, "in another order"), (&named("in100").expect("known"), "a subset")]
        {
            assert!(!is_imagenet(other), "{why}");
        }
    }

    #[test]
    fn vl_hubs_lists_are_known_by_their_names() {
        for (list, at, expected) in [
            ("openclip", 15, "american robin"),
            ("ours", 0, "tench, tench bird, Tinca tinca"),
            ("default", 2, "great white shark, white shark, man-eater, man-eating shark, Carcharodon carcharias"),
            ("default_first", 2, "great white shark"),
            ("no_overlap", 3, "tiger"),
        ] {
            assert_eq!(named(list).expect("known")[at], expected, "{list}");
        }
    }

    #[test]
    fn files_are_lines_or_a_json_list() {
        let folder = std::env::temp_dir().join(format!("vlhub-class-names-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("made");
        for (file, text, expected) in [
            ("lines.txt", "\u{feff}tench, Tinca tinca\r\n dog \n\n", Ok(vec!["tench, Tinca tinca", "dog"])),
            ("list.json", r#"["tench", "dog"]"#, Ok(vec!["tench", "dog"])),
            ("gap.txt", "tench\n\ndog\n", Err("name 2 is empty")),
            ("empty.txt", "\n", Err("has no class names")),
            ("dict.json", r#"{"0": "tench"}"#, Err("is no JSON list")),
        ] {
            std::fs::write(folder.join(file), text).expect("written");
            match (ClassSet::Named(file.into()).names(&folder), expected) {
                (Ok(names), Ok(expected)) => assert_eq!(names, expected, "{file}"),
                (Err(error), Err(wanted)) => assert!(error.to_string().contains(wanted), "{file}: {error}"),
                (other, _) => panic!("{file}: {other:?}"),
            }
        }
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn what_is_no_list_is_refused_with_what_is_near() {
        for (name, wanted) in
            [("imagnet", "did you mean `imagenet`"), ("in100_random_10", "in100_random_0"), ("birds", "known lists: imagenet ")]
        {
            let error = named(name).expect_err(name).to_string();
            assert!(error.contains(wanted), "{error}");
        }
        assert!(ClassSet::List(Vec::new()).names(Path::new(".")).is_err());
    }
}
