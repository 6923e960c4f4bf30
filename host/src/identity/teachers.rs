//! What objectives are told of a run's teachers, as a checkpoint keeps it: a trained model is built without them.

use serde_json::{Value, json};
use vlhub_core::{InputSpec, Teacher, Tower};

/// The entry of a checkpoint's manifest.
pub const KEY: &str = "teachers";

/// Teachers as JSON.
pub fn to_json(teachers: &[Teacher]) -> String {
    let all: Vec<Value> = teachers
        .iter()
        .map(|teacher| {
            json!({"name": teacher.name, "embed": teacher.embed, "log_scale": teacher.log_scale,
                "image": teacher.image.as_ref().map(tower), "text": teacher.text.as_ref().map(tower)})
        })
        .collect();
    Value::from(all).to_string()
}

fn tower(tower: &Tower) -> Value {
    match &tower.input {
        InputSpec::Image { size, mean, std } => json!({"width": tower.width, "size": [size.0, size.1], "mean": mean, "std": std}),
        InputSpec::Text { context, vocab, pad, truncates } => {
            json!({"width": tower.width, "context": context, "vocab": vocab, "pad": pad, "truncates": truncates})
        }
    }
}

/// Teachers from JSON.
///
/// # Errors
/// What is missing.
pub(super) fn of_json(text: &str) -> Result<Vec<Teacher>, String> {
    let all: Vec<Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    all.iter().map(|one| teacher(one).ok_or_else(|| format!("`{one}` describes none"))).collect()
}

fn teacher(value: &Value) -> Option<Teacher> {
    let tower = |key: &str| match &value[key] {
        Value::Null => Some(None),
        tower => Some(Some(Tower { width: tower["width"].as_i64()?, input: input(tower)? })),
    };
    Some(Teacher {
        name: value["name"].as_str()?.to_owned(),
        embed: value["embed"].as_i64()?,
        log_scale: value["log_scale"].as_f64(),
        image: tower("image")?,
        text: tower("text")?,
    })
}

fn input(tower: &Value) -> Option<InputSpec> {
    let number = |key: &str| tower[key].as_i64();
    let channels = |key: &str| -> Option<[f64; 3]> { serde_json::from_value(tower[key].clone()).ok() };
    if tower["size"].is_array() {
        let size = (tower["size"][0].as_i64()?, tower["size"][1].as_i64()?);
        return Some(InputSpec::Image { size, mean: channels("mean")?, std: channels("std")? });
    }
    Some(InputSpec::Text {
        context: number("context")?,
        vocab: number("vocab")?,
        pad: number("pad")?,
        truncates: tower["truncates"].as_bool()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn teachers_survive_the_round_trip() {
        let image = Tower { width: 6, input: InputSpec::Image { size: (8, 16), mean: [0.1, 0.2, 0.3], std: [1.0, 0.5, 0.25] } };
        let text = Tower { width: 7, input: InputSpec::Text { context: 9, vocab: 10, pad: 1, truncates: true } };
        let whole = Teacher { name: "big".into(), embed: 5, image: Some(image.clone()), text: Some(text), log_scale: Some(2.5) };
        let half = Teacher { name: "seen".into(), embed: 6, image: Some(image), text: None, log_scale: None };
        let back = of_json(&to_json(&[whole.clone(), half.clone()])).expect("it is sound");
        assert_eq!(format!("{back:?}"), format!("{:?}", [whole, half]));
        assert!(of_json("[{\"name\": \"x\"}]").is_err() && of_json("[]").expect("none").is_empty());
    }
}
