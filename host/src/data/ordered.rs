//! Work by several threads, handed out in order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

/// What [`ordered`] calls with each number.
pub type Work<T> = Arc<dyn Fn(usize) -> T + Send + Sync>;

/// Calls `work` with every number of `range` on several threads and yields the results in order. At most four numbers a thread are under way at
/// a time. `work` must not panic: the iterator ends early if it does.
pub fn ordered<T: Send + 'static>(threads: usize, range: Range<usize>, work: Work<T>) -> Ordered<T> {
    let threads = threads.clamp(1, range.len().max(1));
    let (jobs, queue) = unbounded::<usize>();
    let (done, results) = unbounded();
    let stop = Arc::new(AtomicBool::new(false));
    let workers = (0..threads)
        .map(|_| {
            let (queue, done, work, stop) = (queue.clone(), done.clone(), Arc::clone(&work), Arc::clone(&stop));
            std::thread::spawn(move || {
                while let Ok(number) = queue.recv() {
                    if stop.load(Ordering::Relaxed) || done.send((number, work(number))).is_err() {
                        return;
                    }
                }
            })
        })
        .collect();
    let mut this = Ordered {
        jobs: Some(jobs),
        results,
        waiting: BTreeMap::new(),
        next: range.start,
        asked: range.start,
        end: range.end,
        stop,
        workers,
    };
    for _ in 0..threads * 4 {
        this.ask();
    }
    this
}

/// Results in order. Dropping it ends the threads.
#[derive(Debug)]
pub struct Ordered<T> {
    jobs: Option<Sender<usize>>,
    results: Receiver<(usize, T)>,
    waiting: BTreeMap<usize, T>,
    next: usize,
    asked: usize,
    end: usize,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
}

impl<T> Ordered<T> {
    fn ask(&mut self) {
        if self.asked < self.end
            && let Some(jobs) = &self.jobs
            && jobs.send(self.asked).is_ok()
        {
            self.asked += 1;
        }
        if self.asked == self.end {
            // Workers end by themselves when there is no more to ask.
            self.jobs = None;
        }
    }
}

impl<T> Iterator for Ordered<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.next >= self.end {
            return None;
        }
        while !self.waiting.contains_key(&self.next) {
            let (number, result) = self.results.recv().ok()?;
            self.waiting.insert(number, result);
        }
        let result = self.waiting.remove(&self.next);
        self.next += 1;
        self.ask();
        result
    }
}

impl<T> Drop for Ordered<T> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.jobs = None;
        for worker in self.workers.drain(..) {
            // A worker that panicked has nothing more to say.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn results_come_in_order_whatever_the_number_of_threads() {
        for threads in [0, 1, 3, 16] {
            let work: Work<usize> = Arc::new(|number| {
                std::thread::sleep(Duration::from_micros((number as u64 * 7919) % 300));
                number * 2
            });
            let got: Vec<usize> = ordered(threads, 5..105, work).collect();
            assert!(got.iter().copied().eq((5..105).map(|number| number * 2)), "{threads} threads");
        }
        assert_eq!(ordered::<usize>(2, 3..3, Arc::new(|number| number)).count(), 0);
    }

    #[test]
    fn an_iterator_that_is_dropped_does_little_more_work() {
        let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let work: Work<()> = Arc::new(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        drop(ordered(2, 0..1_000_000, work));
        assert!(count.load(Ordering::SeqCst) <= 8);
    }

    #[test]
    fn a_panic_ends_the_iterator_and_does_not_hang() {
        let work: Work<usize> = Arc::new(|number| if number == 3 { panic!("on purpose") } else { number });
        assert!(ordered(1, 0..10, work).count() < 10);
    }
}
