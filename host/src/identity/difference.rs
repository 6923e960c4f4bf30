//! Where two descriptions of a model differ, for people and for JSON.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::Description;

/// An option that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Its dotted key, such as `backbone.image.heads`.
    pub key: String,
    /// The value that is used; null where that side has no such option.
    pub used: Value,
    /// Whose value is used, such as `the run`.
    pub of: String,
    /// The other side's value; null where it has no such option.
    pub other: Value,
    /// Who says so: a file.
    pub from: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, used, of, other, from } = self;
        write!(f, "{key}: {} in {of}, {} in {from}; that of {of} is used", shown(used), shown(other))
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Two sides to compare: the one that is used, and the other, with what they are called.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    /// What is used, such as `the run`.
    pub used: &'a str,
    /// The other, such as `user.toml`.
    pub other: &'a str,
}

impl Sides<'_> {
    /// Options that both sides have, with other values.
    pub fn shared(&self, used: &Description, other: &Description) -> Vec<Difference> {
        let both = used.iter().filter_map(|(key, value)| Some((key, value, other.get(key)?)));
        both.filter(|(_, value, theirs)| !equal(value, theirs)).map(|(key, value, theirs)| self.difference(key, value, theirs)).collect()
    }

    /// [`Sides::shared`], and options that one side lacks. Where a table names another plugin, or is not there at all on one side, that is told
    /// once and not option by option.
    pub fn all(&self, used: &Description, other: &Description) -> Vec<Difference> {
        let mut keys: Vec<&String> = used.keys().chain(other.keys()).collect();
        keys.sort();
        keys.dedup();
        let get = |side: &'_ Description, key: &str| side.get(key).cloned().unwrap_or(Value::Null);
        let other_plugin = |key: &str| {
            let named =
                key.match_indices('.').map(|(at, _)| format!("{}.use", &key[..at])).find(|name| get(used, name) != get(other, name));
            named.is_some_and(|name| name != key)
        };
        let differ = keys.into_iter().filter(|key| !equal(&get(used, key), &get(other, key)) && !other_plugin(key));
        differ.map(|key| self.difference(key, &get(used, key), &get(other, key))).collect()
    }

    fn difference(&self, key: &str, used: &Value, other: &Value) -> Difference {
        Difference { key: key.into(), used: used.clone(), of: self.used.into(), other: other.clone(), from: self.other.into() }
    }
}

/// Whether two values mean the same: `4` and `4.0` are one number, 224 and `[224, 224]` one size of a picture.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Array(sides), side @ Value::Number(_)) | (side @ Value::Number(_), Value::Array(sides)) => {
            sides.len() == 2 && sides.iter().all(|one| equal(one, side))
        }
        _ => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-6 * a.abs().max(b.abs()),
            _ => a == b,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn description(value: Value) -> Description {
        value.as_object().expect("a table").clone().into_iter().collect()
    }

    #[test]
    fn differences_name_the_option_both_values_and_whose_is_used() {
        let run = description(json!({"backbone.image.heads": 8, "backbone.image.use": "vit", "embed": 32, "objective.clip.use": "clip",
            "objective.clip.weight": 1.0, "backbone.image.image_size": 32}));
        let file =
            description(json!({"backbone.image.heads": 2, "backbone.image.use": "vit", "embed": 32.0, "objective.new.use": "siglip",
            "objective.new.weight": 1.0, "backbone.image.image_size": [32, 32]}));
        let sides = Sides { used: "the run", other: "user.toml" };
        let lines: Vec<String> = sides.all(&run, &file).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "backbone.image.heads: 8 in the run, 2 in user.toml; that of the run is used",
                "objective.clip.use: clip in the run, nothing in user.toml; that of the run is used",
                "objective.new.use: nothing in the run, siglip in user.toml; that of the run is used",
            ]
        );
        assert_eq!(sides.shared(&run, &file).len(), 1, "only what both say");
        assert_eq!(sides.shared(&description(json!({"a": [0.1, 0.2]})), &description(json!({"a": [0.1, 0.3]}))).len(), 1);
    }
}
