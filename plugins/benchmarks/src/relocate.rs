//! Paths that a table has from another machine.

use std::path::{Component, Path, PathBuf};

/// Where the pictures of a table are: its paths are followed as they stand, or below a folder with their leading folders left out, whichever
/// leads to the first picture that is found. The same holds for all rows then.
#[derive(Debug)]
pub(crate) struct Relocation {
    below: PathBuf,
    /// Leading folders that are left out; `None` for paths as they stand.
    left_out: Option<usize>,
}

impl Relocation {
    /// Looks for the pictures of `paths` below a folder.
    pub fn find<'a>(below: &Path, paths: impl Iterator<Item = &'a str>) -> Self {
        let this = |left_out| Self { below: below.to_owned(), left_out };
        for path in paths.take(TRIED) {
            if Path::new(path).is_absolute() && Path::new(path).is_file() {
                return this(None);
            }
            let parts = parts(path).count();
            if let Some(left_out) = (0..parts).find(|left_out| this(Some(*left_out)).path(path).is_file()) {
                return this(Some(left_out));
            }
        }
        this(Some(0))
    }

    /// Where a picture is.
    pub fn path(&self, path: &str) -> PathBuf {
        match self.left_out {
            None => PathBuf::from(path),
            Some(left_out) => self.below.join(parts(path).skip(left_out).collect::<PathBuf>()),
        }
    }
}

/// Rows that are tried; a table may begin with pictures that were lost.
const TRIED: usize = 64;

/// The names that a path is made of. What leads upwards is left out, so a table cannot lead out of the folder.
fn parts(path: &str) -> impl Iterator<Item = &std::ffi::OsStr> {
    Path::new(path.trim()).components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_folders_of_another_machine_are_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("Aves")).expect("room");
        std::fs::write(folder.path().join("Aves/1.jpg"), "x").expect("room");
        let absolute = folder.path().join("Aves/1.jpg").display().to_string();
        for (paths, expected, why) in [
            (vec!["Aves/1.jpg"], "Aves/1.jpg", "as it stands"),
            (vec!["/scratch/data/Aves/1.jpg"], "Aves/1.jpg", "of another machine"),
            (vec!["/scratch/data/Aves/0.jpg", "/scratch/data/Aves/1.jpg"], "Aves/0.jpg", "the first is lost"),
            (vec!["/scratch/1.jpg"], "scratch/1.jpg", "nowhere"),
            (vec!["../../etc/passwd"], "etc/passwd", "no way out"),
            (vec![absolute.as_str()], "Aves/1.jpg", "absolute, and there"),
        ] {
            let found = Relocation::find(folder.path(), paths.iter().copied());
            assert_eq!(found.path(paths[0]), folder.path().join(expected), "{why}");
        }
    }
}
