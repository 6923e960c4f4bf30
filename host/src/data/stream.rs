//! The threads behind a loader, and the place where their batches are put back into order.
//!
//! A row is a job. Workers take jobs in any order; the one that finishes a batch's last row puts the batch together. The consumer takes batches
//! in order, settles what was skipped, and asks for one batch more: so memory is bounded, and the skip log and the budget are in order too.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use vlhub_core::{Batch, Error, Result};

use super::decode::panic_text;
use super::loader::{Attempts, SampleBudget, SharedLoader};
use super::skipped::SkipLog;
use super::views::Unused;

/// A batch, and where it is in the run.
#[derive(Debug)]
pub struct LoadedBatch {
    /// Its step.
    pub step: u64,
    /// Its epoch.
    pub epoch: u64,
    /// The batch, on the CPU unless [`Stream::ready`] let it be moved.
    pub batch: Batch,
    /// How long the caller waited for it.
    pub wait: Duration,
    /// The samples, in the order of the rows.
    pub keys: Vec<String>,
}

/// Why there is no batch.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// More samples cannot be used than the run allows; the message names the first few.
    #[error("{0}")]
    Budget(String),
    /// Another reason: a batch could not be put together, or caption transforms dropped every sample.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// One row to make.
struct Job {
    batch: Arc<InFlight>,
    slot: usize,
}

struct InFlight {
    step: u64,
    rows: Mutex<Vec<Option<Attempts>>>,
    left: AtomicUsize,
}

/// What a worker hands over for a step.
struct Done {
    unused: Vec<Vec<Unused>>,
    /// `None` when a row is missing.
    batch: Option<Result<(Batch, Vec<String>)>>,
}

/// Batches in order. Dropping it ends the threads.
pub struct Stream {
    shared: Arc<SharedLoader>,
    skipped: SkipLog,
    jobs: Option<Sender<Job>>,
    done: Receiver<(u64, Done)>,
    early: BTreeMap<u64, Done>,
    next: u64,
    asked: u64,
    budget: SampleBudget,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("next", &self.next).field("asked", &self.asked).field("budget", &self.budget).finish_non_exhaustive()
    }
}

impl Stream {
    pub(crate) fn new(shared: Arc<SharedLoader>, skipped: SkipLog, from_step: u64) -> Self {
        let threads = shared.config.threads.max(1);
        let (jobs, queue) = unbounded::<Job>();
        let (finished, done) = unbounded();
        let stop = Arc::new(AtomicBool::new(false));
        let workers = (0..threads)
            .map(|_| {
                let (shared, queue, finished, stop) = (Arc::clone(&shared), queue.clone(), finished.clone(), Arc::clone(&stop));
                std::thread::spawn(move || work(&shared, &queue, &finished, &stop))
            })
            .collect();
        let ahead = shared.ahead();
        let mut this = Self {
            shared,
            skipped,
            jobs: Some(jobs),
            done,
            early: BTreeMap::new(),
            next: from_step,
            asked: from_step,
            budget: SampleBudget::default(),
            stop,
            workers,
        };
        for _ in 0..ahead {
            this.ask();
        }
        this
    }

    fn ask(&mut self) {
        let rows = self.shared.config.batch;
        let batch =
            Arc::new(InFlight { step: self.asked, rows: Mutex::new((0..rows).map(|_| None).collect()), left: AtomicUsize::new(rows) });
        self.asked += 1;
        if let Some(jobs) = &self.jobs {
            for slot in 0..rows {
                // It fails only when every worker is gone, which the next receive says.
                let _ = jobs.send(Job { batch: Arc::clone(&batch), slot });
            }
        }
    }

