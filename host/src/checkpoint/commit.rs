//! Writing: the order of operations that makes a checkpoint complete or not there.
//!
//! 1. Files are written into `step-N.tmp-NONCE`, each reserved, written and synced; the manifest last.
//! 2. The folder is synced.
//! 3. It is renamed to `step-N`.
//! 4. The parent is synced: this is the commit. Nothing that was committed before is touched until then.
//! 5. `latest` is replaced; it is a hint for people.
//! 6. Old checkpoints are pruned.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use vlhub_core::{Error, Result};
use xxhash_rust::xxh3::xxh3_128;

use super::failpoint;
use super::find::Candidate;
use super::manifest::{FORMAT, FileEntry, Manifest, hex, versions};
use super::{State, Store};
use crate::files::nonce;
use crate::formats::safetensors_write::Layout;

impl Store {
    /// Writes a checkpoint; when it returns, the checkpoint survives a loss of power. On an error, such as a full disk, what it wrote is
    /// removed, older checkpoints are as they were, and training may go on.
    ///
    /// # Errors
    /// The checkpoint, and what the system said.
    pub fn save(&self, state: &State) -> Result<PathBuf> {
        let name = format!("step-{:09}", state.progress.step);
        let target = self.dir.join(&name);
        let layout = Layout::new(&state.tensors, &Default::default()).map_err(|error| error.within(target.display().to_string()))?;
        let temporary = self.dir.join(format!("{name}.tmp-{}", nonce()));
        self.sweep();
        if let Err(error) = self.write(state, &layout, &temporary).and_then(|()| self.commit(&temporary, &target)) {
            self.remove(&temporary).or_else(|_| self.empty(&temporary)).ok();
            return Err(Error::io(target, error));
        }
        self.remember(&target, true);
        // The checkpoint is committed: whatever fails from here on costs disk space, not work.
        let after = failpoint::at("after-commit").and_then(|()| self.point_to(&name)).and_then(|()| {
            failpoint::at("after-latest")?;
            self.prune()?;
            failpoint::at("after-prune")
        });
        if let Err(error) = after {
            tracing::warn!("{}: old checkpoints could not be tidied up: {error}", self.dir.display());
        }
        Ok(target)
    }

    fn write(&self, state: &State, layout: &Layout, temporary: &Path) -> io::Result<()> {
        failpoint::at("save-begin")?;
        self.fs.create_dir(temporary)?;
        failpoint::at("after-temp-dir")?;
        let data = "rank-0.safetensors";
        let mut file = self.fs.create(&temporary.join(data), layout.size())?;
        let hash = layout.write(&state.tensors, &mut file)?;
        file.sync()?;
        failpoint::at("after-tensors")?;
        let config = "config.toml";
        self.write_small(&temporary.join(config), state.config.as_bytes())?;
        failpoint::at("after-config")?;
        let entry = |name: &str, bytes: u64, hash: u128| FileEntry { name: name.into(), bytes, xxh3_128: hex(hash) };
        let manifest = Manifest {
            format: FORMAT,
            progress: state.progress.clone(),
            config_hash: state.config_hash.clone(),
            dataset: state.dataset.clone(),
            extra: state.extra.clone(),
            files: vec![entry(data, layout.size(), hash), entry(config, state.config.len() as u64, xxh3_128(state.config.as_bytes()))],
            versions: versions(),
            threads: tch::get_num_threads(),
            checksum: String::new(),
        };
        self.write_small(&temporary.join("manifest.json"), &manifest.seal())?;
        failpoint::at("after-manifest")?;
        self.fs.sync_dir(temporary)?;
        failpoint::at("after-temp-sync")
    }

    fn commit(&self, temporary: &Path, target: &Path) -> io::Result<()> {
        failpoint::at("before-commit")?;
        // The same step again, after a resume from an older one: the old folder stays a candidate until the new one is durable.
        let replaced = match self.fs.list(target) {
            Ok(_) => {
                let aside = PathBuf::from(format!("{}.old-{}", target.display(), nonce()));
                self.fs.rename(target, &aside)?;
                self.forget(target);
                Some(aside)
            }
            Err(_) => None,
        };
        let renamed = self.fs.rename(temporary, target).and_then(|()| {
            failpoint::at("after-rename")?;
            self.fs.sync_dir(&self.dir)
        });
        match (renamed, replaced) {
            (Ok(()), None) => Ok(()),
            // It is committed; what it replaced may linger.
            (Ok(()), Some(aside)) => {
                self.remove(&aside).ok();
                Ok(())
            }
            (Err(error), replaced) => {
                // Not acknowledged, so it must not stay: a folder that vanishes with the power would be worse than none.
                self.fs.rename(target, temporary).ok();
                if let Some(aside) = replaced {
                    self.fs.rename(&aside, target).ok();
                }
                Err(error)
            }
        }
    }

    fn write_small(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.fs.create(path, bytes.len() as u64)?;
        file.write_all(bytes)?;
        file.sync()
    }

