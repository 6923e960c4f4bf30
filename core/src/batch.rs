//! The mini-batch of a step: named views of the same rows.

use std::collections::BTreeMap;
use std::ops::Range;

use tch::Tensor;

use crate::{Error, Result};

/// A mini-batch of samples. Every tensor has the row as its first dimension, so a slice of a batch is a batch.
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use vlhub_core::Batch;
///
/// let mut batch = Batch::new(4);
/// batch.set_text("main", Tensor::zeros([4, 77], (Kind::Int64, Device::Cpu)))?;
/// batch.set_extra(Batch::LABELS, Tensor::from_slice(&[3i64, 0, 1, 1]).view([4, 1]))?;
/// assert_eq!(batch.slice(1..3).extra(Batch::LABELS)?.size(), [2, 1]);
/// assert_eq!(batch.map(|tensor| Ok(tensor.f_neg()?))?.extra(Batch::LABELS)?.int64_value(&[0, 0]), -3);
/// assert!(batch.set_text("eda", Tensor::zeros([5, 77], (Kind::Int64, Device::Cpu))).is_err(), "five rows in a batch of four");
/// # Ok::<(), vlhub_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Batch {
    rows: i64,
    /// Image views: name to `[B, 3, H, W]` float, normalised.
    images: BTreeMap<String, Tensor>,
    /// Text views: name to `[B, L]` int64 token ids.
    texts: BTreeMap<String, Tensor>,
    /// Labels and whatever `prepare` derives: name to `[B, …]`.
    extras: BTreeMap<String, Tensor>,
}

impl Batch {
    /// The name of the class labels among the extra inputs: `[B, K]` int64, where a row with fewer than K labels ends in -1. It is there when
    /// the data have labels and an objective [reads](crate::Objective::reads) them.
    pub const LABELS: &'static str = "labels";

    /// An empty batch of `rows` rows.
    pub fn new(rows: i64) -> Self {
        Self { rows, ..Self::default() }
    }

    /// How many rows it has.
    pub fn rows(&self) -> i64 {
        self.rows
    }

    /// An image view, `[B, 3, H, W]`, float, normalised for the image tower.
    ///
    /// # Errors
    /// When the batch has no view of this name; the error lists those that it has.
    pub fn image(&self, view: &str) -> Result<&Tensor> {
        find(&self.images, "image view", view)
    }

    /// The token ids of a text view, `[B, L]`, int64.
    ///
    /// # Errors
    /// As [`Batch::image`].
    pub fn text(&self, view: &str) -> Result<&Tensor> {
        find(&self.texts, "text view", view)
    }

    /// Labels, or an input that [`Objective::prepare`](crate::Objective::prepare) derived, `[B, …]`.
    ///
    /// # Errors
    /// As [`Batch::image`].
    pub fn extra(&self, name: &str) -> Result<&Tensor> {
        find(&self.extras, "extra input", name)
    }

    /// Adds or replaces an image view, `[B, 3, H, W]`.
    ///
    /// # Errors
    /// A tensor of another number of rows.
    pub fn set_image(&mut self, view: impl Into<String>, image: Tensor) -> Result<()> {
        let view = view.into();
        self.same_rows("image view", &view, &image)?;
        self.images.insert(view, image);
        Ok(())
    }

    /// Adds or replaces a text view, `[B, L]`, int64.
    ///
    /// # Errors
    /// A tensor of another number of rows.
    pub fn set_text(&mut self, view: impl Into<String>, ids: Tensor) -> Result<()> {
        let view = view.into();
        self.same_rows("text view", &view, &ids)?;
        self.texts.insert(view, ids);
        Ok(())
    }

    /// Adds or replaces labels or a derived input, `[B, …]`.
    ///
    /// # Errors
    /// A tensor of another number of rows.
    pub fn set_extra(&mut self, name: impl Into<String>, value: Tensor) -> Result<()> {
        let name = name.into();
        self.same_rows("extra input", &name, &value)?;
        self.extras.insert(name, value);
        Ok(())
    }

    /// The rows in `range`, as views of the same memory.
    pub fn slice(&self, range: Range<i64>) -> Self {
        let cut = |map: &BTreeMap<String, Tensor>| {
            map.iter().map(|(name, tensor)| (name.clone(), tensor.narrow(0, range.start, range.end - range.start))).collect()
        };
        Self { rows: range.end - range.start, images: cut(&self.images), texts: cut(&self.texts), extras: cut(&self.extras) }
    }

    /// Chunks of at most `rows` consecutive rows, each with the range of its rows in the whole.
    pub fn split(&self, rows: i64) -> Vec<(Range<i64>, Self)> {
        let rows = rows.max(1);
        (0..self.rows)
            .step_by(rows as usize)
            .map(|start| {
                let range = start..(start + rows).min(self.rows);
                (range.clone(), self.slice(range))
            })
            .collect()
    }

    /// The rows that `order` `[N]`, int64, names: permuted, fewer of them, or some more than once.
    pub fn permuted(&self, order: &Tensor) -> Self {
        let pick =
            |map: &BTreeMap<String, Tensor>| map.iter().map(|(name, tensor)| (name.clone(), tensor.index_select(0, order))).collect();
        Self { rows: order.numel() as i64, images: pick(&self.images), texts: pick(&self.texts), extras: pick(&self.extras) }
    }

    /// Names of the image views and of the text views.
    pub fn views(&self) -> (Vec<&str>, Vec<&str>) {
        (self.images.keys().map(String::as_str).collect(), self.texts.keys().map(String::as_str).collect())
    }

    /// The same rows with `f` of each tensor in its place, such as a copy elsewhere.
    ///
    /// # Errors
    /// Whatever `f` returns, or a tensor of another number of rows.
    pub fn map(&self, mut f: impl FnMut(&Tensor) -> Result<Tensor>) -> Result<Self> {
        let mut mapped = Self::new(self.rows);
        for (view, image) in &self.images {
            mapped.set_image(view.as_str(), f(image)?)?;
        }
        for (view, ids) in &self.texts {
            mapped.set_text(view.as_str(), f(ids)?)?;
        }
        for (name, value) in &self.extras {
            mapped.set_extra(name.as_str(), f(value)?)?;
        }
        Ok(mapped)
    }

    fn same_rows(&self, what: &str, name: &str, tensor: &Tensor) -> Result<()> {
        match tensor.size().first() {
            Some(&rows) if rows == self.rows => Ok(()),
            _ => Err(Error::invalid(format!("{what} `{name}` has shape {:?}; the batch has {} rows", tensor.size(), self.rows))),
        }
    }
}

fn find<'a>(map: &'a BTreeMap<String, Tensor>, what: &str, name: &str) -> Result<&'a Tensor> {
    map.get(name).ok_or_else(|| {
        let known: Vec<_> = map.keys().map(String::as_str).collect();
        Error::invalid(format!(
            "the batch has no {what} `{name}`; it has: {}",
            if known.is_empty() { "none".into() } else { known.join(" ") }
        ))
    })
}
