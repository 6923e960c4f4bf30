//! TensorBoard: an event file for each life of a run, its options for the HPARAMS tab, and embeddings for the projector.

mod events;
mod hparams;
mod projector;

use std::path::PathBuf;

use vlhub_core::Result;

use super::{LogRecord, LoggerEnd, RunAbout, RunEnding, RunLogger};
use events::EventWriter;

/// Writes the files in `tensorboard/`.
#[derive(Debug)]
pub(super) struct TensorBoardLogger {
    folder: PathBuf,
    events: EventWriter,
}

impl TensorBoardLogger {
    /// Starts an event file. Where others are there, TensorBoard is told to forget what they have of steps that the run takes again.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn open(about: &RunAbout<'_>) -> Result<Self> {
        let folder = about.folder.join("tensorboard");
        let earlier = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let earlier = earlier.into_iter().any(|entry| entry.file_name().to_string_lossy().contains(".tfevents."));
        // A run that starts again from nothing forgets step 0, too.
        let forget = earlier.then(|| about.resumed.map_or(0, |step| step + 1));
        let mut this = Self { events: EventWriter::create(&folder, forget)?, folder };
        this.events.text("config", about.resumed.unwrap_or(0), &format!("```toml\n{}\n```", about.toml))?;
        if !earlier {
            // TensorBoard keeps the first that it meets, so a life that was resumed has nothing to add.
            this.events.plugin(hparams::START, hparams::PLUGIN, &hparams::session_start(about.options))?;
            about.past.iter().try_for_each(|record| this.write(record))?;
        }
        Ok(this)
    }
}

impl RunLogger for TensorBoardLogger {
    fn name(&self) -> &'static str {
        "tensorboard"
    }

    fn write(&mut self, record: &LogRecord) -> Result<()> {
        match record {
            // Evaluations stand at their step, too. At the epoch, where open_clip has them, two within one epoch would share a place, and one of
            // an epoch that a resumed run takes again could not be forgotten.
            LogRecord::Step { .. } | LogRecord::Evaluation { .. } => self.events.scalars(record.step(), &record.scalars()),
            LogRecord::Image { tag, step, size, png } => self.events.image(tag, *step, *size, png),
            LogRecord::Embeddings { suite, sample, .. } => projector::write(&self.folder, suite, sample),
        }
    }

    fn takes_embeddings(&self) -> bool {
        true
    }

    fn finish(&mut self, ending: RunEnding) -> Result<LoggerEnd> {
        // Anything else may be resumed, and the first end that TensorBoard meets is the one that it shows.
        if ending == RunEnding::Finished {
            self.events.plugin(hparams::END, hparams::PLUGIN, &hparams::session_end())?;
        }
        Ok(LoggerEnd::default())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Map;

    use super::super::protobuf::{WireValue, field, fields};
    use super::*;

    fn step(step: u64) -> LogRecord {
        LogRecord::Step { step, epoch: 0, values: vec![("loss".into(), 0.5)] }
    }

    fn open(folder: &Path, resumed: Option<u64>, past: Vec<LogRecord>) -> TensorBoardLogger {
        let options = Map::from_iter([("seed".to_owned(), 3.into())]);
        TensorBoardLogger::open(&RunAbout { name: "a", folder, options: &options, toml: "", resumed, past }).expect("it can be written")
    }

    /// Step and tag of what the newest file holds; `start` for the start of a session.
    fn events(folder: &Path) -> Vec<(u64, String)> {
        let files = std::fs::read_dir(folder.join("tensorboard")).expect("it is there").flatten().map(|entry| entry.path());
        let newest = files.filter(|path| path.is_file()).max_by_key(|path| {
            let name = path.display().to_string();
            name.rsplit('.').next().and_then(|count| count.parse::<u64>().ok())
        });
        let (bytes, mut at, mut found) = (std::fs::read(newest.expect("a file")).expect("it is there"), 0, Vec::new());
        while at < bytes.len() {
            let length = u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes")) as usize;
            let event = &bytes[at + 12..at + 12 + length];
            let step = fields(event).expect("an event").into_iter().find_map(|(number, value)| match (number, value) {
                (2, WireValue::Varint(step)) => Some(step),
                _ => None,
            });
            let tag = field(event, 5).and_then(|summary| field(field(summary, 1)?, 1)).map(|tag| String::from_utf8_lossy(tag).into_owned());
            let start = field(event, 7).map(|_| "start".to_owned());
            found.extend(start.or(tag).map(|what| (step.expect("a step"), what)));
            at += length + 16;
        }
        found
    }

    #[test]
    fn a_resumed_run_makes_tensorboard_forget_what_it_takes_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let named = |list: &[(u64, &str)]| list.iter().map(|(step, tag)| (*step, (*tag).to_owned())).collect::<Vec<_>>();
        // Begun in the middle: what was before is written, and nothing is to be forgotten.
        let mut logger = open(folder.path(), Some(2), vec![step(1), step(2)]);
        logger.write(&step(3)).expect("it can be written");
        logger.finish(RunEnding::Stopped).expect("it can be written");
        let first = [(2, "config"), (0, hparams::START), (1, "train/loss"), (2, "train/loss"), (3, "train/loss")];
        assert_eq!(events(folder.path()), named(&first), "a run that was stopped has not ended");
        let mut logger = open(folder.path(), Some(2), vec![step(1), step(2)]);
        logger.write(&step(3)).expect("it can be written");
        logger.finish(RunEnding::Finished).expect("it can be written");
        assert_eq!(events(folder.path()), named(&[(3, "start"), (2, "config"), (3, "train/loss"), (0, hparams::END)]));
        // Without a checkpoint it starts again from nothing.
        open(folder.path(), None, Vec::new());
        assert_eq!(events(folder.path()), named(&[(0, "start"), (0, "config")]));
    }
}