    /// `latest` names the newest checkpoint, for people and scripts; resuming does not read it.
    fn point_to(&self, name: &str) -> io::Result<()> {
        let temporary = self.dir.join(format!("latest.tmp-{}", nonce()));
        let written = self
            .write_small(&temporary, format!("{name}\n").as_bytes())
            .and_then(|()| self.fs.rename(&temporary, &self.dir.join("latest")));
        if written.is_err() {
            self.fs.remove_file(&temporary).ok();
        }
        written
    }

    /// Removes what is neither among the newest valid ones nor at a multiple of `keep_every`.
    fn prune(&self) -> io::Result<()> {
        let candidates = self.candidates().map_err(io::Error::other)?;
        let valid: Vec<bool> = candidates.iter().map(|candidate| self.is_valid(candidate)).collect();
        for path in removable(&candidates, &valid, self.keep_last, self.keep_every) {
            failpoint::at("in-prune")?;
            self.remove(&path)?;
        }
        Ok(())
    }

    /// Removes a folder: first its name, in one step, so that half of it is never taken for a damaged checkpoint.
    fn remove(&self, path: &Path) -> io::Result<()> {
        let gone = self.dir.join(format!("gone.tmp-{}", nonce()));
        self.fs.rename(path, &gone)?;
        self.forget(path);
        self.empty(&gone)
    }

    fn empty(&self, folder: &Path) -> io::Result<()> {
        for name in self.fs.list(folder)? {
            self.fs.remove_file(&folder.join(name))?;
        }
        self.fs.remove_dir(folder)
    }

    /// Removes what saves that were killed left behind. The run's lock keeps other processes out.
    fn sweep(&self) {
        for name in self.fs.list(&self.dir).unwrap_or_default() {
            let path = self.dir.join(&name);
            if name.starts_with("latest.tmp-") {
                self.fs.remove_file(&path).ok();
            } else if name.starts_with("gone.tmp-") || (name.starts_with("step-") && name.contains(".tmp-")) {
                self.empty(&path).ok();
            }
        }
    }
}

/// Which checkpoints to remove, given all of them, newest first, and whether each is valid.
///
/// The last `keep_last` valid ones stay, and never fewer than two; so do valid ones at multiples of `keep_every`. A damaged one stays while
/// it is newer than all that, so that the damage can be inspected. One that was put aside goes when a valid one of its step is there.
fn removable(candidates: &[Candidate], valid: &[bool], keep_last: usize, keep_every: Option<u64>) -> Vec<PathBuf> {
    let mut newer = 0;
    let mut removable = Vec::new();
    let mut newest_of_step = None;
    for (candidate, &valid) in candidates.iter().zip(valid) {
        if candidate.replaced && newest_of_step == Some(candidate.step) {
            removable.push(candidate.path.clone());
            continue;
        }
        let milestone = valid && !candidate.replaced && keep_every.is_some_and(|every| every > 0 && candidate.step.is_multiple_of(every));
        if newer >= keep_last.max(2) && !milestone {
            removable.push(candidate.path.clone());
        }
        newer += usize::from(valid);
        newest_of_step = if valid { Some(candidate.step) } else { newest_of_step };
    }
    removable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pruning_keeps_what_it_promises() {
        // Steps newest first; `!` marks a damaged one, `~` one that was put aside.
        for (there, last, every, gone, why) in [
            ("3 2 1", 2, None, "1", "the last two stay"),
            ("3 2 1", 5, None, "", "there are fewer than may stay"),
            ("3 2 1", 0, None, "1", "never fewer than two, whatever is asked for"),
            ("3 2 1", 1, None, "1", "never fewer than two"),
            ("40 30 20 10", 2, Some(20), "10", "20 is a milestone"),
            ("40 30 20 10", 2, Some(0), "20 10", "a period of zero is none"),
            ("5 4! 3 2", 2, None, "2", "a damaged one does not count, and stays while a newer is needed"),
            ("5 4 3! 2", 2, None, "3! 2", "a damaged one goes with its age"),
            ("5! 4! 3 2 1", 2, None, "1", "two damaged ones do not push out the last valid ones"),
            ("20 19 18! 10!", 2, Some(10), "18! 10!", "a damaged milestone is none"),
            ("9 9~ 8 7", 2, None, "9~ 7", "one that was replaced goes, and does not count"),
            ("9! 9~ 8 7", 2, None, "7", "one that was put aside stays while its successor is damaged"),
            ("9~ 8 7", 2, None, "7", "one that was put aside counts while it has no successor"),
        ] {
            let candidate = |one: &str| Candidate {
                step: one.trim_end_matches(['!', '~']).parse().expect("a number"),
                replaced: one.ends_with('~'),
                path: one.into(),
            };
            let steps: Vec<_> = there.split_whitespace().map(candidate).collect();
            let valid: Vec<_> = there.split_whitespace().map(|one| !one.ends_with('!')).collect();
            let expected: Vec<PathBuf> = gone.split_whitespace().map(PathBuf::from).collect();
            assert_eq!(removable(&steps, &valid, last, every), expected, "{there}: {why}");
        }
    }
}
