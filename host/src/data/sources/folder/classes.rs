//! Sub-folders to classes: which sub-folder has which label, and what its class is called.

use std::path::Path;

use vlhub_core::{Error, Result, suggest};

use super::choice::Choice;
use crate::data::natural::natural;

/// Classes in the order of labels.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Classes {
    /// The names.
    pub names: Vec<String>,
    /// The sub-folder of each class; none for a class without pictures.
    pub folders: Vec<Option<String>>,
    /// Remarks for people.
    pub notes: Vec<String>,
}

impl Classes {
    /// Brings sub-folders and given class names together.
    ///
    /// # Errors
    /// Names that fit the sub-folders in no way, or in several.
    pub fn of(mut folders: Vec<String>, names: Option<Vec<String>>, root: &Path) -> Result<Self> {
        folders.sort_unstable();
        let Some(names) = names else {
            return Ok(Self { names: folders.clone(), folders: folders.into_iter().map(Some).collect(), notes: Vec::new() });
        };
        let refused = |problem: String| Error::invalid(format!("`classes` does not fit {}: {problem}", root.display()));
        if names.iter().any(|name| folders.contains(name)) {
            return Self::by_name(folders, names).map_err(refused);
        }
        if folders.iter().all(|folder| number(folder).is_some()) {
            return Self::by_number(folders, names).map_err(refused);
        }
        if names.len() != folders.len() {
            return Err(refused(format!("it has {} names, but there are {} sub-folders", names.len(), folders.len())));
        }
        let mut notes = Vec::new();
        if !folders.is_sorted_by_key(|folder| natural(folder)) {
            notes.push(format!(
                "`classes` names the sub-folders of {} in the order of their bytes ({}), as torchvision does; timm takes them in the order of their numbers",
                root.display(),
                folders.iter().take(4).map(String::as_str).collect::<Vec<_>>().join(", ") + ", …"
            ));
        }
        Ok(Self { names, folders: folders.into_iter().map(Some).collect(), notes })
    }

    /// So many of the classes that have a sub-folder, in their order; labels are numbered anew.
    pub fn chosen(self, most: usize, choice: Choice) -> Self {
        let pairs = self.names.into_iter().zip(self.folders);
        let mut pairs: Vec<(String, String)> = pairs.filter_map(|(name, folder)| Some((name, folder?))).collect();
        choice.keep(&mut pairs, most, |(_, folder)| folder.as_bytes());
        let (names, folders) = pairs.into_iter().map(|(name, folder)| (name, Some(folder))).unzip();
        Self { names, folders, notes: self.notes }
    }

    /// Each sub-folder is the class of its name.
    fn by_name(folders: Vec<String>, names: Vec<String>) -> Result<Self, String> {
        if let Some(folder) = folders.iter().find(|folder| !names.contains(folder)) {
            let near = suggest(folder, names.iter().map(String::as_str)).map(|near| format!("; is `{near}` meant?")).unwrap_or_default();
            return Err(format!("folder `{folder}` is no class{near}"));
        }
        if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)).map(|(_, name)| name) {
            return Err(format!("class `{twice}` is listed twice"));
        }
        let folders = names.iter().map(|name| folders.contains(name).then(|| name.clone())).collect();
        Ok(Self { names, folders, notes: Vec::new() })
    }

    /// Sub-folder `n` is the class of line `n`, from 0.
    fn by_number(folders: Vec<String>, names: Vec<String>) -> Result<Self, String> {
        let mut placed: Vec<Option<String>> = vec![None; names.len()];
        for folder in folders {
            let number = number(&folder).unwrap_or(usize::MAX);
            let Some(place) = placed.get_mut(number) else {
                return Err(format!(
                    "sub-folders that are numbers are matched by number, from 0 to {}, and `{folder}` is outside; list the sub-folders' names in the order of their classes",
                    names.len().saturating_sub(1)
                ));
            };
            if let Some(other) = place.replace(folder.clone()) {
                return Err(format!("sub-folders `{other}` and `{folder}` are the same number"));
            }
        }
        Ok(Self { names, folders: placed, notes: Vec::new() })
    }
}

/// The number that a folder's name is, if it is one.
fn number(folder: &str) -> Option<usize> {
    folder.parse().ok().filter(|_| folder.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn of(folders: &str, names: &str) -> Result<String, String> {
        let names = Some(words(names)).filter(|names| !names.is_empty());
        let classes = Classes::of(words(folders), names, Path::new("/data")).map_err(|error| error.to_string())?;
        let pair = |(name, folder): (&String, &Option<String>)| format!("{name}={}", folder.as_deref().unwrap_or("-"));
        Ok(classes.names.iter().zip(&classes.folders).map(pair).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn every_sub_folder_gets_its_class() {
        let numbers = "10 0 1 2 3 4 5 6 7 8 9 11";
        let letters = "a b c d e f g h i j k l";
        for (folders, names, expected, why) in [
            (numbers, letters, "a=0 b=1 c=2 d=3 e=4 f=5 g=6 h=7 i=8 j=9 k=10 l=11", "numbers are places, as in ImageNetV2"),
            ("10 2", letters, "a=- b=- c=2 d=- e=- f=- g=- h=- i=- j=- k=10 l=-", "classes without pictures keep their labels"),
            ("00 01", "x y", "x=00 y=01", "leading zeros"),
            (numbers, "", "0=0 1=1 10=10 11=11 2=2 3=3 4=4 5=5 6=6 7=7 8=8 9=9", "without names by bytes, as torchvision does"),
            ("0 1 2", "2 1 0", "2=2 1=1 0=0", "names of folders go before numbers"),
            ("n2 n1", "n3 n2 n1", "n3=- n2=n2 n1=n1", "names of folders, and a class without one"),
            ("n2 n1", "shark tench", "shark=n1 tench=n2", "other names follow the bytes"),
        ] {
            assert_eq!(of(folders, names).expect(why), expected, "{why}");
        }
    }

    #[test]
    fn what_would_be_a_guess_is_refused() {
        for (folders, names, wanted, why) in [
            ("1 2 3", "a b c", "`3` is outside", "numbers from 1: 3 is no place, and 1 may be the first or the second"),
            ("1 01", "a b c", "the same number", "one number twice"),
            ("cat dog", "cat", "folder `dog` is no class", "a folder that is not named"),
            ("cat dgo", "cat dog", "is `dog` meant", "a misspelt folder"),
            ("n1 n2", "a b c", "3 names, but there are 2", "another number of names"),
            ("n1 n2", "n1 n2 n1", "listed twice", "a name twice"),
        ] {
            let error = of(folders, names).expect_err(why);
            assert!(error.contains(wanted), "{why}: {error}");
        }
    }

    #[test]
    fn an_order_that_surprises_is_told() {
        let notes = |folders: &str| Classes::of(words(folders), Some(words("x y z")), Path::new("/data")).expect("as many").notes;
        assert!(notes("c1 c10 c2")[0].contains("order of their bytes (c1, c10, c2"), "{:?}", notes("c1 c10 c2"));
        assert!(notes("c01 c02 c10").is_empty());
    }
}
