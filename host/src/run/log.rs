//! Log lines in the form that open_clip gives them, on the console and in the run's `out.log`.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use vlhub_core::{Error, Result};

/// Target of the lines that repeat what a progress bar shows: a console with a bar leaves them out.
pub const PROGRESS: &str = "vlhub::progress";

static FILE: Mutex<Option<File>> = Mutex::new(None);
/// Held by tests that send the log to a file: there is one per process.
#[cfg(test)]
pub(super) static ALONE: Mutex<()> = Mutex::new(());
static BAR: Mutex<Option<indicatif::ProgressBar>> = Mutex::new(None);

/// Sends what is logged in this process to the console (standard error), and later to [`to_file`]. Returns where it goes, for plugin
/// libraries; a second call changes nothing.
pub fn start(level: Level) -> Dispatch {
    let lines = Lines { colour: std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() };
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(lines.with_filter(LevelFilter::from_level(level))));
    match tracing::dispatcher::set_global_default(dispatch.clone()) {
        Ok(()) => dispatch,
        Err(_) => tracing::dispatcher::get_default(Dispatch::clone),
    }
}

/// From now on, lines also go to the end of this file.
///
/// # Errors
/// The file and why it cannot be opened.
pub fn to_file(path: &Path) -> Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(path).map_err(|error| Error::io(path, error))?;
    *FILE.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
    Ok(())
}

/// From now on, lines go to the console only.
pub fn close_file() {
    *FILE.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// The bar above which console lines are written.
pub(super) fn set_bar(bar: Option<indicatif::ProgressBar>) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = bar;
}

struct Lines {
    colour: bool,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let about = event.metadata();
        let mut message = Message::default();
        event.record(&mut message);
        let time = jiff::Zoned::now().strftime("%Y-%m-%d,%H:%M:%S").to_string();
        let line = line(&time, *about.level(), &message.text);
        if let Some(file) = &mut *FILE.lock().unwrap_or_else(PoisonError::into_inner) {
            // A full disk must not stop the run; the console still has the line.
            file.write_all(line.as_bytes()).ok();
        }
        let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if bar.is_some() && about.target() == PROGRESS {
            return;
        }
        let shown = match *about.level() {
            Level::ERROR if self.colour => format!("\x1b[31m{}\x1b[0m\n", line.trim_end()),
            Level::WARN if self.colour => format!("\x1b[33m{}\x1b[0m\n", line.trim_end()),
            _ => line,
        };
        let print = || std::io::stderr().lock().write_all(shown.as_bytes()).ok();
        match bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        };
    }
}

fn line(time: &str, level: Level, message: &str) -> String {
    let level = if level == Level::WARN { "WARNING".to_owned() } else { level.to_string() };
    format!("{time} | {level} | {message}\n")
}

/// The message of an event, and its fields behind it.
#[derive(Default)]
struct Message {
    text: String,
}

impl Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.text.insert_str(0, value);
        } else {
            write!(self.text, " {}={value}", field.name()).ok();
        }
    }
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.text.insert_str(0, &format!("{value:?}"));
        } else {
            write!(self.text, " {}={value:?}", field.name()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_look_like_those_of_open_clip() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("out.log");
        to_file(&path).expect("it can be opened");
        let subscriber = tracing_subscriber::registry().with(Lines { colour: false }.with_filter(LevelFilter::INFO));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(shard = "a.tar", "unit test: 3 samples");
            tracing::warn!("unit test: careful");
            tracing::debug!("unit test: never seen");
        });
        close_file();
        let text = std::fs::read_to_string(&path).expect("it is there");
        let ours: Vec<_> = text.lines().filter(|line| line.contains("unit test")).collect();
        assert_eq!(ours.len(), 2, "{text}");
        let (time, rest) = ours[0].split_once(" | ").expect("three parts");
        assert_eq!(rest, "INFO | unit test: 3 samples shard=a.tar");
        assert!(jiff::civil::DateTime::strptime("%Y-%m-%d,%H:%M:%S", time).is_ok(), "{time}");
        assert!(ours[1].ends_with(" | WARNING | unit test: careful"));
    }
}
