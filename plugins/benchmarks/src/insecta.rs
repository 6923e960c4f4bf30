//! Insecta.

use std::collections::HashMap;
use std::path::Path;

use vlhub_sdk::prelude::*;

use crate::about::INSECTA;
use crate::disk::{Pictures, list};
use crate::lists;

/// Insecta: 2,525 insects of iNaturalist, in a folder for each, called by its name or by its number in VL Hub's list, from 0.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub(crate) struct InsectaConfig {
    /// The folder.
    pub path: String,
}

impl Config<dyn Source> for InsectaConfig {
    fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        let root = INSECTA.place(&self.path, cx)?;
        let classes = lists::insecta();
        let by_name: HashMap<&str, u32> = classes.iter().map(String::as_str).zip(0..).collect();
        let folders: Vec<String> = list(&root)?.into_iter().map(|name| name.to_string_lossy().into_owned()).collect();
        let named = folders.iter().any(|name| by_name.contains_key(name.replace('_', " ").as_str()));
        let number = |name: &str| name.parse().ok().filter(|label| (*label as usize) < classes.len());
        if !named && !folders.iter().any(|name| number(name).is_some()) {
            return Err(INSECTA.unlike(&root));
        }
        let label_of = |name: &str| if named { by_name.get(name.replace('_', " ").as_str()).copied() } else { number(name) };
        let mut pictures = Pictures { root, templates: lists::imagenet_templates(), ..Pictures::default() };
        pictures.class_folders(Path::new(""), cx.extent == Extent::Glance, |name| Some([label_of(name)?].into()))?;
        pictures.classes = classes;
        pictures.source(&INSECTA, cx)
    }
}

register!(dyn Source, "insecta", InsectaConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::testkit::source::every_law;

    use super::*;
    use crate::testing::{absent, named, open, picture, refused};

    #[test]
    fn folders_are_names_or_numbers() {
        let folder = tempfile::tempdir().expect("a folder");
        for path in
            ["names/Clepsis virescana/a.jpg", "names/Satyrium_spini/b.jpg", "numbers/10/a.jpg", "numbers/2/b.jpg", "other/cat/a.jpg"]
        {
            picture(&folder.path().join(path), 3);
        }
        let config = |path: &str| InsectaConfig { path: path.into() };
        assert_eq!(named(open(&config("names"), folder.path()).as_ref()), ["Clepsis virescana", "Satyrium spini"]);
        let names = lists::insecta();
        let numbered = open(&config("numbers"), folder.path());
        assert_eq!(named(numbered.as_ref()), [names[10].clone(), names[2].clone()], "by number, not by the order of text");
        for path in ["names", "numbers"] {
            every_law(&config(path), folder.path()).expect("every law");
        }
        refused(&config("other"), folder.path(), "is not `insecta`");
        absent(&config("gone"), folder.path(), "Satyrium spini");
    }
}
