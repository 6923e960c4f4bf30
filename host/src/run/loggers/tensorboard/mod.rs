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
