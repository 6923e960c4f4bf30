//! A run file as a tree of values that know their line, with `key=value` overrides on top.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::sections::TowerOptions;
use crate::failure::{Failure, Outcome};

/// The key that says where relative paths start.
pub const FOLDER: &str = "folder";

/// Keys that describe a model.
pub const OF_MODEL: [&str; 8] = ["embed", "custom_text", "tokenizer", "preprocess", "backbone", "objective", "libraries", "class_names"];

/// A run file.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// Its values.
    pub tree: Map<String, Value>,
    /// Where relative paths start.
    pub folder: PathBuf,
    /// The file's name, for messages.
    pub name: String,
    /// File and line of each key, by dotted path; `None` for one from the command line.
    pub(super) lines: BTreeMap<String, Option<String>>,
}

impl Document {
    /// A run file that says no more than `model = "NAME"`.
    pub fn of_model(name: &str) -> Self {
        let tree = Map::from_iter([("model".to_owned(), Value::from(name))]);
        Self { tree, folder: PathBuf::from("."), name: name.to_owned(), ..Self::default() }
    }

    /// What a run's own `config.toml` says of its model: towers, preprocessing and objectives, without where its weights once came from.
    ///
    /// # Errors
    /// As [`Document::read`].
    pub fn of_run(config: &Path) -> Outcome<Self> {
        let mut document = Self::read(config, &[])?;
        document.tree.retain(|key, _| OF_MODEL.contains(&key.as_str()));
        document.forget_training();
        Ok(document)
    }

    /// A checkpoint's own `config.toml`. Where its relative paths start need not be there any more: a model may need none of them.
    ///
    /// # Errors
    /// A file that cannot be read or is not TOML.
    pub fn of_checkpoint(config: &Path) -> Outcome<Self> {
        let mut document = Self::alone(config)?;
        if let Some(folder) = document.tree.remove(FOLDER).as_ref().and_then(Value::as_str) {
            document.folder = document.folder.join(folder);
        }
        Ok(document)
    }

    /// Lays `key=value` overrides over it, `folder` included.
    ///
    /// # Errors
    /// An override that is none, or a `folder` that is not there.
    pub fn set_all(&mut self, overrides: &[String]) -> Outcome {
        overrides.iter().try_for_each(|argument| self.set(argument))?;
        self.move_to_folder()
    }

    /// Takes out what a trained model no longer needs: where its weights came from, its teachers, its training data and views, and how its
    /// towers are trained. What is left must be there for the model to be built, and nothing else.
    pub fn forget_training(&mut self) {
        for key in ["model", "model_configs", "pretrained", "pretrained_partial", "pretrained_weights", "teacher", "data", "view"] {
            self.tree.remove(key);
        }
        let towers = self.tree.get_mut("backbone").and_then(Value::as_object_mut).into_iter().flat_map(|towers| towers.values_mut());
        for tower in towers.filter_map(Value::as_object_mut) {
            tower.retain(|key, _| !TowerOptions::KEYS.contains(&key.as_str()));
        }
    }

    /// `folder = "PATH"`: relative paths start there instead of at the run file. Given in a file, it starts at the file's folder itself; given
    /// on the command line, where the program was started.
    ///
    /// # Errors
    /// What is no text, or a folder that is not there.
    fn move_to_folder(&mut self) -> Outcome {
        let Some(value) = self.tree.remove(FOLDER) else { return Ok(()) };
        let place = self.place(FOLDER);
        let path = value.as_str().ok_or_else(|| Failure::usage(format!("{place}: `{FOLDER}` is a path, not `{value}`")))?;
        let typed = matches!(self.lines.get(FOLDER), Some(None));
        let folder = if typed { PathBuf::from(path) } else { self.folder.join(path) };
        if !folder.is_dir() {
            return Err(Failure::usage(format!(
                "{place}: there is no folder `{}`, where the relative paths of this run start; if it was moved, say where it is: `{FOLDER}=PATH`",
                folder.display()
            )));
        }
        self.folder = folder;
        Ok(())
    }

    /// Whether these are the options of a run that do not say where its relative paths start: they are looked for in the run's own folder.
    pub(super) fn is_of_an_older_run(&self) -> bool {
        let file = Path::new(&self.name);
        let own = file.file_name().is_some_and(|name| name == "config.toml") && file.with_file_name("checkpoints").is_dir();
        own && !self.lines.contains_key(FOLDER)
    }

