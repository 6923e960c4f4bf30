//! Which sample is read at a place of an epoch: a pure function of seed, epoch and place, so that threads, resumption and the number of
//! processes change nothing.

use vlhub_core::{Error, Result, Source};
use vlhub_sdk::random;

use super::loader::LoaderConfig;
use super::philox::{Permutation, Philox};

/// In which order the samples of a source are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadingOrder {
    /// Every sample once in an epoch, in a new order each time.
    #[default]
    Shuffled,
    /// Drawn with replacement, by the weights of the source's shares: open_clip's `--dataset-resampled`.
    Resampled,
    /// As the source lists them.
    Listed,
}

/// The order of one source.
#[derive(Debug)]
pub(super) struct SampleOrder {
    order: ReadingOrder,
    seed: u64,
    samples: u64,
    epoch_samples: u64,
    /// Of each share: the first sample, how many, and the sum of weights up to its end.
    shares: Vec<(u64, u64, f64)>,
}

impl SampleOrder {
    /// The order in which `config` reads a source.
    ///
    /// # Errors
    /// An epoch of fewer samples than rows of a batch, or, without replacement, of more samples than there are; rates that are not used, or are
    /// no rates.
    pub fn new(source: &dyn Source, config: &LoaderConfig) -> Result<Self> {
        let samples = source.len() as u64;
        let epoch_samples = if config.epoch_samples == 0 { samples } else { config.epoch_samples };
        let rows = config.batch as u64;
        if epoch_samples < rows || samples == 0 {
            let (count, what) = if config.epoch_samples == 0 { (samples, "the source lists") } else { (epoch_samples, "an epoch has") };
            return Err(Error::invalid(format!(
                "{what} {count} usable samples, fewer than the {rows} rows of a batch; use a smaller batch or more data"
            )));
        }
        let resampled = config.order == ReadingOrder::Resampled;
        if epoch_samples > samples && !resampled {
            return Err(Error::invalid(format!(
                "an epoch of {epoch_samples} samples (`train.samples`), but the source lists {samples}; draw with replacement \
                 (`train.resampled = true`), or count epochs (`train.epochs`)"
            )));
        }
        let listed = source.shares();
        let even = listed.iter().all(|share| share.weight == listed[0].weight);
        if !even && !resampled {
            return Err(Error::invalid(
                "the data names rates at which its parts are drawn; that is drawing with replacement: set `train.resampled = true`",
            ));
        }
        let (mut first, mut sum) = (0, 0.0);
        let mut shares = Vec::with_capacity(listed.len());
        for share in listed {
            if !(share.weight.is_finite() && share.weight > 0.0) {
                return Err(Error::invalid(format!("a rate of {}; rates are above 0 and finite", share.weight)));
            }
            sum += share.weight * share.samples as f64;
            shares.push((first, share.samples as u64, sum));
            first += share.samples as u64;
        }
        if first != samples {
            return Err(Error::invalid(format!("the source's shares are {first} samples together, and it lists {samples}")));
        }
        Ok(Self { order: config.order, seed: config.seed, samples, epoch_samples, shares })
    }

    /// Samples of an epoch.
    pub fn epoch_samples(&self) -> u64 {
        self.epoch_samples
    }

    /// The sample at a place of an epoch. `attempt` counts samples that were tried for this place in vain: from 1 on it is another, drawn at the
    /// rates of the shares.
    pub fn at(&self, epoch: u64, position: u64, attempt: u64) -> usize {
        let index = match (attempt, self.order) {
            (0, ReadingOrder::Shuffled) => Permutation::new(self.seed, epoch, self.samples).at(position),
            (0, ReadingOrder::Listed) => position,
            _ => self.draw(&mut Philox::new([self.seed, epoch, position, attempt])),
        };
        index as usize
    }

    fn draw(&self, rng: &mut Philox) -> u64 {
        let [.., (_, _, sum)] = self.shares[..] else { return 0 };
        if self.shares.len() == 1 {
            return random::below(rng, self.samples);
        }
        let place = random::between(rng, 0.0, sum);
        let share = self.shares.partition_point(|(_, _, until)| *until <= place).min(self.shares.len() - 1);
        let (first, count, _) = self.shares[share];
        first + random::below(rng, count)
    }
}
