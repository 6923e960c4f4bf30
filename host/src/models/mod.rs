//! Models by name: open_clip's configs read as they are, from this program, from folders of the user's own, and from published repositories.

mod expand;
pub mod pretrained;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

pub use expand::Expansion;
pub(crate) use expand::published;

/// The configs of open_clip 3.3.0, and those that penfever/vlhub has besides.
const SHIPPED: [&str; 2] = [include_str!("open_clip.json"), include_str!("vlhub.json")];

/// Where names are looked up: the user's folders first, then what this program ships.
#[derive(Clone, Debug, Default)]
pub struct Models {
    folders: Vec<PathBuf>,
    /// Where relative paths start.
    base: PathBuf,
}

impl Models {
    /// `folders` hold `NAME.json` files; `base` is where relative paths of a run file start.
    pub fn new(folders: Vec<PathBuf>, base: &Path) -> Self {
        Self { folders: folders.into_iter().map(|folder| base.join(folder)).collect(), base: base.to_owned() }
    }

    /// The configs that are known by name.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn all(&self) -> Result<BTreeMap<String, Value>, String> {
        let mut all = shipped();
        for folder in self.folders.iter().rev() {
            let listing =
                std::fs::read_dir(folder).map_err(|error| format!("the folder of model configs `{}`: {error}", folder.display()))?;
            for path in listing.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "json")) {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                // A file that is no model config may lie there too; it is told of when it is asked for.
                all.insert(name, read(&path).unwrap_or(Value::Null));
            }
        }
        Ok(all)
    }

    /// The config of a name: a known one, a `.json` file, or `local-dir:FOLDER` and `hf-hub:ORGANISATION/NAME` with an
    /// `open_clip_config.json`. The second value is that file's `preprocess_cfg`, where it has one.
    ///
    /// # Errors
    /// The nearest name and the known ones, or why a file cannot be read.
    pub fn config(&self, name: &str) -> Result<(Value, Option<Value>), String> {
        if let Some(source) = crate::hub::PublishedSource::parse(name) {
            let file = source.file(&self.base, "open_clip_config.json")?;
            let mut config = read(&file)?;
            let preprocess = config.get_mut("preprocess_cfg").map(Value::take);
            let model = config.get_mut("model_cfg").map(Value::take).unwrap_or(config);
            return Ok((model, preprocess));
        }
        if name.ends_with(".json") {
            return Ok((read(&self.base.join(name))?, None));
        }
        // open_clip accepts `ViT-B/32` for `ViT-B-32`; VL Hub's "… copy" files are copies.
        let wanted = name.replace('/', "-");
        let wanted = wanted.strip_suffix(" copy").unwrap_or(&wanted);
        for folder in &self.folders {
            let path = folder.join(format!("{wanted}.json"));
            if path.is_file() {
                return Ok((read(&path)?, None));
            }
        }
        let all = self.all()?;
        let found = all.get(wanted).cloned().map(|config| (config, None));
        found.ok_or_else(|| {
            let near = vlhub_core::suggest(name, all.keys().map(String::as_str));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_else(|| ";".into());
            format!("no model is called `{name}`{near} `vlhub models list` shows all {}", all.len())
        })
    }

    /// The tables of a run file that a name stands for.
    ///
    /// # Errors
    /// As [`Models::config`]; or the parts of the config that this program lacks.
    pub fn expand(&self, name: &str) -> Result<Map<String, Value>, String> {
        let (config, preprocess) = self.config(name)?;
        let expansion = Expansion::of(name, &config)?;
        Ok(expansion.tables(preprocess.as_ref()))
    }
}

/// The configs that this program ships.
fn shipped() -> BTreeMap<String, Value> {
    SHIPPED.iter().flat_map(|text| serde_json::from_str::<BTreeMap<String, Value>>(text).unwrap_or_default()).collect()
}

fn read(path: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("the model config `{}`: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("the model config `{}` is not JSON: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_config_is_understood() {
        let all = shipped();
        assert_eq!(all.len(), 144 + 62);
        for (name, config) in all {
            Expansion::of(&name, &config).unwrap_or_else(|why| panic!("{why}"));
        }
    }

    #[test]
    fn a_users_folder_goes_first_and_its_faults_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = r#"{"embed_dim": 8, "vision_cfg": {"layers": 1, "width": 16, "head_width": 8, "patch_size": 4, "image_size": 8}}"#;
        std::fs::write(folder.path().join("ViT-B-32.json"), config).expect("written");
        std::fs::write(folder.path().join("broken.json"), "{").expect("written");
        let odd = config.replace("\"layers\"", "\"qk_norm\": true, \"layerz\": 2, \"layers\"");
        std::fs::write(folder.path().join("odd.json"), odd).expect("written");
        let models = Models::new(vec![folder.path().to_owned()], Path::new("."));
        assert_eq!(models.expand("ViT-B/32").expect("it is there")["embed"], 8);
        assert!(!models.expand("ViT-B-32").expect("it is there")["backbone"].as_object().expect("a table").contains_key("text"));
        for (name, parts) in [
            ("broken", &["broken.json", "is not JSON"][..]),
            ("odd", &["`odd`", "vision_cfg.qk_norm", "vision_cfg.layerz"]),
            ("ViT-B-33", &["no model is called `ViT-B-33`", "ViT-B-32"]),
            ("missing.json", &["missing.json", "No such file"]),
        ] {
            let error = models.expand(name).expect_err(name);
            assert!(parts.iter().all(|part| error.contains(part)), "{name}: {error}");
        }
        assert!(models.all().expect("readable").contains_key("odd"));
        let nowhere = Models::new(vec!["nowhere".into()], Path::new("."));
        assert!(nowhere.all().expect_err("no such folder").contains("nowhere"));
    }
}
