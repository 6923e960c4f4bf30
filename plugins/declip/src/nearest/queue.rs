//! The queue of features of earlier steps (a memory bank).

use vlhub_sdk::nn::Path;
use vlhub_sdk::ops::normalize;
use vlhub_sdk::prelude::*;
use vlhub_sdk::tch;

/// Similarities that are held at a time: 256 MiB of single precision.
const TILE: i64 = 1 << 26;

/// Unit rows, first in, first out. Variables that are saved and not trained: `queue` `[length, width]` and `position`, the int64 place of
/// the next row.
#[derive(Debug)]
pub(super) struct Queue {
    rows: Tensor,
    position: Tensor,
}

impl Queue {
    /// A queue of random directions.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(path: &Path<'_>, length: i64, width: i64) -> Result<Self> {
        for name in ["queue", "position"] {
            if path.get(name).is_some() {
                return Err(Error::invalid(format!("there is a variable `{}` already", path.path(name))));
            }
        }
        let device = path.device();
        let rows = normalize(&Tensor::f_randn([length, width], (Kind::Float, device))?);
        let position = Tensor::f_zeros([0i64; 0].as_slice(), (Kind::Int64, device))?;
        Ok(Self { rows: path.add("queue", rows, false), position: path.add("position", position, false) })
    }

    fn length(&self) -> i64 {
        self.rows.size()[0]
    }

    /// For each of the unit rows `[N, width]` the row of the queue that is most like it, `[N, width]`, and their cosine, `[N]`.
    pub fn neighbours(&self, rows: &Tensor) -> (Tensor, Tensor) {
        let _no_grad = tch::no_grad_guard();
        let (mut places, mut cosines) = (Vec::new(), Vec::new());
        for part in rows.split((TILE / self.length()).max(1), 0) {
            let (cosine, place) = part.matmul(&self.rows.tr()).max_dim(1, false);
            places.push(place);
            cosines.push(cosine);
        }
        (self.rows.index_select(0, &Tensor::cat(&places, 0)), Tensor::cat(&cosines, 0))
    }

    /// Puts unit rows `[N, width]` in the place of the oldest ones. Behind the last place comes the first one.
    pub fn push(&mut self, rows: &Tensor) {
        let _no_grad = tch::no_grad_guard();
        let (length, count) = (self.length(), rows.size()[0]);
        // Of more rows than there are places, the last ones stay.
        let skipped = (count - length).max(0);
        let places = (&self.position + Tensor::arange_start(skipped, count, (Kind::Int64, self.position.device()))).remainder(length);
        let _ = self.rows.index_copy_(0, &places, &rows.narrow(0, skipped, count - skipped));
        self.position.copy_(&(&self.position + count).remainder(length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vlhub_sdk::tch::nn::VarStore;

    fn numbered(range: std::ops::Range<i64>) -> Tensor {
        Tensor::arange_start(range.start, range.end, (Kind::Float, Device::Cpu)).unsqueeze(1)
    }

    #[test]
    fn a_queue_starts_with_random_directions_that_are_saved_and_not_trained() {
        let store = VarStore::new(Device::Cpu);
        let queue = Queue::new(&store.root(), 500, 4).expect("names are free");
        let names: std::collections::BTreeSet<String> = store.variables().into_keys().collect();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["position", "queue"]);
        assert!(store.trainable_variables().is_empty());
        let norms = queue.rows.norm_scalaropt_dim(2.0, [1], false);
        assert!((norms - 1.0).abs().max().double_value(&[]) < 1e-5);
        assert!(
            queue.rows.mean_dim([0i64].as_slice(), false, Kind::Float).abs().max().double_value(&[]) < 0.1,
            "no direction is preferred"
        );
        assert!(Queue::new(&store.root(), 3, 4).is_err(), "the names are taken");
    }

    #[test]
    fn rows_wrap_around_and_none_is_lost() {
        let store = VarStore::new(Device::Cpu);
        let mut queue = Queue::new(&store.root(), 5, 1).expect("names are free");
        for (pushed, wanted, position, why) in [
            (0..5, [0, 1, 2, 3, 4], 0, "exactly full"),
            (10..13, [10, 11, 12, 3, 4], 3, "the oldest leave first"),
            (20..24, [22, 23, 12, 20, 21], 2, "the tail goes to the front"),
            (30..42, [38, 39, 40, 41, 37], 4, "more than there are places: the last five, where they would have gone"),
            (50..50, [38, 39, 40, 41, 37], 4, "nothing"),
        ] {
            queue.push(&numbered(pushed));
            let wanted: Vec<f32> = wanted.iter().map(|number| *number as f32).collect();
            assert_eq!(Vec::<f32>::try_from(queue.rows.squeeze_dim(1)).expect("numbers"), wanted, "{why}");
            assert_eq!(store.variables()["position"].int64_value(&[]), position, "{why}");
        }
    }

    #[test]
    fn neighbours_are_the_same_in_tiles() {
        let store = VarStore::new(Device::Cpu);
        // Nine rows fill a tile, so that twenty need three.
        let queue = Queue::new(&store.root(), TILE / 9, 2).expect("names are free");
        let rows = normalize(&Tensor::randn([20, 2], (Kind::Float, Device::Cpu)));
        let (found, cosines) = queue.neighbours(&rows);
        for row in [0, 8, 9, 19] {
            let (best, at) = queue.rows.matmul(&rows.get(row)).max_dim(0, false);
            assert!(
                found.get(row).equal(&queue.rows.get(at.int64_value(&[]))) || (&best - cosines.get(row)).abs().double_value(&[]) < 1e-6
            );
        }
    }
}
