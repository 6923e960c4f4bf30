//! What can be asked, read from JSON within the limits.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::RgbImage;
use serde::Deserialize;

use super::{MOST_CLASSES, MOST_FOUND, MOST_PROMPT_BYTES, MOST_PROMPTS, MOST_TEMPLATES, MOST_TEXT, PictureReading};
use crate::data::decode::decode_held;

/// The sentence around class names where a question brings none.
const USUAL_TEMPLATE: &str = "a photo of a {}.";

/// A question to the model.
#[derive(Debug)]
pub enum Question {
    /// How well class names fit a picture.
    Classify {
        /// The picture.
        image: RgbImage,
        /// Class names; empty asks a supervised head for its own.
        classes: Vec<String>,
        /// Sentences around a class name, with `{}` or `{c}` in its place; at least one.
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
            let mut templates = texts("templates", templates, MOST_TEMPLATES)?;
            if let Some(template) = templates.iter().find(|text| !text.contains("{}") && !text.contains("{c}")) {
                return Err(format!("`templates`: `{template}` has no `{{}}`, where the class name goes"));
            }
            if templates.is_empty() {
                templates.push(USUAL_TEMPLATE.to_owned());
            }
            check_prompts(&classes, &templates)?;
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

/// Refuses more prompts than are encoded for one question, before any of them is made.
fn check_prompts(classes: &[String], templates: &[String]) -> Result<(), String> {
    let prompts = classes.len() * templates.len();
    if prompts > MOST_PROMPTS {
        let (classes, templates) = (classes.len(), templates.len());
        return Err(format!("{classes} `classes` in {templates} `templates` are {prompts} prompts; at most {MOST_PROMPTS} are read"));
    }
    let bytes = prompt_bytes(classes, templates);
    if bytes > MOST_PROMPT_BYTES {
        return Err(format!("the prompts of `classes` and `templates` have {bytes} bytes together; at most {MOST_PROMPT_BYTES} are read"));
    }
    Ok(())
}

/// Bytes of all prompts: `fill` puts the class name in place of every mark.
fn prompt_bytes(classes: &[String], templates: &[String]) -> usize {
    let names: usize = classes.iter().map(String::len).sum();
    let of_template = |template: &String| {
        let (braces, letters) = (template.matches("{}").count(), template.matches("{c}").count());
        classes.len() * (template.len() - "{}".len() * braces - "{c}".len() * letters) + names * (braces + letters)
    };
    templates.iter().map(of_template).sum()
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
    use vlhub_sdk::captions::fill;

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

    #[test]
    fn prompts_are_bounded_in_number_and_bytes_before_they_are_made() {
        let blind = PictureReading { pictures: PictureOptions::default(), input: None };
        let refused = |classes: Vec<String>, templates: Vec<String>| {
            let body = serde_json::json!({"image": "", "classes": classes, "templates": templates}).to_string();
            question("/api/classify", body.as_bytes(), blind).expect_err("the model reads no pictures")
        };
        let many = |count: usize| (0..count).map(|at| format!("class {at}")).collect::<Vec<_>>();
        let error = refused(many(1000), vec!["a {}".to_owned(); 21]);
        assert!(error.contains("21000 prompts; at most 20000"), "{error}");
        // Sentences of nothing but marks: more than a gigabyte of prompts from less than a megabyte of JSON.
        let error = refused(vec!["a".repeat(MOST_TEXT); 100], vec!["{}".repeat(MOST_TEXT / 2); 2]);
        assert!(error.contains("at most 16777216"), "{error}");
        let error = refused(many(1000), vec!["a {}".to_owned(); 20]);
        assert!(error.contains("reads no pictures"), "as many as may be: {error}");
        let error = refused(Vec::new(), vec!["a {}".to_owned(); 100]);
        assert!(error.contains("reads no pictures"), "a head of its own needs no prompts: {error}");
    }

    #[test]
    fn bytes_of_prompts_are_those_of_the_prompts() {
        let classes = ["dog", "a {} b", "{c}ät"].map(str::to_owned);
        let templates = ["a {} and {c}{}", "{{}c}", "{{c}}", "é {}"].map(str::to_owned);
        let made: usize = classes.iter().flat_map(|class| templates.iter().map(move |template| fill(template, class).len())).sum();
        assert_eq!(prompt_bytes(&classes, &templates), made);
    }
}
