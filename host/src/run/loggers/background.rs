//! A logger that talks to a server: on a thread of its own, behind a queue that is bounded, so that no step waits for a network.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use vlhub_core::{Error, Result};

use super::{LogRecord, LoggerEnd, RunEnding, RunLogger};

/// Records that wait at most. A step is one; so a server may be away for as many recorded steps.
const QUEUE: usize = 4096;
/// Records that are handed over at once.
const BATCH: usize = 256;

/// Why records were not taken.
#[derive(Debug)]
pub(super) enum Refused {
    /// The same may succeed later: no connection, a server that is busy.
    Later(String),
    /// It never will.
    Never(String),
}

/// The side that talks to the server.
pub(super) trait RecordSink: Send + 'static {
    /// Its name in `report_to`.
    fn name(&self) -> &'static str;
    /// Sends records. What it was given before and was refused with [`Refused::Later`] may have arrived in part: nothing is to be doubled.
    ///
    /// # Errors
    /// Why not, and whether to try again.
    fn send(&mut self, records: &[LogRecord]) -> Result<(), Refused>;
    /// Ends the run. Returns where to look at it.
    ///
    /// # Errors
    /// As [`RecordSink::send`].
    fn end(&mut self, ending: RunEnding) -> Result<String, Refused>;
}

/// How long is waited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Before a try is repeated the first time; doubled each time, up to `longest`.
    pub pause: Duration,
    /// Before a try is repeated at most.
    pub longest: Duration,
    /// For everything to arrive, after the run has ended.
    pub last: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { pause: Duration::from_secs(1), longest: Duration::from_secs(60), last: Duration::from_secs(10) }
    }
}

/// Hands records to a [`RecordSink`].
#[derive(Debug)]
pub(super) struct BackgroundLogger {
    name: &'static str,
    patience: Patience,
    records: Option<Sender<LogRecord>>,
    ending: Option<Sender<RunEnding>>,
    end: Receiver<LoggerEnd>,
}

impl BackgroundLogger {
    /// Starts the thread. `past` are handed over before anything else.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(sink: impl RecordSink, past: Vec<LogRecord>, patience: Patience) -> Result<Self> {
        let name = sink.name();
        let (records, queue) = bounded(QUEUE);
        let (ending, told) = bounded(1);
        let (done, end) = bounded(1);
        let worker = Worker { sink, queue, told, patience, deadline: None, ending: None, refused: false, lost: 0 };
        let thread = std::thread::Builder::new().name(format!("logger {name}"));
        thread.spawn(move || done.send(worker.work(past))).map_err(|error| Error::invalid(format!("no thread for it: {error}")))?;
        Ok(Self { name, patience, records: Some(records), ending: Some(ending), end })
    }
}

impl RunLogger for BackgroundLogger {
    fn name(&self) -> &'static str {
        self.name
    }

    fn write(&mut self, record: &LogRecord) -> Result<()> {
        let Some(records) = &self.records else { return Ok(()) };
        match records.try_send(record.clone()) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                Err(Error::invalid(format!("the server takes less than is recorded, and {QUEUE} records wait already")))
            }
            Err(TrySendError::Disconnected(_)) => Err(Error::invalid("its thread has ended")),
        }
    }

    fn finish(&mut self, ending: RunEnding) -> Result<LoggerEnd> {
        let (records, told) = (self.records.take(), self.ending.take());
        if let Some(told) = told {
            told.send(ending).ok();
        }
        let waiting = records.as_ref().map_or(0, Sender::len) as u64;
        drop(records);
        // The thread keeps to the same limit; one more request may be on its way.
        match self.end.recv_timeout(self.patience.last + Duration::from_secs(15)) {
            Ok(end) => Ok(end),
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!("{}: the server did not answer until the end", self.name);
                Ok(LoggerEnd { lost: waiting.max(1), advice: None })
            }
            Err(RecvTimeoutError::Disconnected) => Err(Error::invalid("its thread has ended before the run")),
        }
    }
}

/// What runs on the thread.
struct Worker<S> {
    sink: S,
    queue: Receiver<LogRecord>,
    told: Receiver<RunEnding>,
    patience: Patience,
    /// When it gives up, once the run has ended.
    deadline: Option<Instant>,
    ending: Option<RunEnding>,
    /// Whether a refusal was told.
    refused: bool,
    lost: u64,
}