    /// The next batch.
    ///
    /// # Errors
    /// More unusable samples than the run allows, or a batch that cannot be put together. The stream is of no use afterwards.
    #[allow(clippy::should_implement_trait, reason = "it never ends, so it is no iterator")]
    pub fn next(&mut self) -> Result<LoadedBatch, LoadError> {
        let start = Instant::now();
        let step = self.next;
        while !self.early.contains_key(&step) {
            let (step, done) = self.done.recv().map_err(|_| Error::invalid("the threads that read samples have ended"))?;
            self.early.insert(step, done);
        }
        let wait = start.elapsed();
        let done = self.early.remove(&step).ok_or_else(|| Error::invalid("a batch was lost"))?;
        let (epoch, _) = self.shared.epoch(step);
        self.settle(epoch, step, &done)?;
        let (batch, keys) = done.batch.ok_or_else(|| Error::invalid("a row could not be filled"))??;
        self.next += 1;
        self.ask();
        Ok(LoadedBatch { step, epoch, batch, wait, keys })
    }

    /// The next batch, if it is made already. It stays the next one, and may be moved to another device.
    pub fn ready(&mut self) -> Option<&mut Batch> {
        for (step, done) in self.done.try_iter() {
            self.early.insert(step, done);
        }
        let (batch, _) = self.early.get_mut(&self.next)?.batch.as_mut()?.as_mut().ok()?;
        Some(batch)
    }

    /// Writes down what was skipped, row by row, and holds it against the budget.
    fn settle(&mut self, epoch: u64, step: u64, done: &Done) -> Result<(), LoadError> {
        let rows = done.unused.len();
        for (slot, row) in done.unused.iter().enumerate() {
            for unused in row {
                match unused {
                    Unused::Bad(bad) => {
                        self.skipped.record(epoch, step, bad);
                        if let Some(error) = self.budget.bad(bad, &self.shared.config) {
                            return Err(error);
                        }
                    }
                    Unused::FilteredOut(transform) => {
                        self.skipped.dropped(transform);
                        self.budget.good();
                    }
                }
            }
            // A row that could not be filled ends the list.
            if done.batch.is_some() || slot + 1 < rows {
                self.budget.good();
            } else if let Some(Unused::FilteredOut(transform)) = row.last() {
                let tried = row.len();
                return Err(Error::invalid(format!(
                    "no sample is left for a row after {tried} were tried: `{transform}` drops almost all"
                ))
                .into());
            }
        }
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.jobs = None;
        for worker in self.workers.drain(..) {
            // A worker that panicked has nothing more to say.
            let _ = worker.join();
        }
    }
}

fn work(shared: &SharedLoader, queue: &Receiver<Job>, finished: &Sender<(u64, Done)>, stop: &AtomicBool) {
    let stopped = || stop.load(Ordering::Relaxed);
    // The last row of a batch makes its tensors here.
    vlhub_torch_ext::serial_thread();
    while let Ok(Job { batch, slot }) = queue.recv() {
        if stopped() {
            return;
        }
        let tried = shared.fill(batch.step, slot, stopped);
        batch.rows.lock().unwrap_or_else(PoisonError::into_inner)[slot] = Some(tried);
        if batch.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            continue;
        }
        let rows = std::mem::take(&mut *batch.rows.lock().unwrap_or_else(PoisonError::into_inner));
        if stopped() || finished.send((batch.step, finish(shared, rows))).is_err() {
            return;
        }
    }
}

/// Puts a batch together once all its rows are there, or cuts it after the first row that is not.
fn finish(shared: &SharedLoader, tried: Vec<Option<Attempts>>) -> Done {
    let mut unused = Vec::with_capacity(tried.len());
    let mut rows = Vec::with_capacity(tried.len());
    for tried in tried {
        let tried = tried.unwrap_or_default();
        unused.push(tried.unused);
        match tried.row {
            Some(row) => rows.push(row),
            None => return Done { unused, batch: None },
        }
    }
    let batch = catch_unwind(AssertUnwindSafe(|| shared.collate(&rows)))
        .unwrap_or_else(|panic| Err(Error::invalid(format!("a batch could not be put together: {}", panic_text(panic.as_ref())))));
    let keys = rows.into_iter().map(|row| row.key).collect();
    Done { unused, batch: Some(batch.map(|batch| (batch, keys))) }
}
