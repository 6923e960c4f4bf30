//! Examples with their pictures: classes, and what was found for a text or a picture.

use std::path::Path;

use vlhub_core::{Error, Result};

use super::super::heat::data_url;
use super::super::page::Html;
use super::super::results::examples::{StoredAnswer, StoredExample, StoredPicture};
use super::super::results::samples::NamedFile;
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
                    let find = |picture: &StoredPicture| NamedFile::find(run, &Path::new("examples").join(&picture.file));
                    let pictures: Vec<_> = example.pictures.iter().map(|picture| (find(picture), picture)).collect();
                    let sizes = pictures.iter().filter_map(|(file, _)| file.as_ref().ok()).map(|file| file.size);
                    // Before anything is read: a file may be larger than memory.
                    let size = usize::try_from(sizes.fold(0, u64::saturating_add)).unwrap_or(usize::MAX);
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

fn one(html: &mut Html, example: &StoredExample, pictures: &[(Result<NamedFile>, &StoredPicture)]) {
    html.el("div", &[("class", &"example")], |html| {
        html.leaf("p", &[("class", &"asked")], &example.title);
        html.el("div", &[("class", &"pictures")], |html| {
            for (file, picture) in pictures {
                let answer = &picture.answer;
                html.el("figure", &[("class", &verdict(answer))], |html| {
                    match file.as_ref().map(|file| file.read().unwrap_or_default()) {
                        Ok(bytes) if !bytes.is_empty() => html.void("img", &[("src", &data_url(&bytes)), ("alt", &answer.text)]),
                        Err(error) if matches!(error, Error::Invalid(_)) => {
                            tracing::warn!("{error}");
                            html.leaf("span", &[("class", &"soft")], format!("left out: {} is no picture of this folder", picture.file));
                        }
                        _ => html.leaf("span", &[("class", &"soft")], "picture missing"),
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// The page's part about one example for each of these files.
    fn shown(run: &Path, files: &[&str]) -> String {
        let picture = |file: &&str| StoredPicture { file: (*file).to_owned(), answer: StoredAnswer::default() };
        let example = |file: &&str| StoredExample { section: "Best".into(), pictures: vec![picture(file)], ..StoredExample::default() };
        let (mut html, mut room) = (Html::default(), ROOM);
        show(&mut html, run, &files.iter().map(example).collect::<Vec<_>>(), &mut room);
        html.as_str().to_owned()
    }

    #[test]
    fn pictures_come_from_the_runs_folder_and_what_is_left_out_is_told() {
        let folder = tempfile::tempdir().expect("a directory");
        let (run, own) = (folder.path().join("run"), folder.path().join("id_rsa"));
        std::fs::create_dir_all(run.join("examples/s")).expect("made");
        std::fs::write(&own, "a private key").expect("written");
        std::fs::write(run.join("examples/s/a.png"), "a picture").expect("written");
        symlink(&own, run.join("examples/s/link.png")).expect("a link");
        symlink("/dev/zero", run.join("examples/s/zero.png")).expect("a link");
        let absolute = own.display().to_string();
        let refused = [absolute.as_str(), "../../id_rsa", "s/link.png", "s/zero.png", "s"];
        let page = shown(&run, &[&["s/a.png", "s/none.png"][..], &refused].concat());
        assert!(page.contains(&data_url(b"a picture")) && page.matches("picture missing").count() == 1, "{page}");
        assert_eq!(page.matches("is no picture of this folder").count(), refused.len(), "{page}");
        assert_eq!(page.matches("<img").count(), 1, "{page}");

        // A whole folder of examples that is somewhere else.
        let other = folder.path().join("other");
        std::fs::create_dir(&other).expect("made");
        symlink(folder.path(), other.join("examples")).expect("a link");
        let page = shown(&other, &["id_rsa"]);
        assert!(page.contains("is no picture of this folder") && !page.contains("<img"), "{page}");
    }

    #[test]
    fn a_picture_that_is_larger_than_the_page_is_not_read() {
        let run = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(run.path().join("examples")).expect("made");
        // Sparse: it takes no room on the disk.
        std::fs::File::create(run.path().join("examples/a.png")).and_then(|file| file.set_len(1 << 36)).expect("made");
        let page = shown(run.path(), &["a.png"]);
        assert!(page.contains("1 more in the folder examples/") && !page.contains("<img"), "{page}");
    }
}
