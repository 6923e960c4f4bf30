//! The short options of suites: where their data are.

use serde_json::{Map, Value, json};

/// Options that a suite may have in the place of options of its `data`: `eval.food101 = { path = "/data/food-101" }` for
/// `eval.food101 = { data = { use = "food101", path = "/data/food-101" } }`.
pub const SHORT: [&str; 4] = ["path", "split", "level", "taxon"];

/// The table of a suite's data: `data`, or the source that it names, with those short `options` of the suite laid over it that are given.
pub fn data_table(data: &Value, options: &Map<String, Value>) -> Value {
    let mut table = match data {
        Value::String(name) => json!({ "use": name }),
        table => table.clone(),
    };
    if let Some(table) = table.as_object_mut() {
        let given = |name: &&str| options.get(*name).filter(|value| value.as_str().is_some_and(|text| !text.is_empty()));
        table.extend(SHORT.iter().filter_map(|name| Some(((*name).to_owned(), given(name)?.clone()))));
    }
    table
}

/// [`data_table`] for a suite that holds its short options as fields.
pub fn data_table_with(data: &Value, options: &[(&str, &str)]) -> Value {
    data_table(data, &options.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_options_are_laid_over_the_data_where_they_are_given() {
        let wanted = json!({"use": "food101", "split": "train", "path": "/data"});
        assert_eq!(data_table_with(&json!({"use": "food101", "split": "train"}), &[("path", "/data"), ("split", "")]), wanted);
        assert_eq!(data_table_with(&"food101".into(), &[]), json!({"use": "food101"}));
        assert_eq!(data_table(&json!({"use": "food101"}), json!({"batch": 3}).as_object().expect("a table")), json!({"use": "food101"}));
    }
}
