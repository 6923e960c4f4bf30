//! One process per run folder.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::failure::{Failure, Outcome};

/// Holds `run.lock`. The system releases it when the process ends, however it ends, so it is never stale.
#[derive(Debug)]
pub struct RunLock {
    file: File,
    path: PathBuf,
}

impl RunLock {
    /// Takes the lock of a run folder.
    ///
    /// # Errors
    /// The process and machine that hold it; or why the file cannot be made.
    pub fn acquire(run: &Path) -> Outcome<Self> {
        let path = run.join("run.lock");
        let fail = |error: std::io::Error| Failure::new(Failure::RUN, format!("{}: {error}", path.display()));
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(fail)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::AGAIN) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).ok();
                let holder = if holder.trim().is_empty() { "another process" } else { holder.trim() };
                return Err(Failure::usage(format!(
                    "`{}` is in use by {holder}; wait for it, stop it, or choose another `name`",
                    run.display()
                )));
            }
            Err(errno) => return Err(fail(errno.into())),
        }
        let started = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
        let text = format!("process {} on {}, started {started}\n", std::process::id(), host());
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes())).map_err(fail)?;
        Ok(Self { file, path: path.clone() })
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        self.file.set_len(0).ok();
        rustix::fs::flock(&self.file, FlockOperation::Unlock).ok();
    }
}

/// The name of this machine.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_named_and_a_dropped_lock_is_free() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = RunLock::acquire(dir.path()).expect("it is free");
        let error = RunLock::acquire(dir.path()).expect_err("it is held");
        assert_eq!(error.code, Failure::USAGE);
        assert!(error.message.contains(&format!("process {} on {}", std::process::id(), host())), "{error}");
        drop(first);
        RunLock::acquire(dir.path()).expect("it is free again");
    }

    #[test]
    fn a_lock_held_by_another_process_is_refused_and_free_once_that_is_killed() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut child = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "checkpoint::lock::tests::holder", "--ignored"])
            .env("VLHUB_TEST_LOCK", dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("it starts");
        while !dir.path().join("held").exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let error = RunLock::acquire(dir.path()).expect_err("it is held");
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        assert!(error.message.contains(&format!("process {} on", child.id())), "{error}");
        RunLock::acquire(dir.path()).expect("a dead process holds nothing");
    }

    #[test]
    #[ignore = "it is the other process of the test above"]
    fn holder() {
        let Some(dir) = std::env::var_os("VLHUB_TEST_LOCK") else { return };
        let _lock = RunLock::acquire(Path::new(&dir)).expect("it is free");
        std::fs::write(Path::new(&dir).join("held"), "").expect("it is written");
        std::thread::sleep(std::time::Duration::from_secs(60));
    }
}