impl<S: RecordSink> Worker<S> {
    fn work(mut self, past: Vec<LogRecord>) -> LoggerEnd {
        past.chunks(BATCH).for_each(|batch| self.deliver(batch));
        while let Ok(first) = self.queue.recv() {
            let mut batch = vec![first];
            batch.extend(self.queue.try_iter().take(BATCH - 1));
            self.deliver(&batch);
        }
        // Without a word the run has failed.
        let ending = self.ending.or_else(|| self.told.try_recv().ok()).unwrap_or(RunEnding::Failed);
        self.deadline.get_or_insert_with(|| Instant::now() + self.patience.last);
        let mut advice = None;
        self.insist("the end of the run", |sink| sink.end(ending).map(|text| advice = Some(text)));
        LoggerEnd { lost: self.lost, advice }
    }

    fn deliver(&mut self, batch: &[LogRecord]) {
        if !self.insist("what was recorded", |sink| sink.send(batch)) {
            self.lost += batch.len() as u64;
        }
    }

    /// Tries until it succeeds, can never succeed, or the run has been over for too long. Tells the first failure.
    fn insist(&mut self, what: &str, mut attempt: impl FnMut(&mut S) -> Result<(), Refused>) -> bool {
        let (mut pause, mut told) = (self.patience.pause, false);
        loop {
            let why = match attempt(&mut self.sink) {
                Ok(()) => {
                    if told {
                        tracing::info!("{}: the server answers again", self.sink.name());
                    }
                    return true;
                }
                Err(Refused::Never(why)) => {
                    if !std::mem::replace(&mut self.refused, true) {
                        tracing::warn!("{}: {what} is refused: {why}; the run goes on, and what is lost is counted", self.sink.name());
                    }
                    return false;
                }
                Err(Refused::Later(why)) => why,
            };
            if !std::mem::replace(&mut told, true) {
                tracing::warn!("{}: {why}; the run goes on, and this is tried again", self.sink.name());
            }
            if self.is_over(pause) {
                tracing::warn!("{}: {what} did not arrive: {why}", self.sink.name());
                return false;
            }
            pause = (pause * 2).min(self.patience.longest);
        }
    }

    /// Waits before the next try; whether there is none, because the run has been over for too long.
    fn is_over(&mut self, pause: Duration) -> bool {
        if self.deadline.is_none() {
            match self.told.recv_timeout(pause) {
                Ok(ending) => {
                    self.ending = Some(ending);
                    self.deadline = Some(Instant::now() + self.patience.last);
                    // One more try at once.
                    return false;
                }
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
        let left = self.deadline.map_or(Duration::ZERO, |deadline| deadline.saturating_duration_since(Instant::now()));
        std::thread::sleep(pause.min(left));
        left.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers nothing until it is let go.
    struct Stuck(Receiver<()>);

    impl RecordSink for Stuck {
        fn name(&self) -> &'static str {
            "stuck"
        }
        fn send(&mut self, _: &[LogRecord]) -> Result<(), Refused> {
            self.0.recv().ok();
            Ok(())
        }
        fn end(&mut self, ending: RunEnding) -> Result<String, Refused> {
            Ok(format!("{ending:?}"))
        }
    }

    #[test]
    fn a_full_queue_refuses_and_never_waits() {
        let (release, stuck) = bounded(0);
        let mut logger = BackgroundLogger::start(Stuck(stuck), Vec::new(), Patience::default()).expect("it starts");
        let record = LogRecord::Step { step: 1, epoch: 0, values: Vec::new() };
        let begin = Instant::now();
        // As many as wait, as are on their way, and one more.
        let refused = (0..QUEUE + BATCH + 100).filter(|_| logger.write(&record).is_err()).count();
        assert!(refused >= 100, "{refused} were refused");
        assert!(begin.elapsed() < Duration::from_secs(2));
        drop(release);
        let end = logger.finish(RunEnding::Stopped).expect("it ends");
        assert_eq!((end.lost, end.advice.as_deref()), (0, Some("Stopped")), "what was refused is counted by whoever wrote it");
    }
}
