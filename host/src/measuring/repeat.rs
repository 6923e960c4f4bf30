//! Work that is done again and again.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use vlhub_core::Error;

use crate::failure::Outcome;

/// How long a piece of work takes, and how much memory.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WorkSpeed {
    /// Median, in seconds.
    pub seconds: f64,
    /// Bytes of the tensors that it makes, at most at once.
    pub peak: i64,
}

/// Does `work` once to see its memory, and then `times` more to see how long it takes. What it returns is dropped within the time.
///
/// # Errors
/// The first of `work`.
pub fn repeated<T>(times: u32, mut work: impl FnMut() -> Outcome<T>) -> Outcome<WorkSpeed> {
    let (ran, usage) = vlhub_torch_ext::metered(&mut work).map_err(Error::from)?;
    ran?;
    let mut seconds = Vec::new();
    for _ in 0..times {
        let begin = Instant::now();
        drop(work()?);
        seconds.push(begin.elapsed().as_secs_f64());
    }
    Ok(WorkSpeed { seconds: median(seconds).unwrap_or_default(), peak: usage.peak })
}

/// Calls of `work` a second, with numbers from 0 on, by several threads at once. A call that returns `false` takes its time and does not count.
pub fn calls_per_second(threads: usize, each: Duration, work: &(dyn Fn(usize) -> bool + Sync)) -> f64 {
    let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while start.elapsed() < each {
                    done.fetch_add(u64::from(work(next.fetch_add(1, Ordering::Relaxed))), Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner() as f64 / start.elapsed().as_secs_f64()
}

/// The value in the middle, of an even number the greater of two; none of none.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::failure::Failure;

    #[test]
    fn work_is_done_once_more_than_it_is_timed() {
        let mut calls = 0;
        let speed = repeated(3, || {
            calls += 1;
            Ok(Tensor::zeros([256], (Kind::Float, Device::Cpu)))
        });
        let speed = speed.expect("it runs");
        assert_eq!((calls, speed.peak), (4, 1024));
        assert!(speed.seconds > 0.0);
        let failed = repeated(3, || Err::<(), _>(Failure::usage("no")));
        assert_eq!(failed.expect_err("at once").message, "no");
    }

    #[test]
    fn work_is_counted_by_all_threads_together() {
        let seen = AtomicUsize::new(0);
        let rate = calls_per_second(3, Duration::from_millis(30), &|number| {
            seen.fetch_max(number + 1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(1));
            number % 2 == 0
        });
        let seen = seen.into_inner() as f64;
        assert!(rate > 0.0 && rate * 0.03 <= seen, "half of {seen} calls are good: {rate} a second");
    }

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 100.0]), Some(3.0));
        assert_eq!(median(Vec::new()), None);
    }
}
