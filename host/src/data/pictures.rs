//! Pictures that are named on a command line: files, and folders with what is in them.

use std::path::{Path, PathBuf};

use image::RgbImage;
use vlhub_core::{Bad, Error, Result};
use vlhub_sdk::sources::picture_file;

use super::decode::{PictureOptions, decode_held};
use super::sources::folder;
use super::views::ImageInput;

/// Pictures that were found, and what was not.
#[derive(Debug, Default)]
pub struct Pictures {
    /// Files in the order in which they were named; those of a folder by the bytes of their paths.
    pub files: Vec<PathBuf>,
    /// Files in folders that are no pictures by their names, and folders that cannot be read.
    pub skipped: Vec<Bad>,
}

/// Files as they are named; of folders, the pictures in them and below.
///
/// # Errors
/// A path at which there is nothing, or no picture at all.
pub fn find(paths: &[PathBuf]) -> Result<Pictures> {
    let mut found = Pictures::default();
    for path in paths {
        // What is named must be there: a typing error must not cost a row without a word.
        let about = std::fs::metadata(path).map_err(|error| Error::io(path, error))?;
        if !about.is_dir() {
            found.files.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        folder::walk(path, Path::new(""), 0, &mut inside, &mut found.skipped)?;
        inside.sort();
        found.files.extend(inside.into_iter().map(|inner| path.join(inner)));
    }
    if found.files.is_empty() {
        let named: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
        let suffixes = picture_file::SUFFIXES.join(", ");
        return Err(Error::invalid(format!("there is no picture in {} or below; their names end in {suffixes}", named.join(", "))));
    }
    Ok(found)
}

/// Reads a picture; a large one comes at the size that the image tower reads, so that many fit in memory.
///
/// # Errors
/// Why the file is no picture that can be used.
pub fn read(path: &Path, input: &ImageInput, options: PictureOptions) -> Result<RgbImage, Bad> {
    let key = path.display().to_string();
    let bytes = picture_file::read(path, &key)?;
    let decoded = decode_held(&bytes, options).map_err(|flaw| Bad { place: key.clone(), key, reason: flaw.reason, detail: flaw.detail })?;
    let (image, _memory) = decoded.into_parts();
    Ok(input.bounded(image))
}

/// A list of what was not used, for people: how many of each reason, and the first few of them.
pub fn told(skipped: &[Bad]) -> Vec<String> {
    const EACH: usize = 5;
    let mut reasons: Vec<&str> = skipped.iter().map(|bad| bad.reason).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let mut lines = Vec::new();
    for reason in reasons {
        let of: Vec<&Bad> = skipped.iter().filter(|bad| bad.reason == reason).collect();
        lines.push(format!("{} × {reason}", of.len()));
        for bad in of.iter().take(EACH) {
            let detail = if bad.detail.is_empty() { String::new() } else { format!(": {}", bad.detail) };
            lines.push(format!("  {}{detail}", bad.place));
        }
        if of.len() > EACH {
            lines.push(format!("  and {} more", of.len() - EACH));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_and_what_is_not_are_both_listed() {
        let folder = tempfile::tempdir().expect("a folder");
        for file in ["in/b.png", "in/a/1.TIF", "in/notes.txt", "in/.hidden.png", "alone.dat"] {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("room");
            std::fs::write(path, "x").expect("room");
        }
        let found = find(&[folder.path().join("alone.dat"), folder.path().join("in")]).expect("there are some");
        let names: Vec<_> =
            found.files.iter().map(|path| path.strip_prefix(folder.path()).expect("inside").display().to_string()).collect();
        assert_eq!(names, ["alone.dat", "in/a/1.TIF", "in/b.png"], "what is named is taken by its word");
        assert_eq!(
            found.skipped.iter().map(|bad| (bad.key.as_str(), bad.reason)).collect::<Vec<_>>(),
            [("notes.txt", "not an image file")]
        );
        assert!(find(&[folder.path().join("typo.png")]).expect_err("nothing is there").to_string().contains("typo.png"));
        std::fs::create_dir(folder.path().join("empty")).expect("room");
        assert!(find(&[folder.path().join("empty")]).expect_err("nothing is in it").to_string().contains("no picture in"));
    }

    #[test]
    fn a_long_list_is_told_by_reason() {
        let bad = |number: usize, reason| Bad { key: String::new(), place: format!("{number}.jpg"), reason, detail: "why".into() };
        let skipped: Vec<Bad> = (0..7).map(|number| bad(number, "truncated image")).chain([bad(9, "missing file")]).collect();
        let told = told(&skipped);
        assert_eq!((told[0].as_str(), told[1].as_str()), ("1 × missing file", "  9.jpg: why"));
        assert_eq!((told[2].as_str(), told[8].as_str(), told.len()), ("7 × truncated image", "  and 2 more", 9));
    }
}
