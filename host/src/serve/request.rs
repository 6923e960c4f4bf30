//! What can be asked, read from JSON within the limits.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::RgbImage;
use serde::Deserialize;

use super::{MOST_CLASSES, MOST_FOUND, MOST_TEMPLATES, MOST_TEXT, PictureReading};
use crate::data::decode::decode_held;

/// A question to the model.
#[derive(Debug)]
pub enum Question {
    /// How well class names fit a picture.
    Classify {
        /// The picture.
        image: RgbImage,
        /// Class names; empty asks a supervised head for its own.
        classes: Vec<String>,
        /// Sentences around a class name, with `{}` or `{c}` in its place.
        templates: Vec<String>,
    },
    /// Indexed pictures that fit a text.
    SearchText(String, usize),
    /// Indexed pictures that are like a picture.
    SearchImage(RgbImage, usize),
    /// A caption of a picture.
    Caption(RgbImage),
}

/// The body of a request to `/api/classify`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassifyBody {
    image: String,
    #[serde(default)]
    classes: Vec<String>,
    #[serde(default)]
    templates: Vec<String>,
}

/// The body of a request to `/api/search`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchBody {
    text: Option<String>,
    image: Option<String>,
    #[serde(default = "twelve")]
    top: usize,
}

/// The body of a request to `/api/caption`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaptionBody {
    image: String,
}

fn twelve() -> usize {
    12
}

/// The question in a body that was sent to `path`, or why there is none. Decodes pictures.
pub fn question(path: &str, body: &[u8], reading: PictureReading) -> Result<Question, String> {
    match path {
        "/api/classify" => {
            let ClassifyBody { image, classes, templates } = json(body)?;
            let classes = texts("classes", classes, MOST_CLASSES)?;
            let templates = texts("templates", templates, MOST_TEMPLATES)?;
            if let Some(template) = templates.iter().find(|text| !text.contains("{}") && !text.contains("{c}")) {
                return Err(format!("`templates`: `{template}` has no `{{}}`, where the class name goes"));
            }
            Ok(Question::Classify { image: picture(&image, reading)?, classes, templates })
        }
        "/api/search" => {
            let SearchBody { text, image, top } = json(body)?;
            if top == 0 || top > MOST_FOUND {
                return Err(format!("`top` is {top}; it is from 1 to {MOST_FOUND}"));
            }
            match (text, image) {
                (Some(text), None) => Ok(Question::SearchText(texts("text", vec![text], 1)?.pop().ok_or("`text` is empty")?, top)),
                (None, Some(image)) => Ok(Question::SearchImage(picture(&image, reading)?, top)),
                _ => Err("give either `text` or `image`".into()),
            }
        }
        _ => Ok(Question::Caption(picture(&json::<CaptionBody>(body)?.image, reading)?)),
    }
}

fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("the body is not the JSON that is wanted: {error}"))
}

/// Texts without surrounding space; empty ones are left out.
fn texts(name: &str, texts: Vec<String>, most: usize) -> Result<Vec<String>, String> {
    if let Some(long) = texts.iter().find(|text| text.len() > MOST_TEXT) {
        return Err(format!("`{name}`: a text has {} bytes; at most {MOST_TEXT} are read", long.len()));
    }
    let kept: Vec<String> = texts.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect();
    if kept.len() > most {
        return Err(format!("`{name}` has {} entries; at most {most} are read", kept.len()));
    }
    Ok(kept)
}

/// A picture in base64, with or without the head of a data address.
fn picture(text: &str, reading: PictureReading) -> Result<RgbImage, String> {
    let input = reading.input.ok_or("the model reads no pictures")?;
    let data = if text.starts_with("data:") { text.split_once(',').map_or("", |(_, data)| data) } else { text };
    let bytes = STANDARD.decode(data.trim()).map_err(|error| format!("`image` is not base64: {error}"))?;
    let decoded =
        decode_held(&bytes, reading.pictures).map_err(|flaw| format!("`image`: {} {}", flaw.reason, flaw.detail).trim().to_owned())?;
    let (image, _memory) = decoded.into_parts();
    Ok(input.bounded(image))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::decode::PictureOptions;

    #[test]
    fn what_is_no_question_is_told() {
        let blind = PictureReading { pictures: PictureOptions::default(), input: None };
        for (path, body, wanted) in [
            ("/api/classify", "no json", "the body is not the JSON"),
            ("/api/classify", r#"{"picture":""}"#, "unknown field `picture`"),
            ("/api/classify", r#"{"image":"","templates":["a photo"]}"#, "has no `{}`"),
            ("/api/classify", r#"{"image":""}"#, "reads no pictures"),
            ("/api/search", r#"{"top":5}"#, "either `text` or `image`"),
            ("/api/search", r#"{"text":"a","top":0}"#, "from 1 to"),
            ("/api/search", r#"{"text":"  "}"#, "`text` is empty"),
            ("/api/caption", "{}", "missing field `image`"),
        ] {
            let error = question(path, body.as_bytes(), blind).expect_err(body);
            assert!(error.contains(wanted), "{body}: {error}");
        }
        let many = serde_json::json!({"image": "", "classes": vec!["a"; MOST_CLASSES + 1]}).to_string();
        assert!(question("/api/classify", many.as_bytes(), blind).expect_err("too many").contains("at most"));
        let long = serde_json::json!({"text": "a".repeat(MOST_TEXT + 1)}).to_string();
        assert!(question("/api/search", long.as_bytes(), blind).expect_err("too long").contains("at most"));
        assert!(matches!(question("/api/search", br#"{"text":" a dog "}"#, blind), Ok(Question::SearchText(text, 12)) if text == "a dog"));
    }
}
