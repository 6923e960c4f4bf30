//! What a command writes.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use vlhub_core::{Config, Error, ObjectInfo, ObjectSink, ObjectStore, Result, StoreCx, StoreFault};
use vlhub_sdk::register;
use vlhub_sdk::schemars::JsonSchema;

/// What a command writes to its standard output: `pipe:COMMAND`, as in webdataset.
///
/// `sh` runs it in the run file's folder, once: the output goes to the data cache, under the command's text.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct PipeConfig {
    /// Run commands that stand in lists of data; `--allow-pipe` says so too.
    pub allow: bool,
}

register!(dyn ObjectStore, "pipe", PipeConfig);

impl Config<dyn ObjectStore> for PipeConfig {
    fn build(&self, cx: &StoreCx<'_>) -> Result<Box<dyn ObjectStore>> {
        if !self.allow {
            return Err(Error::invalid(
                "a list of data names a command (`pipe:…`), and commands are not run unless you allow it: `--allow-pipe`, or `[store.pipe]` with \
                 `allow = true`. Look at them first: they run with all your rights",
            ));
        }
        // An empty path is the folder where the program was started.
        let folder = if cx.folder.as_os_str().is_empty() { Path::new(".") } else { cx.folder };
        Ok(Box::new(Pipe { folder: std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()) }))
    }
}

#[derive(Debug)]
struct Pipe {
    folder: PathBuf,
}

/// Bytes of a command's complaints that are kept: the last ones say why it ended.
const TAIL: usize = 2000;

impl ObjectStore for Pipe {
    fn fetch(&self, address: &str, _: Option<(u64, &str)>, to: &mut dyn ObjectSink) -> Result<(), StoreFault> {
        let command = address.strip_prefix("pipe:").unwrap_or(address);
        let mut child = Command::new("sh")
            .args(["-c", command])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| StoreFault::lasting(format!("`sh` cannot be started: {error}")))?;
        let (Some(mut out), Some(mut complaints)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(StoreFault::lasting("its output cannot be read"));
        };
        // Read beside the output: a command whose complaints nobody takes would stop.
        let complaints = std::thread::spawn(move || {
            let (mut tail, mut buffer) = (Vec::new(), [0; 4096]);
            while let Ok(count @ 1..) = complaints.read(&mut buffer) {
                tail.extend_from_slice(&buffer[..count]);
                tail.drain(..tail.len().saturating_sub(TAIL));
            }
            String::from_utf8_lossy(&tail).trim().to_owned()
        });
        let sent = send(&mut out, to);
        // A command that still writes is told by the closed pipe.
        drop(out);
        let status = child.wait().map_err(|error| StoreFault::lasting(error.to_string()));
        let complaints = complaints.join().unwrap_or_default();
        sent?;
        let status = status?;
        if status.success() {
            return Ok(());
        }
        let said = if complaints.is_empty() { "it said nothing".to_owned() } else { format!("it said: {complaints}") };
        Err(StoreFault::lasting(format!("the command ended with {status}; {said}")))
    }

    fn list(&self, _: &str) -> Result<Vec<String>, StoreFault> {
        Err(StoreFault::lasting("a command lists nothing"))
    }

    fn realm(&self) -> String {
        // Relative paths in a command start here.
        self.folder.display().to_string()
    }
}

fn send(out: &mut dyn Read, to: &mut dyn ObjectSink) -> Result<(), StoreFault> {
    to.begin(&ObjectInfo::default(), 0)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match out.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write(&buffer[..count])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(StoreFault::lasting(error.to_string())),
        }
    }
}