    /// Adds folders of model configs, relative to the working directory, after those that the file names.
    pub fn add_model_configs(&mut self, folders: &[PathBuf]) {
        let list = self.tree.entry("model_configs").or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.extend(
                folders
                    .iter()
                    .map(|folder| Value::from(std::path::absolute(folder).unwrap_or_else(|_| folder.clone()).display().to_string())),
            );
        }
    }

    /// Reads a run file as it stands, without its bases.
    ///
    /// # Errors
    /// A missing file, or the line and column at which it is not TOML.
    pub(super) fn alone(path: &Path) -> Outcome<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let there: Vec<String> = std::fs::read_dir(folder)
                .map(|entries| {
                    entries
                        .flatten()
                        .map(|entry| entry.file_name().to_string_lossy().into_owned())
                        .filter(|name| name.ends_with(".toml"))
                        .collect()
                })
                .unwrap_or_default();
            let near = vlhub_core::suggest(&name, there.iter().map(String::as_str)).filter(|near| *near != name);
            let hint = near.map(|near| format!("; did you mean `{}`?", path.with_file_name(near).display())).unwrap_or_default();
            Failure::usage(format!("cannot read the run file `{}`: {error}{hint}", path.display()))
        })?;
        let folder =
            path.parent().map(Path::to_path_buf).filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| PathBuf::from("."));
        Self::parse(&text, &path.display().to_string(), folder)
    }

    /// Parses the text of a run file.
    ///
    /// # Errors
    /// The line and column at which it is not TOML.
    pub fn parse(text: &str, name: &str, folder: PathBuf) -> Outcome<Self> {
        let table =
            DeTable::parse(text).map_err(|error| Failure::usage(format!("{name} is not TOML: {}", error.to_string().trim_end())))?;
        let mut lines = BTreeMap::new();
        let starts: Vec<usize> = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let tree = convert_table(table.get_ref(), "", &mut |path, at| {
            lines.insert(path, Some(format!("{name}:{}", starts.partition_point(|start| *start <= at))));
        });
        Ok(Self { tree, folder, name: name.to_owned(), lines })
    }

    /// Lays `key.path=value` over the file. A value that is no TOML value is taken as text.
    ///
    /// # Errors
    /// An argument without `=`, or a path through something that is no table.
    pub fn set(&mut self, argument: &str) -> Outcome {
        let (path, text) = argument
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("`{argument}` is no override; write `key=value`, for example `train.batch=128`")))?;
        let value = match DeValue::parse(text.trim()) {
            Ok(value) => convert(value.get_ref(), "", &mut |_, _| {}),
            Err(_) => Value::String(text.to_owned()),
        };
        let mut table = &mut self.tree;
        let mut keys: Vec<&str> = path.trim().split('.').collect();
        let last = keys.pop().unwrap_or_default();
        for key in keys {
            let next = table.entry(key).or_insert_with(|| Value::Object(Map::new()));
            table = next.as_object_mut().ok_or_else(|| Failure::usage(format!("override `{argument}`: `{key}` is no table")))?;
        }
        table.insert(last.to_owned(), value);
        let path = path.trim();
        self.lines.retain(|known, _| !known.starts_with(&format!("{path}.")));
        self.lines.insert(path.to_owned(), None);
        Ok(())
    }

    /// Sets the option of a dotted path. `place` is where it comes from, for messages: the name of a flag.
    pub fn put(&mut self, path: &str, value: Value, place: &str) {
        let mut table = &mut self.tree;
        let mut keys: Vec<&str> = path.split('.').collect();
        let last = keys.pop().unwrap_or_default();
        for key in keys {
            let next = table.entry(key).or_insert_with(|| Value::Object(Map::new()));
            if !next.is_object() {
                *next = Value::Object(Map::new());
            }
            let Value::Object(next) = next else { return };
            table = next;
        }
        table.insert(last.to_owned(), value);
        self.says(path, place);
    }

    /// Notes where an option comes from; of an item of a list, its number is the last part of the path.
    pub fn says(&mut self, path: &str, place: &str) {
        self.lines.insert(path.to_owned(), Some(place.to_owned()));
    }

    /// `run.toml:12`, the name of a flag, or `command line`: where a key comes from.
    pub fn place(&self, path: &str) -> String {
        let mut at = path;
        loop {
            match (self.lines.get(at), at.rsplit_once('.')) {
                (Some(Some(place)), _) => return place.clone(),
                (Some(None), _) => return "command line".into(),
                (None, Some((parent, _))) => at = parent,
                (None, None) => return self.name.clone(),
            }
        }
    }
}

fn convert_table(table: &DeTable<'_>, path: &str, seen: &mut dyn FnMut(String, usize)) -> Map<String, Value> {
    let mut map = Map::new();
    for (key, value) in table {
        let name = key.get_ref().to_string();
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        seen(path.clone(), Spanned::span(key).start);
        map.insert(name, convert(value.get_ref(), &path, seen));
    }
    map
}

