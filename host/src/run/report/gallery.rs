//! Examples with their pictures: classes, and what was found for a text or a picture.

use std::path::Path;

use super::super::heat::data_url;
use super::super::page::Html;
use super::super::results::examples::{StoredAnswer, StoredExample};
use super::soft;

/// Bytes of pictures in a page at most; base64 makes a third more of them.
pub const ROOM: usize = 700_000;

/// Shows examples under their headings, with pictures as long as there is `room`.
pub fn show(html: &mut Html, run: &Path, examples: &[StoredExample], room: &mut usize) {
    let mut sections: Vec<&str> = Vec::new();
    for example in examples {
        if !sections.contains(&example.section.as_str()) {
            sections.push(&example.section);
        }
    }
    for section in sections {
        html.el("div", &[("class", &"card examples")], |html| {
            html.leaf("h3", &[], section);
            let mut left_out = 0;
            html.el("div", &[("class", &"gallery")], |html| {
                for example in examples.iter().filter(|example| example.section == section) {
                    let load = |file: &str| std::fs::read(run.join("examples").join(file)).unwrap_or_default();
                    let pictures: Vec<_> = example.pictures.iter().map(|picture| (load(&picture.file), &picture.answer)).collect();
                    let size: usize = pictures.iter().map(|(bytes, _)| bytes.len()).sum();
                    if size > *room {
                        left_out += 1;
                        continue;
                    }
                    *room -= size;
                    one(html, example, &pictures);
                }
            });
            if left_out > 0 {
                soft(html, format!("{left_out} more in the folder examples/: the page would become too large"));
            }
        });
    }
}

fn one(html: &mut Html, example: &StoredExample, pictures: &[(Vec<u8>, &StoredAnswer)]) {
    html.el("div", &[("class", &"example")], |html| {
        html.leaf("p", &[("class", &"asked")], &example.title);
        html.el("div", &[("class", &"pictures")], |html| {
            for (bytes, answer) in pictures {
                html.el("figure", &[("class", &verdict(answer))], |html| {
                    if bytes.is_empty() {
                        html.leaf("span", &[("class", &"soft")], "picture missing");
                    } else {
                        html.void("img", &[("src", &data_url(bytes)), ("alt", &answer.text)]);
                    }
                    html.el("figcaption", &[], |html| said(html, answer));
                });
            }
        });
        if !example.texts.is_empty() {
            html.el("ul", &[("class", &"answers")], |html| {
                for answer in &example.texts {
                    html.el("li", &[("class", &verdict(answer))], |html| said(html, answer));
                }
            });
        }
    });
}

/// Right ones are framed, and wrong ones not.
fn verdict(answer: &StoredAnswer) -> &'static str {
    match answer.right {
        Some(true) => "right",
        Some(false) => "wrong",
        None => "",
    }
}

/// A sign beside the frame: colours alone do not reach every reader.
fn said(html: &mut Html, answer: &StoredAnswer) {
    let sign = match answer.right {
        Some(true) => "✓ ",
        Some(false) => "✗ ",
        None => "",
    };
    html.text(format!("{sign}{}", answer.text));
    if let Some(score) = answer.score {
        html.leaf("span", &[("class", &"soft")], format!(" {score:.3}"));
    }
}