fn convert(value: &DeValue<'_>, path: &str, seen: &mut dyn FnMut(String, usize)) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(value) => Value::from(value),
            // Too large for JSON's and TOML's integers: whoever reads the key names the text.
            Err(_) => Value::String(number.as_str().to_owned()),
        },
        // `nan` and `inf` are no JSON numbers either.
        DeValue::Float(number) => {
            let finite = number.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            finite.map_or_else(|| Value::String(number.as_str().to_owned()), Value::Number)
        }
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(items) => {
            Value::Array(items.iter().enumerate().map(|(index, item)| convert(item.get_ref(), &format!("{path}.{index}"), seen)).collect())
        }
        DeValue::Table(table) => Value::Object(convert_table(table, path, seen)),
    }
}

/// A tree as TOML text. TOML has no null: such keys are left out, and their default is null again.
pub fn to_toml(tree: &Map<String, Value>) -> String {
    fn without_null(value: &Value) -> Option<Value> {
        match value {
            Value::Null => None,
            Value::Array(items) => Some(Value::Array(items.iter().filter_map(without_null).collect())),
            Value::Object(map) => {
                Some(Value::Object(map.iter().filter_map(|(key, value)| Some((key.clone(), without_null(value)?))).collect()))
            }
            other => Some(other.clone()),
        }
    }
    let clean = without_null(&Value::Object(tree.clone())).unwrap_or_default();
    // A number that TOML cannot hold must not make the whole text empty: two runs would look alike.
    toml::to_string_pretty(&clean).unwrap_or_else(|_| clean.to_string())
}

/// Every option of a tree by its dotted path, as a text.
pub fn flat(tree: &Map<String, Value>) -> BTreeMap<String, String> {
    let text = |value: Value| if let Value::String(text) = value { text } else { value.to_string() };
    leaves(tree).into_iter().map(|(path, value)| (path, text(value))).collect()
}

/// Every option of a tree by its dotted path; lists are values.
pub fn leaves(tree: &Map<String, Value>) -> BTreeMap<String, Value> {
    fn walk(path: &str, value: &Value, out: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(map) => {
                map.iter().for_each(|(key, value)| walk(&if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, value, out));
            }
            other => drop(out.insert(path.to_owned(), other.clone())),
        }
    }
    let mut out = BTreeMap::new();
    walk("", &Value::Object(tree.clone()), &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        Document::parse("seed = 1\n\n[train]\nbatch = 8\n[objective.clip]\nweight = 0.5\n", "run.toml", PathBuf::from("."))
            .expect("it is TOML")
    }

    #[test]
    fn keys_know_their_line() {
        let mut document = document();
        document.set("optimizer.lr=1e-3").expect("an override");
        for (path, place) in [
            ("train.batch", "run.toml:4"),
            ("objective.clip.weight", "run.toml:6"),
            ("objective.clip.missing", "run.toml:5"),
            ("nothing", "run.toml"),
        ] {
            assert_eq!(document.place(path), place);
        }
    }

    #[test]
    fn overrides_parse_as_toml_and_fall_back_to_text() {
        let mut document = document();
        for argument in
            ["train.batch=16", "data.train.shards=cc3m/{00000..00331}.tar", "optimizer.lr=1e-3", "a.b=[1, 2]", "name='x y'", "flag=true"]
        {
            document.set(argument).expect(argument);
        }
        let tree = Value::Object(document.tree.clone());
        assert_eq!(tree["train"]["batch"], 16);
        assert_eq!(tree["data"]["train"]["shards"], "cc3m/{00000..00331}.tar");
        assert_eq!(tree["optimizer"]["lr"], 1e-3);
        assert_eq!(tree["a"]["b"][1], 2);
        assert_eq!(tree["name"], "x y");
        assert_eq!(tree["flag"], true);
        assert!(document.set("train.batch.deep=1").is_err(), "a number is no table");
        assert!(document.set("nonsense").is_err());
    }

    #[test]
    fn paths_start_at_the_file_or_where_folder_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("run.toml");
        std::fs::create_dir(folder.path().join("data")).expect("made");
        std::fs::write(&file, "folder = \"data\"\nseed = 1\n").expect("written");
        let read = Document::read(&file, &[]).expect("it is there");
        assert_eq!((read.folder, read.tree.len()), (folder.path().join("data"), 1));
        // On the command line, a path starts where the program does.
        assert_eq!(Document::read(&file, &["folder=.".into()]).expect("it is there").folder, PathBuf::from("."));
        let gone = Document::read(&file, &["folder=nowhere".into()]).expect_err("it is not there").message;
        assert!(gone.contains("command line") && gone.contains("`nowhere`"), "{gone}");
        assert!(Document::read(&file, &["folder=3".into()]).expect_err("a number").message.contains("`folder` is a path"));
    }

    #[test]
    fn a_tree_goes_to_toml_and_back() {
        let document = document();
        let again = Document::parse(&to_toml(&document.tree), "again", PathBuf::new()).expect("it is TOML");
        assert_eq!(document.tree, again.tree);
    }
}
